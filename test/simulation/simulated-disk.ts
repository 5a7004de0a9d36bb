/**
 * A disk in memory that loses power when it is told to, and with it what was not synced, in whatever way the seed
 * says: writes kept, dropped, reordered, torn between sectors of 512 bytes, names of files lost or kept. It fails
 * syncs and writes, fills up and flips bits on request. Asynchronous calls end in an order and after a time that the seed chooses;
 * time is counted in microtasks, so that a seed repeats a run exactly.
 */
import { dirname, normalize } from "node:path";
import { EAGAIN, EEXIST, EIO, ENOENT, ENOSPC, SystemError } from "../../ffi/libc.ts";
import type { Memory } from "../../src/base/memory.ts";
import type { Disk, DiskFile, RangeList } from "../../src/storage/cas/disk.ts";
import type { SeededRandom } from "../support/seeded-random.ts";
import { SimulatedContent } from "./simulated-file.ts";

/** What every call throws from the moment the power is lost. */
export class PowerLoss extends Error {
  constructor() {
    super("the simulated disk has lost power");
    this.name = "PowerLoss";
  }
}

type Entry = SimulatedContent | "directory";

interface NameChange {
  readonly directories: readonly string[];
  apply(names: Map<string, Entry>): void;
}

const STALE_MOST = 8;

export class SimulatedDisk implements Disk {
  /** How many bytes files may grow by before the disk is full. */
  roomBytes = Number.POSITIVE_INFINITY;
  /** Probability that a `tryRead` says that it would have to wait. */
  waitChance = 0;
  /** Calls so far. */
  callCount = 0;
  /** Syncs, of files and directories, that are to fail from now on. */
  failingSyncs = 0;
  /** Syncs that have failed so far, whether or not anybody has heard of it. */
  failedSyncCount = 0;
  /** Writes that are to fail from now on, at once or after some bytes. */
  failingWrites = 0;
  failedWriteCount = 0;
  #callsLeft = Number.POSITIVE_INFINITY;
  #off = false;
  #life = 0;
  readonly #names = new Map<string, Entry>([["/", "directory"]]);
  readonly #durableNames = new Map<string, Entry>([["/", "directory"]]);
  #unsyncedNames: NameChange[] = [];
  readonly #stale: Uint8Array[] = [];
  #running: { end: () => void; abandon: () => void }[] = [];
  #pumping = false;
  /** A sync of a directory has failed. */
  #namesLost = false;

  constructor(readonly random: SeededRandom) {}

  /** Loses power at the call after this many more. */
  losePowerAfter(calls: number): void {
    this.#callsLeft = calls;
  }

  get isOff(): boolean {
    return this.#off;
  }

