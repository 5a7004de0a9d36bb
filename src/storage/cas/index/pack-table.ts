/**
 * The names of the packs that entries refer to by number: a file of records that is only ever appended to. The number
 * of a pack is the place of its record. A record may also say that a pack is forgotten: what refers to it is void.
 */
import { crc32 } from "node:zlib";
import { join } from "node:path";
import type { DiskFile } from "../disk.ts";
import { MOST_PACKS } from "./entry.ts";
import {
  closeFile,
  readBytes,
  removeIfThere,
  syncWritten,
  writeBytes,
  writtenFile,
  type IndexPlace,
  type WrittenFile,
} from "./run-file.ts";
import { IndexDamaged, TEMPORARY_SUFFIX } from "./run-format.ts";

export const PACK_NAME_BYTES = 32;
export const PACK_TABLE_NAME = "packs";
const RECORD_BYTES = 48;
/** Where the kind of a record is. */
const KIND_AT = 32;
/** Bytes of the pack's blocks before compression. */
const PLAIN_AT = 36;
/** The chain of a record: the CRC-32 of everything before it, from the start of the file. */
const CHAIN_AT = 44;
const PACK = 1;
const FORGOTTEN = 2;
const HEADER = new TextEncoder().encode("voepacks\0\0\0\x02".padEnd(CHAIN_AT, "\0"));
const HEADER_CHAIN = crc32(HEADER);
const LOAD_RECORDS = 16_384;

export interface PackTable {
  /** Records, those that say "forgotten" included. */
  readonly count: number;
  /** Of its file, and of the memory for its records. */
  readonly sizeBytes: number;
  /** The number of a pack that is known and not forgotten. */
  numberOf(name: Uint8Array): number | undefined;
  /** The name of a pack, 32 bytes that must not be changed. */
  nameOf(number: number): Uint8Array;
  isForgotten(number: number): boolean;
  /** Numbers a pack, whose blocks have so many bytes before compression. It must not be known. */
  add(name: Uint8Array, plainBytes: number): number;
  /** Forgets a pack: its number, or undefined where none is known. */
  forget(name: Uint8Array): number | undefined;
  /** Bytes that the blocks of the packs have before compression, those of packs that are forgotten left out. */
  readonly plainBytes: number;
  /** Numbers of the packs that are known and not forgotten, ascending. */
  numbers(): number[];
  /** The chain of the first `count` records: two tables that agree in it agree in these records. */
  chainAt(count: number): number;
  /** Makes all records durable. */
  persist(): Promise<void>;
  close(): void;
}

const keyOf = (bytes: Uint8Array, at: number): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset + at, PACK_NAME_BYTES).toString("latin1");

