import { encodeRootRecord, parseRootRecord, type RootRecord } from "../../src/storage/cas/root-record.ts";

export const VOLUME_ID = "0123456789abcdef0123456789abcdef";

/** A record that makes sense, but for what is asked for. */
export const makeRecord = (changes: Partial<RootRecord> = {}): RootRecord => ({
  kind: "checkpoint",
  volumeId: VOLUME_ID,
  volumeName: "e1.0",
  sequence: 1,
  parent: null,
  root: "5a".repeat(32),
  hash: "blake3",
  blockSizeBytes: 4096,
  sectorCount: 2048,
  createdMs: 1_700_000_000_000,
  description: "",
  journalSequence: 7,
  logicalBytes: 8192,
  uniqueBytes: 4096,
  ...changes,
});

/** The checksum that a record has once it is stored. */
export function checksumOf(record: RootRecord): string {
  const parsed = parseRootRecord(encodeRootRecord(record));
  if ("reason" in parsed) throw new Error(parsed.reason);
  return parsed.checksum;
}
