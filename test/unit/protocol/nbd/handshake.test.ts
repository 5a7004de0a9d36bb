import { describe, expect, test } from "bun:test";
import { memoryStorage } from "../../../../src/storage/memory-storage.ts";
import { nbdExport, openNbdExchange, type NbdExchange } from "../../../support/nbd-exchange.ts";
import { exportName, infoData, joined, metaData, OPT, option, REP, u16, u32, u64 } from "../../../support/nbd-wire.ts";

const ask = (exchange: NbdExchange, type: number, data?: Uint8Array): [type: number, text: string][] =>
  exchange.ask(type, data).map((reply) => [reply.type, reply.text]);
const types = (exchange: NbdExchange, type: number, data?: Uint8Array): number[] =>
  exchange.ask(type, data).map((reply) => reply.type);

/** A connection past the exchange of flags. */
function greeted(options: Parameters<typeof openNbdExchange>[0] = {}): NbdExchange {
  const exchange = openNbdExchange(options);
  exchange.greet();
  return exchange;
}

const info = (exchange: NbdExchange, ...wanted: number[]): Map<number, DataView> =>
  new Map(
    exchange
      .ask(OPT.INFO, infoData("e1.0", ...wanted))
      .filter((reply) => reply.type === REP.INFO)
      .map(({ data }) => {
        const view = new DataView(data.buffer, data.byteOffset, data.length);
        return [view.getUint16(0), view];
      }),
  );
const flagsOf = (exchange: NbdExchange): number => info(exchange).get(0)!.getUint16(10);

const READ_ONLY = 1 << 1;
const SEND_DF = 1 << 7;
const BLOCK_STATUS_PAYLOAD = 1 << 12;

test("the server greets with NBDMAGIC, IHAVEOPT, fixed newstyle and no zeroes", () => {
  const greeting = openNbdExchange().takeOutput();
  expect(Buffer.from(greeting).toString("latin1")).toBe("NBDMAGICIHAVEOPT\0\x03");
});

describe("the client's flags", () => {
  test.each([4, 7, 0x8000_0003])("unknown ones (%p) end the connection", (flags) => {
    expect(greetedWith(flags).dropped).toContain("unknown client flags");
  });
  test("without FIXED_NEWSTYLE there is EXPORT_NAME and nothing else", () => {
    const exchange = greetedWith(0);
    exchange.send(exportName("e1.0"));
    expect(exchange.takeOutput()).toHaveLength(134);
    const other = greetedWith(0);
    other.send(option(OPT.LIST));
    expect(other.dropped).toContain("without fixed newstyle");
  });
});
function greetedWith(flags: number): NbdExchange {
  const exchange = openNbdExchange();
  exchange.greet(flags);
  return exchange;
}

describe("EXPORT_NAME", () => {
  test("answers size and flags, and 124 zeroes for a client that wants them", () => {
    for (const [flags, lengthBytes] of [
      [3, 10],
      [1, 134],
    ] as const) {
      const exchange = greetedWith(flags);
      exchange.send(exportName("scratch"));
      const answer = exchange.takeOutput();
      expect(answer).toHaveLength(lengthBytes);
      expect(answer.subarray(0, 8)).toEqual(u64(256 * 512));
      expect(answer.subarray(10).every((byte) => byte === 0)).toBe(true);
      expect(exchange.connection.transmission).toBeDefined();
    }
  });
  test.each(["nothing", "e1", "e1.0\0", "x".repeat(5000)])("ends the connection for %p", (name) => {
    const exchange = greeted();
    exchange.send(exportName(name));
    expect(exchange.dropped).toContain("no export");
    expect(exchange.takeOutput()).toHaveLength(0);
  });
  test("ends the connection after EXTENDED_HEADERS", () => {
    const exchange = greeted();
    exchange.ask(OPT.EXTENDED_HEADERS);
    exchange.send(exportName("e1.0"));
    expect(exchange.dropped).toContain("EXTENDED_HEADERS");
  });
});

describe("ABORT", () => {
  test.each([new Uint8Array(), u32(1)])("is acknowledged, whatever data it has, and ends the connection", (data) => {
    const exchange = greeted();
    expect(types(exchange, OPT.ABORT, data)).toEqual([REP.ACK]);
    expect([exchange.ended, exchange.dropped]).toEqual([true, undefined]);
  });
  test("nothing is taken after it", () => {
    const exchange = greeted();
    exchange.send(joined(option(OPT.ABORT), option(OPT.LIST)));
    expect(exchange.takeOutput()).toHaveLength(20);
  });
});

describe("LIST", () => {
  test("names each export and describes it", () => {
    const exports = [nbdExport(memoryStorage(1)), nbdExport(memoryStorage(1), "e2.0", "ärchive")];
    const replies = greeted({ exports }).ask(OPT.LIST);
    expect(replies.map(({ type }) => type)).toEqual([REP.SERVER, REP.SERVER, REP.ACK]);
    expect(replies[0]!.data).toEqual(joined(u32(4), Buffer.from("e1.0scratch")));
    expect(replies[1]!.data).toEqual(joined(u32(4), Buffer.from("e2.0ärchive")));
  });
});

