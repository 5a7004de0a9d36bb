/** Frames that look like AoE requests, more or less: most are nearly right, since those get deepest into a target. */
import { MAC_BROADCAST, writeMac, type Mac } from "../../src/protocol/aoe/mac.ts";
import type { Random } from "./random.ts";

export interface FuzzWorld {
  /** Where the targets are that shall answer. */
  readonly addresses: readonly { shelf: number; slot: number }[];
  /** Who asks; lists of MACs have mostly these, too. */
  readonly sources: readonly Mac[];
  readonly serverMac: Mac;
  /** Size of the targets. */
  readonly sectorCount: number;
  /** Longest frame, with the Ethernet header. */
  readonly frameMostBytes: number;
  /** Whether sources are forged now and then. Those are answered to who knows where. */
  readonly forgeSources: boolean;
}

const ATA_COMMANDS = [0x20, 0x24, 0x24, 0x24, 0x30, 0x34, 0x34, 0x34, 0xec, 0xe7, 0xea, 0xe5, 0xef, 0xb0];
const MOST_48 = 2 ** 48 - 1;

/** Fills `frame` from its start and returns the length of the frame made. */
export function makeFuzzFrame(random: Random, world: FuzzWorld, frame: Uint8Array): number {
  if (random.chance(0.03)) {
    const lengthBytes = random.below(world.frameMostBytes + 1);
    for (let i = 0; i < lengthBytes; i++) frame[i] = random.word();
    if (lengthBytes >= 14) frame.set([0x88, 0xa2], 12);
    return lengthBytes;
  }
  const lengthBytes = makeRequest(random, world, frame);
  return random.chance(0.2) ? mutate(random, world, frame, lengthBytes) : lengthBytes;
}

function makeRequest(random: Random, world: FuzzWorld, frame: Uint8Array): number {
  const { shelf, slot } = random.pick(world.addresses);
  const isWildShelf = random.chance(0.05);
  writeMac(frame, 0, random.chance(0.8) ? world.serverMac : MAC_BROADCAST);
  writeMac(frame, 6, random.pick(world.sources));
  frame.set([0x88, 0xa2, 0x10, 0], 12);
  frame[16] = isWildShelf ? 0xff : shelf >> 8;
  frame[17] = isWildShelf ? 0xff : shelf;
  frame[18] = random.chance(0.05) ? 0xff : slot;
  writeWord(frame, 20, random.word());
  const kind = random.below(100);
  if (kind < 68) return makeAta(random, world, frame);
  if (kind < 80) return makeConfig(random, world, frame);
  if (kind < 89) return makeMask(random, world, frame);
  if (kind < 98) return makeReserve(random, world, frame);
  frame[19] = random.word();
  const lengthBytes = 24 + random.below(64);
  for (let i = 24; i < lengthBytes; i++) frame[i] = random.word();
  return lengthBytes;
}

function makeAta(random: Random, world: FuzzWorld, frame: Uint8Array): number {
  const command = random.chance(0.03) ? random.word() & 0xff : random.pick(ATA_COMMANDS);
  const fitting = Math.floor((world.frameMostBytes - 36) / 512);
  const count = random.chance(0.05) ? random.below(256) : random.below(fitting + 2);
  frame[19] = 0;
  frame[24] = random.chance(0.9) ? 0x41 : random.word();
  frame[25] = random.chance(0.5) ? 0 : random.pick([0x03, 0xaa, 0xda, 0xd0]);
  frame[26] = count;
  frame[27] = command;
  let sector = makeSector(random, world.sectorCount);
  for (let i = 28; i < 34; i++) {
    frame[i] = sector % 256;
    sector = Math.floor(sector / 256);
  }
  if ((frame[24] & 0x40) === 0 && random.chance(0.8)) frame[31] = (frame[31]! & 0x0f) | 0xe0;
  frame.fill(0, 34, 36);
  const isWrite = command === 0x30 || command === 0x34;
  const dataBytes = (isWrite ? count : 0) * 512 + (random.chance(0.05) ? random.below(1024) - 512 : 0);
  const lengthBytes = Math.max(36, Math.min(world.frameMostBytes, 36 + dataBytes));
  // Each sector is one byte over and over, with two words that hardly come twice.
  for (let at = 36; at < lengthBytes; at += 512) {
    frame.fill(random.word(), at, Math.min(at + 512, lengthBytes));
    if (at + 512 > lengthBytes) break;
    writeWord(frame, at, random.word());
    writeWord(frame, at + 508, random.word());
  }
  return lengthBytes;
}

