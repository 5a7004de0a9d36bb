/**
 * Seeded options and requests of NBD clients, well-formed and not, in any split, against a model of the disk. VOE_SEED
 * repeats a run; VOE_TEST_FULL=1 makes it a million.
 */
import { expect, test } from "bun:test";
import { createBufferPool } from "../../src/server/nbd/buffer-pool.ts";
import { memoryStorage } from "../../src/storage/memory-storage.ts";
import { openNbdExchange, type NbdExchange } from "../support/nbd-exchange.ts";
import {
  CMD,
  ERR,
  FLAG,
  infoData,
  metaData,
  OPT,
  option,
  parseOptionReplies,
  request,
  type NbdStyle,
  type RequestFields,
} from "../support/nbd-wire.ts";
import { makeRandom, seedOfRun, type Random } from "../support/random.ts";

const ROUNDS = process.env["VOE_TEST_FULL"] === "1" ? 1_000_000 : 6000;
const SECTORS = 64;
const SIZE = SECTORS * 512;
const names = ["e1.0", "scratch", "", "e9.9", "x".repeat(300), "n\0l", "\ud83d\ude00"];
const queries = ["base:allocation", "base:", "qemu:dirty", "", "plain", "x".repeat(5000)];

const someBytes = (random: Random, most: number): Uint8Array =>
  Uint8Array.from({ length: random.below(most + 1) }, () => random.word());

/** One byte of it, or its length, is another. */
function damaged(random: Random, bytes: Uint8Array): Uint8Array {
  if (random.chance(0.3)) return bytes.slice(0, random.below(bytes.length + 1));
  const copy = bytes.slice();
  if (copy.length > 0) copy[random.below(Math.min(copy.length, 40))] = random.word();
  return copy;
}

function someOptionData(random: Random, type: number): Uint8Array {
  if (random.chance(0.2)) return someBytes(random, 60);
  if (type === OPT.INFO || type === OPT.GO) {
    return infoData(random.pick(names), ...Array.from({ length: random.below(4) }, () => random.below(5)));
  }
  if (type === OPT.SET_META_CONTEXT || type === OPT.LIST_META_CONTEXT) {
    return metaData(random.pick(names), ...Array.from({ length: random.below(3) }, () => random.pick(queries)));
  }
  return new Uint8Array();
}

const isOver = ({ connection, dropped, ended, tlsStarted }: NbdExchange): boolean =>
  dropped !== undefined || ended || tlsStarted || connection.transmission !== undefined;

/** Options until the handshake is over, or as many as there are; each is answered to its end, or ends the connection. */
function haggle(random: Random, exchange: NbdExchange, most: number): number {
  let sent = 0;
  exchange.greet(random.chance(0.05) ? random.word() : 3);
  while (sent < most && !isOver(exchange)) {
    sent++;
    const type = random.chance(0.1) ? random.word() : random.below(13);
    const whole = option(type, someOptionData(random, type));
    const bytes = random.chance(0.05) ? damaged(random, whole) : whole;
    const at = random.below(bytes.length + 1);
    exchange.send(bytes.slice(0, at));
    exchange.send(bytes.slice(at));
    if (bytes !== whole || type === OPT.EXPORT_NAME) break;
    const { replies, rest } = parseOptionReplies(exchange.takeOutput());
    const last = replies.at(-1);
    const isFinal = last !== undefined && (last.type === 1 || last.type >= 0x8000_0000);
    if (exchange.dropped === undefined && (!isFinal || rest.length > 0 || last.option !== type)) {
      throw new Error(`option ${type} was not answered to its end: ${JSON.stringify(replies)}`);
    }
  }
  return sent;
}

const flagsFor: Record<number, number> = {
  [CMD.READ]: FLAG.FUA | FLAG.DF,
  [CMD.WRITE]: FLAG.FUA,
  [CMD.FLUSH]: FLAG.FUA,
  [CMD.TRIM]: FLAG.FUA,
  [CMD.CACHE]: FLAG.FUA,
  [CMD.WRITE_ZEROES]: FLAG.FUA | FLAG.NO_HOLE | FLAG.FAST_ZERO,
  [CMD.BLOCK_STATUS]: FLAG.FUA | FLAG.REQ_ONE,
};