describe("INFO and GO", () => {
  test("tell size and flags, and what else was asked for", () => {
    const told = info(greeted(), 1, 2, 3, 99);
    expect([...told.keys()]).toEqual([0, 1, 2, 3]);
    expect(told.get(0)!.getBigUint64(2)).toBe(BigInt(256 * 512));
    const textOf = (view: DataView): string =>
      Buffer.from(view.buffer, view.byteOffset, view.byteLength).toString().slice(2);
    expect([textOf(told.get(1)!), textOf(told.get(2)!)]).toEqual(["e1.0", "scratch"]);
    expect([2, 6, 10].map((at) => told.get(3)!.getUint32(at))).toEqual([1, 4096, 32 * 2 ** 20]);
  });
  test("INFO leaves the handshake going on, GO begins transmission", () => {
    const exchange = greeted();
    expect(types(exchange, OPT.INFO, infoData("e1.0"))).toEqual([REP.INFO, REP.ACK]);
    expect(exchange.connection.transmission).toBeUndefined();
    expect(types(exchange, OPT.GO, infoData(""))).toEqual([REP.INFO, REP.ACK]);
    expect(exchange.connection.transmission).toBeDefined();
  });
  test("an unknown export is ERR_UNKNOWN, with the names there are, and the handshake goes on", () => {
    const exchange = greeted();
    expect(ask(exchange, OPT.GO, infoData("e9.9"))).toEqual([[REP.ERR_UNKNOWN, 'no export "e9.9"; there is e1.0']]);
    expect(types(exchange, OPT.GO, infoData("e1.0"))).toEqual([REP.INFO, REP.ACK]);
  });
  const malformed: [string, Uint8Array][] = [
    ["no data", new Uint8Array()],
    ["a name longer than the option", joined(u32(100), Buffer.from("e1.0"), u16(0))],
    ["fewer requests than announced", joined(u32(4), Buffer.from("e1.0"), u16(2), u16(3))],
    ["bytes at the end", joined(infoData("e1.0"), u16(3))],
    ["a NUL in the name", infoData("e1\0.0")],
    ["a name that is not UTF-8", joined(u32(2), new Uint8Array([0xc3, 0x28]), u16(0))],
    ["a name over 4096 bytes", infoData("x".repeat(4097))],
  ];
  test.each(malformed)("%s is ERR_INVALID", (_, data) => {
    expect(types(greeted(), OPT.INFO, data)).toEqual([REP.ERR_INVALID]);
    expect(types(greeted(), OPT.GO, data)).toEqual([REP.ERR_INVALID]);
  });
});

describe("transmission flags", () => {
  test("offer what there is: FLUSH, FUA, TRIM, WRITE_ZEROES, multi-conn, CACHE, FAST_ZERO", () => {
    expect(flagsOf(greeted())).toBe(0b1101_0110_1101);
  });
  test("of a read-only export say so, and offer nothing that writes", () => {
    expect(flagsOf(greeted({ storage: memoryStorage(8, { readOnly: true }) }))).toBe(0b0101_0000_1101 | READ_ONLY);
  });
  test("have DF with structured replies or extended headers alone", () => {
    const exchange = greeted();
    expect(flagsOf(exchange) & SEND_DF).toBe(0);
    exchange.ask(OPT.STRUCTURED_REPLY);
    expect(flagsOf(exchange) & SEND_DF).toBe(SEND_DF);
  });
  test("have BLOCK_STATUS_PAYLOAD with extended headers and a context of this export alone", () => {
    const exchange = greeted();
    exchange.ask(OPT.EXTENDED_HEADERS);
    expect(flagsOf(exchange) & BLOCK_STATUS_PAYLOAD).toBe(0);
    exchange.ask(OPT.SET_META_CONTEXT, metaData("e1.0", "base:allocation"));
    expect(flagsOf(exchange) & BLOCK_STATUS_PAYLOAD).toBe(BLOCK_STATUS_PAYLOAD);
  });
});

describe("STRUCTURED_REPLY and EXTENDED_HEADERS", () => {
  test("are acknowledged; structured replies after extended headers are not", () => {
    const exchange = greeted();
    expect(types(exchange, OPT.STRUCTURED_REPLY)).toEqual([REP.ACK]);
    expect(types(exchange, OPT.EXTENDED_HEADERS)).toEqual([REP.ACK]);
    expect(types(exchange, OPT.STRUCTURED_REPLY)).toEqual([REP.ERR_EXT_HEADER_REQD]);
  });
});

