/**
 * Digests of blocks and packs, 32 bytes each. BLAKE3 comes from a native addon, which `bun build --compile` embeds and
 * the binary unpacks into TMPDIR when it is first used; where that cannot be done (a TMPDIR that is read-only or
 * mounted noexec, an unknown platform), from JavaScript, which takes about ten times as long.
 *
 * Measured with blocks of 4 KiB on one core: BLAKE3 3,100 MB/s native (7,000 in one piece of 16 MiB) and 220 portable,
 * SHA-256 1,700.
 */
import { blake3 as portableBlake3 } from "@noble/hashes/blake3.js";

export const DIGEST_BYTES = 32;

export const HASH_ALGORITHMS = ["blake3", "sha256"] as const;
export type HashAlgorithm = (typeof HASH_ALGORITHMS)[number];

export interface Hasher {
  readonly algorithm: HashAlgorithm;
  /** The library that does it, for the log and the status. */
  readonly implementation: string;
  /** Why the slow portable code is used; undefined where the fast one is. */
  readonly fallbackReason: string | undefined;
  /** Writes the digest of `lengthBytes` of `source` from byte `at` into `target` from byte `targetAt`. */
  hash(source: Uint8Array, at: number, lengthBytes: number, target: Uint8Array, targetAt: number): void;
  /** A digest of what comes in pieces, for what is too much to be hashed without others having their turn. */
  begin(): RunningHash;
}

export interface RunningHash {
  /** Takes the next `lengthBytes`, of `source` from byte `at`. */
  update(source: Uint8Array, at: number, lengthBytes: number): void;
  /** Writes the digest of everything taken to byte `targetAt`. Nothing may be taken afterwards. */
  end(target: Uint8Array, targetAt: number): void;
}

export interface HasherOptions {
  /** Uses the portable code for BLAKE3 though the native one may be there. */
  readonly portable?: boolean;
}

/** A hasher of this thread: it has state, so threads have one each. Never throws for want of a native library. */
export function createHasher(algorithm: HashAlgorithm, options: HasherOptions = {}): Hasher {
  if (algorithm === "sha256") return sha256Hasher();
  if (options.portable === true) return portableHasher("it was asked for");
  let native: Native;
  try {
    native = loadNative();
  } catch (error) {
    return portableHasher(`@napi-rs/blake-hash could not be loaded: ${(error as Error).message}`);
  }
  // What was unpacked into TMPDIR is code from outside: it must know the answer before it names blocks.
  if (!agreesWithPortable(native)) return portableHasher("@napi-rs/blake-hash gave a wrong digest when it was tried");
  return nativeHasher(native);
}

/** The addon's types ask for a Buffer, and it takes both. */
interface Native {
  readonly blake3UrlSafeBase64: (input: Uint8Array) => string;
  readonly Blake3Hasher: new () => { update(input: Uint8Array): unknown; digestBuffer(): Uint8Array };
}

// Not an import, which would end the program where the addon is missing.
const loadNative = (): Native => require("@napi-rs/blake-hash") as Native;

/** 5,000 bytes fill several chunks of BLAKE3 and leave one in part. */
function agreesWithPortable({ blake3UrlSafeBase64, Blake3Hasher }: Native): boolean {
  const probe = new Uint8Array(5000).map((_, index) => index % 251);
  const inPieces = new Blake3Hasher();
  inPieces.update(probe.subarray(0, 3000));
  inPieces.update(probe.subarray(3000));
  const right = portableBlake3(probe);
  const whole = new Uint8Array(DIGEST_BYTES);
  decodeDigest(blake3UrlSafeBase64(probe), whole, 0);
  return Buffer.compare(whole, right) === 0 && Buffer.compare(inPieces.digestBuffer(), right) === 0;
}

function checkSource(source: Uint8Array, at: number, lengthBytes: number): void {
  // `subarray` would clamp silently, and a digest of too little would name the wrong block.
  if (at < 0 || lengthBytes < 0 || at + lengthBytes > source.length) {
    throw new RangeError(`cannot hash ${lengthBytes} bytes at ${at} of ${source.length}`);
  }
}

function checkRange(source: Uint8Array, at: number, lengthBytes: number, target: Uint8Array, targetAt: number): void {
  checkSource(source, at, lengthBytes);
  if (targetAt < 0 || targetAt + DIGEST_BYTES > target.length) {
    throw new RangeError(`a digest does not fit at ${targetAt} of ${target.length}`);
  }
}

