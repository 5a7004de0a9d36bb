/**
 * The refs that say who writes a store: `writer/EPOCH`, each created once, the highest of which is the writer's. They
 * are never deleted: a number that is free again could be taken by one who was overtaken long ago.
 */
import { printable } from "../../base/printable.ts";
import { BlobStoreError, type BlobStore } from "../../blob/blob-store.ts";
import { encodeChecked, parseChecked } from "./checked-file.ts";

const PREFIX = "writer/";
const FORMAT = "voe-writer";
const VERSION = 1;
/** Digits of the epoch in a name: with leading zeros, so that names in order are epochs in order. */
const EPOCH_DIGITS = 20;

/** Who has claimed a store. docs/format.md, "Who writes a store", has the bytes. */
export interface Writer {
  /** From 1; each is one more than the one before. */
  readonly epoch: number;
  /** 128 random bits in hexadecimal, drawn for the claim. */
  readonly writerId: string;
  /** For people: name of the host. */
  readonly host: string;
  /** For people: when, in milliseconds since 1970, by the clock of that host. */
  readonly claimedMs: number;
}

export const writerRefName = (epoch: number): string => `${PREFIX}${String(epoch).padStart(EPOCH_DIGITS, "0")}`;

/** The bytes of a claim: a line of JSON, and one with its SHA-256. */
export const encodeWriter = ({ epoch, writerId, host, claimedMs }: Writer): Uint8Array =>
  encodeChecked({
    format: FORMAT,
    version: VERSION,
    epoch,
    writer: writerId,
    host,
    claimed: new Date(claimedMs).toISOString(),
  });

/** Reads a claim, from anywhere; undefined for what is none of this epoch. */
export function parseWriter(bytes: Uint8Array, epoch: number): Writer | undefined {
  const fields = parseChecked(bytes);
  if (fields?.["format"] !== FORMAT || fields["version"] !== VERSION || fields["epoch"] !== epoch) return undefined;
  const { writer, host, claimed } = fields;
  if (typeof writer !== "string" || !/^[0-9a-f]{32}$/.test(writer) || typeof host !== "string") return undefined;
  const claimedMs = typeof claimed === "string" ? Date.parse(claimed) : Number.NaN;
  return Number.isNaN(claimedMs) ? undefined : { epoch, writerId: writer, host, claimedMs };
}

/**
 * Who claimed an epoch: undefined where nobody did, "damaged" where somebody did and it cannot be told who. Rejects
 * with BlobStoreError where the store cannot be asked.
 */
export async function readWriter(blobs: BlobStore, epoch: number): Promise<Writer | "damaged" | undefined> {
  try {
    return parseWriter(await blobs.readRef(writerRefName(epoch)), epoch) ?? "damaged";
  } catch (error) {
    if (error instanceof BlobStoreError && error.failure === "missing") return undefined;
    throw error;
  }
}

/** Who claimed a store last; undefined: nobody did. Rejects where that cannot be told. */
export async function newestWriter(blobs: BlobStore): Promise<Writer | undefined> {
  const names = await blobs.listRefs(PREFIX);
  const epochs = names.flatMap((name) => {
    const [, digits] = /^writer\/([0-9]{20})$/.exec(name) ?? [];
    const epoch = Number(digits);
    return Number.isSafeInteger(epoch) && epoch >= 1 ? [epoch] : [];
  });
  if (epochs.length === 0) return undefined;
  const epoch = Math.max(...epochs);
  const writer = await readWriter(blobs, epoch);
  if (writer === undefined || writer === "damaged") {
    throw new Error(
      `${writerRefName(epoch)} of ${blobs.description}, which says who writes it, ` +
        `${writer === undefined ? "is listed and not there" : "is damaged"}: restore it from a copy of the store`,
    );
  }
  return writer;
}

/** A writer for people: the host, and since when. */
export const describeWriter = ({ epoch, host, claimedMs }: Writer): string =>
  `${printable(host)} (epoch ${epoch}, since ${new Date(claimedMs).toISOString().slice(0, 19).replace("T", " ")} UTC)`;
