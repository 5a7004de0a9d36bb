/**
 * What `voe cas-server` and its client say to each other over HTTP. docs/cas-server.md has it in words, with `curl`.
 * Before each path but HEALTH and METRICS a namespace may stand, `/NAME/blobs/...`: refs are per namespace, blobs are
 * shared by all.
 */
import type { BlobFailure } from "../blob-store.ts";

/** `/blobs/NAME`: a blob. `/blobs`: the list of them (GET), or which of many names there are (POST). */
export const BLOBS_PATH = "blobs";
/** `/refs/NAME`: a ref. `/refs`: the list of them. */
export const REFS_PATH = "refs";
/** The marker of a store, as a file store has it. */
export const MARKER_PATH = "voe-store.json";
export const HEALTH_PATH = "/health";
export const METRICS_PATH = "/metrics";

/** Carries the BlobFailure of an answer that is no success, where the status does not say it. */
export const FAILURE_HEADER = "voe-failure";
/** RFC 9530: what the server checks the body of a ref against. `sha-256=:BASE64:` */
export const DIGEST_HEADER = "content-digest";

/** Blobs of a page of the list, at most and unless fewer are asked for. */
export const LIST_MOST = 1000;
/** Names that are asked for at once. */
export const EXISTS_MOST = 10_000;

/** The last line of a list or of a page of it: nothing follows, or the next page does. Without it the answer broke off. */
export const LIST_END = "end";
export const LIST_MORE = "more";

export const digestHeader = (sha256: Uint8Array): string => `sha-256=:${Buffer.from(sha256).toString("base64")}:`;

export const isNamespace = (name: string): boolean =>
  /^[a-z0-9][a-z0-9._-]{0,62}$/.test(name) && ![BLOBS_PATH, REFS_PATH, MARKER_PATH, "health", "metrics"].includes(name);

/** What a status and its FAILURE_HEADER mean to whoever asked; undefined: what the status means by itself. */
export const isBlobFailure = (text: string | null): text is BlobFailure =>
  ["missing", "truncated", "denied", "unavailable", "corrupt", "full"].includes(text ?? "");
