/** A machine with an archive: a disk that holds its state and its blobs, and one process after the other. */
import { allocateMemory, freeMemory } from "../../ffi/memory.ts";
import type { Memory } from "../../src/base/memory.ts";
import { createCompression } from "../../src/base/compression.ts";
import { createHasher, type Hasher } from "../../src/base/hash.ts";
import type { BlobStore } from "../../src/blob/blob-store.ts";
import { openFileStore } from "../../src/blob/file-store.ts";
import {
  LATER,
  MEDIUM_ERROR,
  OK,
  SECTOR_BYTES,
  type BlockStorage,
  type StorageStatus,
} from "../../src/storage/block-storage.ts";
import { openArchive, type Archive, type ArchiveOptions } from "../../src/storage/cas/archive.ts";
import { beginRecovery } from "../../src/storage/cas/recover-archive.ts";
import type { VolumeDisk } from "../../src/storage/cas/volume-disk.ts";
import type { SyncMode } from "../../src/storage/sync-policy.ts";
import type { SeededRandom } from "../support/seeded-random.ts";
import { UNREADABLE, Versions } from "./sector-content.ts";
import { SimulatedDisk } from "./simulated-disk.ts";
import { SimulatedLocks, simulatedFileSystem } from "./simulated-file-system.ts";
import { SimulatedLoop } from "./simulated-loop.ts";
import type { SimulatedStore } from "./simulated-store.ts";

export const STATE = "/state";
export const BLOBS = "/blobs";
/** How often a process looks whether another host has taken over. */
export const CLAIM_CHECK_MS = 500;

/** How often something happened, by its name. */
export type Tally = Record<string, number>;

export interface VolumeSetting {
  readonly name: string;
  /** Its number in the marks of its sectors. */
  readonly tag: number;
  readonly blockBytes: number;
  sectorCount: number;
  sync: SyncMode;
}

/** Sectors that are read at once. */
const READ_MOST_SECTORS = 256;

const hashers: Record<string, Hasher> = { sha256: createHasher("sha256"), blake3: createHasher("blake3") };
const compression = createCompression();

export const call = (work: (completion: { complete(status: StorageStatus): void }) => void): Promise<StorageStatus> =>
  new Promise((resolve) => work({ complete: resolve }));

export class ArchiveWorld {
  readonly loop: SimulatedLoop;
  readonly disk: SimulatedDisk;
  readonly versions: Versions;
  readonly hasher: Hasher;
  readonly settings: VolumeSetting[] = [];
  archive: Archive | undefined;
  /** Where the blobs are; undefined: on the disk. */
  remote: SimulatedStore | undefined;
  /** Where the present process has its state. */
  stateDirectory = STATE;
  /** What was reported since the process began. */
  reports: string[] = [];
  readonly #disks = new Map<string, VolumeDisk>();
  readonly #options: Pick<
    ArchiveOptions,
    | "compresses"
    | "journalCheckpointBytes"
    | "journalLimitBytes"
    | "journalSegmentBytes"
    | "packBytes"
    | "indexMemtableEntries"
  >;
  readonly #locks = new SimulatedLocks();
  #store: BlobStore | undefined;
  #life = 0;
  readonly #memory: Memory = allocateMemory(READ_MOST_SECTORS * SECTOR_BYTES);
  readonly #words: Uint32Array;

