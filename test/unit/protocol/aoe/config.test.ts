import { describe, expect, test } from "bun:test";
import { advertisedSectors } from "../../../../src/protocol/aoe/config.ts";
import { SILENCE } from "../../../../src/protocol/aoe/reply.ts";
import { aoeError, config, padded } from "../../../support/aoe-frames.ts";
import { openExchange } from "../../../support/aoe-exchange.ts";

const READ = 0;
const TEST = 1;
const PREFIX = 2;
const SET = 3;
const FORCE = 4;
const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
const holding = (text: string) => openExchange({ state: { configString: bytesOf(text) } });
/** The string in a config reply; checks that its length is what the frame has. */
function stringOf(reply: Uint8Array): string {
  expect(aoeError(reply)).toBe(0);
  expect((reply[30]! << 8) | reply[31]!).toBe(reply.length - 32);
  return new TextDecoder().decode(reply.subarray(32));
}

describe("read", () => {
  test("returns the whole string, also to a request with an argument", async () => {
    expect(stringOf(await holding("archive").replyTo(config(READ)))).toBe("archive");
    expect(stringOf(await holding("archive").replyTo(config(READ, "other")))).toBe("archive");
    expect(stringOf(await holding("").replyTo(config(READ)))).toBe("");
  });

  test("32 bytes without padding and 60 with it are answered alike", async () => {
    const frame = config(READ);
    expect(frame.length).toBe(32);
    const reply = await holding("archive").replyTo(frame);
    expect(reply.length).toBe(39);
    expect(await holding("archive").replyTo(padded(frame))).toEqual(reply);
  });

  test("says 64 buffers, the firmware, sectors per frame, version 1 and the sub-command", async () => {
    for (const [mtuBytes, sectors] of [
      [1500, 2],
      [4200, 8],
      [9000, 16],
      [65536, 120],
    ] as const) {
      const reply = await openExchange({ mtuBytes }).replyTo(config(READ));
      expect([...reply.subarray(24, 30)]).toEqual([0, 64, 0x40, 0x19, sectors, 0x10]);
    }
  });

  test("the version in the argument's high nibble is not looked at", async () => {
    const frame = config(READ);
    frame[29] = 0x00;
    expect(stringOf(await holding("a").replyTo(frame))).toBe("a");
  });
});

test("sectors are advertised as a multiple of 8 where the MTU carries 8 or more", () => {
  const pairs: [number, number][] = [
    [500, 0],
    [1500, 2],
    [4117, 7],
    [4118, 8],
    [8213, 8],
    [8214, 16],
    [9000, 16],
    [65536, 120],
  ];
  for (const [mtuBytes, sectors] of pairs) expect([mtuBytes, advertisedSectors(mtuBytes)]).toEqual([mtuBytes, sectors]);
});

describe("test and prefix", () => {
  for (const [name, ccmd, matching, other] of [
    ["test replies to the very string", TEST, ["archive"], ["archiv", "archives", "", "Archive", "brchive"]],
    ["prefix replies to how the string begins", PREFIX, ["archive", "arch", ""], ["archives", "rchive", "b"]],
  ] as const) {
    test(`${name}, and is silent otherwise`, async () => {
      for (const text of matching) {
        const reply = await holding("archive").replyTo(config(ccmd, text));
        expect([stringOf(reply), reply[29]]).toEqual(["archive", 0x10 | ccmd]);
      }
      for (const text of other) expect(holding("archive").take(config(ccmd, text))).toBe(SILENCE);
    });
  }

  test("an empty string is equal to an empty argument, and its own prefix", async () => {
    expect(stringOf(await holding("").replyTo(config(TEST)))).toBe("");
    expect(stringOf(await holding("").replyTo(config(PREFIX)))).toBe("");
    expect(holding("").take(config(TEST, "a"))).toBe(SILENCE);
  });

  test("padding behind the argument is no part of it", async () => {
    expect(stringOf(await holding("ab").replyTo(padded(config(TEST, "ab"))))).toBe("ab");
  });
});

