/** What a blob store is recognised by, wherever it is: a small file at its top, written when it was created. */
import { BlobStoreError } from "./blob-store.ts";

export const MARKER = "voe-store.json";
export const MARKER_MOST_BYTES = 4096;
const FORMAT = "voe blob store";
const FORMAT_VERSION = 1;

export const markerBytes = (): Uint8Array =>
  new TextEncoder().encode(`${JSON.stringify({ format: FORMAT, version: FORMAT_VERSION })}\n`);

/** Throws `corrupt` where the bytes are not those of the marker of a store, at `place`, that this voe knows. */
export function checkMarker(place: string, bytes: Uint8Array): void {
  const marker = parseJson(bytes);
  if (marker?.["format"] !== FORMAT) {
    throw new BlobStoreError(
      "corrupt",
      `${MARKER} in ${place} is not that of a blob store: restore it from a copy, or name another place`,
    );
  }
  if (marker["version"] !== FORMAT_VERSION) {
    throw new BlobStoreError(
      "corrupt",
      `the blob store ${place} has format ${String(marker["version"])}, and this voe knows ${FORMAT_VERSION}: use the voe ` +
        `that wrote it, or a newer one`,
    );
  }
}

/** The object that the bytes are, or undefined. */
function parseJson(bytes: Uint8Array): Record<string, unknown> | undefined {
  try {
    return (
      (JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)) as Record<string, unknown> | null) ?? {}
    );
  } catch {
    return undefined;
  }
}
