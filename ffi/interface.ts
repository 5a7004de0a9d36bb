/** Network interfaces as the kernel describes them. Needs no privilege. */
import { CString, read } from "bun:ffi";
import { cString, ENODEV, errno, libc, SystemError } from "./libc.ts";
import { allocateMemory } from "./memory.ts";
import { if_nameindex, ifreq, sockaddr } from "./structs.ts";

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
// <linux/sockios.h>
const SIOCGIFFLAGS = 0x8913;
const SIOCGIFMTU = 0x8921;
const SIOCGIFHWADDR = 0x8927;
const SIOCGIFINDEX = 0x8933;
// <net/if.h>
const IFF_UP = 0x1;
const IFF_LOOPBACK = 0x8;
const IFF_RUNNING = 0x40;
const IFNAMSIZ = 16;
// <net/if_arp.h>
const ARPHRD_ETHER = 1;
const ARPHRD_LOOPBACK = 772;
const MAC_BYTES = 6;

export interface InterfaceInfo {
  readonly name: string;
  readonly index: number;
  readonly mac: Uint8Array;
  /** Bytes after the Ethernet header. */
  readonly mtuBytes: number;
  /** Switched on by the administrator. */
  readonly up: boolean;
  /** Switched on, and the link is there. */
  readonly running: boolean;
  readonly loopback: boolean;
  /** Its frames begin with an Ethernet header, as those of `lo` do and those of a tunnel do not. */
  readonly ethernet: boolean;
}

const request = allocateMemory(ifreq.bytes);

/** Names of all interfaces in this process's network namespace, up or not, in the kernel's order. */
export function interfaceNames(): string[] {
  const list = libc.if_nameindex();
  if (list === null) throw new SystemError("cannot list the network interfaces", errno());
  const names: string[] = [];
  for (let at = 0; read.u32(list, at + if_nameindex.if_index) !== 0; at += if_nameindex.bytes) {
    names.push(new CString(read.ptr(list, at + if_nameindex.if_name)));
  }
  libc.if_freenameindex(list);
  return names;
}

/** What the kernel says of one interface now. Throws `SystemError` (ENODEV, with the names there are) where there is none. */
export function readInterface(name: string): InterfaceInfo {
  const encoded = cString(name);
  // A longer name would be cut, and could then be that of another interface.
  if (encoded.length > IFNAMSIZ || encoded.length === 1) throw noSuchInterface(name);
  const fd = libc.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) throw new SystemError("cannot open a socket to ask about interfaces", errno());
  const ask = (code: number): void => {
    request.bytes.fill(0, 0, ifreq.bytes);
    request.bytes.set(encoded, ifreq.ifr_name);
    if (libc.ioctl(fd, code, request.address) === 0) return;
    const reason = errno();
    throw reason === ENODEV ? noSuchInterface(name) : new SystemError(`interface ${name}`, reason);
  };
  try {
    ask(SIOCGIFINDEX);
    const index = request.view.getInt32(ifreq.ifr_ifindex, true);
    ask(SIOCGIFMTU);
    const mtuBytes = request.view.getInt32(ifreq.ifr_mtu, true);
    ask(SIOCGIFFLAGS);
    const flags = request.view.getUint16(ifreq.ifr_flags, true);
    ask(SIOCGIFHWADDR);
    const hardware = request.view.getUint16(ifreq.ifr_hwaddr + sockaddr.sa_family, true);
    const macAt = ifreq.ifr_hwaddr + sockaddr.sa_data;
    return {
      name,
      index,
      mac: request.bytes.slice(macAt, macAt + MAC_BYTES),
      mtuBytes,
      up: (flags & IFF_UP) !== 0,
      running: (flags & IFF_RUNNING) !== 0,
      loopback: (flags & IFF_LOOPBACK) !== 0,
      ethernet: hardware === ARPHRD_ETHER || hardware === ARPHRD_LOOPBACK,
    };
  } finally {
    libc.close(fd);
  }
}

function noSuchInterface(name: string): SystemError {
  return new SystemError(`no network interface "${name}" (there are: ${interfaceNames().join(", ")})`, ENODEV);
}
