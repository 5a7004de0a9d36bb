import { describe, expect, test } from "bun:test";
import { MEDIUM_ERROR, NO_SPACE, OK } from "../../../../src/storage/block-storage.ts";
import { memoryStorage } from "../../../../src/storage/memory-storage.ts";
import { createBufferPool } from "../../../../src/server/nbd/buffer-pool.ts";
import { heldStorage } from "../../../support/held-storage.ts";
import { openNbdExchange, type NbdExchange } from "../../../support/nbd-exchange.ts";
import { CMD, ERR, FLAG, joined, request, u32, u64, type NbdStyle } from "../../../support/nbd-wire.ts";

const styles: NbdStyle[] = ["simple", "structured", "extended"];
const MIB = 2 ** 20;

function transmitting(
  style: NbdStyle = "structured",
  options: Parameters<typeof openNbdExchange>[0] = {},
): NbdExchange {
  const exchange = openNbdExchange(options);
  exchange.go(style, style !== "simple");
  return exchange;
}
/** Bytes that tell where they are. */
const pattern = (lengthBytes: number, seed = 0): Uint8Array =>
  Uint8Array.from({ length: lengthBytes }, (_, i) => (i * 7 + (i >> 8) * 13 + seed) & 0xff);

describe.each(styles)("with %s replies", (style) => {
  test.each([
    [0, 512],
    [4096, 4096],
    [1000, 1],
    [511, 2],
    [700, 3000],
    [0, 131_072],
  ])("what is written at %p, %p bytes, is read again", async (offset, length) => {
    const exchange = transmitting(style);
    const data = pattern(length);
    expect(await exchange.reply({ type: CMD.WRITE, cookie: 5n, offset, data })).toMatchObject({ cookie: 5n, error: 0 });
    const reply = await exchange.reply({ type: CMD.READ, cookie: 2n ** 64n - 1n, offset, length });
    expect(reply.cookie).toBe(2n ** 64n - 1n);
    expect(reply.data).toEqual(data);
    if (style !== "simple") expect(reply.offset).toBe(BigInt(offset));
  });

  test("zeroes and trims are zeros", async () => {
    const exchange = transmitting(style);
    await exchange.reply({ type: CMD.WRITE, data: pattern(8192, 1) });
    expect((await exchange.reply({ type: CMD.WRITE_ZEROES, offset: 100, length: 1000 })).error).toBe(0);
    expect((await exchange.reply({ type: CMD.TRIM, offset: 4096, length: 4096 })).error).toBe(0);
    const { data } = await exchange.reply({ type: CMD.READ, length: 8192 });
    expect(data).toEqual(pattern(8192, 1).fill(0, 100, 1100).fill(0, 4096, 8192));
  });

  test("requests that arrive together are all answered, in any split", async () => {
    const stream = joined(
      ...Array.from({ length: 20 }, (_, i) =>
        request({ type: CMD.WRITE, cookie: BigInt(i), offset: i * 600, data: pattern(600, i) }, style === "extended"),
      ),
    );
    for (const step of [1, 7, 29, 1000, stream.length]) {
      const exchange = transmitting(style);
      for (let at = 0; at < stream.length; at += step) exchange.send(stream.slice(at, at + step));
      const cookies = new Set<bigint>();
      for (let i = 0; i < 20; i++) cookies.add((await exchange.nextReply()).cookie);
      expect(cookies.size).toBe(20);
      const { data } = await exchange.reply({ type: CMD.READ, length: 12_000 });
      expect(data).toEqual(joined(...Array.from({ length: 20 }, (_, i) => pattern(600, i))));
    }
  });

  test("a WRITE of several MiB that comes in pieces goes where it belongs", async () => {
    const storage = memoryStorage((8 * MIB) / 512);
    const exchange = transmitting(style, { storage });
    const data = pattern(1.5 * MIB);
    const stream = joined(
      request({ type: CMD.WRITE, cookie: 9n, offset: 512, data }, style === "extended"),
      request({ type: CMD.FLUSH, cookie: 10n }, style === "extended"),
    );
    for (let at = 0; at < stream.length; at += 333_333) exchange.send(stream.slice(at, at + 333_333));
    expect((await exchange.nextReply()).cookie).toBe(9n);
    expect((await exchange.nextReply()).cookie).toBe(10n);
    const { data: read } = await exchange.reply({ type: CMD.READ, offset: 512, length: 1.5 * MIB });
    expect(Buffer.compare(read, data)).toBe(0);
  });
});

describe("errors of the storage", () => {
  test.each([
    [MEDIUM_ERROR, ERR.EIO],
    [NO_SPACE, ERR.ENOSPC],
  ])("status %p is error %p", async (status, error) => {
    const storage = heldStorage(256);
    const exchange = transmitting("structured", { storage });
    exchange.sendRequest({ type: CMD.WRITE, data: new Uint8Array(512) });
    exchange.sendRequest({ type: CMD.READ, cookie: 2n, length: 512 });
    storage.release(status);
    expect(await exchange.nextReply()).toMatchObject({ cookie: 1n, error });
    storage.release(status);
    expect(await exchange.nextReply()).toMatchObject({ cookie: 2n, error, type: 0x8001 });
    expect(exchange.export.counters).toMatchObject({ reads: 1, writes: 1, errors: 2, inFlight: 0 });
  });
});

