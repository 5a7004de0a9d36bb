/** What clients must not send, and what becomes of it: the connection lives wherever the protocol lets it. */
import { describe, expect, test } from "bun:test";
import { memoryStorage } from "../../../../src/storage/memory-storage.ts";
import { openNbdExchange, type NbdExchange } from "../../../support/nbd-exchange.ts";
import {
  CMD,
  ERR,
  FLAG,
  infoData,
  joined,
  metaData,
  OPT,
  option,
  REP,
  request,
  u32,
  u64,
} from "../../../support/nbd-wire.ts";

const SIZE = 256 * 512;
const MIB = 2 ** 20;

function greeted(options: Parameters<typeof openNbdExchange>[0] = {}): NbdExchange {
  const exchange = openNbdExchange(options);
  exchange.greet();
  return exchange;
}
function transmitting(
  style: "simple" | "structured" | "extended" = "structured",
  options: Parameters<typeof openNbdExchange>[0] = {},
): NbdExchange {
  const exchange = openNbdExchange(options);
  exchange.go(style, style !== "simple");
  return exchange;
}
/** A request that is good: the connection lives. */
const alive = async (exchange: NbdExchange): Promise<void> => {
  const { error, data } = await exchange.reply({ type: CMD.READ, cookie: 77n, offset: 512, length: 512 });
  expect([error, data.length, exchange.dropped]).toEqual([0, 512, undefined]);
};

describe("the handshake", () => {
  test("an option without its magic number ends the connection", () => {
    const exchange = greeted();
    exchange.send(joined(Buffer.from("IHAVEOPX"), u32(OPT.LIST), u32(0)));
    expect(exchange.dropped).toContain("magic");
  });
  test("an option of more than 64 KiB ends the connection before its data is there, one of 64 KiB does not", () => {
    const exchange = greeted();
    exchange.send(joined(Buffer.from("IHAVEOPT"), u32(99), u32(65_537)));
    expect(exchange.dropped).toContain("65537 bytes");
    expect(greeted().ask(99, new Uint8Array(65_536))[0]!.type).toBe(REP.ERR_UNSUP);
  });
  test("an unknown option is ERR_UNSUP, its data is skipped, and the handshake goes on", () => {
    const exchange = greeted();
    for (const type of [4, 12, 0, 0xffff_ffff]) {
      expect(exchange.ask(type, new Uint8Array(1000))[0]!.type).toBe(REP.ERR_UNSUP);
    }
    expect(exchange.ask(OPT.LIST).at(-1)!.type).toBe(REP.ACK);
  });
  test("LIST, STARTTLS, STRUCTURED_REPLY and EXTENDED_HEADERS with data are ERR_INVALID", () => {
    const exchange = greeted();
    for (const type of [OPT.LIST, OPT.STARTTLS, OPT.STRUCTURED_REPLY, OPT.EXTENDED_HEADERS]) {
      expect(exchange.ask(type, u32(1)).map((reply) => reply.type)).toEqual([REP.ERR_INVALID]);
    }
  });
  test("meta contexts without structured replies are ERR_INVALID", () => {
    for (const type of [OPT.SET_META_CONTEXT, OPT.LIST_META_CONTEXT]) {
      expect(greeted().ask(type, metaData("e1.0", "base:allocation"))[0]!.type).toBe(REP.ERR_INVALID);
    }
  });
  test("STARTTLS where TLS is off is ERR_POLICY, and the handshake goes on", () => {
    const exchange = greeted();
    expect(exchange.ask(OPT.STARTTLS)[0]!.type).toBe(REP.ERR_POLICY);
    expect(exchange.ask(OPT.LIST).at(-1)!.type).toBe(REP.ACK);
  });
  test("bytes after STARTTLS before its answer end the connection: they would be taken for encrypted ones", () => {
    const exchange = greeted({ tls: "required" });
    exchange.send(joined(option(OPT.STARTTLS), option(OPT.LIST)));
    expect(exchange.dropped).toContain("STARTTLS");
    expect(exchange.tlsStarted).toBe(false);
  });
});

