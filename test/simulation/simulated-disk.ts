/**
 * A disk in memory that loses power when it is told to, and with it what was not synced, in whatever way the seed
 * says: writes kept, dropped, reordered, torn between sectors of 512 bytes, names of files lost or kept. It fails
 * calls, fills up and flips bits on request. Asynchronous calls end in an order and after a time that the seed chooses;
 * time is that of a simulated loop or is counted in microtasks, so that a seed repeats a run exactly.
 */
import { dirname, normalize } from "node:path";
import { EEXIST, EIO, ENOENT, ENOSPC, SystemError } from "../../ffi/libc.ts";
import type { Disk, DiskFile } from "../../src/storage/cas/disk.ts";
import type { SeededRandom } from "../support/seeded-random.ts";
import { SimulatedContent } from "./simulated-file.ts";
import { SimulatedFile } from "./simulated-open-file.ts";
import type { SimulatedLoop } from "./simulated-loop.ts";

/** What every call throws from the moment the power is lost. */
export class PowerLoss extends SystemError {
  constructor() {
    super("the simulated disk has lost power", EIO);
    this.name = "PowerLoss";
  }
}

/** A kind of call, as `SimulatedDisk.fault` is asked about it. */
export type DiskCall = "create" | "open" | "list" | "name" | "write" | "read" | "sync";

type Entry = SimulatedContent | "directory";

interface NameChange {
  readonly directories: readonly string[];
  apply(names: Map<string, Entry>): void;
}

const STALE_MOST = 8;

export class SimulatedDisk implements Disk {
  /** How many bytes files may grow by before the disk is full, counting those below `roomUnder` alone. */
  roomBytes = Number.POSITIVE_INFINITY;
  roomUnder = "/";
  /** Whether nothing can be changed any more after a failed sync of a directory, as with ext4 and XFS. */
  shutsDown = false;
  /** Says with which error number a call is to fail, where it is. */
  fault: ((call: DiskCall, path: string) => number | undefined) | undefined;
  /** Is told of every change of the disk and every read, in their order. */
  observe: ((call: string, data?: Uint8Array) => void) | undefined;
  /** When the power was lost last, or the process ended, by the loop's time. */
  diedMs = 0;
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
  /**
   * A sync of a directory has failed: a journaling filesystem that cannot write its names has shut down until it is
   * mounted again (ext4 with errors=remount-ro, XFS), and then shows what the medium holds.
   */
  #namesLost = false;

  constructor(
    readonly random: SeededRandom,
    readonly loop?: SimulatedLoop,
  ) {}

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
   * directory this is a crash.
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
      open: (path, readOnly) => alive().open(path, readOnly),
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

