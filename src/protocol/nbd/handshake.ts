/**
 * Fixed newstyle negotiation (proto.md, "Fixed newstyle negotiation" and "Option types"): bytes of the client in,
 * replies out, one option at a time, until it ends in transmission or with the connection.
 */
import {
  INIT_PASSWD,
  MINIMUM_BLOCK_BYTES,
  NBD_FLAG_BLOCK_STATUS_PAYLOAD,
  NBD_FLAG_CAN_MULTI_CONN,
  NBD_FLAG_C_FIXED_NEWSTYLE,
  NBD_FLAG_C_NO_ZEROES,
  NBD_FLAG_FIXED_NEWSTYLE,
  NBD_FLAG_HAS_FLAGS,
  NBD_FLAG_NO_ZEROES,
  NBD_FLAG_READ_ONLY,
  NBD_FLAG_SEND_CACHE,
  NBD_FLAG_SEND_DF,
  NBD_FLAG_SEND_FAST_ZERO,
  NBD_FLAG_SEND_FLUSH,
  NBD_FLAG_SEND_FUA,
  NBD_FLAG_SEND_TRIM,
  NBD_FLAG_SEND_WRITE_ZEROES,
  NBD_INFO_BLOCK_SIZE,
  NBD_INFO_DESCRIPTION,
  NBD_INFO_EXPORT,
  NBD_INFO_NAME,
  NBD_OPT_ABORT,
  NBD_OPT_EXPORT_NAME,
  NBD_OPT_EXTENDED_HEADERS,
  NBD_OPT_GO,
  NBD_OPT_INFO,
  NBD_OPT_LIST,
  NBD_OPT_LIST_META_CONTEXT,
  NBD_OPT_SET_META_CONTEXT,
  NBD_OPT_STARTTLS,
  NBD_OPT_STRUCTURED_REPLY,
  NBD_REP_ACK,
  NBD_REP_ERR_EXT_HEADER_REQD,
  NBD_REP_ERR_INVALID,
  NBD_REP_ERR_POLICY,
  NBD_REP_ERR_SHUTDOWN,
  NBD_REP_ERR_TLS_REQD,
  NBD_REP_ERR_UNKNOWN,
  NBD_REP_ERR_UNSUP,
  NBD_REP_INFO,
  NBD_REP_META_CONTEXT,
  NBD_REP_SERVER,
  OPTION_HEADER_BYTES,
  OPTION_MAGIC,
  OPTION_MOST_BYTES,
  OPTION_REPLY_MAGIC,
  PAYLOAD_MOST_BYTES,
  PREFERRED_BLOCK_BYTES,
} from "./constants.ts";
import type { ExportTable, NbdExport } from "./export.ts";
import { parseInfoRequest, parseMetaRequest, parseString } from "./option-data.ts";

/** What a client has negotiated, in transmission. */
export interface Negotiated {
  readonly export: NbdExport;
  readonly structuredReplies: boolean;
  readonly extendedHeaders: boolean;
  /** Whether BLOCK_STATUS may be asked, for `base:allocation`. */
  readonly allocationContext: boolean;
}

/** How far a handshake has come. */
export type HandshakeState =
  | { readonly kind: "negotiating" }
  /** The replies go out, and then the connection becomes TLS, with a new handshake that is `secured`. */
  | { readonly kind: "starttls" }
  | { readonly kind: "transmission"; readonly negotiated: Negotiated }
  /** The replies go out, and then the connection ends. */
  | { readonly kind: "aborted" }
  /** The connection ends at once. */
  | { readonly kind: "dropped"; readonly reason: string };

export interface HandshakeOptions {
  /** What this client may have, as it is now. */
  readonly exports: () => ExportTable;
  /** Whether the connection has to become TLS before anything is told (FORCEDTLS), has become it, or never does. */
  readonly tls: "off" | "required" | "established";
  readonly isShuttingDown: () => boolean;
}

export interface Handshake {
  readonly state: HandshakeState;
  /**
   * Takes what the client sent next, at most one option, and returns how many bytes that were: 0 where more of them are
   * needed first. What comes after an option must wait until the replies to it were sent.
   */
  take(bytes: Uint8Array): number;
  /** The replies since the last call. */
  takeReplies(): Uint8Array;
}

