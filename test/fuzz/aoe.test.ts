/**
 * Seeded frames through the decoder and all four commands, with disks in memory, against a model. VOE_SEED repeats a
 * run; VOE_TEST_FULL=1 makes it a million frames.
 */
import { expect, test } from "bun:test";
import { allocateMemory } from "../../ffi/memory.ts";
import { KEPT, REPLY, SILENCE } from "../../src/protocol/aoe/reply.ts";
import { memoryStorage } from "../../src/storage/memory-storage.ts";
import { clientMac, openExchange, serverMac } from "../support/aoe-exchange.ts";
import { makeFuzzFrame, type FuzzWorld } from "../support/fuzz-frames.ts";
import { accessOf, endOf, faultOf, mayBeSilent, type Situation } from "../support/fuzz-model.ts";
import { makeRandom, seedOfRun } from "../support/random.ts";

const FRAMES = process.env["VOE_TEST_FULL"] === "1" ? 1_000_000 : 50_000;
/** How often the whole disk is compared, and how often the lists that shut initiators out are emptied. */
const COMPARE_EVERY = 16;
const RESET_EVERY = 200;
const SECTORS = 64;
const sources = [clientMac, clientMac + 1, clientMac + 2];
const serverMacBytes = new Uint8Array([2, 0, 0, 0, 0, 1]);
const emptyState = { configString: new Uint8Array(0), mask: [], reservations: [] };

/** A target and what its disk must hold. */
function openModelled(mtuBytes: number, shelf: number, slot: number, readOnly: boolean) {
  const storage = memoryStorage(SECTORS, { readOnly });
  const content = allocateMemory(SECTORS * 512);
  return {
    readOnly,
    exchange: openExchange({ storage, mtuBytes, address: { shelf, slot } }),
    expected: new Uint8Array(SECTORS * 512),
    /** Whether the disk holds what it must. */
    isIntact(): boolean {
      storage.tryRead(0, SECTORS, content, 0);
      return Buffer.compare(content.bytes.subarray(0, SECTORS * 512), this.expected) === 0;
    },
  };
}
type Modelled = ReturnType<typeof openModelled>;

/** Judges what one target made of a frame, and returns what is wrong with it, or undefined. */
function faultWith(target: Modelled, situation: Situation, outcome: number, reply: Uint8Array): string | undefined {
  if (outcome === SILENCE) return mayBeSilent(situation) ? undefined : "there is no answer";
  if (mayBeSilent(situation)) return "there is an answer";
  const fault = faultOf(situation, reply, serverMacBytes);
  if (fault !== undefined) return `the answer: ${fault}`;
  const access = accessOf(situation);
  if (access === undefined) return undefined;
  const end = endOf(situation, access);
  const actual = reply[14] === 0x1c ? { aoe: reply[15]! } : { ata: [reply[27]!, reply[25]!] };
  if (!Bun.deepEquals(actual, end)) return `it ended with ${JSON.stringify(actual)} and not ${JSON.stringify(end)}`;
  if (!("ata" in end) || end.ata[0] !== 0x40) return undefined;
  const [from, to] = [access.sector * 512, (access.sector + access.count) * 512];
  if (access.isWrite) {
    target.expected.set(situation.frame.subarray(36), from);
    return reply.length === 36 ? undefined : "a write was answered with data";
  }
  const isRight = Buffer.compare(reply.subarray(36), target.expected.subarray(from, to)) === 0;
  return isRight ? undefined : "the data is not what was written";
}

for (const mtuBytes of [1500, 9000]) {
  const title = "are answered as the protocol says, and the disk holds what was written and nothing else";
  test(`${FRAMES} frames at MTU ${mtuBytes} ${title}`, () => fuzz(mtuBytes), 120_000);
}

async function fuzz(mtuBytes: number): Promise<void> {
  const seed = seedOfRun();
  console.log(`fuzz: VOE_SEED=${seed}`);
  const random = makeRandom(seed);
  const targets = [
    openModelled(mtuBytes, 1, 0, false),
    openModelled(mtuBytes, 1, 7, true),
    openModelled(mtuBytes, 0x1234, 0, false),
  ];
  const world: FuzzWorld = {
    addresses: targets.map(({ exchange }) => ({ shelf: exchange.target.shelf, slot: exchange.target.slot })),
    sources,
    serverMac,
    sectorCount: SECTORS,
    frameMostBytes: mtuBytes + 14,
    forgeSources: true,
  };
  const buffer = new Uint8Array(mtuBytes + 14);
  const seen = { silent: 0, errors: 0, reads: 0, writes: 0, saved: 0 };
  for (let i = 0; i < FRAMES; i++) {
    const frame = buffer.subarray(0, makeFuzzFrame(random, world, buffer));
    for (const target of targets) {
      const { exchange } = target;
      const { shelf, slot, state } = exchange.target;
      const situation = { frame, shelf, slot, state, sectorCount: SECTORS, readOnly: target.readOnly, mtuBytes };
      const explain = (what: string): Error =>
        new Error(
          `VOE_SEED=${seed}, frame ${i}, target e${shelf}.${slot}: ${what}\n` +
            `${Buffer.from(frame.subarray(0, 64)).toString("hex")} (${frame.length} bytes)`,
        );
      let outcome: number;
      try {
        outcome = exchange.take(frame);
      } catch (error) {
        throw explain(`it threw ${String((error as Error).stack)}`);
      }
      for (let turns = 0; exchange.keptCount > 0; turns++) {
        if (turns === 100) throw explain("the answer never came");
        await Promise.resolve();
      }
      if (outcome !== SILENCE && exchange.sent.length !== 1) throw explain(`${exchange.sent.length} answers`);
      const reply = exchange.sent.pop() ?? new Uint8Array(0);
      const fault = faultWith(target, situation, outcome, reply);
      if (fault !== undefined) throw explain(fault);
      if (i % COMPARE_EVERY === 0 && !target.isIntact()) {
        throw explain(`the disk changed where nothing was written, at one of the last ${COMPARE_EVERY} frames`);
      }
      if (outcome === SILENCE) seen.silent++;
      else if (reply[14] === 0x1c) seen.errors++;
      else if (outcome === KEPT) seen.saved++;
      else if (outcome === REPLY && reply.length > 36 && reply[19] === 0) seen.reads++;
      else if (reply[19] === 0 && reply[27] === 0x40 && (frame[27]! & 0xf0) === 0x30) seen.writes++;
      if (i % RESET_EVERY === 0) {
        exchange.target.state = emptyState;
        exchange.saved.length = 0;
      }
    }
  }
  for (const target of targets) {
    expect(target.isIntact()).toBe(true);
    expect(target.exchange.target.counters.inFlight).toBe(0);
  }
  // Frames that all came to nothing would prove nothing.
  for (const [what, count] of Object.entries(seen)) expect([what, count > FRAMES / 100]).toEqual([what, true]);
}
