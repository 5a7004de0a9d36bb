/** A netlink socket that becomes readable when an interface appears, vanishes or changes (rtnetlink(7), RTMGRP_LINK). */
import type { Pointer } from "bun:ffi";
import { errno, libc, SystemError } from "./libc.ts";
import { allocateMemory } from "./memory.ts";
import { sockaddr_nl } from "./structs.ts";

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const NETLINK_ROUTE = 0;
const RTMGRP_LINK = 1;
const MSG_DONTWAIT = 0x40;

const scratch = allocateMemory(65536);

export function openLinkWatch(): number {
  const fd = libc.socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (fd < 0) throw new SystemError("cannot open a netlink socket", errno());
  scratch.bytes.fill(0, 0, sockaddr_nl.bytes);
  scratch.view.setUint16(sockaddr_nl.nl_family, AF_NETLINK, true);
  scratch.view.setUint32(sockaddr_nl.nl_groups, RTMGRP_LINK, true);
  if (libc.bind(fd, scratch.address as Pointer, sockaddr_nl.bytes) !== 0) {
    const reason = errno();
    libc.close(fd);
    throw new SystemError("cannot listen for changes of interfaces", reason);
  }
  return fd;
}

/**
 * Takes all messages that wait and says whether there were any. What they say is not looked at: after a change of any
 * interface, or messages lost for want of room, the state of the own ones is read anew.
 */
export function takeLinkChanges(fd: number): boolean {
  let changed = false;
  // -1 is EAGAIN, nothing left, or ENOBUFS, messages lost: that is a change too, and the next call reads on.
  for (let misses = 0; misses < 2;) {
    if (libc.recv(fd, scratch.address, scratch.lengthBytes, MSG_DONTWAIT) > 0) changed = true;
    else if (errno() === 105 && misses === 0) {
      changed = true;
      misses++;
    } else break;
  }
  return changed;
}