  constructor(
    readonly random: SeededRandom,
    readonly tally: Tally,
    /** The world in which this one is another host: at the same store and time, and with none of its volumes open. */
    other?: ArchiveWorld,
  ) {
    this.#words = new Uint32Array(this.#memory.bytes.buffer as ArrayBuffer, 0, this.#memory.lengthBytes / 4);
    this.loop = other?.loop ?? new SimulatedLoop(random);
    this.versions = other?.versions ?? new Versions();
    if (other !== undefined) {
      this.disk = other.disk;
      this.hasher = other.hasher;
      this.remote = other.remote;
      this.#options = other.#options;
      return;
    }
    this.disk = new SimulatedDisk(random, this.loop);
    this.disk.shutsDown = true;
    this.disk.waitChance = random.pick([0, 0, 0, 0.2, 1]);
    this.hasher = hashers[random.pick(["sha256", "blake3"])]!;
    this.#options = {
      compresses: random.chance(0.7),
      journalCheckpointBytes: random.pick([Number.POSITIVE_INFINITY, 64 << 10]),
      journalLimitBytes: random.pick([4 << 20, 192 << 10]),
      journalSegmentBytes: random.pick([16 << 10, 64 << 10]),
      packBytes: 128 << 10,
      indexMemtableEntries: random.pick([16, 100, 4096]),
    };
    for (let tag = 0, count = 1 + random.below(3); tag < count; tag++) {
      this.settings.push({
        name: `e1.${tag}`,
        tag,
        blockBytes: random.pick([512, 1024, 4096, 4096, 4096, 16384]),
        sectorCount: 60 + random.below(340),
        sync: random.pick<SyncMode>([
          { kind: "none" },
          { kind: "none" },
          { kind: "always" },
          { kind: "interval", intervalMs: 50 },
        ]),
      });
    }
  }

  count(event: string): void {
    this.tally[event] = (this.tally[event] ?? 0) + 1;
  }

  /** Makes the directories that an administrator makes. */
  async prepare(): Promise<void> {
    this.disk.makeDirectory(STATE);
    this.disk.makeDirectory(BLOBS);
    await this.loop.until("preparing the disk", this.disk.syncDirectory("/"));
  }

  /** Does what `open` does, while something else runs the loop. */
  begin(): Promise<void> {
    return this.#open(this.stateDirectory, BLOBS);
  }

  /** Starts a process that opens the archive. Rejects where it does not open; then the process has given up. */
  async open(stateDirectory = this.stateDirectory, blobDirectory = BLOBS): Promise<Archive> {
    await this.loop.until("opening the archive", this.#open(stateDirectory, blobDirectory));
    return this.archive!;
  }

  async #open(stateDirectory: string, blobDirectory: string): Promise<void> {
    const life = ++this.#life;
    const disk = this.disk.session();
    const isAlive = (): boolean => life === this.#life && !this.disk.isOff;
    const files = simulatedFileSystem(this.disk, disk, this.#locks, isAlive);
    this.reports = [];
    const store =
      this.remote?.session(isAlive) ?? (await openFileStore(blobDirectory, { create: true, fileSystem: files }));
    this.#store = store;
    try {
      this.archive = await openArchive({
        ...this.#options,
        disk,
        stateDirectory,
        blobs: store,
        hasher: this.hasher,
        compression,
        host: stateDirectory,
        lateRequests: this.remote !== undefined,
        claimCheckMs: CLAIM_CHECK_MS,
        nodeCacheBytes: 16 << 10,
        // Less than a volume has.
        cacheBytes: 3 << 16,
        firmware: "1",
        nowMs: this.#nowMs,
        random: (bytes) => this.random.fill(bytes),
        report: (key, message) => {
          this.count("reports");
          this.reports.push(`${key}: ${message}`);
        },
      });
      for (const setting of this.settings) await this.#openVolume(setting);
    } catch (error) {
      await this.archive?.close().catch(() => {});
      this.archive = undefined;
      await this.#closeStore();
      throw error;
    }
  }

  async #openVolume({ name, blockBytes, sectorCount, sync }: VolumeSetting): Promise<void> {
    const options = { name, blockBytes, sizeBytes: sectorCount * SECTOR_BYTES, readOnly: false, sync };
    this.#disks.set(name, await this.archive!.openVolume(options));
  }

  /**
   * Makes a state directory from the remote store, as `voe recover` does, in a process of its own beside the one that
   * serves, which ends with the power. Not awaited: it goes on as the loop does.
   */
  async recoverInto(stateDirectory: string): Promise<void> {
    const life = this.#life;
    const random = (bytes: Uint8Array): void => this.random.fill(bytes);
    const disk = this.disk.session();
    const recovery = await beginRecovery({
      disk,
      stateDirectory,
      blobs: this.remote!.session(() => life === this.#life && !this.disk.isOff),
      compression,
      host: stateDirectory,
      wanted: [],
      takeOver: false,
      acceptDamage: false,
      indexMemtableEntries: this.#options.indexMemtableEntries!,
      nowMs: this.#nowMs,
      random,
      report: (key, message) => this.reports.push(`${key}: ${message}`),
      progress: () => {},
    });
    await recovery.finish();
  }

  readonly #nowMs = (): number => 1_700_000_000_000 + Math.floor(this.loop.nowMs());

  /** Opens the disk of a volume that the archive has got meanwhile. */
  addVolume(setting: VolumeSetting): Promise<void> {
    return this.#openVolume(setting);
  }

  /** Opens the disk of another volume, or of one whose disk was closed. */
  async openVolume(setting: VolumeSetting): Promise<void> {
    await this.loop.until("opening a volume", this.#openVolume(setting));
  }

  volume({ name }: VolumeSetting): VolumeDisk {
    return this.#disks.get(name)!;
  }

  /** An orderly end. Rejects where closing failed. */
  async close(): Promise<void> {
    const { archive } = this;
    this.archive = undefined;
    try {
      await this.loop.until("closing the archive", archive?.close() ?? Promise.resolve());
    } finally {
      await this.loop.until("closing the blob store", this.#closeStore());
    }
  }

  async #closeStore(): Promise<void> {
    const store = this.#store;
    this.#store = undefined;
    await store?.close();
  }

  /**
   * The process ends, and where `power` goes with it, what was not synced. Its memory is given back by what closing does
   * where nothing can be written any more, which must come to an end as well.
   */
  async die(power: boolean): Promise<void> {
    this.disk.losePowerAfter(0);
    await this.disk.list("/").catch(() => {});
    await this.close().catch(() => {});
    this.#life++;
    if (power) this.disk.crash();
    else this.disk.restart();
    this.count(power ? "power cuts" : "kills");
  }

  /**
   * Everything of a disk: the version of each sector, or UNREADABLE where its block cannot be read. Throws where one is
   * torn or in a wrong place.
   */
  async readAll(storage: BlockStorage, blockBytes: number): Promise<Uint32Array> {
    const found = new Uint32Array(storage.info.sectorCount);
    for (let sector = 0; sector < found.length;) {
      const count = Math.min(1 + this.random.below(READ_MOST_SECTORS), found.length - sector);
      await this.#readInto(storage, sector, found.subarray(sector, sector + count), blockBytes / SECTOR_BYTES);
      sector += count;
    }
    const blocks = Math.ceil((found.length * SECTOR_BYTES) / blockBytes);
    this.tally["blocks verified"] = (this.tally["blocks verified"] ?? 0) + blocks;
    return found;
  }

  /** Reads sectors; where that fails, block by block, to learn which of them it is. */
  async #readInto(storage: BlockStorage, sector: number, found: Uint32Array, blockSectors: number): Promise<void> {
    const status = await this.#read(storage, sector, found.length);
    if (status === OK) {
      this.decode(this.#words, sector, found);
    } else if (status !== MEDIUM_ERROR) {
      throw new Error(`reading sectors from ${sector} ended with status ${status}`);
    } else if (Math.floor(sector / blockSectors) === Math.floor((sector + found.length - 1) / blockSectors)) {
      found.fill(UNREADABLE);
    } else {
      for (let at = 0; at < found.length;) {
        const end = Math.min(found.length, at + blockSectors - ((sector + at) % blockSectors));
        await this.#readInto(storage, sector + at, found.subarray(at, end), blockSectors);
        at = end;
      }
    }
  }

  #read(storage: BlockStorage, sector: number, count: number): Promise<StorageStatus> {
    const status = storage.tryRead(sector, count, this.#memory, 0);
    if (status !== LATER) return Promise.resolve(status);
    const reading = call((completion) => storage.read(sector, count, this.#memory, 0, completion));
    return this.loop.until("a read", reading);
  }

  /** The versions of sectors that were read into `words`. */
  decode(words: Uint32Array, sector: number, found: Uint32Array): void {
    for (let at = 0; at < found.length; at++) {
      found[at] = this.versions.read(words, (at * SECTOR_BYTES) / 4, sector + at);
    }
  }

  /** Gives its memory back. */
  free(): void {
    freeMemory(this.#memory);
  }

  /** Does all of `work`, with the world's time, and takes the world down. */
  async running(work: () => Promise<void>): Promise<void> {
    try {
      await this.loop.running(work);
    } finally {
      this.free();
    }
  }
}
