/**
 * One writer per store: whoever wants to write must hold its newest claim, and looks again and again whether it still
 * is. docs/decisions/0008-one-writer.md has the order in which things happen, and why nothing can come in between.
 */
import { eventLoop } from "../../base/event-loop.ts";
import { formatBytes } from "../../base/human.ts";
import type { BlobStore } from "../../blob/blob-store.ts";
import type { Disk } from "./disk.ts";
import { unsentBytes } from "./unsent-writes.ts";
import { readOwnClaim, writeOwnClaim, type OwnClaim } from "./writer-file.ts";
import { describeWriter, encodeWriter, newestWriter, readWriter, writerRefName, type Writer } from "./writer-ref.ts";

export interface WriterClaimOptions {
  readonly disk: Disk;
  readonly stateDirectory: string;
  readonly blobs: BlobStore;
  /** Name of this host, for whoever meets the claim. */
  readonly host: string;
  readonly nowMs: () => number;
  readonly random: (bytes: Uint8Array) => void;
}

export interface WriterClaim {
  readonly epoch: number;
  /** Why this host must not write any more, once that is known. */
  readonly failure: Error | undefined;
  /** Is called once, when that becomes known. */
  onLost(listener: (error: Error) => void): void;
  /**
   * Makes the claim in a store that nobody has claimed; makes sure of it where it was made before. What was read of the
   * store before this has resolved was written by no later writer. Rejects where the claim is another's.
   */
  hold(): Promise<void>;
  /** Rejects where another has claimed the store, then and from then on; and where the store cannot be asked. */
  check(): Promise<void>;
}

/** How often it is looked whether another host has claimed the store, in milliseconds: an idle writer finds out too. */
export const CLAIM_CHECK_MS = 30_000;

/** Looks again and again whether the claim holds, until the function that it returns is called. */
export function watchClaim(
  claim: Pick<WriterClaim, "check" | "failure">,
  everyMs = CLAIM_CHECK_MS,
  report: (key: string, message: string) => void,
): () => void {
  let isChecking = false;
  let isStopped = false;
  const stop = eventLoop.every(everyMs, () => {
    if (isChecking || claim.failure !== undefined) return;
    isChecking = true;
    claim
      .check()
      .catch((error: Error) => {
        // Its loss is told by whoever listens for that.
        if (isStopped || claim.failure !== undefined) return;
        report("writer:check", `whether another host has taken the store over cannot be told: ${error.message}`);
      })
      .finally(() => (isChecking = false));
  });
  return () => {
    isStopped = true;
    stop();
  };
}

/** 128 random bits in hexadecimal. */
export function newWriterId(random: (bytes: Uint8Array) => void): string {
  const bytes = new Uint8Array(16);
  random(bytes);
  return bytes.toHex();
}

/**
 * Looks whether this host may write a store: by the claim that its state directory has, or where nobody has claimed the
 * store. Changes nothing. Rejects where another host has claimed it, with what to do.
 */
export async function openWriterClaim(options: WriterClaimOptions): Promise<WriterClaim> {
  const { disk, stateDirectory, blobs, nowMs } = options;
  const saved = await readOwnClaim(disk, stateDirectory);
  if (saved?.state === "recovering") {
    throw new Error(
      `${stateDirectory} is the beginning of a recovery of ${blobs.description} that was interrupted: run voe recover again`,
    );
  }
  const newest = await newestWriter(blobs);
  await refuseAnother(options, saved, newest);
  const own: OwnClaim = saved ?? { epoch: 1, writerId: newWriterId(options.random), state: "writing" };
  const { epoch } = own;
  let isMade = newest !== undefined;
  let failure: Error | undefined;
  const listeners: ((error: Error) => void)[] = [];

  const lose = (to: Writer | "damaged"): Error => {
    if (failure !== undefined) return failure;
    failure = new Error(
      `${blobs.description} was taken over by ${to === "damaged" ? "another host" : describeWriter(to)}: this server must ` +
        `not write it any more. What it answered since its last checkpoint is in its journal alone, in ${stateDirectory}. ` +
        `Stop it, or remove the targets from its configuration`,
    );
    for (const listener of listeners) listener(failure);
    return failure;
  };

  const check = async (): Promise<void> => {
    if (failure !== undefined) throw failure;
    const later = await laterWriter(blobs, own);
    if (later !== undefined) throw lose(later);
  };

  return {
    epoch,
    get failure() {
      return failure;
    },
    onLost: (listener) => void listeners.push(listener),
    async hold() {
      if (!isMade) {
        // First here: a claim that the store has and this host does not know would be another's.
        await writeOwnClaim(disk, stateDirectory, own);
        await makeClaim(blobs, { epoch, writerId: own.writerId, host: options.host, claimedMs: nowMs() });
        isMade = true;
      }
      await check();
    },
    check,
  };
}

