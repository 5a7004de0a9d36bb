/** Azure's Shared Key: a signature over a request, with the key of the storage account. */

export interface SignedParts {
  readonly method: string;
  readonly url: URL;
  /** Every header that is sent and begins with "x-ms-" or is signed, but for Content-Length. Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly bodyBytes: number;
}

/** In the order in which they are signed. */
const SIGNED_HEADERS = [
  "content-encoding",
  "content-language",
  "content-length",
  "content-md5",
  "content-type",
  "date",
  "if-modified-since",
  "if-match",
  "if-none-match",
  "if-unmodified-since",
  "range",
] as const;

/**
 * The text that is signed, as "Authorize with Shared Key" of Azure's REST reference has it, for the versions of the
 * service since 2015-02-21.
 */
export function stringToSign(account: string, { method, url, headers, bodyBytes }: SignedParts): string {
  const own = Object.keys(headers).filter((name) => name.startsWith("x-ms-"));
  const parameters = [...url.searchParams].map(([name, value]) => [name.toLowerCase(), value] as const);
  return [
    method,
    ...SIGNED_HEADERS.map((name) => {
      if (name !== "content-length") return headers[name] ?? "";
      return bodyBytes === 0 ? "" : `${bodyBytes}`;
    }),
    ...own.toSorted().map((name) => `${name}:${headers[name]}`),
    `/${account}${url.pathname}`,
    ...parameters.toSorted(([one], [other]) => (one < other ? -1 : 1)).map(([name, value]) => `${name}:${value}`),
  ].join("\n");
}

/** The Authorization header of a request. `accountKey` is in base64, as Azure shows it. */
export function sharedKeyAuthorization(account: string, accountKey: string, parts: SignedParts): string {
  const key = Buffer.from(accountKey, "base64");
  const signature = new Bun.CryptoHasher("sha256", key).update(stringToSign(account, parts)).digest("base64");
  return `SharedKey ${account}:${signature}`;
}