/** What each character of base64url stands for, by its code (RFC 4648, section 5). */
const BASE64_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const BASE64_VALUES = new Uint8Array(128);
for (let value = 0; value < 64; value++) BASE64_VALUES[BASE64_CHARACTERS.charCodeAt(value)] = value;

const sixBits = (text: string, at: number): number => BASE64_VALUES[text.charCodeAt(at)]!;

/** Writes the 32 bytes of a digest in base64url, of 43 characters and maybe padding, to byte `at`. */
function decodeDigest(text: string, target: Uint8Array, at: number): void {
  let to = at;
  for (let from = 0; from < 40; from += 4) {
    const bits =
      (sixBits(text, from) << 18) |
      (sixBits(text, from + 1) << 12) |
      (sixBits(text, from + 2) << 6) |
      sixBits(text, from + 3);
    target[to++] = bits >> 16;
    target[to++] = bits >> 8;
    target[to++] = bits;
  }
  const bits = (sixBits(text, 40) << 10) | (sixBits(text, 41) << 4) | (sixBits(text, 42) >> 2);
  target[to++] = bits >> 8;
  target[to] = bits;
}

/**
 * The addon allocates its result. A Buffer for each digest costs a piece of memory of its own, which the garbage
 * collector has to let go of: 1.7 us of CPU time for 4 KiB. Text is 1.3 us, decoding it included; of both 0.85 is the
 * hash itself.
 */
const nativeHasher = ({ blake3UrlSafeBase64, Blake3Hasher }: Native): Hasher => ({
  algorithm: "blake3",
  implementation: "@napi-rs/blake-hash",
  fallbackReason: undefined,
  hash(source, at, lengthBytes, target, targetAt) {
    checkRange(source, at, lengthBytes, target, targetAt);
    decodeDigest(blake3UrlSafeBase64(source.subarray(at, at + lengthBytes)), target, targetAt);
  },
  begin() {
    const running = new Blake3Hasher();
    return runningHash(
      (piece) => void running.update(piece),
      () => running.digestBuffer(),
    );
  },
});

const portableHasher = (fallbackReason: string): Hasher => ({
  algorithm: "blake3",
  implementation: "@noble/hashes",
  fallbackReason,
  hash(source, at, lengthBytes, target, targetAt) {
    checkRange(source, at, lengthBytes, target, targetAt);
    target.set(portableBlake3(source.subarray(at, at + lengthBytes)), targetAt);
  },
  begin() {
    const running = portableBlake3.create();
    return runningHash(
      (piece) => void running.update(piece),
      () => running.digest(),
    );
  },
});

function sha256Hasher(): Hasher {
  const digest = new Uint8Array(DIGEST_BYTES);
  return {
    algorithm: "sha256",
    implementation: "Bun.SHA256",
    fallbackReason: undefined,
    hash(source, at, lengthBytes, target, targetAt) {
      checkRange(source, at, lengthBytes, target, targetAt);
      Bun.SHA256.hash(source.subarray(at, at + lengthBytes), digest);
      target.set(digest, targetAt);
    },
    begin() {
      const running = new Bun.SHA256();
      return runningHash(
        (piece) => void running.update(piece),
        () => {
          running.digest(digest);
          return digest;
        },
      );
    },
  };
}

const runningHash = (update: (piece: Uint8Array) => void, digest: () => Uint8Array): RunningHash => ({
  update(source, at, lengthBytes) {
    checkSource(source, at, lengthBytes);
    update(source.subarray(at, at + lengthBytes));
  },
  end: (target, targetAt) => target.set(digest(), targetAt),
});

/** Whether the 32 bytes at these two places are the same. */
export function digestsEqual(one: Uint8Array, oneAt: number, other: Uint8Array, otherAt: number): boolean {
  for (let index = 0; index < DIGEST_BYTES; index++) {
    if (one[oneAt + index] !== other[otherAt + index]) return false;
  }
  return true;
}

/** Whether the 32 bytes from here on are zeros, which stand for a block of zeros and are no digest. */
export function isZeroDigest(digest: Uint8Array, at: number): boolean {
  for (let index = at; index < at + DIGEST_BYTES; index++) if (digest[index] !== 0) return false;
  return true;
}