/** Who has claimed a store after, or over, this claim; undefined: nobody did. Rejects where that cannot be told. */
export async function laterWriter(
  blobs: BlobStore,
  { epoch, writerId }: Pick<OwnClaim, "epoch" | "writerId">,
): Promise<Writer | "damaged" | undefined> {
  // By its name: a list may be behind in some stores, what has a name is not.
  const next = await readWriter(blobs, epoch + 1);
  if (next !== undefined || blobs.atomicRefs) return next;
  // One who came at the same moment may have written over it.
  const present = await readWriter(blobs, epoch);
  if (present === undefined) throw new Error(`${writerRefName(epoch)} of ${blobs.description} is gone: restore it`);
  return present === "damaged" || present.writerId !== writerId ? present : undefined;
}

/** Creates the ref of a claim. Rejects where another has created it. */
export async function makeClaim(blobs: BlobStore, writer: Writer): Promise<void> {
  const { epoch, writerId } = writer;
  if ((await blobs.createRef(writerRefName(epoch), encodeWriter(writer))) === "created" && blobs.atomicRefs) return;
  const present = await readWriter(blobs, epoch);
  if (present !== undefined && present !== "damaged" && present.writerId === writerId) return;
  const who = present === undefined || present === "damaged" ? "another host" : describeWriter(present);
  throw new Error(
    `${blobs.description} was claimed at the same time by ${who}: let that one write it, or wait until it is stopped and ` +
      `run voe recover`,
  );
}

async function refuseAnother(
  { disk, stateDirectory, blobs }: WriterClaimOptions,
  saved: OwnClaim | undefined,
  newest: Writer | undefined,
): Promise<void> {
  const store = blobs.description;
  if (newest === undefined) {
    if (saved === undefined || saved.epoch === 1) return;
    throw new Error(
      `${store} has no claim, and this host wrote it with epoch ${saved.epoch}: it is an old copy, or has lost ` +
        `refs/writer. Restore that from a copy`,
    );
  }
  if (saved?.epoch === newest.epoch && saved.writerId === newest.writerId) return;
  if (saved !== undefined && newest.epoch < saved.epoch) {
    throw new Error(
      `${store} was claimed last with epoch ${newest.epoch}, and this host wrote it with ${saved.epoch}: it is an old ` +
        `copy of the store`,
    );
  }
  const bytes = await unsentBytes(disk, stateDirectory);
  const kept =
    bytes === 0
      ? "Its journal has no write that is not in the store"
      : `Its journal has ${bytes === undefined ? "an unknown number of bytes" : `up to ${formatBytes(bytes)}`} of answered ` +
        `writes that never reached the store: they stay where they are`;
  const hasJournal = (await disk.list(stateDirectory)).includes("journal");
  throw new Error(
    saved === undefined
      ? `${store} is written by ${describeWriter(newest)}, and ${stateDirectory} has no claim to it. ` +
          `${hasJournal ? `${kept}. ` : ""}If that host is lost or is to give the store up, ` +
          `${hasJournal ? "move this directory away and " : ""}run voe recover, which takes the store over`
      : `${store} was taken over by ${describeWriter(newest)}; this host had epoch ${saved.epoch} and must not write it any ` +
          `more. ${kept}. Leave the store to that host, and remove its targets from the configuration here; or, to take ` +
          `it back and give those writes up, stop voe there, move ${stateDirectory} away, and run voe recover`,
  );
}