  /** Loses power now, if it has not happened, and comes back with what survived. Files that were open are dead. */
  crash(): void {
    this.#die();
    for (const change of this.#survivingNames()) change.apply(this.#durableNames);
    this.#unsyncedNames = [];
    for (const path of this.#durableNames.keys()) {
      if (!this.#hasParents(path)) this.#durableNames.delete(path);
    }
    this.#names.clear();
    for (const [path, entry] of this.#durableNames) this.#names.set(path, entry);
    for (const entry of new Set(this.#names.values())) {
      if (entry !== "directory") entry.crash(this.random, this.#stale);
    }
    this.#revive();
  }

  /**
   * The process ends and another begins: what was written is seen by it, durable or not. After a failed sync of a
   * directory this is a crash: a journaling filesystem that cannot write its names has shut down until it is mounted
   * again (ext4 with errors=remount-ro, XFS), and then shows what the medium holds.
   */
  restart(): void {
    if (this.#namesLost) {
      this.crash();
      return;
    }
    this.#die();
    this.#revive();
  }

  /**
   * The disk as the present process has it: dead after the next crash or restart. What still runs of a process that was
   * ended must not reach the disk of the next one.
   */
  session(): Disk {
    const life = this.#life;
    const alive = (): this => {
      if (life !== this.#life) throw new PowerLoss();
      return this;
    };
    return {
      open: (path) => alive().open(path),
      create: (path) => alive().create(path),
      makeDirectory: (path) => alive().makeDirectory(path),
      list: async (path) => alive().list(path),
      remove: (path) => alive().remove(path),
      rename: (from, to) => alive().rename(from, to),
      syncDirectory: async (path) => alive().syncDirectory(path),
    };
  }

  /** Flips a bit of a file, on the medium and in the cache. */
  flipBit(path: string, offsetBytes: number, bit: number): void {
    this.#file(path, "flipBit").flipBit(offsetBytes, bit);
  }

  /** Everything in a file, for a test to look at. */
  contentOf(path: string): Uint8Array {
    return this.#file(path, "contentOf").bytes();
  }

  open(path: string): DiskFile {
    this.call();
    return new SimulatedFile(this, path, this.#file(path, `${path} cannot be opened`), this.#life);
  }

  create(path: string): DiskFile {
    this.call();
    const what = `${path} cannot be opened`;
    const name = normalize(path);
    if (this.#names.has(name)) throw new SystemError(what, EEXIST);
    this.#directory(dirname(name), what);
    if (this.roomBytes <= 0) throw new SystemError(what, ENOSPC);
    const content = new SimulatedContent();
    this.#rename([dirname(name)], (names) => void names.set(name, content));
    return new SimulatedFile(this, path, content, this.#life);
  }

  makeDirectory(path: string): void {
    this.call();
    const name = normalize(path);
    if (this.#names.has(name)) return;
    this.#directory(dirname(name), `directory ${path} cannot be made`);
    this.#rename([dirname(name)], (names) => void names.set(name, "directory"));
  }

  list(path: string): Promise<string[]> {
    return this.later(() => {
      const name = normalize(path);
      this.#directory(name, `directory ${path} cannot be listed`);
      const inside = [...this.#names.keys()].filter((entry) => dirname(entry) === name && entry !== name);
      return inside.map((entry) => entry.slice(name === "/" ? 1 : name.length + 1)).toSorted();
    });
  }

  remove(path: string): void {
    this.call();
    const name = normalize(path);
    const content = this.#file(path, `${path} cannot be removed`);
    this.roomBytes += content.sizeBytes;
    this.leaveStale(content.bytes());
    this.#rename([dirname(name)], (names) => {
      if (names.get(name) === content) names.delete(name);
    });
  }

  rename(from: string, to: string): void {
    this.call();
    const what = `${from} cannot be renamed to ${to}`;
    const content = this.#file(from, what);
    const [old, name] = [normalize(from), normalize(to)];
    this.#directory(dirname(name), what);
    this.#rename([dirname(old), dirname(name)], (names) => {
      if (names.get(old) === content) names.delete(old);
      names.set(name, content);
    });
  }

  syncDirectory(path: string): Promise<void> {
    const name = normalize(path);
    const covered = new Set(this.#unsyncedNames.filter((change) => change.directories.includes(name)));
    return this.later(() => {
      const what = `directory ${path} could not be synced`;
      this.#directory(name, what);
      const fails = this.syncFails();
      for (const change of this.#unsyncedNames) {
        // Of what a failed sync covers some arrives, and the rest never will.
        if (covered.has(change) && (!fails || this.random.chance(0.5))) change.apply(this.#durableNames);
      }
      this.#unsyncedNames = this.#unsyncedNames.filter((change) => !covered.has(change));
      this.#namesLost ||= fails;
      if (fails) throw new SystemError(what, EIO);
    });
  }

  /** Counts a call: of this disk, or of a file of it that was opened in `life`. */
  call(life = this.#life): void {
    if (this.#off || life !== this.#life) throw new PowerLoss();
    this.callCount++;
    if (--this.#callsLeft >= 0) return;
    this.#die();
    throw new PowerLoss();
  }

  /** Does `work` some microtasks from now, unless the power goes before that. */
  later<T>(work: () => T, life = this.#life): Promise<T> {
    return new Promise((resolve, reject) => {
      this.call(life);
      const end = (): void => {
        try {
          resolve(work());
        } catch (error) {
          reject(error);
        }
      };
      this.#running.push({ end, abandon: () => reject(new PowerLoss()) });
      if (!this.#pumping) this.#pump();
    });
  }

  syncFails(): boolean {
    if (this.failingSyncs === 0) return false;
    this.failingSyncs--;
    this.failedSyncCount++;
    return true;
  }

  writeFails(): boolean {
    if (this.failingWrites === 0) return false;
    this.failingWrites--;
    this.failedWriteCount++;
    return true;
  }

  /** Bytes that files which are given this space later may be found to hold. */
  leaveStale(bytes: Uint8Array): void {
    this.#stale.push(bytes);
    if (this.#stale.length > STALE_MOST) this.#stale.shift();
  }

  #pump(): void {
    this.#pumping = this.#running.length > 0;
    if (!this.#pumping) return;
    queueMicrotask(() => {
      if (this.#running.length > 0 && this.random.chance(0.4)) {
        const [next] = this.#running.splice(this.random.below(this.#running.length), 1);
        next!.end();
      }
      this.#pump();
    });
  }

  #die(): void {
    this.#off = true;
    const abandoned = this.#running;
    this.#running = [];
    for (const { abandon } of abandoned) abandon();
  }

  #revive(): void {
    this.#off = false;
    this.#life++;
    this.#namesLost = false;
    this.#callsLeft = Number.POSITIVE_INFINITY;
    this.failingSyncs = 0;
    this.failingWrites = 0;
  }

  #survivingNames(): NameChange[] {
    const fate = this.random.below(3);
    if (fate === 0) return [];
    return fate === 1 ? this.#unsyncedNames : this.#unsyncedNames.filter(() => this.random.chance(0.5));
  }

  #rename(directories: readonly string[], apply: NameChange["apply"]): void {
    apply(this.#names);
    this.#unsyncedNames.push({ directories, apply });
  }

  #hasParents(path: string): boolean {
    const parent = dirname(path);
    return parent === path || (this.#durableNames.get(parent) === "directory" && this.#hasParents(parent));
  }

  #file(path: string, what: string): SimulatedContent {
    const entry = this.#names.get(normalize(path));
    if (entry === undefined || entry === "directory") throw new SystemError(what, ENOENT);
    return entry;
  }

  #directory(path: string, what: string): void {
    if (this.#names.get(path) !== "directory") throw new SystemError(what, ENOENT);
  }
}

class SimulatedFile implements DiskFile {
  constructor(
    readonly disk: SimulatedDisk,
    readonly path: string,
    readonly content: SimulatedContent,
    readonly life: number,
  ) {}

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
    this.disk.call(this.life);
    if (this.disk.writeFails()) {
      const doneBytes = this.disk.random.chance(0.5) ? this.disk.random.below(data.length) : 0;
      if (doneBytes === 0) return -EIO;
      this.content.change({ kind: "write", offsetBytes, data: data.slice(0, doneBytes) });
      return doneBytes;
    }
    const growthBytes = Math.max(0, offsetBytes + data.length - this.content.sizeBytes);
    const missingBytes = Math.max(0, growthBytes - this.disk.roomBytes);
    const doneBytes = data.length - missingBytes;
    if (doneBytes <= 0 && data.length > 0) return -ENOSPC;
    this.disk.roomBytes -= growthBytes - missingBytes;
    this.content.change({ kind: "write", offsetBytes, data: data.slice(0, doneBytes) });
    return doneBytes;
  }

  prepare(offsetBytes: number, lengthBytes: number): void {
    this.disk.call(this.life);
    const there = offsetBytes + lengthBytes <= this.content.sizeBytes;
    // What is not cached is written over with zeros.
    if (!there || this.disk.random.chance(0.3)) this.#write(new Uint8Array(lengthBytes), offsetBytes);
  }

  tryRead(target: Memory, at: number, lengthBytes: number, offsetBytes: number): number {
    this.disk.call(this.life);
    const data = this.content.read(offsetBytes, lengthBytes);
    if (data.length < lengthBytes || this.disk.random.chance(this.disk.waitChance)) return -EAGAIN;
    target.bytes.set(data, at);
    return lengthBytes;
  }

  read(target: Memory, at: number, lengthBytes: number, offsetBytes: number): Promise<number> {
    return this.disk.later(() => {
      const data = this.content.read(offsetBytes, lengthBytes);
      target.bytes.set(data, at);
      return data.length;
    }, this.life);
  }

  sync(): Promise<void> {
    const covered = this.content.changeCount;
    return this.disk.later(() => {
      if (this.disk.syncFails()) {
        this.content.syncFailed(covered, this.disk.random);
        throw new SystemError(`${this.path} could not be synced`, EIO);
      }
      this.content.synced(covered);
    }, this.life);
  }

  truncate(sizeBytes: number): void {
    this.disk.call(this.life);
    const freedBytes = this.content.sizeBytes - sizeBytes;
    if (freedBytes > 0) this.disk.leaveStale(this.content.bytes());
    this.disk.roomBytes += freedBytes;
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
