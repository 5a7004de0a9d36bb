/** Command 0: ATA (AoEr11, section 3.1). Reads and writes are the hot path: no allocation, no exception. */
import type { Memory } from "../../base/memory.ts";
import { LATER, OK, SECTOR_BYTES } from "../../storage/block-storage.ts";
import { ataStatus } from "./ata-status.ts";
import {
  AT_ATA_COMMAND_STATUS,
  AT_ATA_DATA,
  AT_ATA_ERROR_FEATURE,
  AT_ATA_FLAGS,
  AT_ATA_LBA,
  AT_ATA_SECTOR_COUNT,
  AT_COMMAND,
  ATA_CHECK_POWER_MODE,
  ATA_ERROR_ABRT,
  ATA_FLAG_LBA48,
  ATA_FLUSH_CACHE,
  ATA_FLUSH_CACHE_EXT,
  ATA_IDENTIFY_DEVICE,
  ATA_READ_SECTORS,
  ATA_READ_SECTORS_EXT,
  ATA_SET_FEATURES,
  ATA_SMART,
  ATA_STATUS_DRDY,
  ATA_STATUS_ERR,
  ATA_WRITE_SECTORS,
  ATA_WRITE_SECTORS_EXT,
  COMMAND_ATA,
  ERROR_BAD_ARGUMENT,
  ERROR_RESERVED,
  sectorsPerFrame,
} from "./frame.ts";
import type { AoeLink } from "./link.ts";
import type { Mac } from "./mac.ts";
import { PENDING_BODY_AT } from "./pending-request.ts";
import { errorReply, fits, KEPT, REPLY, SILENCE, type Reply } from "./reply.ts";
import type { AoeTarget } from "./target.ts";

/** First sector of a request: 48 bits with the E flag, else 28. */
export function requestSector(bytes: Uint8Array, at: number): number {
  const lba = at + AT_ATA_LBA;
  const low = bytes[lba]! | (bytes[lba + 1]! << 8) | (bytes[lba + 2]! << 16);
  if ((bytes[at + AT_ATA_FLAGS]! & ATA_FLAG_LBA48) === 0) return low | ((bytes[lba + 3]! & 0x0f) << 24);
  const high = bytes[lba + 4]! | (bytes[lba + 5]! << 8);
  return high * 0x1_0000_0000 + ((low | (bytes[lba + 3]! << 24)) >>> 0);
}

/** Whether a request is an ATA command that writes. */
export function isWrite(bytes: Uint8Array, at: number, lengthBytes: number): boolean {
  if (lengthBytes < AT_ATA_DATA || bytes[at + AT_COMMAND] !== COMMAND_ATA) return false;
  const command = bytes[at + AT_ATA_COMMAND_STATUS];
  return command === ATA_WRITE_SECTORS_EXT || command === ATA_WRITE_SECTORS;
}

const isReservedAgainst = (target: AoeTarget, source: Mac): boolean =>
  target.reservationSet.size !== 0 && !target.reservationSet.has(source);

export function answerAta(
  target: AoeTarget,
  link: AoeLink,
  request: Memory,
  at: number,
  lengthBytes: number,
  source: Mac,
  reply: Reply,
): number {
  if (lengthBytes < AT_ATA_DATA) return errorReply(reply, ERROR_BAD_ARGUMENT);
  const from = request.bytes;
  const to = reply.memory.bytes;
  for (let i = AT_ATA_FLAGS; i < AT_ATA_DATA; i++) to[reply.headerAt + i] = from[at + i]!;
  reply.headerBytes = AT_ATA_DATA;

  switch (from[at + AT_ATA_COMMAND_STATUS]) {
    case ATA_READ_SECTORS:
    case ATA_READ_SECTORS_EXT:
      if (isReservedAgainst(target, source)) return errorReply(reply, ERROR_RESERVED);
      return answerRead(target, link, request, at, reply);
    case ATA_WRITE_SECTORS:
    case ATA_WRITE_SECTORS_EXT:
      if (isReservedAgainst(target, source)) return errorReply(reply, ERROR_RESERVED);
      return answerWrite(target, link, request, at, lengthBytes, reply);
    case ATA_FLUSH_CACHE:
    case ATA_FLUSH_CACHE_EXT:
      return answerFlush(target, link, reply);
    case ATA_IDENTIFY_DEVICE:
      if (!fits(link, AT_ATA_DATA, SECTOR_BYTES)) return errorReply(reply, ERROR_BAD_ARGUMENT);
      to.set(target.identify, reply.bodyAt);
      reply.bodyBytes = SECTOR_BYTES;
      ataStatus(target, to, reply.headerAt, OK);
      return REPLY;
    case ATA_CHECK_POWER_MODE:
      to[reply.headerAt + AT_ATA_SECTOR_COUNT] = 0xff; // active
      ataStatus(target, to, reply.headerAt, OK);
      return REPLY;
    case ATA_SET_FEATURES:
      return answerRegisters(reply, isHarmlessFeature(from[at + AT_ATA_ERROR_FEATURE]!));
    case ATA_SMART:
      return answerRegisters(reply, isSmartReturnStatus(from, at));
    default:
      return answerRegisters(reply, false);
  }
}