describe("FUA and FLUSH", () => {
  test("a WRITE with FUA is answered when it is durable, one without at once", async () => {
    const memory = memoryStorage(256);
    const durable: boolean[] = [];
    const storage = {
      ...memory,
      write: ((sector, count, source, at, isDurable, completion) => {
        durable.push(isDurable);
        memory.write(sector, count, source, at, isDurable, completion);
      }) as typeof memory.write,
    };
    const exchange = transmitting("structured", { storage });
    await exchange.reply({ type: CMD.WRITE, data: new Uint8Array(512) });
    await exchange.reply({ type: CMD.WRITE, flags: FLAG.FUA, data: new Uint8Array(512) });
    expect(durable).toEqual([true]);
  });
  test("FLUSH waits for the storage's", async () => {
    const storage = heldStorage(256);
    const exchange = transmitting("structured", { storage });
    exchange.sendRequest({ type: CMD.FLUSH });
    expect([exchange.output.length, storage.waiting]).toEqual([0, ["flush"]]);
    storage.release();
    expect((await exchange.nextReply()).error).toBe(0);
  });
});

describe("in flight", () => {
  test("sixteen requests are taken, further ones wait with the client until one has ended", async () => {
    const storage = heldStorage(256);
    const exchange = transmitting("structured", { storage });
    for (let i = 0; i < 20; i++)
      exchange.sendRequest({ type: CMD.READ, cookie: BigInt(i), offset: i * 512, length: 512 });
    expect(storage.waiting).toHaveLength(16);
    expect(exchange.export.counters.inFlight).toBe(16);
    storage.release();
    await exchange.nextReply();
    expect(storage.waiting).toHaveLength(16);
    while (storage.waiting.length > 0) {
      storage.release();
      await exchange.nextReply();
    }
    expect(exchange.export.counters).toMatchObject({ inFlight: 0, reads: 20 });
  });

  test("replies come as requests end, in whatever order", async () => {
    const storage = heldStorage(256);
    const exchange = transmitting("structured", { storage });
    exchange.sendRequest({ type: CMD.READ, cookie: 1n, length: 512 });
    exchange.sendRequest({ type: CMD.WRITE_ZEROES, cookie: 2n, offset: 8192, length: 512 });
    expect((await exchange.nextReply()).cookie).toBe(2n);
    storage.release();
    expect((await exchange.nextReply()).cookie).toBe(1n);
  });

  test("DISC finishes what is in flight, then ends the connection; nothing is taken after it", async () => {
    const storage = heldStorage(256);
    const exchange = transmitting("structured", { storage });
    exchange.sendRequest({ type: CMD.READ, cookie: 1n, length: 512 });
    exchange.send(joined(request({ type: CMD.DISC }), request({ type: CMD.READ, length: 512 })));
    expect([exchange.ended, storage.waiting.length]).toEqual([false, 1]);
    storage.release();
    expect((await exchange.nextReply()).cookie).toBe(1n);
    expect([exchange.ended, exchange.dropped, storage.waiting.length]).toEqual([true, undefined, 0]);
  });

  test("a connection that ends with requests in flight lets go of everything once they have ended", async () => {
    const pool = createBufferPool(2 ** 28, () => {});
    const storage = heldStorage(256);
    const exchange = transmitting("structured", { storage, pool });
    for (let i = 0; i < 3; i++) exchange.sendRequest({ type: CMD.READ, cookie: BigInt(i), length: 4096 });
    exchange.sendRequest({ type: CMD.WRITE, data: new Uint8Array(512) });
    expect(pool.usedBytes).toBeGreaterThan(0);
    exchange.connection.closed();
    while (storage.waiting.length > 0) storage.release(storage.waiting.length % 2 === 0 ? OK : MEDIUM_ERROR);
    await Promise.resolve();
    await Promise.resolve();
    expect([pool.usedBytes, exchange.export.counters.inFlight]).toEqual([0, 0]);
  });
});