function someRequest(random: Random, style: NbdStyle, cookie: bigint): RequestFields {
  const drawn = random.chance(0.05) ? random.below(0x1_0000) : random.pick(Object.values(CMD));
  const type = drawn === CMD.DISC ? CMD.READ : drawn;
  const flags = random.chance(0.1) ? random.below(64) : random.chance(0.3) ? random.word() & (flagsFor[type] ?? 0) : 0;
  // PAYLOAD_LEN announces data, which comes where there is some.
  const bare = flags & ~FLAG.PAYLOAD_LEN;
  const offset = random.chance(0.05)
    ? BigInt(random.word()) << BigInt(random.below(33))
    : BigInt(random.below(SIZE + 600));
  const length = random.chance(0.5) ? random.below(8) * 512 : random.below(5000);
  if (type === CMD.FLUSH) return { type, cookie, flags: bare, length: random.chance(0.2) ? length : 0 };
  if (type === CMD.WRITE) return { type, cookie, flags: bare, offset, data: someBytes(random, length) };
  const hasData = style === "extended" && random.chance(0.05);
  return { type, cookie, flags: bare, offset, ...(hasData ? { data: someBytes(random, 100) } : { length }) };
}

/** The error that the protocol has for a request; written for this test alone, from proto.md and its table. */
function errorOf(
  { type, flags = 0, offset = 0, length, data }: RequestFields,
  style: NbdStyle,
  context: boolean,
): number {
  const bytes = length === undefined ? (data?.length ?? 0) : Number(length);
  const hasData = (data?.length ?? 0) > 0;
  const allowed = (flagsFor[type] ?? -1) & (type === CMD.READ && style === "simple" ? ~FLAG.DF : -1);
  if (allowed === -1 || (flags & ~allowed) !== 0 || (hasData && type !== CMD.WRITE)) return ERR.EINVAL;
  // Without data there is no PAYLOAD_LEN.
  if (type === CMD.WRITE && style === "extended" && !hasData) return ERR.EINVAL;
  if (type === CMD.FLUSH) return bytes > 0 ? ERR.EINVAL : 0;
  if (type === CMD.BLOCK_STATUS && (!context || bytes === 0)) return ERR.EINVAL;
  if (BigInt(offset) + BigInt(bytes) <= BigInt(SIZE)) return 0;
  return type === CMD.WRITE || type === CMD.WRITE_ZEROES ? ERR.ENOSPC : ERR.EINVAL;
}

/** What a request that succeeded makes of the model. */
function apply(model: Uint8Array, { type, offset = 0, length = 0, data = new Uint8Array() }: RequestFields): void {
  const from = Number(offset);
  if (type === CMD.WRITE) model.set(data, from);
  else if (type === CMD.WRITE_ZEROES) model.fill(0, from, from + Number(length));
  else if (type === CMD.TRIM)
    model.fill(0, Math.ceil(from / 512) * 512, Math.max(0, Math.floor((from + Number(length)) / 512) * 512));
}

test(`${ROUNDS} options and requests are answered as the protocol says, and only what was written has changed`, async () => {
  const seed = seedOfRun();
  const random = makeRandom(seed);
  const pool = createBufferPool(2 ** 28, () => {});
  const storage = memoryStorage(SECTORS);
  const disk = new Uint8Array(SIZE);
  const target = { bytes: disk, view: new DataView(disk.buffer), address: 0, lengthBytes: SIZE };
  const model = new Uint8Array(SIZE);
  try {
    for (let rounds = 0; rounds < ROUNDS;) {
      const haggling = openNbdExchange({ storage, pool, tls: random.chance(0.2) ? "required" : "off" });
      rounds += haggle(random, haggling, 20);
      haggling.connection.closed();

      const style = random.pick(["simple", "structured", "extended"] as const);
      const context = style !== "simple" && random.chance(0.8);
      const exchange = openNbdExchange({ storage, pool });
      exchange.go(style, context);
      for (let i = 0; i < 40; i++) {
        rounds++;
        const fields = someRequest(random, style, BigInt(random.word()));
        const reply = await exchange.reply(fields);
        const expected = errorOf(fields, style, context);
        expect([fields, reply.cookie, reply.error]).toEqual([fields, fields.cookie!, expected]);
        if (expected !== 0) continue;
        apply(model, fields);
        if (fields.type === CMD.READ) {
          const from = Number(fields.offset);
          if (Buffer.compare(reply.data, model.subarray(from, from + Number(fields.length))) !== 0) {
            throw new Error(`wrong data for a READ of ${fields.length} at ${fields.offset}`);
          }
        }
      }
      // What is damaged may end the connection, be refused, or do what it says now: after it the disk is the model.
      const last = request(someRequest(random, style, 1n), style === "extended");
      exchange.send(damaged(random, last));
      exchange.send(someBytes(random, 3000));
      exchange.connection.closed();
      while (exchange.export.counters.inFlight > 0) await Promise.resolve();
      await Promise.resolve();
      storage.tryRead(0, SECTORS, target, 0);
      model.set(disk);
    }
  } catch (error) {
    throw new Error(`VOE_SEED=${seed}: ${(error as Error).message}`, { cause: error });
  }
  expect(pool.usedBytes).toBe(0);
  pool.close();
}, 600_000);