  /** Paths of all files below a directory, sorted, for a test to look at. */
  filesUnder(directory: string): string[] {
    const found = [...this.#names].filter(([path, entry]) => entry !== "directory" && path.startsWith(`${directory}/`));
    return found.map(([path]) => path).toSorted();
  }

  /** Takes a file away durably, as if it had never been: what puts it back. */
  lose(path: string): () => void {
    const content = this.#file(path, "lose");
    // What is not durable of the names would bring it back.
    for (const change of this.#unsyncedNames) change.apply(this.#durableNames);
    this.#unsyncedNames = [];
    this.#names.delete(path);
    this.#durableNames.delete(path);
    return () => {
      this.#names.set(path, content);
      this.#durableNames.set(path, content);
    };
  }

  /** Everything in a file, for a test to look at. */
  contentOf(path: string): Uint8Array {
    return this.#file(path, "contentOf").bytes();
  }

  /** `_readOnly` is for the type: the simulation does not mind. */
  open(path: string, _readOnly?: boolean): DiskFile {
    this.call();
    this.failIfAsked("open", path, `${path} cannot be opened`);
    return new SimulatedFile(this, path, this.#file(path, `${path} cannot be opened`), this.#life);
  }

  create(path: string): DiskFile {
    this.call();
    const what = `${path} cannot be opened`;
    const name = normalize(path);
    if (this.#names.has(name)) throw new SystemError(what, EEXIST);
    this.#directory(dirname(name), what);
    this.failIfAsked("create", name, what);
    if (this.#isLimited(name) && this.roomBytes <= 0) throw new SystemError(what, ENOSPC);
    const content = new SimulatedContent();
    this.#rename([dirname(name)], (names) => void names.set(name, content));
    return new SimulatedFile(this, path, content, this.#life);
  }

  makeDirectory(path: string): void {
    this.call();
    const name = normalize(path);
    if (this.#names.has(name)) return;
    const what = `directory ${path} cannot be made`;
    this.#directory(dirname(name), what);
    this.failIfAsked("create", name, what);
    this.#rename([dirname(name)], (names) => void names.set(name, "directory"));
  }

  list(path: string): Promise<string[]> {
    return this.later(() => {
      const name = normalize(path);
      this.#directory(name, `directory ${path} cannot be listed`);
      this.failIfAsked("list", name, `directory ${path} cannot be listed`);
      const prefix = name === "/" ? "/" : `${name}/`;
      const inside: string[] = [];
      for (const entry of this.#names.keys()) {
        if (!entry.startsWith(prefix) || entry === prefix || entry.includes("/", prefix.length)) continue;
        inside.push(entry.slice(prefix.length));
      }
      return inside.toSorted();
    });
  }

  remove(path: string): void {
    this.call();
    const name = normalize(path);
    const content = this.#file(path, `${path} cannot be removed`);
    this.failIfAsked("name", name, `${path} cannot be removed`);
    const isLast = [...this.#names.values()].filter((entry) => entry === content).length === 1;
    if (isLast) this.giveRoom(name, content.sizeBytes);
    if (isLast) this.leaveStale(content.bytes());
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
    this.failIfAsked("name", name, what);
    this.#rename([dirname(old), dirname(name)], (names) => {
      if (names.get(old) === content) names.delete(old);
      names.set(name, content);
    });
  }

  /** Gives a file a second name. Throws EEXIST where there is one. */
  link(from: string, to: string): void {
    this.call();
    const what = `${from} cannot be linked to ${to}`;
    const content = this.#file(from, what);
    const name = normalize(to);
    if (this.#names.has(name)) throw new SystemError(what, EEXIST);
    this.#directory(dirname(name), what);
    this.failIfAsked("name", name, what);
    this.#rename([dirname(name)], (names) => void names.set(name, content));
  }

  isDirectory(path: string): boolean {
    return this.#names.get(normalize(path)) === "directory";
  }

  syncDirectory(path: string): Promise<void> {
    const name = normalize(path);
    const covered = new Set(this.#unsyncedNames.filter((change) => change.directories.includes(name)));
    return this.later(() => {
      const what = `directory ${path} could not be synced`;
      this.#directory(name, what);
      const fails = this.syncFails(name);
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
      const call = { end, abandon: () => reject(new PowerLoss()) };
      this.#running.push(call);
      if (this.loop !== undefined) this.loop.afterCall(() => this.#end(call));
      else if (!this.#pumping) this.#pump();
    });
  }

  syncFails(path: string): boolean {
    if (this.failingSyncs > 0) this.failingSyncs--;
    else if (this.faultOf("sync", path) === undefined) return false;
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

  /** The error number with which a call has to fail. */
  faultOf(call: DiskCall, path: string): number | undefined {
    return this.shutsDown && this.#namesLost && call !== "read" && call !== "open" && call !== "list"
      ? EIO
      : this.fault?.(call, path);
  }

  /** Throws where a fault is wanted. */
  failIfAsked(call: DiskCall, path: string, what: string): void {
    const errno = this.faultOf(call, path);
    if (errno !== undefined) throw new SystemError(what, errno);
  }

  /** How many bytes a file of this path may grow by. */
  roomOf(path: string): number {
    return this.#isLimited(path) ? this.roomBytes : Number.POSITIVE_INFINITY;
  }

  giveRoom(path: string, bytes: number): void {
    if (this.#isLimited(path)) this.roomBytes += bytes;
  }

  #isLimited(path: string): boolean {
    return this.roomUnder === "/" || path.startsWith(`${this.roomUnder}/`);
  }

  /** Ends a call, unless its process is dead. */
  #end(call: { end: () => void }): void {
    const at = this.#running.findIndex((running) => running === call);
    if (at < 0) return;
    this.#running.splice(at, 1);
    call.end();
  }

  #pump(): void {
    this.#pumping = this.#running.length > 0;
    if (!this.#pumping) return;
    queueMicrotask(() => {
      if (this.#running.length > 0 && this.random.chance(0.4)) {
        this.#end(this.random.pick(this.#running));
      }
      this.#pump();
    });
  }

  #die(): void {
    if (!this.#off) this.diedMs = this.loop?.elapsedMs ?? 0;
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
    this.observe?.(`names ${directories.join(" ")}`);
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
