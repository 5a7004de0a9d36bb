/** Clients of an archive's volumes: what they ask for, many things at a time, and what they may then find. */
import { allocateMemory, freeMemory, memoryAt } from "../../ffi/memory.ts";
import {
  LATER,
  MEDIUM_ERROR,
  NO_SPACE,
  OK,
  SECTOR_BYTES,
  type StorageStatus,
} from "../../src/storage/block-storage.ts";
import { type Change, VolumeModel } from "./archive-model.ts";
import { SnapshotBook } from "./archive-snapshots.ts";
import { type ArchiveWorld, call, type VolumeSetting } from "./archive-world.ts";

const WRITE_MOST_SECTORS = 40;
/** More than fit into one record of the journal. */
const LARGE_WRITE_SECTORS = 200;

/** What may go wrong now, so that an answer which says so is right. */
export interface Allowed {
  readonly reads: boolean;
  readonly writes: boolean;
}

export class ArchiveClient {
  readonly models = new Map<string, VolumeModel>();
  allowed: Allowed = { reads: false, writes: false };
  /** What was asked for and has not ended. */
  readonly #pending = new Set<Promise<void>>();
  readonly snapshots = new SnapshotBook(this);
  /** What was found to be wrong, which is thrown at the next occasion. */
  #wrong: Error | undefined;

  constructor(readonly world: ArchiveWorld) {
    for (const { name, sectorCount } of world.settings)
      this.models.set(name, new VolumeModel(sectorCount, () => world.loop.elapsedMs));
  }

  model({ name }: VolumeSetting): VolumeModel {
    return this.models.get(name)!;
  }

  get pendingCount(): number {
    return this.#pending.size;
  }

  /** Asks for something, at random. */
  act(): void {
    const { random, settings } = this.world;
    const setting = random.pick(settings);
    const choice = random.below(103);
    if (choice >= 100) this.snapshots.act(setting);
    else if (choice < 58) this.#write(setting);
    else if (choice < 66) this.#discard(setting);
    else if (choice < 76) this.#flush(setting);
    else if (choice < 81) this.#checkpoint();
    else this.#read(setting);
  }

  /** Throws what was found to be wrong. */
  check(): void {
    if (this.#wrong !== undefined) throw this.#wrong;
  }

  /** Waits until everything that was asked for has ended. */
  async settle(): Promise<void> {
    while (this.#pending.size > 0) await this.world.loop.until("what clients asked for", Promise.all(this.#pending));
    this.check();
  }

  /** Takes note of the end of something that only a fault or the process's end may keep from working out. */
  track<T>(what: string, work: Promise<T>, onDone: (result: T) => void): void {
    this.#track(
      what,
      work.then(onDone, (error: Error) => {
        this.world.count(`${what} that failed`);
        if (!this.allowed.writes && !this.allowed.reads && !this.world.disk.isOff) throw error;
      }),
    );
  }

  #track(what: string, work: Promise<void>): void {
    const tracked = work
      .catch((error: unknown) => {
        this.#wrong ??= new Error(`${what}: ${(error as Error).message}`, { cause: error });
      })
      .finally(() => this.#pending.delete(tracked));
    this.#pending.add(tracked);
  }

  #range({ sectorCount }: VolumeSetting): { sector: number; count: number } {
    const { random } = this.world;
    const sector = random.below(sectorCount);
    const most = random.chance(0.03) ? LARGE_WRITE_SECTORS : random.pick([1, 8, WRITE_MOST_SECTORS]);
    return { sector, count: 1 + random.below(Math.min(most, sectorCount - sector)) };
  }

