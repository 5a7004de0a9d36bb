/**
 * What happens to an archive at rest: bits that flip, files that are lost. It may be refused as a whole, and then nothing
 * is changed; or just what the damage hit cannot be read; or it is healed. It is never wrong, and never zeros.
 */
import { SECTOR_BYTES } from "../../src/storage/block-storage.ts";
import { parsePack } from "../../src/storage/cas/pack.ts";
import { FANOUT, HASH_BYTES, NODE_BYTES } from "../../src/storage/cas/tree/shape.ts";
import type { ArchiveClient } from "./archive-client.ts";
import { type ArchiveWorld, BLOBS, STATE } from "./archive-world.ts";
import { UNREADABLE } from "./sector-content.ts";

export interface Damage {
  /** For the tally. */
  readonly kind: string;
  /** Hashes of blocks and nodes that may not be readable now, in hexadecimal. */
  readonly hashes: ReadonlySet<string>;
  /** What the refusal says where the archive may be refused. */
  readonly refusal?: RegExp;
  /** A snapshot that may be missing: the name of its record ends in this. */
  readonly lostRecord?: string;
  /** Undoes it. */
  readonly mend: () => void;
}

const NOTHING: ReadonlySet<string> = new Set();
const PACK_PATH = /^\/blobs\/[0-9a-f]{2}\//;
const REFUSED_RECORD =
  /record of volume|has no record that can be read|lacks record|lacks the volume|which says who writes it/;

/** Hashes of what lies at byte `offset` of a pack; of all that is in it where its directory or footer is hit, or all. */
function hashesIn(world: ArchiveWorld, bytes: Uint8Array, offset: number | undefined): Set<string> {
  const parsed = parsePack(bytes, world.hasher);
  if ("reason" in parsed) throw new Error(`a pack is damaged that nobody touched: ${parsed.reason}`);
  const { directory } = parsed;
  const entries = Array.from({ length: directory.entryCount }, (_, entry) => entry);
  const hit =
    offset === undefined
      ? undefined
      : entries.find((entry) => {
          const start = directory.offsetBytes(entry);
          return offset >= start && offset < start + directory.storedBytes(entry);
        });
  return new Set((hit === undefined ? entries : [hit]).map((entry) => directory.hashOf(entry).toHex()));
}

/** Which sectors of a content cannot be read without these blocks and nodes. */
export function sectorsOf(
  world: ArchiveWorld,
  content: Uint32Array,
  blockBytes: number,
  hashes: ReadonlySet<string>,
): Uint8Array {
  const marks = new Uint8Array(content.length);
  const blockSectors = blockBytes / SECTOR_BYTES;
  const mark = (firstBlock: number, blockCount: number): void =>
    void marks.fill(1, firstBlock * blockSectors, (firstBlock + blockCount) * blockSectors);
  const block = new Uint8Array(blockBytes);
  const words = new Uint32Array(block.buffer);
  const blockCount = Math.ceil(content.length / blockSectors);
  let level = new Uint8Array(blockCount * HASH_BYTES);
  for (let number = 0; number < blockCount; number++) {
    block.fill(0);
    const first = number * blockSectors;
    const versions = content.subarray(first, first + blockSectors);
    if (versions.every((version) => version === 0)) continue;
    for (const [at, version] of versions.entries()) {
      world.versions.write(words, (at * SECTOR_BYTES) / 4, version, first + at);
    }
    world.hasher.hash(block, 0, blockBytes, level, number * HASH_BYTES);
    if (hashes.has(level.subarray(number * HASH_BYTES, (number + 1) * HASH_BYTES).toHex())) mark(number, 1);
  }
  // The nodes above, up to the one that is the root.
  for (let under = FANOUT; ; under *= FANOUT) {
    const nodeCount = Math.ceil(level.length / NODE_BYTES);
    const above = new Uint8Array(nodeCount * HASH_BYTES);
    for (let number = 0; number < nodeCount; number++) {
      const node = new Uint8Array(NODE_BYTES);
      node.set(level.subarray(number * NODE_BYTES, (number + 1) * NODE_BYTES));
      if (node.every((byte) => byte === 0)) continue;
      world.hasher.hash(node, 0, NODE_BYTES, above, number * HASH_BYTES);
      if (hashes.has(above.subarray(number * HASH_BYTES, (number + 1) * HASH_BYTES).toHex()))
        mark(number * under, under);
    }
    level = above;
    if (nodeCount === 1) return marks;
  }
}

const STATE_FILES = ["checkpoint.json", "writer.json", "voe-store.json"] as const;

