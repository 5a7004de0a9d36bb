import { formatDuration, parseDuration } from "../base/duration.ts";
import { parseSize } from "../base/size.ts";
import { asParsed, asText, fail, failType, quote, type Reader } from "./reader.ts";
import { Secret } from "./secret.ts";

/** What a size must be a multiple of: clients address sectors of 512 bytes. */
const SECTOR_BYTES = 512;

/** A string with something in it. */
export const asName: Reader<string> = (value, place) => {
  const text = asText(value, place);
  return text === "" ? fail(place, "is empty; write a name, or remove the key") : text;
};

export const asPath: Reader<string> = (value, place) => {
  const text = asText(value, place);
  if (text === "") return fail(place, "is empty; write a path");
  return text?.includes("\0") ? fail(place, "has a zero byte in it, which no path has; remove it") : text;
};

/** sun_path of Linux's `sockaddr_un`, less the zero byte at the end. */
const SOCKET_PATH_MAX_BYTES = 107;

export const asSocketPath: Reader<string> = (value, place) => {
  const path = asPath(value, place);
  if (path === undefined || Buffer.byteLength(path) <= SOCKET_PATH_MAX_BYTES) return path;
  return fail(
    place,
    `${quote(path)} is over ${SOCKET_PATH_MAX_BYTES} bytes, more than a socket's path may have; shorten it`,
  );
};

export const asSecret: Reader<Secret> = (value, place) => {
  const text = asText(value, place);
  if (text === "") return fail(place, "is empty; write the secret, or remove the key to take it from the environment");
  return text === undefined ? undefined : new Secret(text);
};

/** Bytes, from an integer or from text with a unit. */
export const asByteCount: Reader<number> = (value, place) => {
  if (typeof value === "bigint") {
    if (value > 0 && value <= Number.MAX_SAFE_INTEGER) return Number(value);
    return fail(place, `${value} is out of range; write an integer from 1 to ${Number.MAX_SAFE_INTEGER}, or "8GiB"`);
  }
  const bytes = asParsed('bytes as an integer, or a string such as "8GiB"', parseSize)(value, place);
  return bytes === 0 ? fail(place, 'is nothing; write a size such as "8GiB"') : bytes;
};

/** Bytes within bounds, which are given as text too. */
export const asBoundedSize =
  (least: string, most: string): Reader<number> =>
  (value, place) => {
    const bytes = asByteCount(value, place);
    if (bytes === undefined || (bytes >= parseSize(least) && bytes <= parseSize(most))) return bytes;
    return fail(place, `${bytes} bytes is out of range; write a size from "${least}" to "${most}"`);
  };

/** The size of a disk in bytes. */
export const asDiskSize: Reader<number> = (value, place) => {
  const bytes = asByteCount(value, place);
  if (bytes === undefined || bytes % SECTOR_BYTES === 0) return bytes;
  const below = bytes - (bytes % SECTOR_BYTES);
  return fail(
    place,
    `${bytes} bytes is not a multiple of ${SECTOR_BYTES}; write ${below > 0 ? `${below} or ` : ""}${below + SECTOR_BYTES}`,
  );
};

/** The size of a disk, written as its sectors, in bytes. */
export const asSectorCount: Reader<number> = (value, place) => {
  const most = Math.floor(Number.MAX_SAFE_INTEGER / SECTOR_BYTES);
  const wanted = `the number of 512-byte sectors, an integer from 1 to ${most}`;
  if (typeof value !== "bigint") return failType(place, value, wanted);
  return value > 0 && value <= most
    ? Number(value) * SECTOR_BYTES
    : fail(place, `${value} is out of range; write ${wanted}`);
};

/** Milliseconds within bounds, which are given as durations too. */
export const asDuration =
  (least: string, most: string): Reader<number> =>
  (value, place) => {
    const ms = asParsed(`a duration in quotes from "${least}" to "${most}"`, parseDuration)(value, place);
    if (ms === undefined || (ms >= parseDuration(least) && ms <= parseDuration(most))) return ms;
    return fail(place, `${formatDuration(ms)} is out of range; write a duration from "${least}" to "${most}"`);
  };

/** An http(s) address without a slash at the end. One with a credential in it is not shown. */
export const asEndpoint: Reader<string> = (value, place) => {
  const text = asText(value, place);
  if (text === undefined) return undefined;
  const example = 'write only scheme, host, port and path, for example "https://s3.example.com"';
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol))
    return fail(place, `is not an http or https address; ${example}`);
  if (url.username !== "" || url.password !== "") {
    return fail(place, `has a user or a password in it; ${example}, and the credentials under their own keys`);
  }
  if (url.search !== "" || url.hash !== "") return fail(place, `has a part after "?" or "#"; ${example}`);
  return text.replace(/\/+$/, "");
};
