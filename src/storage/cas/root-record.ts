import { createHash } from "node:crypto";
import { SECTOR_BYTES } from "../block-storage.ts";
import { HASH_BYTES } from "./tree/shape.ts";

export const RECORD_KINDS = ["checkpoint", "snapshot"] as const;
export const RECORD_HASHES = ["blake3", "sha256"] as const;
export const NAME_MOST_BYTES = 255;
export const DESCRIPTION_MOST_BYTES = 1024;
/** No record is larger, whatever its texts: a reader need not read more. */
export const RECORD_MOST_BYTES = 16 * 1024;

const SECTOR_COUNT_MOST = 2 ** 44;
/** The last millisecond of the year 9999. */
const TIME_MOST_MS = 253_402_300_799_999;

/**
 * What a volume was at one time. The newest one of a volume is the volume, whatever its kind; those of kind "snapshot"
 * are kept until their deletion is asked for. docs/format.md, "Archive roots", has the bytes.
 */
export interface RootRecord {
  readonly kind: (typeof RECORD_KINDS)[number];
  /** 128 random bits in hexadecimal, drawn when the volume is made. */
  readonly volumeId: string;
  /** For people: the volume's name at that time, at most 255 bytes of UTF-8. */
  readonly volumeName: string;
  /** Number of this record among those of the volume, of both kinds, from 1. */
  readonly sequence: number;
  /** Checksum of the record before this one, or of the one a clone was made from, in hexadecimal; null: there is none. */
  readonly parent: string | null;
  /** Root of the tree, 64 hexadecimal digits; zeros: the volume is empty. */
  readonly root: string;
  /** Hash function of blocks and nodes. */
  readonly hash: (typeof RECORD_HASHES)[number];
  readonly blockSizeBytes: number;
  readonly sectorCount: number;
  /** Milliseconds since 1970, UTC. Not to be relied on for order: clocks are set back. */
  readonly createdMs: number;
  /** At most 1024 bytes of UTF-8. */
  readonly description: string;
  /** Everything in the journal up to and with this number is in the tree. */
  readonly journalSequence: number;
  /** Bytes of the blocks that are not holes. */
  readonly logicalBytes: number;
  /** Bytes of the blocks that were new to the store since the parent, before compression. */
  readonly uniqueBytes: number;
}

/** A record as it is stored, and its SHA-256 checksum in hexadecimal, by which others refer to it. */
export interface StoredRecord {
  readonly record: RootRecord;
  readonly checksum: string;
}

/**
 * The bytes of a record: a line of JSON with nothing left to choice, and a line with the SHA-256 of the first. So in an
 * emergency `cat`, `jq` and `sha256sum` read a store. Throws RangeError for what is no record.
 */
export function encodeRootRecord(record: RootRecord): Uint8Array {
  const reason = invalid(record);
  if (reason !== undefined) throw new RangeError(`a root record whose ${reason}`);
  const line = canonicalLine(record);
  return new TextEncoder().encode(`${line}${checksumOf(line)}\n`);
}

/** Reads a record, from anywhere. Never throws: what is no record is told with what is wrong with it. */
export function parseRootRecord(bytes: Uint8Array): StoredRecord | { readonly reason: string } {
  if (bytes.length > RECORD_MOST_BYTES) return { reason: `has over ${RECORD_MOST_BYTES} bytes` };
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return { reason: "is not UTF-8" };
  }
  const [, line, checksum] = /^([^\n]*\n)([0-9a-f]{64})\n$/.exec(text) ?? [];
  if (line === undefined || checksum === undefined) return { reason: "is not a line of JSON and a line of checksum" };
  if (checksumOf(line) !== checksum) return { reason: "does not match its checksum" };
  let json: unknown;
  try {
    json = JSON.parse(line);
  } catch {
    return { reason: "is not JSON" };
  }
  const record = fromJson(json);
  if ("reason" in record) return record;
  // Whatever else the line might say, such as an unknown key, one twice, or a number in another form.
  return canonicalLine(record) === line ? { record, checksum } : { reason: "is not in the form that voe writes" };
}

/** Blocks of the volume; the last one may reach beyond its end. */
export const blockCountOf = ({ sectorCount, blockSizeBytes }: RootRecord): number =>
  Math.ceil((sectorCount * SECTOR_BYTES) / blockSizeBytes);

export const isVolumeId = (text: string): boolean => /^[0-9a-f]{32}$/.test(text);

const checksumOf = (line: string): string => createHash("sha256").update(line).digest("hex");

