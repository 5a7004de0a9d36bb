import { describe, expect, test } from "bun:test";
import { readMac, type Mac } from "../../../../src/protocol/aoe/mac.ts";
import { aoeError, padded, reserve } from "../../../support/aoe-frames.ts";
import { clientMac, openExchange } from "../../../support/aoe-exchange.ts";

const READ = 0;
const SET = 1;
const FORCE = 2;
const A: Mac = 0x02_00_00_00_0a_00;

function holdersOf(reply: Uint8Array): Mac[] {
  expect(aoeError(reply)).toBe(0);
  const count = reply[25]!;
  expect(reply.length).toBe(26 + 6 * count);
  return Array.from({ length: count }, (_, i) => readMac(reply, 26 + 6 * i));
}

describe("read", () => {
  test("returns the holders, and none where nobody holds it, to anybody", async () => {
    expect(holdersOf(await openExchange().replyTo(reserve(READ)))).toEqual([]);
    const exchange = openExchange({ state: { reservations: [A, A + 1] } });
    expect(holdersOf(await exchange.replyTo(reserve(READ)))).toEqual([A, A + 1]);
    expect(holdersOf(await exchange.replyTo(padded(reserve(READ, [A + 5]))))).toEqual([A, A + 1]);
  });
});

describe("set", () => {
  test("reserves a free target, durably before the answer", async () => {
    const exchange = openExchange();
    const reply = await exchange.replyTo(reserve(SET, [clientMac, A]));
    expect([holdersOf(reply), reply[24]]).toEqual([[clientMac, A], SET]);
    expect(exchange.saved.map((state) => state.reservations)).toEqual([[clientMac, A]]);
    expect(holdersOf(await exchange.replyTo(reserve(READ)))).toEqual([clientMac, A]);
  });

  test("a sender need not be on the list that it sets, and is then no holder", async () => {
    const exchange = openExchange();
    expect(holdersOf(await exchange.replyTo(reserve(SET, [A])))).toEqual([A]);
    expect(aoeError(await exchange.replyTo(reserve(SET, [clientMac])))).toBe(6);
  });

  test("by one who holds it replaces the list, by another it answers error 6 and changes nothing", async () => {
    const exchange = openExchange({ state: { reservations: [A, clientMac] } });
    expect(aoeError(await exchange.replyTo(reserve(SET, [A + 7], A + 7)))).toBe(6);
    expect(aoeError(await exchange.replyTo(reserve(SET, [], A + 7)))).toBe(6);
    expect(exchange.saved).toEqual([]);
    expect(holdersOf(await exchange.replyTo(reserve(SET, [A + 2])))).toEqual([A + 2]);
  });

  test("the holder is the source of the frame, not a MAC that the frame lists", async () => {
    const exchange = openExchange({ state: { reservations: [A] } });
    expect(aoeError(await exchange.replyTo(reserve(SET, [A])))).toBe(6);
    expect(holdersOf(await exchange.replyTo(reserve(SET, [clientMac], A)))).toEqual([clientMac]);
  });

  test("a count of 0 by a holder releases it for everybody", async () => {
    const exchange = openExchange({ state: { reservations: [clientMac] } });
    expect(holdersOf(await exchange.replyTo(reserve(SET)))).toEqual([]);
    expect(holdersOf(await exchange.replyTo(reserve(SET, [A], A)))).toEqual([A]);
  });

  test("a MAC that is listed twice holds it once", async () => {
    expect(holdersOf(await openExchange().replyTo(reserve(SET, [A, A, clientMac, A])))).toEqual([A, clientMac]);
  });
});

describe("force set", () => {
  test("takes the target from another", async () => {
    const exchange = openExchange({ state: { reservations: [A] } });
    const reply = await exchange.replyTo(reserve(FORCE, [clientMac]));
    expect([holdersOf(reply), reply[24]]).toEqual([[clientMac], FORCE]);
    expect(aoeError(await exchange.replyTo(reserve(SET, [A], A)))).toBe(6);
  });

  test("a count of 0 releases what another holds", async () => {
    const exchange = openExchange({ state: { reservations: [A] } });
    expect(holdersOf(await exchange.replyTo(reserve(FORCE)))).toEqual([]);
  });
});

describe("bad arguments", () => {
  test("sub-commands from 3 on answer error 2", async () => {
    for (const command of [3, 4, 127, 255]) {
      expect(aoeError(await openExchange().replyTo(reserve(command, [A])))).toBe(2);
    }
  });

  test("a count that is more than the frame holds answers error 2 and changes nothing", async () => {
    const exchange = openExchange();
    const frame = reserve(SET, [A, A + 1]);
    for (const length of [frame.length - 1, 32, 26]) {
      expect(aoeError(await exchange.replyTo(frame.subarray(0, length)))).toBe(2);
    }
    expect(exchange.saved).toEqual([]);
  });

  test("24 and 25 bytes answer error 2", async () => {
    for (const length of [24, 25]) {
      expect(aoeError(await openExchange().replyTo(reserve(READ).subarray(0, length)))).toBe(2);
    }
  });
});

test("255 holders are kept where the MTU carries them, and refused with error 2 where it does not", async () => {
  const macs = Array.from({ length: 255 }, (_, i) => A + i);
  expect(holdersOf(await openExchange({ mtuBytes: 9000 }).replyTo(reserve(SET, macs)))).toEqual(macs);
  const exchange = openExchange({ mtuBytes: 1500, state: { reservations: macs } });
  expect(aoeError(await exchange.replyTo(reserve(READ)))).toBe(2);
  expect(holdersOf(await exchange.replyTo(reserve(FORCE, macs.slice(0, 248)))).length).toBe(248);
});
