/** A client that goes away: at every byte of the handshake, and of its requests. */
import { expect, test } from "bun:test";
import { createBufferPool } from "../../../../src/server/nbd/buffer-pool.ts";
import { memoryStorage } from "../../../../src/storage/memory-storage.ts";
import { allocatedMemoryBytes } from "../../../../ffi/memory.ts";
import { openNbdExchange } from "../../../support/nbd-exchange.ts";
import { CMD, infoData, joined, metaData, OPT, option, request, u32 } from "../../../support/nbd-wire.ts";

const handshake = joined(
  u32(3),
  option(OPT.STRUCTURED_REPLY),
  option(OPT.LIST),
  option(OPT.SET_META_CONTEXT, metaData("e1.0", "base:allocation")),
  option(OPT.GO, infoData("e1.0", 1, 2, 3)),
);
const write = request({ type: CMD.WRITE, offset: 512, data: new Uint8Array(1024).fill(7) });
const largeWrite = request({ type: CMD.WRITE, offset: 4096, data: new Uint8Array(70_000).fill(8) });

/** What became of the disk of a client that sent so much and went away. */
async function cutAt(stream: Uint8Array, lengthBytes: number): Promise<{ data: Uint8Array; keptBytes: number }> {
  const storage = memoryStorage(256);
  const pool = createBufferPool(2 ** 28, () => {});
  const before = allocatedMemoryBytes();
  const exchange = openNbdExchange({ storage, pool });
  exchange.send(stream.subarray(0, lengthBytes));
  exchange.connection.closed();
  while (exchange.export.counters.inFlight > 0) await Promise.resolve();
  await Promise.resolve();
  pool.close();
  const keptBytes = allocatedMemoryBytes() - before;
  const target = {
    bytes: new Uint8Array(256 * 512),
    view: new DataView(new ArrayBuffer(0)),
    address: 0,
    lengthBytes: 0,
  };
  storage.tryRead(0, 256, target, 0);
  return { data: target.bytes, keptBytes };
}

test("a connection cut at any byte of the handshake changes nothing and leaves no memory behind", async () => {
  for (let at = 0; at <= handshake.length; at++) {
    const { data, keptBytes } = await cutAt(handshake, at);
    expect([at, keptBytes, Buffer.from(data.buffer).equals(Buffer.alloc(data.length))]).toEqual([at, 0, true]);
  }
});

test("a connection cut at any byte of a request has done all of it or nothing, and leaves no memory behind", async () => {
  const stream = joined(handshake, write);
  for (let at = handshake.length; at <= stream.length; at++) {
    const { data, keptBytes } = await cutAt(stream, at);
    const isDone = at === stream.length;
    expect([at, keptBytes, data.lastIndexOf(7) - data.indexOf(7)]).toEqual([at, 0, isDone ? 1023 : 0]);
  }
});

test("a connection cut within the data of a large WRITE has done nothing of it, and leaves no memory behind", async () => {
  const stream = joined(handshake, largeWrite);
  for (const at of [28, 29, 4096, 65_536, 70_027, 70_028]) {
    const { data, keptBytes } = await cutAt(stream, handshake.length + at);
    expect([at, keptBytes, data.includes(8)]).toEqual([at, 0, at === 70_028]);
  }
});
