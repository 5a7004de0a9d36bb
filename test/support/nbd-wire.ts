/** NBD as a client writes and reads it, byte by byte and without the server's own code: a mistake there is not repeated. */

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export const OPT = {
  EXPORT_NAME: 1,
  ABORT: 2,
  LIST: 3,
  STARTTLS: 5,
  INFO: 6,
  GO: 7,
  STRUCTURED_REPLY: 8,
  LIST_META_CONTEXT: 9,
  SET_META_CONTEXT: 10,
  EXTENDED_HEADERS: 11,
} as const;
export const REP = {
  ACK: 1,
  SERVER: 2,
  INFO: 3,
  META_CONTEXT: 4,
  ERR_UNSUP: 0x80000001,
  ERR_POLICY: 0x80000002,
  ERR_INVALID: 0x80000003,
  ERR_TLS_REQD: 0x80000005,
  ERR_UNKNOWN: 0x80000006,
  ERR_SHUTDOWN: 0x80000007,
  ERR_EXT_HEADER_REQD: 0x8000000a,
} as const;
export const CMD = {
  READ: 0,
  WRITE: 1,
  DISC: 2,
  FLUSH: 3,
  TRIM: 4,
  CACHE: 5,
  WRITE_ZEROES: 6,
  BLOCK_STATUS: 7,
} as const;
export const FLAG = { FUA: 1, NO_HOLE: 2, DF: 4, REQ_ONE: 8, FAST_ZERO: 16, PAYLOAD_LEN: 32 } as const;
export const ERR = { EPERM: 1, EIO: 5, EINVAL: 22, ENOSPC: 28, ENOTSUP: 95, ESHUTDOWN: 108 } as const;

export type NbdStyle = "simple" | "structured" | "extended";

const bytesOf = (lengthBytes: number, fill: (view: DataView) => void): Uint8Array => {
  const bytes = new Uint8Array(lengthBytes);
  fill(new DataView(bytes.buffer));
  return bytes;
};
export const u16 = (value: number): Uint8Array => bytesOf(2, (view) => view.setUint16(0, value));
export const u32 = (value: number): Uint8Array => bytesOf(4, (view) => view.setUint32(0, value));
export const u64 = (value: bigint | number): Uint8Array => bytesOf(8, (view) => view.setBigUint64(0, BigInt(value)));
export const joined = (...parts: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));
const text = (value: string): Uint8Array => encoder.encode(value);

/** An option as the client sends it. */
export const option = (type: number, data: Uint8Array = new Uint8Array()): Uint8Array =>
  joined(text("IHAVEOPT"), u32(type), u32(data.length), data);

const sized = (name: string): Uint8Array => joined(u32(text(name).length), text(name));

/** The data of INFO and GO. */
export const infoData = (name: string, ...wanted: readonly number[]): Uint8Array =>
  joined(sized(name), u16(wanted.length), ...wanted.map(u16));

/** The data of LIST_META_CONTEXT and SET_META_CONTEXT. */
export const metaData = (name: string, ...queries: readonly string[]): Uint8Array =>
  joined(sized(name), u32(queries.length), ...queries.map(sized));

export const exportName = (name: string): Uint8Array => option(OPT.EXPORT_NAME, text(name));

export interface RequestFields {
  type: number;
  flags?: number;
  cookie?: bigint;
  offset?: bigint | number;
  /** By default that of the data. */
  length?: bigint | number;
  data?: Uint8Array;
  magic?: number;
}

/** A request, with its data. */
export function request(fields: RequestFields, isExtended = false): Uint8Array {
  const { type, cookie = 1n, offset = 0, data = new Uint8Array() } = fields;
  const length = fields.length ?? data.length;
  const hasPayload = isExtended && data.length > 0 ? FLAG.PAYLOAD_LEN : 0;
  return joined(
    u32(fields.magic ?? (isExtended ? 0x21e41c71 : 0x25609513)),
    u16((fields.flags ?? 0) | hasPayload),
    u16(type),
    u64(cookie),
    u64(offset),
    isExtended ? u64(length) : u32(Number(length)),
    data,
  );
}

export interface OptionReply {
  readonly option: number;
  readonly type: number;
  readonly data: Uint8Array;
  readonly text: string;
}

