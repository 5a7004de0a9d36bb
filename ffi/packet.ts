/** AF_PACKET sockets: raw Ethernet frames of one EtherType on one interface. See packet(7). */
import type { Pointer } from "bun:ffi";
import type { Memory } from "../src/base/memory.ts";
import { EAGAIN, EMSGSIZE, ENOBUFS, EPERM, errno, libc, SystemError } from "./libc.ts";
import { allocateMemory, freeMemory } from "./memory.ts";
import { pollfd, sock_filter, sock_fprog, sockaddr_ll } from "./structs.ts";

const AF_PACKET = 17;
const SOCK_RAW = 3;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_SNDBUF = 7;
const SO_RCVBUF = 8;
const SO_ATTACH_FILTER = 26;
const SO_SNDBUFFORCE = 32;
const SO_RCVBUFFORCE = 33;
/** BPF_MAXINSNS, <linux/bpf_common.h> */
const FILTER_MOST_INSTRUCTIONS = 4096;

const MSG_DONTWAIT = 0x40;
const POLLIN = 0x1;

/** One instruction of classic BPF: code, jump if true, jump if false, operand. See <linux/filter.h>. */
export type FilterInstruction = readonly [code: number, jt: number, jf: number, k: number];

const scratch = allocateMemory(4096);

/** How to grant what raw sockets need to the program that is running: the compiled voe, or Bun under a source checkout. */
export const rawSocketRemedy = (): string =>
  `"sudo setcap cap_net_raw+ep ${process.execPath}" grants it, or run as root`;

/**
 * Opens a raw, non-blocking socket that receives nothing yet: it has no protocol before `bindPacketSocket`, so no frame
 * of another interface or from before the filter gets in. Throws `SystemError`; EPERM names the remedy.
 */
export function openPacketSocket(): number {
  const fd = libc.socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd >= 0) return fd;
  const reason = errno();
  if (reason !== EPERM) throw new SystemError("cannot open a raw packet socket", reason);
  throw new SystemError(`raw Ethernet needs the capability CAP_NET_RAW (${rawSocketRemedy()})`, reason);
}

/** Writes a `sockaddr_ll` for an EtherType on an interface at byte `at`. */
export function writeLinkAddress(view: DataView, at: number, interfaceIndex: number, etherType: number): void {
  for (let i = 0; i < sockaddr_ll.bytes; i++) view.setUint8(at + i, 0);
  view.setUint16(at + sockaddr_ll.sll_family, AF_PACKET, true);
  view.setUint16(at + sockaddr_ll.sll_protocol, etherType, false);
  view.setInt32(at + sockaddr_ll.sll_ifindex, interfaceIndex, true);
}

/** From here on the socket sends on this interface and receives its frames of this EtherType. Works while it is down, too. */
export function bindPacketSocket(fd: number, interfaceIndex: number, etherType: number): void {
  writeLinkAddress(scratch.view, 0, interfaceIndex, etherType);
  if (libc.bind(fd, scratch.address as Pointer, sockaddr_ll.bytes) === 0) return;
  throw new SystemError(`cannot bind a packet socket to interface number ${interfaceIndex}`, errno());
}

/** Lets in only the frames for which the program returns something other than 0. Offsets count from the Ethernet header. */
export function attachFilter(fd: number, program: readonly FilterInstruction[]): void {
  if (program.length > FILTER_MOST_INSTRUCTIONS) {
    throw new Error(
      `packet filter of ${program.length} instructions, at most ${FILTER_MOST_INSTRUCTIONS} are possible`,
    );
  }
  const instructions = allocateMemory(program.length * sock_filter.bytes);
  try {
    program.forEach(([code, jt, jf, k], i) => {
      const at = i * sock_filter.bytes;
      instructions.view.setUint16(at + sock_filter.code, code, true);
      instructions.view.setUint8(at + sock_filter.jt, jt);
      instructions.view.setUint8(at + sock_filter.jf, jf);
      instructions.view.setUint32(at + sock_filter.k, k, true);
    });
    scratch.bytes.fill(0, 0, sock_fprog.bytes);
    scratch.view.setUint16(sock_fprog.len, program.length, true);
    scratch.view.setBigUint64(sock_fprog.filter, BigInt(instructions.address), true);
    if (libc.setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, scratch.address, sock_fprog.bytes) !== 0) {
      throw new SystemError(`cannot attach a packet filter of ${program.length} instructions`, errno());
    }
  } finally {
    freeMemory(instructions);
  }
}

/**
 * Asks for socket buffers of these sizes. Above `net.core.rmem_max` and `wmem_max` that takes CAP_NET_ADMIN; without
 * it the kernel gives what it allows, which is no error.
 */
export function setBufferBytes(fd: number, receiveBytes: number, sendBytes: number): void {
  setBuffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, receiveBytes);
  setBuffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, sendBytes);
}

function setBuffer(fd: number, forced: number, polite: number, bytes: number): void {
  scratch.view.setInt32(0, bytes, true);
  if (libc.setsockopt(fd, SOL_SOCKET, forced, scratch.address, 4) === 0) return;
  if (libc.setsockopt(fd, SOL_SOCKET, polite, scratch.address, 4) === 0) return;
  throw new SystemError(`cannot set a socket buffer of ${bytes} bytes`, errno());
}

/** Puts the next frame at the start of `target` and returns its length, or -1 where none has arrived. */
export function receiveFrame(fd: number, target: Memory): number {
  // An interface that goes down is told once as an error here, and shows as silence from then on.
  return libc.recv(fd, target.address, target.lengthBytes, MSG_DONTWAIT) as number;
}

/**
 * Sends the first bytes of `source` as one frame; false where the queues are full right now. Throws `SystemError`
 * where the frame can never be sent: longer than the MTU or shorter than an Ethernet header, or the interface is down.
 */
export function sendFrame(fd: number, source: Memory, lengthBytes: number): boolean {
  if ((libc.send(fd, source.address, lengthBytes, MSG_DONTWAIT) as number) >= 0) return true;
  const reason = errno();
  if (reason === EAGAIN || reason === ENOBUFS) return false;
  const what = reason === EMSGSIZE ? "is longer than the MTU of the interface allows" : "could not be sent";
  throw new SystemError(`a frame of ${lengthBytes} bytes ${what}`, reason);
}

/** Sleeps, this thread and its event loop with it, until a frame is there or the time is over. */
export function waitForFrame(fd: number, timeoutMs: number): void {
  scratch.view.setInt32(pollfd.fd, fd, true);
  scratch.view.setInt16(pollfd.events, POLLIN, true);
  libc.poll(scratch.address, 1, timeoutMs);
}
