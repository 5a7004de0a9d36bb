/**
 * A blob store within limits: transfers at a time, and bytes a second. Uploads and downloads do not wait for each other;
 * among downloads, those that a client waits for go before those that are made ahead of it.
 */
import type { BlobStore } from "../blob-store.ts";
import { bandwidth, type Bandwidth } from "./bandwidth.ts";
import { turnstile, type Turnstile } from "./turnstile.ts";

export interface LimitOptions {
  /** Uploads at a time. Of downloads there may be twice as many, half of them made ahead. */
  readonly transfers: number;
  /** Bytes a second; undefined: as many as there are. A transfer goes at full speed, and the next one waits for it. */
  readonly uploadBytesPerSecond: number | undefined;
  readonly downloadBytesPerSecond: number | undefined;
}

export interface LimitedStore {
  readonly store: BlobStore;
  /** The same store for what nobody waits for. */
  readonly background: BlobStore;
  statistics(): TransferStatistics;
}

export interface TransferStatistics {
  readonly uploads: number;
  readonly downloads: number;
  /** Transfers that wait for others to end. */
  readonly waiting: number;
}

export function withLimit(store: BlobStore, options: LimitOptions): LimitedStore {
  const uploads = turnstile(options.transfers);
  const downloads = turnstile(2 * options.transfers, options.transfers);
  const uploadBandwidth = bandwidth(options.uploadBytesPerSecond);
  const downloadBandwidth = bandwidth(options.downloadBytesPerSecond);

  const face = (urgent: boolean): BlobStore => ({
    ...store,
    put: (name, bytes, signal) =>
      limited(uploads, uploadBandwidth, bytes.length, urgent, signal, () => store.put(name, bytes, signal)),
    get: (name, offsetBytes, lengthBytes, target, at, signal) =>
      limited(downloads, downloadBandwidth, lengthBytes, urgent, signal, () =>
        store.get(name, offsetBytes, lengthBytes, target, at, signal),
      ),
  });

  return {
    store: face(true),
    background: face(false),
    statistics: () => ({
      uploads: uploads.inside,
      downloads: downloads.inside,
      waiting: uploads.waiting + downloads.waiting,
    }),
  };
}

async function limited(
  lane: Turnstile,
  rate: Bandwidth,
  bytes: number,
  urgent: boolean,
  signal: AbortSignal | undefined,
  transfer: () => Promise<void>,
): Promise<void> {
  await lane.enter(1, urgent, signal);
  try {
    await rate.take(bytes, urgent, signal);
    await transfer();
  } finally {
    lane.leave(1);
  }
}