/** Damages something of an archive that was closed, at random; undefined where what was chosen has no file. */
export function damage(world: ArchiveWorld): Damage | undefined {
  const { disk, random } = world;
  const choice = random.pick(["pack", "pack", "record", "index", ...STATE_FILES] as const);
  const files = {
    pack: () => disk.filesUnder(BLOBS).filter((path) => PACK_PATH.test(path)),
    record: () => disk.filesUnder(`${BLOBS}/refs`),
    index: () => disk.filesUnder(`${STATE}/index`),
    "checkpoint.json": () => disk.filesUnder(STATE).filter((path) => path.endsWith("checkpoint.json")),
    "writer.json": () => disk.filesUnder(STATE).filter((path) => path.endsWith("writer.json")),
    "voe-store.json": () => disk.filesUnder(BLOBS).filter((path) => path.endsWith("voe-store.json")),
  }[choice]();
  if (files.length === 0) return undefined;
  if (choice === "index" && random.chance(0.3)) {
    for (const path of files) disk.lose(path);
    return { kind: "indexes deleted", hashes: NOTHING, mend() {} };
  }
  const path = random.pick(files);
  const bytes = disk.contentOf(path);
  if (bytes.length === 0) return undefined;
  const isLost = random.chance(0.3);
  const offset = random.below(bytes.length);
  const bit = random.below(8);
  const rest = {
    pack: () => ({ hashes: hashesIn(world, bytes, isLost ? undefined : offset) }),
    record: () => ({ hashes: NOTHING, refusal: REFUSED_RECORD, lostRecord: path.slice(`${BLOBS}/refs/`.length) }),
    index: () => ({ hashes: NOTHING }),
    "checkpoint.json": () => ({ hashes: NOTHING, refusal: isLost ? /are missing/ : /checkpoint.json is damaged/ }),
    "writer.json": () => ({ hashes: NOTHING, refusal: isLost ? /has no claim to it/ : /writer.json is damaged/ }),
    "voe-store.json": () => ({ hashes: NOTHING, refusal: /neither a blob store|not that of a blob store|has format/ }),
  }[choice]();
  if (isLost) return { kind: `files lost: ${choice}`, ...rest, mend: disk.lose(path) };
  disk.flipBit(path, offset, bit);
  return {
    kind: `bits flipped: ${choice}`,
    ...rest,
    mend() {
      // An index may have been built anew.
      if (disk.filesUnder("").includes(path) && choice !== "index") disk.flipBit(path, offset, bit);
    },
  };
}

/** Opens what was damaged, and looks at everything that it then serves. */
export async function lookAtDamaged(client: ArchiveClient, damaged: Damage): Promise<void> {
  const { world } = client;
  world.count(damaged.kind);
  try {
    await world.open();
  } catch (error) {
    const { message } = error as Error;
    if (damaged.refusal?.test(message) !== true) throw new Error(`${damaged.kind}: ${message}`, { cause: error });
    world.count("archives refused");
    return;
  }
  const unreadable = async (content: Uint32Array, found: Uint32Array, blockBytes: number, what: string) => {
    const affected = sectorsOf(world, content, blockBytes, damaged.hashes);
    for (let sector = 0; sector < content.length; sector++) {
      if (found[sector] === content[sector]) continue;
      if (found[sector] !== UNREADABLE) throw new Error(`${damaged.kind}: sector ${sector} of ${what} is wrong`);
      if (affected[sector] === 0) {
        throw new Error(`${damaged.kind}: sector ${sector} of ${what} cannot be read: ${world.reports.at(-1)}`);
      }
      world.count("sectors unreadable");
    }
  };
  for (const setting of world.settings) {
    const found = await world.readAll(world.volume(setting), setting.blockBytes);
    await unreadable(client.model(setting).now, found, setting.blockBytes, setting.name);
  }
  await client.snapshots.lookAtDamaged(damaged.lostRecord, unreadable);
}

const REFUSED_JOURNAL = /where record \d+ ought to be|holds no journal|ought to be there/;

/**
 * Damages the journal of an archive whose process was killed: a bit of it, a file of it, or all of them. Opens it. True:
 * it was refused, and is as it was before. False: it is served, having lost what it may lose: the damaged end of what no
 * later record says was durable.
 */
export async function damageJournal(client: ArchiveClient): Promise<boolean> {
  const { world } = client;
  const { disk, random } = world;
  const files = disk.filesUnder(`${STATE}/journal`).filter((path) => path.endsWith(".journal"));
  const path = random.pick(files);
  const choice = random.below(10);
  const mends: (() => void)[] = [];
  if (choice === 0) {
    for (const file of files) mends.push(disk.lose(file));
    world.count("files lost: journal, all");
  } else if (choice < 4) {
    mends.push(disk.lose(path));
    world.count("files lost: journal");
  } else {
    const [offset, bit] = [random.below(disk.contentOf(path).length), random.below(8)];
    disk.flipBit(path, offset, bit);
    mends.push(() => disk.flipBit(path, offset, bit));
    world.count("bits flipped: journal");
  }
  try {
    await world.open();
  } catch (error) {
    if (!REFUSED_JOURNAL.test((error as Error).message)) throw error;
    world.count("archives refused");
    for (const mend of mends) mend();
    return true;
  }
  for (const model of client.models.values()) model.distrust();
  await client.snapshots.verifyRecovered(false);
  await client.verifyRecovered();
  return false;
}
