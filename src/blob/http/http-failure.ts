/** What went wrong between this host and a store over HTTP, as the class of failure that callers act on. */
import { BlobStoreError, type BlobFailure } from "../blob-store.ts";
import { codeOf } from "../file-system.ts";

const FAILURES: Readonly<Record<number, BlobFailure>> = {
  404: "missing",
  408: "unavailable",
  409: "unavailable",
  410: "missing",
  416: "truncated",
  425: "unavailable",
  429: "unavailable",
  501: "denied",
  505: "denied",
  507: "full",
};

/**
 * The class of an HTTP status that is no success (RFC 9110, section 15), where the answer's body does not say more. 409
 * is a conflict with another request under way. What is neither known nor the server's own trouble, a redirection among
 * it, would be answered the same again: `denied`.
 */
export const failureOfStatus = (status: number): BlobFailure =>
  FAILURES[status] ?? (status >= 500 ? "unavailable" : "denied");

const CERTIFICATE_CODE = /CERT|SELF_SIGNED|UNABLE_TO_VERIFY|UNABLE_TO_GET_ISSUER/;

const ADVICE: Readonly<Record<string, string>> = {
  ENOTFOUND: "check the name of the host in the endpoint, and this host's resolver",
  ECONNREFUSED: "nothing listens there: check host and port of the endpoint, and that the store runs",
};

/**
 * The store's error for one of `fetch`. `what` says what could not be done; `host` is where it was sent. The error of
 * `fetch` itself knows the whole URL, which may hold a signature that opens the store: only its message is kept.
 */
export function networkError(what: string, host: string, error: unknown): BlobStoreError {
  const { message } = error as Error;
  const code = codeOf(error) ?? "";
  const cause = Object.assign(new Error(message), { code });
  if (CERTIFICATE_CODE.test(code)) {
    return new BlobStoreError(
      "denied",
      `${what} (the certificate of ${host} is not trusted, ${code}): check the endpoint's name, or name the file of the ` +
        `authority that signed it as ca`,
      cause,
    );
  }
  const reason = code === "" || message.includes(code) ? message : `${code}: ${message}`;
  const advice = ADVICE[code] ?? `check the network between this host and ${host}`;
  return new BlobStoreError("unavailable", `${what} (${host}: ${reason}): ${advice}`, cause);
}

/** The error of a request that nothing was heard of, or that stopped halfway. */
export const timeoutError = (what: string, host: string, timeoutMs: number): BlobStoreError =>
  new BlobStoreError(
    "unavailable",
    `${what} (${host} let ${timeoutMs / 1000} s pass without a sign of life): check that the store is healthy, and the ` +
      `network between`,
  );
