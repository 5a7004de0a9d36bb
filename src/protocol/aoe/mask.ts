/** Command 2: MAC mask list (AoEr11, section 3.3). */
import type { Memory } from "../../base/memory.ts";
import {
  AT_MASK_COMMAND,
  AT_MASK_COUNT,
  AT_MASK_DIRECTIVES,
  AT_MASK_ERROR,
  ERROR_BAD_ARGUMENT,
  ETHERNET_HEADER_BYTES,
  HEADER_BYTES,
  MASK_DIRECTIVE_ADD,
  MASK_DIRECTIVE_BYTES,
  MASK_DIRECTIVE_DELETE,
  MASK_DIRECTIVE_NONE,
  MASK_EDIT,
  MASK_ERROR_BAD_DIRECTIVE,
  MASK_ERROR_LIST_FULL,
  MASK_ERROR_UNSPECIFIED,
  MASK_READ,
} from "./frame.ts";
import type { AoeLink } from "./link.ts";
import { readMac, writeMac, type Mac } from "./mac.ts";
import { errorReply, REPLY, replyWith, type Reply } from "./reply.ts";
import { saveState } from "./save-state.ts";
import { LIST_MOST_ENTRIES, type AoeTarget } from "./target.ts";

/** Entries of a mask list that fit into a frame: a reply must be able to say the whole list. */
const mostEntries = (mtuBytes: number): number =>
  Math.min(
    LIST_MOST_ENTRIES,
    Math.floor((mtuBytes - (AT_MASK_DIRECTIVES - ETHERNET_HEADER_BYTES)) / MASK_DIRECTIVE_BYTES),
  );

/** The list as directives of an answer, each `MASK_DIRECTIVE_NONE`. */
function directives(mask: readonly Mac[]): Uint8Array {
  const bytes = new Uint8Array(mask.length * MASK_DIRECTIVE_BYTES);
  for (let i = 0; i < mask.length; i++) writeMac(bytes, i * MASK_DIRECTIVE_BYTES + 2, mask[i]!);
  return bytes;
}

function writeMaskHeader(reply: Reply, command: number, error: number, count: number): void {
  const to = reply.memory.bytes;
  to[reply.headerAt + HEADER_BYTES] = 0;
  to[reply.headerAt + AT_MASK_COMMAND] = command;
  to[reply.headerAt + AT_MASK_ERROR] = error;
  to[reply.headerAt + AT_MASK_COUNT] = count;
  reply.headerBytes = AT_MASK_DIRECTIVES;
}

export function answerMask(
  target: AoeTarget,
  link: AoeLink,
  request: Memory,
  at: number,
  lengthBytes: number,
  reply: Reply,
): number {
  if (lengthBytes < AT_MASK_DIRECTIVES) return errorReply(reply, ERROR_BAD_ARGUMENT);
  const command = request.bytes[at + AT_MASK_COMMAND]!;
  if (command === MASK_READ) {
    const { mask } = target.state;
    writeMaskHeader(reply, command, 0, mask.length);
    return replyWith(link, reply, AT_MASK_DIRECTIVES, directives(mask));
  }
  if (command !== MASK_EDIT) return errorReply(reply, ERROR_BAD_ARGUMENT);
  const count = request.bytes[at + AT_MASK_COUNT]!;
  if (lengthBytes < AT_MASK_DIRECTIVES + count * MASK_DIRECTIVE_BYTES) return errorReply(reply, ERROR_BAD_ARGUMENT);

  const mask = new Set(target.state.mask);
  for (let i = 0; i < count; i++) {
    const directiveAt = at + AT_MASK_DIRECTIVES + i * MASK_DIRECTIVE_BYTES;
    const error = edit(target, link, mask, request.bytes[directiveAt + 1]!, readMac(request.bytes, directiveAt + 2));
    if (error !== 0) {
      // The count is the index of the directive that failed. None is applied, so that a list is never half edited.
      writeMaskHeader(reply, command, error, i);
      return REPLY;
    }
  }
  const edited = [...mask];
  writeMaskHeader(reply, command, 0, edited.length);
  return saveState(target, link, { ...target.state, mask: edited }, reply, directives(edited));
}

/** Applies one directive to `mask`; 0, or the mask error. */
function edit(target: AoeTarget, link: AoeLink, mask: Set<Mac>, directive: number, mac: Mac): number {
  switch (directive) {
    case MASK_DIRECTIVE_NONE:
      return 0;
    case MASK_DIRECTIVE_ADD:
      if (!mask.has(mac) && mask.size >= mostEntries(link.mtuBytes)) return MASK_ERROR_LIST_FULL;
      mask.add(mac);
      return 0;
    case MASK_DIRECTIVE_DELETE:
      // What the configuration allows is not for the wire to take away.
      if (target.maskFloor.includes(mac)) return MASK_ERROR_UNSPECIFIED;
      mask.delete(mac);
      return 0;
    default:
      return MASK_ERROR_BAD_DIRECTIVE;
  }
}