const canonicalLine = (record: RootRecord): string =>
  `${JSON.stringify({
    format: "voe-root",
    version: 1,
    kind: record.kind,
    volume_id: record.volumeId,
    volume_name: record.volumeName,
    sequence: record.sequence,
    parent: record.parent,
    root: record.root,
    hash: record.hash,
    block_size: record.blockSizeBytes,
    sectors: record.sectorCount,
    created: new Date(record.createdMs).toISOString(),
    description: record.description,
    journal_sequence: record.journalSequence,
    logical_bytes: record.logicalBytes,
    unique_bytes: record.uniqueBytes,
  })}\n`;

function fromJson(json: unknown): RootRecord | { readonly reason: string } {
  if (typeof json !== "object" || json === null || Array.isArray(json)) return { reason: "is not a JSON object" };
  const fields = new Map<string, unknown>(Object.entries(json));
  if (fields.get("format") !== "voe-root") return { reason: 'is of no format "voe-root"' };
  const version = fields.get("version");
  if (version !== 1) {
    return { reason: `is of version ${typeof version === "number" ? version : "unknown"}; this voe reads version 1` };
  }
  const created = fields.get("created");
  const record: Unchecked = {
    kind: fields.get("kind"),
    volumeId: fields.get("volume_id"),
    volumeName: fields.get("volume_name"),
    sequence: fields.get("sequence"),
    parent: fields.get("parent"),
    root: fields.get("root"),
    hash: fields.get("hash"),
    blockSizeBytes: fields.get("block_size"),
    sectorCount: fields.get("sectors"),
    createdMs: typeof created === "string" ? Date.parse(created) : undefined,
    description: fields.get("description"),
    journalSequence: fields.get("journal_sequence"),
    logicalBytes: fields.get("logical_bytes"),
    uniqueBytes: fields.get("unique_bytes"),
  };
  const reason = invalid(record);
  return reason === undefined ? (record as unknown as RootRecord) : { reason: `is damaged or foreign: ${reason}` };
}

type Unchecked = Readonly<Record<keyof RootRecord, unknown>>;

/** What is wrong with a record; undefined: nothing. */
function invalid(record: Unchecked): string | undefined {
  const { kind, volumeId, volumeName, parent, root, hash, blockSizeBytes, description } = record;
  if (!RECORD_KINDS.some((known) => known === kind)) return `kind is not one of ${RECORD_KINDS.join(", ")}`;
  if (typeof volumeId !== "string" || !isVolumeId(volumeId)) return "volume id is not 32 hexadecimal digits";
  if (!isText(volumeName, NAME_MOST_BYTES)) return `volume name is not at most ${NAME_MOST_BYTES} bytes of text`;
  if (!isCount(record.sequence) || record.sequence === 0) return "sequence number is not a number from 1";
  if (parent !== null && !isHash(parent)) return "parent is neither null nor 64 hexadecimal digits";
  if (!isHash(root)) return "root is not 64 hexadecimal digits";
  if (!RECORD_HASHES.some((known) => known === hash)) return `hash is not one of ${RECORD_HASHES.join(", ")}`;
  if (!isCount(blockSizeBytes) || blockSizeBytes < 512 || blockSizeBytes > 65536 || !isPowerOfTwo(blockSizeBytes)) {
    return "block size is not a power of two from 512 to 65536";
  }
  if (!isCount(record.sectorCount) || record.sectorCount < 1 || record.sectorCount > SECTOR_COUNT_MOST) {
    return `size is not from 1 to ${SECTOR_COUNT_MOST} sectors`;
  }
  if (!isCount(record.createdMs) || record.createdMs > TIME_MOST_MS) return "time is not from 1970 to 9999";
  if (!isText(description, DESCRIPTION_MOST_BYTES)) {
    return `description is not at most ${DESCRIPTION_MOST_BYTES} bytes of text`;
  }
  if (!isCount(record.journalSequence)) return "journal sequence is not a number";
  if (!isCount(record.logicalBytes) || !isCount(record.uniqueBytes)) return "statistics are not numbers of bytes";
  return undefined;
}

/** Whole, not negative, and exact in JavaScript. Negative zero would not come back from JSON. */
const isCount = (value: unknown): value is number =>
  Number.isSafeInteger(value) && (value as number) >= 0 && !Object.is(value, -0);

const isPowerOfTwo = (value: number): boolean => Number.isInteger(Math.log2(value));

const isHash = (value: unknown): boolean =>
  typeof value === "string" && value.length === HASH_BYTES * 2 && /^[0-9a-f]*$/.test(value);

/** Halves of surrogate pairs have no UTF-8. */
const isText = (value: unknown, mostBytes: number): boolean =>
  typeof value === "string" &&
  value.length <= mostBytes &&
  value.isWellFormed() &&
  Buffer.byteLength(value) <= mostBytes;