describe("set and force set", () => {
  test("set gives an empty target its string, durably, before the answer", async () => {
    const exchange = openExchange();
    const reply = await exchange.replyTo(config(SET, "mine"));
    expect([stringOf(reply), reply[29]]).toEqual(["mine", 0x13]);
    expect(exchange.saved.map((state) => state.configString)).toEqual([bytesOf("mine")]);
    expect(stringOf(await exchange.replyTo(config(READ)))).toBe("mine");
  });

  test("set with the string that is there answers, and saves nothing", async () => {
    const exchange = holding("mine");
    expect(stringOf(await exchange.replyTo(config(SET, "mine")))).toBe("mine");
    expect(exchange.saved).toEqual([]);
  });

  test("set where there is another string answers error 4 and changes nothing", async () => {
    const exchange = holding("mine");
    for (const text of ["yours", "", "min", "mine2"]) {
      expect(aoeError(await exchange.replyTo(config(SET, text)))).toBe(4);
    }
    expect(stringOf(await exchange.replyTo(config(READ)))).toBe("mine");
    expect(exchange.saved).toEqual([]);
  });

  test("force set replaces any string, and the empty one clears it", async () => {
    const exchange = holding("mine");
    expect(stringOf(await exchange.replyTo(config(FORCE, "yours")))).toBe("yours");
    expect(stringOf(await exchange.replyTo(config(FORCE, "")))).toBe("");
    expect(stringOf(await exchange.replyTo(config(SET, "third")))).toBe("third");
  });

  test("bytes that are no text are kept as they are", async () => {
    const bytes = new Uint8Array(256).map((_, i) => i);
    const exchange = openExchange();
    await exchange.replyTo(config(FORCE, bytes));
    expect((await exchange.replyTo(config(READ))).subarray(32)).toEqual(bytes);
  });
});

describe("bad arguments", () => {
  test("sub-commands from 5 on answer error 2", async () => {
    for (let ccmd = 5; ccmd < 16; ccmd++) {
      const exchange = openExchange();
      expect(aoeError(await exchange.replyTo(config(ccmd, "x")))).toBe(2);
      expect(exchange.saved).toEqual([]);
    }
  });

  test("1024 bytes are taken, 1025 and 65535 answer error 2 on every sub-command", async () => {
    const most = new Uint8Array(1024).fill(0x61);
    const exchange = openExchange();
    expect(stringOf(await exchange.replyTo(config(SET, most))).length).toBe(1024);
    for (const ccmd of [READ, TEST, PREFIX, SET, FORCE]) {
      expect(aoeError(await exchange.replyTo(config(ccmd, new Uint8Array(1025).fill(0x62))))).toBe(2);
      const claimed = config(ccmd, most);
      claimed.set([0xff, 0xff], 30);
      expect(aoeError(await exchange.replyTo(claimed))).toBe(2);
    }
    expect((await exchange.replyTo(config(READ))).subarray(32)).toEqual(most);
  });

  test("a length that is more than the frame holds answers error 2 and reads nothing from behind it", async () => {
    const exchange = openExchange();
    const frame = config(FORCE, "abcd").subarray(0, 35);
    expect(aoeError(await exchange.replyTo(frame))).toBe(2);
    expect(exchange.saved).toEqual([]);
  });

  test("24 to 31 bytes answer error 2", async () => {
    for (let length = 24; length < 32; length++) {
      expect(aoeError(await openExchange().replyTo(config(READ).subarray(0, length)))).toBe(2);
    }
  });
});

test("a string that the interface's MTU cannot carry is refused with error 2, never cut", async () => {
  const configString = new Uint8Array(1024).fill(0x61);
  const fits = await openExchange({ mtuBytes: 1042, state: { configString } }).replyTo(config(READ));
  expect(fits.length - 14).toBe(1042);
  expect(aoeError(await openExchange({ mtuBytes: 1041, state: { configString } }).replyTo(config(READ)))).toBe(2);
});