describe("BLOCK_STATUS", () => {
  const holes = (storage = memoryStorage(256)) => {
    storage.extents = (_sector, count) =>
      Promise.resolve([
        { sectorCount: Math.min(3, count), isHole: false },
        ...(count > 3 ? [{ sectorCount: count - 3, isHole: true }] : []),
      ]);
    return storage;
  };
  test.each(["structured", "extended"] as const)("tells data from holes, with %s replies", async (style) => {
    const exchange = transmitting(style, { storage: holes() });
    const reply = await exchange.reply({ type: CMD.BLOCK_STATUS, offset: 4096, length: 8192 });
    expect(reply).toMatchObject({ error: 0, contextId: 1, type: style === "extended" ? 6 : 5 });
    expect(reply.extents).toEqual([
      { length: 1536n, flags: 0n },
      { length: 6656n, flags: 3n },
    ]);
  });
  test("begins and ends with the request where that is no sector's bound", async () => {
    const exchange = transmitting("structured", { storage: holes() });
    const { extents } = await exchange.reply({ type: CMD.BLOCK_STATUS, offset: 4100, length: 2000 });
    expect(extents).toEqual([
      { length: 1532n, flags: 0n },
      { length: 468n, flags: 3n },
    ]);
  });
  test("with REQ_ONE asks for one extent", async () => {
    let asked = 0;
    const storage = memoryStorage(256);
    storage.extents = (_sector, count, most) => {
      asked = most;
      return Promise.resolve([{ sectorCount: count, isHole: true }]);
    };
    const exchange = transmitting("structured", { storage });
    const { extents } = await exchange.reply({ type: CMD.BLOCK_STATUS, flags: FLAG.REQ_ONE, length: 1000 });
    expect([asked, extents]).toEqual([1, [{ length: 1000n, flags: 3n }]]);
  });
  test("with PAYLOAD_LEN answers for the context that it names", async () => {
    const exchange = transmitting("extended", { storage: holes() });
    const data = joined(u64(2048), u32(1));
    const reply = await exchange.reply({ type: CMD.BLOCK_STATUS, offset: 0, data });
    expect(reply.extents).toEqual([
      { length: 1536n, flags: 0n },
      { length: 512n, flags: 3n },
    ]);
  });
  test("a storage that cannot tell is EIO", async () => {
    const storage = memoryStorage(256);
    storage.extents = () => Promise.reject(new Error("gone"));
    const exchange = transmitting("structured", { storage });
    expect((await exchange.reply({ type: CMD.BLOCK_STATUS, length: 512 })).error).toBe(ERR.EIO);
  });
});

describe("CACHE", () => {
  test("reads all of the range, in pieces, and sends none of it", async () => {
    const memory = memoryStorage((4 * MIB) / 512);
    const storage = { ...memory };
    const read: string[] = [];
    storage.read = (sector, count, target, at, completion) => {
      read.push(`${sector}+${count}`);
      memory.read(sector, count, target, at, completion);
    };
    const exchange = transmitting("structured", { storage });
    const reply = await exchange.reply({ type: CMD.CACHE, offset: MIB, length: 2.5 * MIB });
    expect([reply.error, reply.data.length]).toEqual([0, 0]);
    expect(read).toEqual(["2048+2048", "4096+2048", "6144+1024"]);
  });
});

describe("FAST_ZERO", () => {
  test("is ENOTSUP where zeroes are no faster than a write, and does nothing", async () => {
    const storage = { ...memoryStorage(256), hasFastZeroes: false };
    const exchange = transmitting("structured", { storage });
    await exchange.reply({ type: CMD.WRITE, data: pattern(512) });
    const fields = { type: CMD.WRITE_ZEROES, length: 512 };
    expect((await exchange.reply({ ...fields, flags: FLAG.FAST_ZERO })).error).toBe(ERR.ENOTSUP);
    expect((await exchange.reply({ type: CMD.READ, length: 512 })).data).toEqual(pattern(512));
    expect((await exchange.reply(fields)).error).toBe(0);
  });
});

describe("a target that is taken away", () => {
  test("what is in flight is answered, everything after it is ESHUTDOWN, and the connection ends", async () => {
    const storage = heldStorage(256);
    const exchange = transmitting("structured", { storage });
    exchange.sendRequest({ type: CMD.READ, cookie: 1n, length: 512 });
    exchange.connection.farewell(5);
    expect(await exchange.reply({ type: CMD.READ, cookie: 2n, length: 512 })).toMatchObject({ error: ERR.ESHUTDOWN });
    expect(await exchange.reply({ type: CMD.WRITE, cookie: 3n, data: new Uint8Array(70_000) })).toMatchObject({
      cookie: 3n,
      error: ERR.ESHUTDOWN,
    });
    storage.release();
    expect(await exchange.nextReply()).toMatchObject({ cookie: 1n, error: 0 });
    await Bun.sleep(10);
    expect([exchange.ended, exchange.dropped]).toEqual([true, undefined]);
  });
});

describe("a client that takes no replies", () => {
  test("is held back: requests stay with it, and memory stays bounded", async () => {
    const pool = createBufferPool(2 ** 28, () => {});
    const storage = memoryStorage((8 * MIB) / 512);
    const blocked = openNbdExchange({ storage, pool, socketRoomBytes: 18 + 20 + 32 + 20 });
    blocked.go("structured");
    const large = 20;
    const small = 6000;
    for (let i = 0; i < large + small; i++) {
      blocked.sendRequest({ type: CMD.READ, cookie: BigInt(i), length: i < large ? MIB : 512 });
    }
    expect(blocked.isPaused).toBe(true);
    expect(pool.usedBytes).toBeLessThan(50 * MIB);
    for (let i = 0; i < large + small; i++) {
      if (i <= large) blocked.unblock(i < large ? 2 * MIB : Number.POSITIVE_INFINITY);
      expect((await blocked.nextReply()).data).toHaveLength(i < large ? MIB : 512);
    }
    expect([blocked.isPaused, pool.usedBytes]).toEqual([false, 0]);
  });
});