/** An option that waits for the rest of its data has at most so many bytes. */
export const HANDSHAKE_INPUT_BYTES = OPTION_HEADER_BYTES + OPTION_MOST_BYTES;

const ALLOCATION_CONTEXT = "base:allocation";
/** Of `base:allocation`, the only context there is. */
export const ALLOCATION_CONTEXT_ID = 1;

const NEGOTIATING: HandshakeState = { kind: "negotiating" };
const encoder = new TextEncoder();

/** Begins a handshake: the greeting is the first of its replies, on a connection that has not become TLS. */
export function createHandshake(options: HandshakeOptions): Handshake {
  let state = NEGOTIATING;
  let replies: Uint8Array[] = options.tls === "established" ? [] : [greeting()];
  // After STARTTLS the client goes on with options: its flags were sent before.
  let hasFlags = options.tls === "established";
  let isFixed = hasFlags;
  let noZeroes = false;
  let structuredReplies = false;
  let extendedHeaders = false;
  /** The export's name for which the allocation context was selected. */
  let contextOf: string | undefined;

  const drop = (reason: string): void => {
    state = { kind: "dropped", reason };
  };

  const reply = (option: number, type: number, data: Uint8Array = new Uint8Array()): void => {
    const header = new DataView(new ArrayBuffer(20));
    header.setBigUint64(0, OPTION_REPLY_MAGIC);
    header.setUint32(8, option);
    header.setUint32(12, type);
    header.setUint32(16, data.length);
    replies.push(new Uint8Array(header.buffer), data);
  };
  const refuse = (option: number, type: number, message: string): void => reply(option, type, encoder.encode(message));

  const takeFlags = (flags: number): void => {
    if ((flags & ~(NBD_FLAG_C_FIXED_NEWSTYLE | NBD_FLAG_C_NO_ZEROES)) !== 0) {
      drop(`unknown client flags 0x${flags.toString(16)}`);
    }
    hasFlags = true;
    isFixed = (flags & NBD_FLAG_C_FIXED_NEWSTYLE) !== 0;
    noZeroes = (flags & NBD_FLAG_C_NO_ZEROES) !== 0;
  };

  const transmissionFlags = ({ disk }: NbdExport, name: string): number => {
    let flags =
      NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA | NBD_FLAG_CAN_MULTI_CONN | NBD_FLAG_SEND_CACHE;
    flags |= disk.storage.info.readOnly
      ? NBD_FLAG_READ_ONLY
      : NBD_FLAG_SEND_TRIM | NBD_FLAG_SEND_WRITE_ZEROES | NBD_FLAG_SEND_FAST_ZERO;
    if (structuredReplies || extendedHeaders) flags |= NBD_FLAG_SEND_DF;
    if (extendedHeaders && contextOf === name) flags |= NBD_FLAG_BLOCK_STATUS_PAYLOAD;
    return flags;
  };

  const transmit = (found: NbdExport, name: string): void => {
    const allocationContext = contextOf === name;
    state = {
      kind: "transmission",
      negotiated: { export: found, structuredReplies, extendedHeaders, allocationContext },
    };
  };

  const takeExportName = (data: Uint8Array): void => {
    const name = parseString(data);
    const found = name === undefined ? undefined : options.exports().find(name);
    // This option has no error replies: what cannot be had ends the connection.
    if (options.tls === "required") drop("EXPORT_NAME before TLS");
    else if (options.isShuttingDown()) drop("the server is shutting down");
    else if (extendedHeaders) drop("EXPORT_NAME after EXTENDED_HEADERS");
    else if (name === undefined || found === undefined) drop(`no export ${JSON.stringify(name ?? "")}`);
    else {
      const answer = new DataView(new ArrayBuffer(noZeroes ? 10 : 134));
      answer.setBigUint64(0, sizeOf(found));
      answer.setUint16(8, transmissionFlags(found, name));
      replies.push(new Uint8Array(answer.buffer));
      transmit(found, name);
    }
  };

  const takeInfo = (option: number, data: Uint8Array): void => {
    const request = parseInfoRequest(data);
    if (request === undefined) {
      refuse(option, NBD_REP_ERR_INVALID, "the option is malformed");
      return;
    }
    const found = options.exports().find(request.name);
    if (found === undefined) {
      refuse(option, NBD_REP_ERR_UNKNOWN, noSuchExport(request.name, options.exports()));
      return;
    }
    const describe = (type: number, text: string): void => {
      const bytes = encoder.encode(text);
      const answer = new Uint8Array(info(type, bytes.length).buffer);
      answer.set(bytes, 2);
      reply(option, NBD_REP_INFO, answer);
    };
    const about = info(NBD_INFO_EXPORT, 10);
    about.setBigUint64(2, sizeOf(found));
    about.setUint16(10, transmissionFlags(found, request.name));
    reply(option, NBD_REP_INFO, new Uint8Array(about.buffer));
    if (request.wanted.has(NBD_INFO_NAME)) describe(NBD_INFO_NAME, found.name);
    if (request.wanted.has(NBD_INFO_DESCRIPTION)) describe(NBD_INFO_DESCRIPTION, found.description);
    if (request.wanted.has(NBD_INFO_BLOCK_SIZE)) {
      const sizes = info(NBD_INFO_BLOCK_SIZE, 12);
      sizes.setUint32(2, MINIMUM_BLOCK_BYTES);
      sizes.setUint32(6, PREFERRED_BLOCK_BYTES);
      sizes.setUint32(10, PAYLOAD_MOST_BYTES);
      reply(option, NBD_REP_INFO, new Uint8Array(sizes.buffer));
    }
    reply(option, NBD_REP_ACK);
    if (option === NBD_OPT_GO) transmit(found, request.name);
  };

  const takeMeta = (option: number, data: Uint8Array): void => {
    const selects = option === NBD_OPT_SET_META_CONTEXT;
    // Whatever becomes of it, it replaces what was selected before.
    if (selects) contextOf = undefined;
    const request = parseMetaRequest(data);
    if (!structuredReplies && !extendedHeaders) {
      refuse(option, NBD_REP_ERR_INVALID, "structured replies have to be negotiated first");
    } else if (request === undefined) {
      refuse(option, NBD_REP_ERR_INVALID, "the option is malformed");
    } else if (options.exports().find(request.name) === undefined) {
      refuse(option, NBD_REP_ERR_UNKNOWN, noSuchExport(request.name, options.exports()));
    } else {
      const { queries } = request;
      const matches =
        queries.includes(ALLOCATION_CONTEXT) || (!selects && (queries.length === 0 || queries.includes("base:")));
      if (matches) {
        const answer = new Uint8Array(4 + ALLOCATION_CONTEXT.length);
        new DataView(answer.buffer).setUint32(0, selects ? ALLOCATION_CONTEXT_ID : 0);
        answer.set(encoder.encode(ALLOCATION_CONTEXT), 4);
        reply(option, NBD_REP_META_CONTEXT, answer);
        if (selects) contextOf = request.name;
      }
      reply(option, NBD_REP_ACK);
    }
  };

  const takeList = (): void => {
    for (const { name, description } of options.exports().list) {
      const [nameBytes, text] = [encoder.encode(name), encoder.encode(description)];
      const data = new Uint8Array(4 + nameBytes.length + text.length);
      new DataView(data.buffer).setUint32(0, nameBytes.length);
      data.set(nameBytes, 4);
      data.set(text, 4 + nameBytes.length);
      reply(NBD_OPT_LIST, NBD_REP_SERVER, data);
    }
    reply(NBD_OPT_LIST, NBD_REP_ACK);
  };

  const takeOption = (option: number, data: Uint8Array): void => {
    if (option === NBD_OPT_EXPORT_NAME) {
      takeExportName(data);
      return;
    }
    if (!isFixed) {
      drop(`option ${option} without fixed newstyle negotiation`);
      return;
    }
    if (option === NBD_OPT_ABORT) {
      reply(option, NBD_REP_ACK);
      state = { kind: "aborted" };
      return;
    }
    if (options.isShuttingDown()) {
      refuse(option, NBD_REP_ERR_SHUTDOWN, "the server is shutting down");
      return;
    }
    if (options.tls === "required" && option !== NBD_OPT_STARTTLS) {
      refuse(option, NBD_REP_ERR_TLS_REQD, "this server requires TLS");
      return;
    }
    const isBare = option === NBD_OPT_LIST || option === NBD_OPT_STARTTLS;
    const isSwitch = option === NBD_OPT_STRUCTURED_REPLY || option === NBD_OPT_EXTENDED_HEADERS;
    if ((isBare || isSwitch) && data.length > 0) {
      refuse(option, NBD_REP_ERR_INVALID, "the option has no data");
      return;
    }
    switch (option) {
      case NBD_OPT_LIST:
        takeList();
        return;
      case NBD_OPT_STARTTLS:
        if (options.tls === "off") {
          refuse(option, NBD_REP_ERR_POLICY, "TLS is off on this server");
        } else if (options.tls === "established") {
          refuse(option, NBD_REP_ERR_INVALID, "TLS has been negotiated already");
        } else {
          reply(option, NBD_REP_ACK);
          state = { kind: "starttls" };
        }
        return;
      case NBD_OPT_INFO:
      case NBD_OPT_GO:
        takeInfo(option, data);
        return;
      case NBD_OPT_STRUCTURED_REPLY:
        if (extendedHeaders) {
          refuse(option, NBD_REP_ERR_EXT_HEADER_REQD, "extended headers have been negotiated already");
          return;
        }
        structuredReplies = true;
        reply(option, NBD_REP_ACK);
        return;
      case NBD_OPT_EXTENDED_HEADERS:
        extendedHeaders = true;
        reply(option, NBD_REP_ACK);
        return;
      case NBD_OPT_LIST_META_CONTEXT:
      case NBD_OPT_SET_META_CONTEXT:
        takeMeta(option, data);
        return;
      default:
        refuse(option, NBD_REP_ERR_UNSUP, `option ${option} is not known here`);
    }
  };

  return {
    get state() {
      return state;
    },
    take(bytes) {
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      if (!hasFlags) {
        if (bytes.length < 4) return 0;
        takeFlags(view.getUint32(0));
        return 4;
      }
      if (bytes.length < 8) return 0;
      if (view.getBigUint64(0) !== OPTION_MAGIC) {
        drop("an option without its magic number");
        return 0;
      }
      if (bytes.length < OPTION_HEADER_BYTES) return 0;
      const lengthBytes = view.getUint32(12);
      if (lengthBytes > OPTION_MOST_BYTES) {
        drop(`an option of ${lengthBytes} bytes`);
        return 0;
      }
      const end = OPTION_HEADER_BYTES + lengthBytes;
      if (bytes.length < end) return 0;
      takeOption(view.getUint32(8), bytes.subarray(OPTION_HEADER_BYTES, end));
      return end;
    },
    takeReplies() {
      const taken = Buffer.concat(replies);
      replies = [];
      return taken;
    },
  };
}

function greeting(): Uint8Array {
  const view = new DataView(new ArrayBuffer(18));
  view.setBigUint64(0, INIT_PASSWD);
  view.setBigUint64(8, OPTION_MAGIC);
  view.setUint16(16, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
  return new Uint8Array(view.buffer);
}

const sizeOf = ({ disk }: NbdExport): bigint => BigInt(disk.sizeBytes);

/** Says which exports the client may have instead: only those that it may know of are in the table. */
function noSuchExport(name: string, { list }: ExportTable): string {
  const names = list.slice(0, 10).map((each) => each.name);
  const others = names.length === 0 ? "there is none for this client" : `there is ${names.join(", ")}`;
  return `no export ${JSON.stringify(name.slice(0, 64))}; ${others}`;
}

/** Information of a type, whose payload begins at byte 2. */
function info(type: number, payloadBytes: number): DataView {
  const view = new DataView(new ArrayBuffer(2 + payloadBytes));
  view.setUint16(0, type);
  return view;
}