/** Takes the replies to options from the front of `bytes`, and returns them with what is left. */
export function parseOptionReplies(bytes: Uint8Array): { replies: OptionReply[]; rest: Uint8Array } {
  const replies: OptionReply[] = [];
  let rest = bytes;
  while (rest.length >= 20) {
    const view = new DataView(rest.buffer, rest.byteOffset, rest.length);
    if (view.getBigUint64(0) !== 0x3e889045565a9n) break;
    const end = 20 + view.getUint32(16);
    const data = rest.subarray(20, end);
    replies.push({ option: view.getUint32(8), type: view.getUint32(12), data, text: decoder.decode(data) });
    rest = rest.subarray(end);
  }
  return { replies, rest };
}

export interface NbdReply {
  readonly cookie: bigint;
  readonly error: number;
  /** Of a reply in chunks: what the only one of it was. */
  readonly type?: number;
  readonly data: Uint8Array;
  readonly message: string;
  /** The offset that the data is said to be of. */
  readonly offset?: bigint;
  readonly extents?: readonly { length: bigint; flags: bigint }[];
  readonly contextId?: number;
}

/**
 * Takes one reply from the front of `bytes`; undefined where it is not all there. `readLength` says how much data a simple
 * reply with this cookie brings. Throws where it is none.
 */
export function parseReply(
  bytes: Uint8Array,
  style: NbdStyle,
  readLength: (cookie: bigint) => number,
): { reply: NbdReply; rest: Uint8Array } | undefined {
  if (bytes.length < 16) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const magic = view.getUint32(0);
  if (magic === 0x67446698) {
    if (style === "extended") throw new Error("a simple reply with extended headers");
    const cookie = view.getBigUint64(8);
    const error = view.getUint32(4);
    const length = error === 0 ? readLength(cookie) : 0;
    if (style === "structured" && length > 0) throw new Error("a simple reply with data");
    if (bytes.length < 16 + length) return undefined;
    const data = bytes.slice(16, 16 + length);
    return { reply: { cookie, error, data, message: "" }, rest: bytes.subarray(16 + length) };
  }
  if (magic !== (style === "extended" ? 0x6e8a278c : 0x668e33ef) || style === "simple") {
    throw new Error(`a reply with the magic number 0x${magic.toString(16)}`);
  }
  const headerBytes = style === "extended" ? 32 : 20;
  if (bytes.length < headerBytes) return undefined;
  const length = style === "extended" ? Number(view.getBigUint64(24)) : view.getUint32(16);
  if (bytes.length < headerBytes + length) return undefined;
  if (view.getUint16(4) !== 1) throw new Error("a chunk that is not the last");
  const payload = bytes.slice(headerBytes, headerBytes + length);
  const reply = parseChunk(view.getUint16(6), view.getBigUint64(8), payload);
  return { reply, rest: bytes.subarray(headerBytes + length) };
}

function parseChunk(type: number, cookie: bigint, payload: Uint8Array): NbdReply {
  const view = new DataView(payload.buffer);
  const base = { cookie, type, error: 0, data: new Uint8Array(), message: "" };
  switch (type) {
    case 0:
      if (payload.length > 0) throw new Error("a NONE chunk with a payload");
      return base;
    case 1:
      if (payload.length < 9) throw new Error("a data chunk without data");
      return { ...base, offset: view.getBigUint64(0), data: payload.slice(8) };
    case 5:
    case 6: {
      const from = type === 5 ? 4 : 8;
      const size = type === 5 ? 8 : 16;
      if (payload.length <= from || (payload.length - from) % size !== 0)
        throw new Error("a status chunk of odd length");
      if (type === 6 && view.getUint32(4) !== (payload.length - from) / size)
        throw new Error("a wrong descriptor count");
      const extents = [];
      for (let at = from; at < payload.length; at += size) {
        extents.push(
          type === 5
            ? { length: BigInt(view.getUint32(at)), flags: BigInt(view.getUint32(at + 4)) }
            : { length: view.getBigUint64(at), flags: view.getBigUint64(at + 8) },
        );
      }
      return { ...base, contextId: view.getUint32(0), extents };
    }
    case 0x8001: {
      const messageBytes = view.getUint16(4);
      if (payload.length !== 6 + messageBytes) throw new Error("an error chunk whose lengths differ");
      return { ...base, error: view.getUint32(0), message: decoder.decode(payload.subarray(6)) };
    }
    default:
      throw new Error(`a chunk of type ${type}`);
  }
}
