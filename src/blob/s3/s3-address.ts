/** Where a bucket and its objects are: URLs as SigV4 signs them. */

/** `auto`: the bucket is part of the host's name at Amazon and Backblaze, and of the path elsewhere. */
export type S3Style = "auto" | "path" | "virtual-host";

const VIRTUAL_HOSTS = /\.(amazonaws\.com|amazonaws\.com\.cn|backblazeb2\.com)$/;
/** A bucket that can be one label of a host's name: a dot in it would not be covered by the server's certificate. */
const HOST_LABEL = /^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$/;

/** The URL of a bucket, without a slash at the end. `endpoint` has none either. */
export function bucketUrl(endpoint: string, bucket: string, style: S3Style): string {
  const { protocol, host, hostname, pathname } = new URL(endpoint);
  const inHost =
    style === "virtual-host" || (style === "auto" && VIRTUAL_HOSTS.test(hostname) && HOST_LABEL.test(bucket));
  const path = pathname.replace(/\/+$/, "");
  return inHost ? `${protocol}//${bucket}.${host}${path}` : `${protocol}//${host}${path}/${encodePart(bucket)}`;
}

/** The URL of an object. */
export const objectUrl = (bucket: string, key: string): string =>
  `${bucket}/${key.split("/").map(encodePart).join("/")}`;

/** The URL of a bucket with a query. */
export const queryUrl = (bucket: string, query: Readonly<Record<string, string>>): string =>
  `${bucket}/?${Object.entries(query)
    .map(([name, value]) => `${name}=${encodePart(value)}`)
    .join("&")}`;

/**
 * Percent-encodes all but what RFC 3986 calls unreserved, as the canonical request has it (Amazon S3 API reference,
 * "Create a canonical request"): so that what is signed is what is sent.
 */
const encodePart = (part: string): string =>
  encodeURIComponent(part).replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
