import { STRING_MOST_BYTES } from "./constants.ts";

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * The text of a string on the wire; undefined where it is none: over 4096 bytes, with a NUL, or no UTF-8 (proto.md,
 * "Conventions").
 */
export function parseString(bytes: Uint8Array): string | undefined {
  if (bytes.length > STRING_MOST_BYTES || bytes.includes(0)) return undefined;
  try {
    return utf8.decode(bytes);
  } catch {
    return undefined;
  }
}

/** Reads the fields of an option one after the other. Each is undefined where the option ends too early, or is no string. */
export function optionReader(data: Uint8Array) {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  let at = 0;
  /** The place of the next `lengthBytes`, or undefined beyond the end. */
  const take = (lengthBytes: number): number | undefined => {
    if (lengthBytes > data.length - at) return undefined;
    const from = at;
    at += lengthBytes;
    return from;
  };
  const uint32 = (): number | undefined => {
    const from = take(4);
    return from === undefined ? undefined : view.getUint32(from);
  };
  return {
    get isAtEnd() {
      return at === data.length;
    },
    uint16(): number | undefined {
      const from = take(2);
      return from === undefined ? undefined : view.getUint16(from);
    },
    uint32,
    /** A string after its length in 32 bits. */
    string(): string | undefined {
      const lengthBytes = uint32();
      const from = lengthBytes === undefined ? undefined : take(lengthBytes);
      return from === undefined ? undefined : parseString(data.subarray(from, at));
    },
  };
}

/** What INFO and GO carry: a name, and what the client wants to be told. */
export interface InfoRequest {
  readonly name: string;
  readonly wanted: ReadonlySet<number>;
}

/** Parses the data of INFO and GO; undefined where it is malformed. */
export function parseInfoRequest(data: Uint8Array): InfoRequest | undefined {
  const reader = optionReader(data);
  const name = reader.string();
  const count = reader.uint16();
  if (name === undefined || count === undefined) return undefined;
  const wanted = new Set<number>();
  for (let i = 0; i < count; i++) {
    const type = reader.uint16();
    if (type === undefined) return undefined;
    wanted.add(type);
  }
  return reader.isAtEnd ? { name, wanted } : undefined;
}

/** What LIST_META_CONTEXT and SET_META_CONTEXT carry. */
export interface MetaRequest {
  readonly name: string;
  readonly queries: readonly string[];
}

/** Parses the data of LIST_META_CONTEXT and SET_META_CONTEXT; undefined where it is malformed. */
export function parseMetaRequest(data: Uint8Array): MetaRequest | undefined {
  const reader = optionReader(data);
  const name = reader.string();
  const count = reader.uint32();
  if (name === undefined || count === undefined) return undefined;
  const queries: string[] = [];
  for (let i = 0; i < count; i++) {
    const query = reader.string();
    if (query === undefined) return undefined;
    queries.push(query);
  }
  return reader.isAtEnd ? { name, queries } : undefined;
}