describe("transmission", () => {
  test("a request without its magic number ends the connection", () => {
    const exchange = transmitting();
    exchange.send(request({ type: CMD.READ, length: 512, magic: 0x25609514 }));
    expect(exchange.dropped).toContain("magic");
  });
  test("after extended headers a compact request ends the connection, and the other way round", () => {
    const extended = transmitting("extended");
    extended.send(request({ type: CMD.READ, length: 512 }));
    expect(extended.dropped).toContain("magic");
    const compact = transmitting();
    compact.send(request({ type: CMD.READ, length: 512 }, true));
    expect(compact.dropped).toContain("magic");
  });
  test.each([
    ["READ", CMD.READ],
    ["TRIM", CMD.TRIM],
    ["CACHE", CMD.CACHE],
    ["BLOCK_STATUS", CMD.BLOCK_STATUS],
  ])("%s past the end is EINVAL", async (_, type) => {
    const exchange = transmitting();
    for (const [offset, length] of [
      [SIZE - 511, 512],
      [SIZE, 1],
      [2n ** 64n - 1n, 1],
      [0xffff_ffff_0000n, 0xffff],
    ] as const) {
      expect((await exchange.reply({ type, offset, length })).error).toBe(ERR.EINVAL);
    }
    await alive(exchange);
  });
  test("WRITE and WRITE_ZEROES past the end are ENOSPC, and nothing is written", async () => {
    const exchange = transmitting();
    const data = new Uint8Array(512).fill(1);
    expect((await exchange.reply({ type: CMD.WRITE, offset: SIZE - 511, data })).error).toBe(ERR.ENOSPC);
    expect((await exchange.reply({ type: CMD.WRITE, offset: 2n ** 64n - 512n, data })).error).toBe(ERR.ENOSPC);
    expect((await exchange.reply({ type: CMD.WRITE_ZEROES, offset: SIZE, length: 1 })).error).toBe(ERR.ENOSPC);
    const { data: last } = await exchange.reply({ type: CMD.READ, offset: SIZE - 512, length: 512 });
    expect(last).toEqual(new Uint8Array(512));
    await alive(exchange);
  });
  test("on a read-only export everything that writes is EPERM, past the end as well", async () => {
    const exchange = transmitting("structured", { storage: memoryStorage(256, { readOnly: true }) });
    for (const offset of [0, SIZE]) {
      expect((await exchange.reply({ type: CMD.WRITE, offset, data: new Uint8Array(512) })).error).toBe(ERR.EPERM);
      expect((await exchange.reply({ type: CMD.WRITE_ZEROES, offset, length: 512 })).error).toBe(ERR.EPERM);
      expect((await exchange.reply({ type: CMD.TRIM, offset, length: 512 })).error).toBe(ERR.EPERM);
    }
    await alive(exchange);
  });
  test.each([8, 9, 0xffff])("the unknown command %p is EINVAL", async (type) => {
    const exchange = transmitting();
    expect((await exchange.reply({ type, length: 512 })).error).toBe(ERR.EINVAL);
    await alive(exchange);
  });
  test.each([
    ["a bit nobody knows", CMD.READ, 1 << 15],
    ["NO_HOLE on READ", CMD.READ, FLAG.NO_HOLE],
    ["DF on TRIM", CMD.TRIM, FLAG.DF],
    ["REQ_ONE on FLUSH", CMD.FLUSH, FLAG.REQ_ONE],
    ["FAST_ZERO on CACHE", CMD.CACHE, FLAG.FAST_ZERO],
    ["PAYLOAD_LEN on READ", CMD.READ, FLAG.PAYLOAD_LEN],
  ])("an unknown flag is EINVAL: %s", async (_, type, flags) => {
    const exchange = transmitting();
    const length = type === CMD.FLUSH ? 0 : 512;
    expect((await exchange.reply({ type, flags, length })).error).toBe(ERR.EINVAL);
    await alive(exchange);
  });
  test("DF without structured replies is EINVAL", async () => {
    const exchange = transmitting("simple");
    expect((await exchange.reply({ type: CMD.READ, flags: FLAG.DF, length: 512 })).error).toBe(ERR.EINVAL);
    await alive(exchange);
  });
  test("FUA goes with every command", async () => {
    const exchange = transmitting();
    for (const type of [CMD.READ, CMD.FLUSH, CMD.TRIM, CMD.CACHE, CMD.WRITE_ZEROES, CMD.BLOCK_STATUS]) {
      const length = type === CMD.FLUSH ? 0 : 512;
      expect((await exchange.reply({ type, flags: FLAG.FUA, length })).error).toBe(0);
    }
  });
  test("READ over 32 MiB is EINVAL, with DF as well", async () => {
    const exchange = transmitting("structured", { storage: memoryStorage((40 * MIB) / 512) });
    for (const flags of [0, FLAG.DF]) {
      expect((await exchange.reply({ type: CMD.READ, flags, length: 32 * MIB + 1 })).error).toBe(ERR.EINVAL);
    }
    await alive(exchange);
  });
  test("FLUSH with an offset or a length is EINVAL", async () => {
    const exchange = transmitting();
    expect((await exchange.reply({ type: CMD.FLUSH, offset: 512 })).error).toBe(ERR.EINVAL);
    expect((await exchange.reply({ type: CMD.FLUSH, length: 512 })).error).toBe(ERR.EINVAL);
    await alive(exchange);
  });
  test("WRITE over 32 MiB is EINVAL, and its data is skipped", async () => {
    for (const style of ["structured", "extended"] as const) {
      const exchange = transmitting(style, { storage: memoryStorage((40 * MIB) / 512) });
      const data = new Uint8Array(32 * MIB + 1).fill(1);
      expect((await exchange.reply({ type: CMD.WRITE, data })).error).toBe(ERR.EINVAL);
      await alive(exchange);
    }
  });
  test("a request that announces more than 64 MiB of data ends the connection", () => {
    for (const [style, type] of [
      ["structured", CMD.WRITE],
      ["extended", CMD.WRITE],
      ["extended", CMD.TRIM],
    ] as const) {
      const exchange = transmitting(style);
      exchange.sendRequest({ type, flags: style === "extended" ? FLAG.PAYLOAD_LEN : 0, length: 64 * MIB + 1 });
      expect(exchange.dropped).toContain("announces 67108865 bytes");
    }
  });
  test("data with a command that has none is skipped, and is EINVAL", async () => {
    const exchange = transmitting("extended");
    for (const type of [CMD.READ, CMD.TRIM, CMD.FLUSH, CMD.CACHE, CMD.WRITE_ZEROES, 99]) {
      expect((await exchange.reply({ type, data: new Uint8Array(70_000) })).error).toBe(ERR.EINVAL);
    }
    await alive(exchange);
  });
  test("an extended WRITE without PAYLOAD_LEN is EINVAL, and no data is awaited", async () => {
    const exchange = transmitting("extended");
    expect((await exchange.reply({ type: CMD.WRITE, length: 512 })).error).toBe(ERR.EINVAL);
    await alive(exchange);
  });
  test("BLOCK_STATUS without a context is EINVAL", async () => {
    const exchange = openNbdExchange();
    exchange.go("structured");
    expect((await exchange.reply({ type: CMD.BLOCK_STATUS, length: 512 })).error).toBe(ERR.EINVAL);
    await alive(exchange);
  });
  test("the data of a BLOCK_STATUS that names no context, an unknown one or one twice is EINVAL", async () => {
    const exchange = transmitting("extended");
    for (const data of [
      u64(512),
      joined(u64(512), u32(2)),
      joined(u64(512), u32(1), u32(1)),
      joined(u64(512), u32(1), new Uint8Array(3)),
      new Uint8Array(3),
    ]) {
      expect((await exchange.reply({ type: CMD.BLOCK_STATUS, data })).error).toBe(ERR.EINVAL);
    }
    await alive(exchange);
  });
  describe("zero length is answered", () => {
    test.each(["simple", "structured", "extended"] as const)("with %s replies", async (style) => {
      const exchange = transmitting(style);
      for (const type of [CMD.READ, CMD.TRIM, CMD.CACHE, CMD.WRITE_ZEROES]) {
        const { error, data } = await exchange.reply({ type, offset: 512, length: 0 });
        expect([error, data.length]).toEqual([0, 0]);
      }
      const flags = style === "extended" ? FLAG.PAYLOAD_LEN : 0;
      expect((await exchange.reply({ type: CMD.WRITE, flags, length: 0 })).error).toBe(0);
      expect((await exchange.reply({ type: CMD.BLOCK_STATUS, length: 0 })).error).toBe(ERR.EINVAL);
      await alive(exchange);
    });
  });
  test("errors of READ come in a chunk where replies are structured, with a message", async () => {
    const reply = await transmitting().reply({
      type: CMD.READ,
      cookie: 0x0102_0304_0506_0708n,
      offset: SIZE,
      length: 1,
    });
    expect(reply).toMatchObject({
      type: 0x8001,
      cookie: 0x0102_0304_0506_0708n,
      message: "the range ends beyond the export",
    });
  });
});

test("a client that is refused still has its handshake: GO of the right name works after one of a wrong name", () => {
  const exchange = greeted();
  expect(exchange.ask(OPT.GO, infoData("wrong")).at(-1)!.type).toBe(REP.ERR_UNKNOWN);
  expect(exchange.ask(OPT.GO, infoData("e1.0")).at(-1)!.type).toBe(REP.ACK);
});