  #version(setting: VolumeSetting): number {
    const { random, versions } = this.world;
    if (random.chance(0.05)) return 0;
    // Sometimes an old one, of another volume too, so that blocks are there already.
    return versions.count > 0 && random.chance(0.2) ? 1 + random.below(versions.count) : versions.next(setting.tag);
  }

  /** A refusal must have a reason. */
  #refused(what: string, status: StorageStatus, isAllowed: boolean): void {
    this.world.count(`${what} refused`);
    const isFailure = status === MEDIUM_ERROR || status === NO_SPACE;
    if (isFailure && (isAllowed || this.world.disk.isOff)) return;
    throw new Error(`ended with status ${status}, for which there is no reason: ${this.world.reports.at(-1)}`);
  }

  #write(setting: VolumeSetting): void {
    const { world } = this;
    const { sector, count } = this.#range(setting);
    const version = this.#version(setting);
    const memory = allocateMemory(count * SECTOR_BYTES);
    const words = new Uint32Array(memory.bytes.buffer as ArrayBuffer, 0, (count * SECTOR_BYTES) / 4);
    for (let at = 0; at < count; at++) world.versions.write(words, (at * SECTOR_BYTES) / 4, version, sector + at);
    const model = this.model(setting);
    const volume = world.volume(setting);
    const status = volume.tryWrite(sector, count, memory, 0);
    const change = model.call(sector, count, version);
    if (status !== LATER) {
      freeMemory(memory);
      if (status === OK) this.#accepted(setting, change, false);
      else
        this.#track(
          "a write",
          Promise.resolve().then(() => this.#refused("writes", status, this.allowed.writes)),
        );
      return;
    }
    const durable = world.random.chance(0.1);
    // The data is taken over before `write` returns.
    const writing = call((completion) => volume.write(sector, count, memory, 0, durable, completion));
    memory.bytes.fill(0xee);
    freeMemory(memory);
    this.#track(
      "a write",
      writing.then((ended) => {
        if (ended === OK) this.#accepted(setting, change, durable || setting.sync.kind === "always");
        else this.#refused("writes", ended, this.allowed.writes);
      }),
    );
  }

  #accepted(setting: VolumeSetting, change: Change, isDurable: boolean): void {
    const model = this.model(setting);
    if (isDurable) model.acceptDurable(change);
    else model.accept(change);
    this.world.count("writes");
  }

  #discard(setting: VolumeSetting): void {
    const { world } = this;
    const isWhole = world.random.chance(0.1);
    const isDurable = world.random.chance(0.2);
    const { sector, count } = isWhole ? { sector: 0, count: setting.sectorCount } : this.#range(setting);
    const model = this.model(setting);
    const change = model.call(sector, count, 0);
    const discarding = call((completion) =>
      world.volume(setting).writeZeroes(sector, count, false, isDurable, completion),
    );
    this.#track(
      "a discard",
      discarding.then((status) => {
        if (status !== OK) {
          this.#refused("discards", status, this.allowed.writes);
          return;
        }
        if (isDurable || setting.sync.kind === "always") model.acceptDurable(change);
        else model.accept(change);
        world.count("discards");
      }),
    );
  }

  #flush(setting: VolumeSetting): void {
    const { world } = this;
    const model = this.model(setting);
    const { position } = model;
    this.#track(
      "a flush",
      call((completion) => world.volume(setting).flush(completion)).then((status) => {
        if (status !== OK) {
          this.#refused("flushes", status, this.allowed.writes);
          return;
        }
        model.makeDurable(position);
        world.count("flushes");
      }),
    );
  }

  #checkpoint(): void {
    const { world } = this;
    const positions = [...this.models.values()].map((model) => ({ model, position: model.position }));
    this.track("a checkpoint", world.archive!.checkpoint(), () => {
      for (const { model, position } of positions) model.makePublished(position);
      world.count("checkpoints");
    });
  }

  #read(setting: VolumeSetting): void {
    const { world } = this;
    const { sector, count } = this.#range(setting);
    const model = this.model(setting);
    // What is not answered yet, and what is written later, may be seen or not; nothing else.
    const expected = model.now.slice(sector, sector + count);
    const { open } = model;
    const memory = allocateMemory(count * SECTOR_BYTES);
    const words = new Uint32Array(memory.bytes.buffer as ArrayBuffer, 0, (count * SECTOR_BYTES) / 4);
    const volume = world.volume(setting);
    const look = (status: StorageStatus): void => {
      if (status !== OK) {
        this.#refused("reads", status, this.allowed.reads);
        return;
      }
      const found = new Uint32Array(count);
      world.decode(words, sector, found);
      for (let at = 0; at < count; at++) {
        if (VolumeModel.mayBe(found[at]!, expected[at]!, open, sector + at)) continue;
        throw new Error(`sector ${sector + at} of ${setting.name} is of version ${found[at]}, not ${expected[at]}`);
      }
      world.count("reads");
    };
    const address = world.random.chance(0.5) ? volume.lend(sector, count) : 0;
    if (address !== 0) {
      // Lent: as a system call would copy it at once.
      memory.bytes.set(memoryAt(address, count * SECTOR_BYTES).bytes.subarray(0, count * SECTOR_BYTES));
      world.count("reads lent");
    }
    const status = address === 0 ? volume.tryRead(sector, count, memory, 0) : OK;
    const reading =
      status === LATER
        ? call((completion) => volume.read(sector, count, memory, 0, completion))
        : Promise.resolve(status);
    this.#track(
      "a read",
      reading.then(look).finally(() => freeMemory(memory)),
    );
  }

  /**
   * Reads every volume whole, and compares it with what it may be, after a recovery: of the state, or where that was lost,
   * from the blob store alone.
   */
  async verifyRecovered(from: "state" | "store" = "state"): Promise<void> {
    for (const setting of this.world.settings) {
      const model = this.model(setting);
      const found = await this.world.readAll(this.world.volume(setting), setting.blockBytes);
      if (found.length < model.sectorCount) throw new Error(`${setting.name} has shrunk to ${found.length} sectors`);
      if (found.length > model.sectorCount) model.grow(found.length);
      setting.sectorCount = found.length;
      const position = from === "state" ? model.recoveredPositionOf(found) : model.publishedPositionOf(found);
      if (position === undefined) {
        throw new Error(
          `${setting.name} is no prefix of what was written up to ${model.position}, ${model.durable} being durable and ` +
            `${model.published} published; ${model.differences(found)}`,
        );
      }
      if (position < model.position) this.world.count("recoveries that lost something");
      model.adopt(found);
    }
  }

  /** Reads every volume whole, and compares it with what it has to be: everything that was asked for has ended. */
  async verifyPresent(): Promise<void> {
    for (const setting of this.world.settings) {
      const model = this.model(setting);
      const { open } = model;
      const found = await this.world.readAll(this.world.volume(setting), setting.blockBytes);
      for (let sector = 0; sector < found.length; sector++) {
        if (VolumeModel.mayBe(found[sector]!, model.now[sector]!, open, sector)) continue;
        throw new Error(`sector ${sector} of ${setting.name} is ${found[sector]}, not ${model.now[sector]}`);
      }
    }
  }
}
