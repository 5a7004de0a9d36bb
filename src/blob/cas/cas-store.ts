import { BlobStoreError, type BlobStore } from "../blob-store.ts";
import { createHttpClient } from "../http/http-client.ts";
import { openObjectStore } from "../objects/object-store.ts";
import { createCasService } from "./cas-service.ts";
import { isNamespace } from "./cas-protocol.ts";

export interface CasStoreOptions {
  /** "http://HOST:PORT" or "http://HOST:PORT/NAMESPACE", or with https. */
  readonly endpoint: string;
  /** What the server wants to know; undefined: it asks for nothing. */
  readonly token: string | undefined;
  /** PEM certificates of the authorities that are trusted, in place of the usual ones. */
  readonly ca?: string | undefined;
  /** See HttpClientOptions. */
  readonly stallTimeoutMs?: number | undefined;
}

/**
 * The blob store that a `voe cas-server` is. It is there when the server is, so nothing is created. Rejects, saying what
 * to check, where the server cannot be reached (`unavailable`), is none, or does not take the token (`denied`).
 */
export async function openCasStore({ endpoint, token, ca, stallTimeoutMs }: CasStoreOptions): Promise<BlobStore> {
  const { pathname } = new URL(endpoint);
  const namespace = pathname.replace(/^\/|\/$/g, "");
  if (namespace !== "" && !isNamespace(namespace)) {
    throw new BlobStoreError(
      "denied",
      `${endpoint} names no namespace: write http://HOST:PORT/NAME, NAME being up to 63 lower-case letters, digits, dots, ` +
        `hyphens and underscores`,
    );
  }
  const client = createHttpClient({ ca, stallTimeoutMs });
  const service = createCasService({ client, endpoint: endpoint.replace(/\/$/, ""), token });
  try {
    return await openObjectStore({ service, prefix: "", create: false, probesCreation: false, createsOnce: true });
  } catch (error) {
    if (!(error instanceof BlobStoreError) || (error.failure !== "missing" && error.failure !== "corrupt")) throw error;
    throw new BlobStoreError("denied", `${endpoint} is no voe cas-server: check host, port and path`, error);
  }
}
