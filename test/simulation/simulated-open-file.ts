/** A file of a simulated disk that a process has open. */
import { EAGAIN, EIO, ENOSPC, SystemError } from "../../ffi/libc.ts";
import type { Memory } from "../../src/base/memory.ts";
import type { DiskFile, RangeList } from "../../src/storage/cas/disk.ts";
import type { SimulatedDisk } from "./simulated-disk.ts";
import type { SimulatedContent } from "./simulated-file.ts";

export class SimulatedFile implements DiskFile {
  constructor(
    readonly disk: SimulatedDisk,
    readonly path: string,
    readonly content: SimulatedContent,
    readonly life: number,
  ) {}

  /**
   * Counts a call, and tells whether its process is dead. With a loop what is left of a dead process sees errors, as if
   * its disk had been pulled out, and so comes to an end; without one it is told by PowerLoss.
   */
  #isDead(): boolean {
    try {
      this.disk.call(this.life);
      return false;
    } catch (error) {
      if (this.disk.loop === undefined) throw error;
      return true;
    }
  }

  sizeBytes(): number {
    this.disk.call(this.life);
    return this.content.sizeBytes;
  }

  write(source: Memory, at: number, lengthBytes: number, offsetBytes: number): number {
    return this.#write(source.bytes.slice(at, at + lengthBytes), offsetBytes);
  }

  writeRanges(ranges: RangeList, offsetBytes: number): number {
    const data = new Uint8Array(ranges.totalBytes);
    let done = 0;
    for (let i = 0; i < ranges.count; i++) {
      const [start, lengthBytes] = [ranges.starts[i]!, ranges.lengths[i]!];
      data.set(ranges.memories[i]!.bytes.subarray(start, start + lengthBytes), done);
      done += lengthBytes;
    }
    return this.#write(data, offsetBytes);
  }

  #write(data: Uint8Array, offsetBytes: number): number {
    if (this.#isDead()) return -EIO;
    this.disk.observe?.(`write ${this.path} ${offsetBytes}`, data);
    const errno = this.disk.faultOf("write", this.path);
    if (errno !== undefined) return -errno;
    if (this.disk.writeFails()) {
      const doneBytes = this.disk.random.chance(0.5) ? this.disk.random.below(data.length) : 0;
      if (doneBytes === 0) return -EIO;
      this.content.change({ kind: "write", offsetBytes, data: data.slice(0, doneBytes) });
      return doneBytes;
    }
    const growthBytes = Math.max(0, offsetBytes + data.length - this.content.sizeBytes);
    const missingBytes = Math.max(0, growthBytes - this.disk.roomOf(this.path));
    const doneBytes = data.length - missingBytes;
    if (doneBytes <= 0 && data.length > 0) return -ENOSPC;
    this.disk.giveRoom(this.path, missingBytes - growthBytes);
    this.content.change({ kind: "write", offsetBytes, data: data.slice(0, doneBytes) });
    return doneBytes;
  }

  prepare(offsetBytes: number, lengthBytes: number): void {
    if (this.#isDead()) return;
    const there = offsetBytes + lengthBytes <= this.content.sizeBytes;
    // What is not cached is written over with zeros.
    if (!there || this.disk.random.chance(0.3)) this.#write(new Uint8Array(lengthBytes), offsetBytes);
  }

  tryRead(target: Memory, at: number, lengthBytes: number, offsetBytes: number): number {
    if (this.#isDead()) return -EAGAIN;
    const data = this.content.read(offsetBytes, lengthBytes);
    if (data.length < lengthBytes || this.disk.random.chance(this.disk.waitChance)) return -EAGAIN;
    const errno = this.disk.faultOf("read", this.path);
    if (errno !== undefined) return -errno;
    target.bytes.set(data, at);
    return lengthBytes;
  }

  read(target: Memory, at: number, lengthBytes: number, offsetBytes: number): Promise<number> {
    const reading = this.disk.later(() => {
      this.disk.observe?.(`read ${this.path} ${offsetBytes} ${lengthBytes}`);
      const errno = this.disk.faultOf("read", this.path);
      if (errno !== undefined) return -errno;
      const data = this.content.read(offsetBytes, lengthBytes);
      target.bytes.set(data, at);
      return data.length;
    }, this.life);
    // Reads tell of failure by number, as the real ones do.
    return this.disk.loop === undefined ? reading : reading.catch(() => -EIO);
  }

  sync(): Promise<void> {
    const covered = this.content.changeCount;
    return this.disk.later(() => {
      this.disk.observe?.(`sync ${this.path} ${covered}`);
      if (this.disk.syncFails(this.path)) {
        this.content.syncFailed(covered, this.disk.random);
        throw new SystemError(`${this.path} could not be synced`, EIO);
      }
      this.content.synced(covered);
    }, this.life);
  }

  truncate(sizeBytes: number): void {
    this.disk.call(this.life);
    this.disk.failIfAsked("write", this.path, `${this.path} cannot be cut`);
    this.disk.observe?.(`truncate ${this.path} ${sizeBytes}`);
    const freedBytes = this.content.sizeBytes - sizeBytes;
    if (freedBytes > 0) this.disk.leaveStale(this.content.bytes());
    this.disk.giveRoom(this.path, freedBytes);
    this.content.change({ kind: "truncate", sizeBytes });
  }

  forgetCached(): void {
    this.disk.call(this.life);
    this.content.forgetCached();
  }

  close(): Promise<void> {
    return this.disk.later(() => {}, this.life);
  }
}