describe("meta contexts", () => {
  const structured = (): NbdExchange => {
    const exchange = greeted();
    exchange.ask(OPT.STRUCTURED_REPLY);
    return exchange;
  };
  test("LIST answers base:allocation to no query, to base: and to its name, with the ID 0", () => {
    for (const queries of [[], ["base:"], ["base:allocation"], ["x-y:z", "base:allocation"]]) {
      const replies = structured().ask(OPT.LIST_META_CONTEXT, metaData("e1.0", ...queries));
      expect(replies.map(({ type }) => type)).toEqual([REP.META_CONTEXT, REP.ACK]);
      expect(replies[0]!.data).toEqual(joined(u32(0), Buffer.from("base:allocation")));
    }
  });
  test("unknown queries find nothing, and are no error", () => {
    for (const type of [OPT.LIST_META_CONTEXT, OPT.SET_META_CONTEXT]) {
      expect(types(structured(), type, metaData("e1.0", "qemu:dirty-bitmap:x", "base:unknown", "plain"))).toEqual([
        REP.ACK,
      ]);
    }
  });
  test("SET selects by the whole name alone: neither base: nor no query selects anything", () => {
    expect(types(structured(), OPT.SET_META_CONTEXT, metaData("e1.0", "base:allocation"))).toEqual([
      REP.META_CONTEXT,
      REP.ACK,
    ]);
    expect(types(structured(), OPT.SET_META_CONTEXT, metaData("e1.0", "base:"))).toEqual([REP.ACK]);
    expect(types(structured(), OPT.SET_META_CONTEXT, metaData("e1.0"))).toEqual([REP.ACK]);
  });
  const isSelected = (exchange: NbdExchange, name = "e1.0"): boolean => {
    exchange.ask(OPT.GO, infoData(name));
    return exchange.connection.transmission!.negotiated.allocationContext;
  };
  test("what was selected holds for the export of that name", () => {
    const exchange = structured();
    exchange.ask(OPT.SET_META_CONTEXT, metaData("e1.0", "base:allocation"));
    expect(isSelected(exchange)).toBe(true);
    const other = structured();
    other.ask(OPT.SET_META_CONTEXT, metaData("e1.0", "base:allocation"));
    expect(isSelected(other, "scratch")).toBe(false);
  });
  test("a SET that fails, or selects nothing, clears what was selected", () => {
    for (const data of [metaData("e9.9", "base:allocation"), metaData("e1.0"), u32(7)]) {
      const exchange = structured();
      exchange.ask(OPT.SET_META_CONTEXT, metaData("e1.0", "base:allocation"));
      exchange.ask(OPT.SET_META_CONTEXT, data);
      expect(isSelected(exchange)).toBe(false);
    }
  });
  test("malformed ones are ERR_INVALID, those of an unknown export ERR_UNKNOWN", () => {
    for (const type of [OPT.LIST_META_CONTEXT, OPT.SET_META_CONTEXT]) {
      expect(types(structured(), type, metaData("e9.9"))).toEqual([REP.ERR_UNKNOWN]);
      expect(types(structured(), type, joined(metaData("e1.0", "base:"), u32(0)))).toEqual([REP.ERR_INVALID]);
      expect(types(structured(), type, joined(u32(4), Buffer.from("e1.0"), u32(3)))).toEqual([REP.ERR_INVALID]);
    }
  });
});

describe("TLS", () => {
  test("where it is required, every option but STARTTLS and ABORT is ERR_TLS_REQD", () => {
    const exchange = greeted({ tls: "required" });
    for (const type of [OPT.LIST, OPT.INFO, OPT.GO, OPT.STRUCTURED_REPLY, OPT.EXTENDED_HEADERS, 77]) {
      expect(types(exchange, type, infoData("e1.0"))).toEqual([REP.ERR_TLS_REQD]);
    }
    exchange.send(exportName("e1.0"));
    expect(exchange.dropped).toContain("before TLS");
  });
  test("STARTTLS is acknowledged, and all that was negotiated before is forgotten", () => {
    const exchange = greeted({ tls: "required" });
    expect(types(exchange, OPT.STARTTLS)).toEqual([REP.ACK]);
    expect(exchange.tlsStarted).toBe(true);
    exchange.connection.secured(exchange.connection.socket, "alice");
    expect(exchange.takeOutput()).toHaveLength(0);
    expect(flagsOf(exchange) & SEND_DF).toBe(0);
    expect(types(exchange, OPT.STARTTLS)).toEqual([REP.ERR_INVALID]);
    expect(types(exchange, OPT.GO, infoData("e1.0"))).toEqual([REP.INFO, REP.ACK]);
  });
});

test("a server that is shutting down answers options with ERR_SHUTDOWN, and ABORT as ever", () => {
  const exchange = greeted();
  exchange.shutDown();
  expect(types(exchange, OPT.GO, infoData("e1.0"))).toEqual([REP.ERR_SHUTDOWN]);
  expect(types(exchange, OPT.LIST)).toEqual([REP.ERR_SHUTDOWN]);
  expect(types(exchange, OPT.ABORT)).toEqual([REP.ACK]);
});

test("options that arrive together are answered in their order, once the socket has taken the replies before", () => {
  const exchange = openNbdExchange({ socketRoomBytes: 18 + 20 });
  exchange.send(joined(u32(3), option(OPT.STRUCTURED_REPLY), option(99), option(OPT.LIST)));
  expect(exchange.takeOutput()).toHaveLength(38);
  exchange.unblock(5);
  expect(exchange.takeOutput()).toHaveLength(5);
  exchange.unblock(10_000);
  expect(exchange.takeOutput().length).toBeGreaterThan(40);
  expect(exchange.dropped).toBeUndefined();
});
