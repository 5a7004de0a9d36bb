/**
 * Signal-driven I/O (fcntl(2), O_ASYNC): the kernel sends SIGIO when a socket becomes readable or writable. That wakes
 * Bun's event loop for descriptors that it cannot poll itself, without a second thread: about 8 us from frame to
 * handler here, where a thread in `poll(2)` took 28 us and the memory of a second JavaScript realm.
 */
import { errno, libc, SystemError } from "./libc.ts";
import { allocateMemory } from "./memory.ts";

const F_SETFL = 4;
const F_SETOWN_EX = 15;
const F_OWNER_TID = 0;
const O_NONBLOCK = 0o4000;
const O_ASYNC = 0o20000;

const scratch = allocateMemory(4096);

/** Chooses the main thread, whose number is the process's, as the one that gets this descriptor's SIGIO. */
export function ownSignals(fd: number): void {
  scratch.view.setInt32(0, F_OWNER_TID, true);
  scratch.view.setInt32(4, process.pid, true);
  if (libc.fcntl(fd, F_SETOWN_EX, scratch.address) !== 0) throw new SystemError("cannot ask for SIGIO", errno());
}

/**
 * Turns SIGIO for this descriptor on or off. Off while frames are being taken, since a signal per frame would cost more
 * than the frame. A handler for SIGIO must be in place: the default action ends the process.
 */
export function armSignals(fd: number, armed: boolean): void {
  libc.fcntl(fd, F_SETFL, armed ? O_NONBLOCK | O_ASYNC : O_NONBLOCK);
}
