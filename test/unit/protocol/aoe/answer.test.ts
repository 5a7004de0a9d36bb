import { describe, expect, test } from "bun:test";
import { isAddressed } from "../../../../src/protocol/aoe/answer.ts";
import { SILENCE } from "../../../../src/protocol/aoe/reply.ts";
import { aoeError, ata, config, mask, padded, reserve } from "../../../support/aoe-frames.ts";
import { clientMac, openExchange, serverMac } from "../../../support/aoe-exchange.ts";
import { readMac, writeMac } from "../../../../src/protocol/aoe/mac.ts";

const READ48 = 0x24;

/** One request for each command. */
const everyCommand = (): Uint8Array[] => [ata({ command: READ48, count: 1 }), config(0), mask(0), reserve(0)];

describe("the header of a reply", () => {
  for (const [name, destination] of [
    ["to its MAC", serverMac],
    ["that was broadcast", 0xffffffffffff],
  ] as const) {
    test(`a request ${name} is answered from the interface's MAC to the sender's`, async () => {
      const exchange = openExchange();
      for (const frame of [...everyCommand(), ata({ command: 0x99 }), ata({ command: READ48, count: 0 })]) {
        writeMac(frame, 0, destination);
        const reply = await exchange.replyTo(frame);
        expect([readMac(reply, 0), readMac(reply, 6)]).toEqual([clientMac, serverMac]);
        expect([reply[12], reply[13]]).toEqual([0x88, 0xa2]);
      }
    });
  }

  test("tag and command come back as they were, bit 31 of the tag too", async () => {
    for (const frame of everyCommand()) {
      frame.set([0xfe, 0xdc, 0xba, 0x98], 20);
      expect((await openExchange().replyTo(frame)).subarray(19, 24)).toEqual(frame.subarray(19, 24));
    }
  });

  test("a success is 0x18 and error 0, an error is 0x1C and 24 bytes long", async () => {
    const good = await openExchange().replyTo(config(0));
    expect([good[14], good[15]]).toEqual([0x18, 0]);
    const bad = await openExchange().replyTo(config(9));
    expect([bad[14], bad[15], bad.length]).toEqual([0x1c, 2, 24]);
  });

  test("error bits and an error code in a request do not come back", async () => {
    const frame = config(0);
    frame[14] = 0x17;
    frame[15] = 0x55;
    const reply = await openExchange().replyTo(frame);
    expect([reply[14], reply[15]]).toEqual([0x18, 0]);
  });
});

describe("addresses", () => {
  test("shelf and slot are wildcards independently, and the reply has the real address", async () => {
    for (const [shelf, slot] of [
      [1, 0],
      [0xffff, 0],
      [1, 0xff],
      [0xffff, 0xff],
    ] as const) {
      for (const frame of everyCommand()) {
        frame.set([shelf >> 8, shelf & 0xff, slot], 16);
        expect((await openExchange().replyTo(frame)).subarray(16, 19)).toEqual(new Uint8Array([0, 1, 0]));
      }
    }
  });

  test("another shelf or slot is not answered, a wildcard in the other field or none", () => {
    for (const [shelf, slot] of [
      [2, 0],
      [1, 1],
      [2, 0xff],
      [0xffff, 1],
      [0x0100, 0],
      [0xff, 0],
      [0xfffe, 0xff],
      [0xffff, 0xfe],
    ] as const) {
      for (const frame of everyCommand()) {
        frame.set([shelf >> 8, shelf & 0xff, slot], 16);
        expect(openExchange().take(frame)).toBe(SILENCE);
      }
    }
  });

  test("isAddressed: a target is meant by its own address and by either wildcard", () => {
    const { target } = openExchange();
    expect([isAddressed(target, 1, 0), isAddressed(target, 0xffff, 0xff)]).toEqual([true, true]);
    expect([isAddressed(target, 0, 1), isAddressed(target, 0xff, 0xff)]).toEqual([false, false]);
  });
});

describe("what is no request", () => {
  test("a frame with the response flag is not answered, whatever else it has", () => {
    for (const frame of everyCommand()) {
      for (const flags of [0x18, 0x1c, 0x08, 0xf8]) {
        frame[14] = flags;
        expect(openExchange().take(frame)).toBe(SILENCE);
      }
    }
  });

  test("a frame that is shorter than the header is not answered, at any length", () => {
    for (let length = 0; length < 24; length++) {
      expect(openExchange().take(ata({ command: READ48 }).subarray(0, length))).toBe(SILENCE);
    }
  });
});

describe("what cannot be answered", () => {
  test("versions other than 1 answer error 5, for every command", async () => {
    for (const frame of everyCommand()) {
      for (const version of [0, 2, 3, 15]) {
        frame[14] = version << 4;
        const reply = await openExchange().replyTo(frame);
        expect([reply.length, reply[14], aoeError(reply)]).toEqual([24, 0x1c, 5]);
      }
    }
  });

  test("commands from 4 on, vendors' own too, answer error 1 at any length", async () => {
    for (let command = 4; command < 256; command++) {
      for (const frame of [ata({ command: 0 }).subarray(0, 24), padded(ata({ command: 0 }))]) {
        frame[19] = command;
        const reply = await openExchange().replyTo(frame);
        expect([reply.length, aoeError(reply), reply[19]]).toEqual([24, 1, command]);
      }
    }
  });

  test("a header without the rest of its command answers error 2", async () => {
    for (const command of [0, 1, 2, 3]) {
      const frame = config(0).subarray(0, 24);
      frame[19] = command;
      expect(aoeError(await openExchange().replyTo(frame))).toBe(2);
    }
  });
});

describe("a mask list", () => {
  test("a MAC that is not on it hears nothing, on any command or mistake", () => {
    const exchange = openExchange({ state: { mask: [clientMac + 1] } });
    const wrongVersion = config(0);
    wrongVersion[14] = 0x20;
    for (const frame of [...everyCommand(), ata({ command: 0x99 }), config(9), wrongVersion]) {
      expect(exchange.take(frame)).toBe(SILENCE);
    }
  });

  test("a MAC on it is answered", async () => {
    const exchange = openExchange({ state: { mask: [clientMac + 1, clientMac] } });
    for (const frame of everyCommand()) expect(aoeError(await exchange.replyTo(frame))).toBe(0);
  });
});