/** Reads the table, or begins one where there is none. Records behind one that is not intact do not count. */
export async function openPackTable(place: IndexPlace, exists: boolean): Promise<PackTable> {
  const path = join(place.directory, PACK_TABLE_NAME);
  let records = new Uint8Array(RECORD_BYTES * 64);
  let view = new DataView(records.buffer);
  let count = 0;
  let plainBytes = 0;
  /** Records that are known to be durable in `file`. */
  let durableCount = 0;
  let file: WrittenFile | undefined;
  let persisting: Promise<void> = Promise.resolve();
  const numbers = new Map<string, number>();
  const forgotten = new Set<number>();

  const reserve = (recordCount: number): void => {
    if (recordCount * RECORD_BYTES <= records.length) return;
    const larger = new Uint8Array(Math.max(recordCount * RECORD_BYTES, records.length * 2));
    larger.set(records.subarray(0, count * RECORD_BYTES));
    records = larger;
    view = new DataView(records.buffer);
  };

  const chainAt = (recordCount: number): number =>
    recordCount === 0 ? HEADER_CHAIN : view.getUint32((recordCount - 1) * RECORD_BYTES + CHAIN_AT, true);

  const plainOf = (number: number): number => Number(view.getBigUint64(number * RECORD_BYTES + PLAIN_AT, true));

  /** Takes on the record at the end of those that count. */
  const admit = (): void => {
    const at = count * RECORD_BYTES;
    const key = keyOf(records, at);
    if (view.getUint32(at + KIND_AT, true) === PACK) {
      numbers.set(key, count);
      plainBytes += plainOf(count);
    } else {
      const number = numbers.get(key);
      if (number !== undefined) {
        forgotten.add(number);
        plainBytes -= plainOf(number);
      }
      numbers.delete(key);
    }
    count += 1;
  };

  const expectedChain = (recordNumber: number): number => {
    const at = recordNumber * RECORD_BYTES;
    return crc32(records.subarray(at, at + CHAIN_AT), chainAt(recordNumber));
  };

  const append = (name: Uint8Array, kind: number, packPlainBytes: number): void => {
    if (name.length !== PACK_NAME_BYTES) throw new RangeError(`a pack's name has 32 bytes, not ${name.length}`);
    if (count >= MOST_PACKS) throw new RangeError("the index has no numbers left for packs: build it again");
    reserve(count + 1);
    records.set(name, count * RECORD_BYTES);
    view.setUint32(count * RECORD_BYTES + KIND_AT, kind, true);
    view.setBigUint64(count * RECORD_BYTES + PLAIN_AT, BigInt(packPlainBytes), true);
    view.setUint32(count * RECORD_BYTES + CHAIN_AT, expectedChain(count), true);
    admit();
  };

  const load = async (opened: DiskFile): Promise<void> => {
    const sizeBytes = opened.sizeBytes();
    const header = new Uint8Array(RECORD_BYTES);
    if (sizeBytes < RECORD_BYTES) throw new IndexDamaged(`the pack table ends after ${sizeBytes} bytes`);
    await readBytes(opened, header, 0);
    const intact = header.subarray(0, CHAIN_AT).every((byte, i) => byte === HEADER[i]);
    if (!intact || new DataView(header.buffer).getUint32(CHAIN_AT, true) !== HEADER_CHAIN) {
      throw new IndexDamaged("the pack table does not begin as one of this version");
    }
    const most = Math.floor(sizeBytes / RECORD_BYTES) - 1;
    reserve(most);
    for (let from = 0; from < most && count === from; from += LOAD_RECORDS) {
      const to = Math.min(most, from + LOAD_RECORDS);
      await readBytes(opened, records.subarray(from * RECORD_BYTES, to * RECORD_BYTES), (from + 1) * RECORD_BYTES);
      for (let i = from; i < to && chainAt(i + 1) === expectedChain(i); i++) admit();
    }
    durableCount = count;
  };

  /** Writes the whole table anew: the first time, and after a failure, of which one never knows what it left behind. */
  const writeAll = async (): Promise<WrittenFile> => {
    const { disk, directory } = place;
    removeIfThere(disk, path + TEMPORARY_SUFFIX);
    const created = writtenFile(place, disk.create(path + TEMPORARY_SUFFIX));
    try {
      const upTo = count;
      const header = new Uint8Array(RECORD_BYTES);
      header.set(HEADER);
      new DataView(header.buffer).setUint32(CHAIN_AT, HEADER_CHAIN, true);
      await writeBytes(created, header, 0);
      await writeBytes(created, records.slice(0, upTo * RECORD_BYTES), RECORD_BYTES);
      await syncWritten(created);
      disk.rename(path + TEMPORARY_SUFFIX, path);
      await disk.syncDirectory(directory);
      durableCount = upTo;
      return created;
    } catch (error) {
      closeFile(created.file);
      throw error;
    }
  };

  const persistNow = async (): Promise<void> => {
    if (file !== undefined && durableCount === count) return;
    const opened = file;
    file = undefined;
    if (opened === undefined) {
      file = await writeAll();
      return;
    }
    try {
      const upTo = count;
      const bytes = records.slice(durableCount * RECORD_BYTES, upTo * RECORD_BYTES);
      await writeBytes(opened, bytes, (durableCount + 1) * RECORD_BYTES);
      await syncWritten(opened);
      durableCount = upTo;
      file = opened;
    } catch (error) {
      closeFile(opened.file);
      throw error;
    }
  };

  if (exists) {
    const opened = place.disk.open(path);
    try {
      await load(opened);
      // What a process that was killed wrote may be in the page cache alone, and counts as durable from here on.
      await opened.sync();
      file = writtenFile(place, opened);
    } catch (error) {
      closeFile(opened);
      throw error;
    }
  }

  return {
    get count() {
      return count;
    },
    get sizeBytes() {
      return (count + 1) * RECORD_BYTES;
    },
    numberOf: (name) => numbers.get(keyOf(name, 0)),
    get plainBytes() {
      return plainBytes;
    },
    nameOf: (number) => records.subarray(number * RECORD_BYTES, number * RECORD_BYTES + PACK_NAME_BYTES),
    isForgotten: (number) => forgotten.size > 0 && forgotten.has(number),
    add(name, packPlainBytes) {
      append(name, PACK, packPlainBytes);
      return count - 1;
    },
    forget(name) {
      const number = numbers.get(keyOf(name, 0));
      if (number !== undefined) append(name, FORGOTTEN, 0);
      return number;
    },
    numbers: () => [...numbers.values()],
    chainAt,
    async persist() {
      // One at a time; whoever comes later may find everything done.
      persisting = persisting.catch(() => {}).then(persistNow);
      await persisting;
    },
    close() {
      if (file !== undefined) closeFile(file.file);
      file = undefined;
    },
  };
}