/** Commands that have no data: they are known, or aborted as a disk aborts them. */
function answerRegisters(reply: Reply, known: boolean): number {
  const to = reply.memory.bytes;
  to[reply.headerAt + AT_ATA_ERROR_FEATURE] = known ? 0 : ATA_ERROR_ABRT;
  to[reply.headerAt + AT_ATA_COMMAND_STATUS] = known ? ATA_STATUS_DRDY : ATA_STATUS_DRDY | ATA_STATUS_ERR;
  return REPLY;
}

// SET FEATURES (ATA8-ACS, section 7.48): transfer mode, read look-ahead on and off change nothing here. The write
// cache is what `sync` says, so a request to change it is refused rather than ignored.
const isHarmlessFeature = (feature: number): boolean => feature === 0x03 || feature === 0x55 || feature === 0xaa;

// SMART RETURN STATUS with its signature (ATA8-ACS, section 7.55.8): the registers come back as they are, "healthy".
const isSmartReturnStatus = (bytes: Uint8Array, at: number): boolean =>
  bytes[at + AT_ATA_ERROR_FEATURE] === 0xda &&
  bytes[at + AT_ATA_LBA + 1] === 0x4f &&
  bytes[at + AT_ATA_LBA + 2] === 0xc2;

function answerRead(target: AoeTarget, link: AoeLink, request: Memory, at: number, reply: Reply): number {
  const count = request.bytes[at + AT_ATA_SECTOR_COUNT]!;
  // A read that does not fit into a frame of this interface is refused, never cut.
  if (count === 0 || count > sectorsPerFrame(link.mtuBytes)) return errorReply(reply, ERROR_BAD_ARGUMENT);
  const sector = requestSector(request.bytes, at);
  const { storage, counters } = target;
  counters.reads++;
  counters.readBytes += count * SECTOR_BYTES;
  const lentAddress = storage.lend(sector, count);
  if (lentAddress !== 0) {
    reply.lentAddress = lentAddress;
    reply.bodyBytes = count * SECTOR_BYTES;
    ataStatus(target, reply.memory.bytes, reply.headerAt, OK);
    return REPLY;
  }
  const status = storage.tryRead(sector, count, reply.memory, reply.bodyAt);
  if (status === LATER) return keepRead(target, link, sector, count, reply.memory.bytes, reply.headerAt);
  if (ataStatus(target, reply.memory.bytes, reply.headerAt, status)) reply.bodyBytes = count * SECTOR_BYTES;
  return REPLY;
}

/** Keeps a read, whose reply header is at `headerAt`, until the storage has fetched it. */
export function keepRead(
  target: AoeTarget,
  link: AoeLink,
  sector: number,
  count: number,
  header: Uint8Array,
  headerAt: number,
): number {
  const pending = link.takePending();
  if (pending === undefined) return SILENCE;
  pending.keep(target, header, headerAt, count);
  target.storage.read(sector, count, pending.memory, PENDING_BODY_AT, pending);
  return KEPT;
}

function answerWrite(
  target: AoeTarget,
  link: AoeLink,
  request: Memory,
  at: number,
  lengthBytes: number,
  reply: Reply,
): number {
  const count = request.bytes[at + AT_ATA_SECTOR_COUNT]!;
  if (count === 0 || lengthBytes !== AT_ATA_DATA + count * SECTOR_BYTES) return errorReply(reply, ERROR_BAD_ARGUMENT);
  const sector = requestSector(request.bytes, at);
  const { storage, counters } = target;
  counters.writes++;
  counters.writtenBytes += count * SECTOR_BYTES;
  const status = storage.tryWrite(sector, count, request, at + AT_ATA_DATA);
  if (status !== LATER) {
    ataStatus(target, reply.memory.bytes, reply.headerAt, status);
    return REPLY;
  }
  const pending = link.takePending();
  if (pending === undefined) return SILENCE;
  pending.keep(target, reply.memory.bytes, reply.headerAt, 0);
  storage.write(sector, count, request, at + AT_ATA_DATA, false, pending);
  return KEPT;
}

function answerFlush(target: AoeTarget, link: AoeLink, reply: Reply): number {
  const pending = link.takePending();
  if (pending === undefined) return SILENCE;
  target.counters.flushes++;
  pending.keep(target, reply.memory.bytes, reply.headerAt, 0);
  target.storage.flush(pending);
  return KEPT;
}