function makeSector(random: Random, sectorCount: number): number {
  const kind = random.below(20);
  if (kind < 14) return random.below(sectorCount);
  if (kind < 17) return sectorCount - 4 + random.below(8);
  if (kind === 17) return MOST_48 - random.below(4);
  if (kind === 18) return random.pick([2 ** 28, 2 ** 31, 2 ** 32, 2 ** 47]) - 1 + random.below(2);
  return random.word() * 65536 + (random.word() & 0xffff);
}

function makeConfig(random: Random, world: FuzzWorld, frame: Uint8Array): number {
  frame[19] = 1;
  writeWord(frame, 24, 0);
  const stringBytes = random.chance(0.05) ? 1020 + random.below(10) : random.below(4);
  frame.set([0, 0x10 | (random.chance(0.9) ? random.below(5) : random.below(16)), stringBytes >> 8, stringBytes], 28);
  const lengthBytes = Math.min(world.frameMostBytes, 32 + stringBytes);
  for (let i = 32; i < lengthBytes; i++) frame[i] = 0x61 + random.below(2);
  return lengthBytes;
}

const makeMac = (random: Random, world: FuzzWorld): Mac =>
  random.chance(0.8) ? random.pick(world.sources) : 0x02_00_00_01_00_00 + random.below(400);

function makeMask(random: Random, world: FuzzWorld, frame: Uint8Array): number {
  const most = Math.min(255, Math.floor((world.frameMostBytes - 28) / 8));
  const count = random.chance(0.1) ? random.below(most + 1) : random.below(4);
  frame[19] = 2;
  frame.set([0, random.chance(0.9) ? random.below(2) : random.below(256), 0, count], 24);
  for (let i = 0; i < count; i++) {
    const at = 28 + i * 8;
    frame[at] = 0;
    frame[at + 1] = random.chance(0.95) ? random.below(3) : random.word();
    writeMac(frame, at + 2, makeMac(random, world));
  }
  return 28 + count * 8;
}

function makeReserve(random: Random, world: FuzzWorld, frame: Uint8Array): number {
  const most = Math.min(255, Math.floor((world.frameMostBytes - 26) / 6));
  const count = random.chance(0.05) ? random.below(most + 1) : random.below(3);
  frame[19] = 3;
  frame[24] = random.chance(0.9) ? random.below(3) : random.word();
  frame[25] = count;
  for (let i = 0; i < count; i++) writeMac(frame, 26 + i * 6, makeMac(random, world));
  return 26 + count * 6;
}

/** Changes some bytes behind the EtherType, or the length. */
function mutate(random: Random, world: FuzzWorld, frame: Uint8Array, lengthBytes: number): number {
  if (random.chance(0.3)) return random.below(lengthBytes + 1);
  if (random.chance(0.2)) {
    const longer = Math.min(world.frameMostBytes, lengthBytes + random.below(64));
    frame.fill(random.word(), lengthBytes, longer);
    return longer;
  }
  // Mostly in the headers, where a byte decides something.
  const end = random.chance(0.8) ? Math.min(lengthBytes, 48) : lengthBytes;
  for (let left = 1 + random.below(4); left > 0; left--) {
    const at = 14 + random.below(end - 14);
    frame[at] = random.chance(0.5) ? frame[at]! ^ (1 << random.below(8)) : random.word();
  }
  if (world.forgeSources && random.chance(0.1)) frame[6 + random.below(6)] = random.word();
  return lengthBytes;
}

function writeWord(bytes: Uint8Array, at: number, word: number): void {
  bytes[at] = word >>> 24;
  bytes[at + 1] = word >>> 16;
  bytes[at + 2] = word >>> 8;
  bytes[at + 3] = word;
}
