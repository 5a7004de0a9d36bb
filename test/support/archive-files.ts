/** Where an archive store keeps its parts on disk, and damage done to them: docs/format.md seen from outside. */
import { closeSync, ftruncateSync, openSync, readdirSync, readFileSync, readSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";

const UNIT_BYTES = 64;
const MAGIC = "voeR";
const AT_PAYLOAD_BYTES = 28;

/** What a server keeps of the only archive in its state directory. */
export interface ArchiveFiles {
  readonly directory: string;
  readonly index: string;
  readonly journal: string;
  readonly checkpoint: string;
}

/** Throws unless the state directory has exactly one archive. */
export function archiveFiles(stateDirectory: string): ArchiveFiles {
  const ids = readdirSync(join(stateDirectory, "archives"));
  if (ids.length !== 1) throw new Error(`${stateDirectory} has ${ids.length} archives, and not one`);
  const directory = join(stateDirectory, "archives", ids[0]!);
  return {
    directory,
    index: join(directory, "index"),
    journal: join(directory, "journal"),
    checkpoint: join(directory, "checkpoint.json"),
  };
}

/** Paths of a blob store's packs. */
export function packsOf(store: string): string[] {
  return readdirSync(store)
    .filter((name) => /^[0-9a-f]{2}$/.test(name))
    .flatMap((prefix) => readdirSync(join(store, prefix)).map((name) => join(store, prefix, name)));
}

/** Name of the pack in a file, as logs have it. */
export const packNameOf = (path: string): string => path.split("/").slice(-2).join("");

/** Bytes of all packs of a blob store. */
export const storedBytes = (store: string): number =>
  packsOf(store).reduce((total, path) => total + statSync(path).size, 0);

export interface FoundRecord {
  readonly path: string;
  readonly offsetBytes: number;
  readonly payloadBytes: number;
  readonly endBytes: number;
}

/** Every record of a journal, in its order; payloads are not looked at. */
export function recordsOf(journal: string): FoundRecord[] {
  const records: FoundRecord[] = [];
  const segments = readdirSync(journal).filter((name) => name.endsWith(".journal"));
  for (const name of segments.toSorted()) {
    const path = join(journal, name);
    const bytes = readFileSync(path);
    let at = UNIT_BYTES;
    while (bytes.subarray(at, at + 4).toString("latin1") === MAGIC) {
      const payloadBytes = bytes.readUInt32LE(at + AT_PAYLOAD_BYTES);
      const endBytes = at + Math.ceil((UNIT_BYTES + payloadBytes) / UNIT_BYTES) * UNIT_BYTES;
      records.push({ path, offsetBytes: at, payloadBytes, endBytes });
      at = endBytes;
    }
  }
  return records;
}

/** Changes one bit of a file. */
export function flipBit(path: string, offsetBytes: number): void {
  const descriptor = openSync(path, "r+");
  try {
    const byte = new Uint8Array(1);
    readSync(descriptor, byte, 0, 1, offsetBytes);
    byte[0]! ^= 1;
    writeSync(descriptor, byte, 0, 1, offsetBytes);
  } finally {
    closeSync(descriptor);
  }
}

/** Changes a bit in the middle of a record's payload. */
export const flipInRecord = ({ path, offsetBytes, payloadBytes }: FoundRecord): void =>
  flipBit(path, offsetBytes + UNIT_BYTES + Math.floor(payloadBytes / 2));

/** Cuts a file in the middle of a record, and whatever follows there. */
export function tearRecord({ path, offsetBytes, payloadBytes }: FoundRecord): void {
  const descriptor = openSync(path, "r+");
  try {
    ftruncateSync(descriptor, offsetBytes + UNIT_BYTES + Math.floor(payloadBytes / 2));
  } finally {
    closeSync(descriptor);
  }
}

/** Where some bytes lie in the packs of a store. Throws where they lie in none, or not in one place. */
export function findInPacks(store: string, bytes: Uint8Array): { path: string; offsetBytes: number } {
  const found = packsOf(store).flatMap((path) => {
    const offsetBytes = readFileSync(path).indexOf(bytes);
    return offsetBytes < 0 ? [] : [{ path, offsetBytes }];
  });
  if (found.length !== 1) throw new Error(`the bytes are in ${found.length} packs of ${store}, and not in one`);
  return found[0]!;
}
