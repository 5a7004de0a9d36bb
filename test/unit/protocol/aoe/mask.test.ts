import { describe, expect, test } from "bun:test";
import { formatMac, readMac, type Mac } from "../../../../src/protocol/aoe/mac.ts";
import type { MaskDirective } from "../../../../src/initiator/requests.ts";
import { aoeError, mask, padded } from "../../../support/aoe-frames.ts";
import { clientMac, openExchange } from "../../../support/aoe-exchange.ts";

const READ = 0;
const EDIT = 1;
const UNSPECIFIED = 1;
const BAD_DIRECTIVE = 2;
const LIST_FULL = 3;
const A: Mac = 0x02_00_00_00_0a_00;
const none = (mac: Mac): MaskDirective => ({ directive: 0, mac });
const add = (mac: Mac): MaskDirective => ({ directive: 1, mac });
const remove = (mac: Mac): MaskDirective => ({ directive: 2, mac });
/** As many MACs as asked for, of which the first is the client's, so that the list does not shut it out. */
const many = (count: number): Mac[] => Array.from({ length: count }, (_, i) => (i === 0 ? clientMac : A + i));

/** The list in a successful reply. */
function listOf(reply: Uint8Array): Mac[] {
  expect([aoeError(reply), reply[24], reply[26]]).toEqual([0, 0, 0]);
  const count = reply[27]!;
  expect(reply.length).toBe(28 + 8 * count);
  return Array.from({ length: count }, (_, i) => {
    expect([...reply.subarray(28 + 8 * i, 30 + 8 * i)]).toEqual([0, 0]);
    return readMac(reply, 30 + 8 * i);
  });
}

/** `[merror, index]` of a refused edit, which has nothing behind its header. */
function refusalOf(reply: Uint8Array): number[] {
  expect([aoeError(reply), reply.length, reply[24], reply[25]]).toEqual([0, 28, 0, EDIT]);
  return [reply[26]!, reply[27]!];
}

describe("read", () => {
  test("returns the list, empty where all are allowed", async () => {
    expect(listOf(await openExchange().replyTo(mask(READ)))).toEqual([]);
    const exchange = openExchange({ state: { mask: [clientMac, A] } });
    expect(listOf(await exchange.replyTo(mask(READ)))).toEqual([clientMac, A]);
    expect(listOf(await exchange.replyTo(padded(mask(READ))))).toEqual([clientMac, A]);
  });

  test("directives in a read are not applied", async () => {
    const exchange = openExchange();
    expect(listOf(await exchange.replyTo(mask(READ, [add(A)])))).toEqual([]);
    expect(exchange.saved).toEqual([]);
  });
});

describe("edit", () => {
  test("adds and deletes in order, answers the whole list, durably before that", async () => {
    const exchange = openExchange();
    const reply = await exchange.replyTo(mask(EDIT, [add(A), add(clientMac), none(A + 9), remove(A), add(A + 1)]));
    expect(listOf(reply)).toEqual([clientMac, A + 1]);
    expect(reply[25]).toBe(EDIT);
    expect(exchange.saved.map((state) => state.mask)).toEqual([[clientMac, A + 1]]);
    expect(listOf(await exchange.replyTo(mask(READ)))).toEqual([clientMac, A + 1]);
  });

  test("a MAC that is there already, one that is not there to delete, and no directives at all are no mistakes", async () => {
    const exchange = openExchange({ state: { mask: [clientMac] } });
    expect(listOf(await exchange.replyTo(mask(EDIT, [add(clientMac), remove(A)])))).toEqual([clientMac]);
    expect(listOf(await exchange.replyTo(mask(EDIT)))).toEqual([clientMac]);
  });

  test("deleting the last entry allows everybody again", async () => {
    const exchange = openExchange({ state: { mask: [clientMac] } });
    expect(listOf(await exchange.replyTo(mask(EDIT, [remove(clientMac)])))).toEqual([]);
    expect(listOf(await exchange.replyTo(mask(READ, [], A)))).toEqual([]);
  });

  test("takes effect for others, and for the sender that shuts itself out once it has its answer", async () => {
    const exchange = openExchange();
    expect(listOf(await exchange.replyTo(mask(EDIT, [add(A)])))).toEqual([A]);
    expect(await exchange.ask(mask(READ))).toBeUndefined();
    expect(listOf(await exchange.replyTo(mask(READ, [], A)))).toEqual([A]);
  });

  test("what the configuration allows cannot be deleted: error 1 with its index, and nothing of the edit is applied", async () => {
    const exchange = openExchange({ maskFloor: [clientMac] });
    const edit = mask(EDIT, [add(A), add(A + 1), remove(clientMac), add(A + 2)]);
    expect(refusalOf(await exchange.replyTo(edit))).toEqual([UNSPECIFIED, 2]);
    expect(listOf(await exchange.replyTo(mask(READ)))).toEqual([clientMac]);
    expect(exchange.saved).toEqual([]);
  });

  test("what was added beside the configuration can be deleted", async () => {
    const exchange = openExchange({ maskFloor: [clientMac] });
    await exchange.replyTo(mask(EDIT, [add(A)]));
    expect(listOf(await exchange.replyTo(mask(EDIT, [remove(A)])))).toEqual([clientMac]);
  });

  for (let directive = 3; directive < 256; directive += 84) {
    test(`directive ${directive} answers error 2 with its index, and nothing of the edit is applied`, async () => {
      const exchange = openExchange({ state: { mask: [clientMac] } });
      const edit = mask(EDIT, [add(A), { directive, mac: A }, remove(clientMac)]);
      expect(refusalOf(await exchange.replyTo(edit))).toEqual([BAD_DIRECTIVE, 1]);
      expect(listOf(await exchange.replyTo(mask(READ)))).toEqual([clientMac]);
    });
  }
});

describe("a full list", () => {
  for (const [mtuBytes, most] of [
    [1500, 185],
    [9000, 255],
    [65536, 255],
  ] as const) {
    test(`at MTU ${mtuBytes} ${most} entries are kept and said, and one more answers error 3 with its index`, async () => {
      const macs = many(most);
      const exchange = openExchange({ mtuBytes });
      const filled = await exchange.replyTo(mask(EDIT, macs.map(add)));
      expect(listOf(filled)).toEqual(macs);
      expect(filled.length - 14).toBeLessThanOrEqual(mtuBytes);
      const more = mask(EDIT, [remove(macs[1]!), add(A + 1000), add(macs[0]!), add(A + 1001)]);
      expect(refusalOf(await exchange.replyTo(more))).toEqual([LIST_FULL, 3]);
      expect(listOf(await exchange.replyTo(mask(READ)))).toEqual(macs);
    });
  }

  test("a list that was filled through a larger MTU is refused with error 2 through a smaller one, never cut", async () => {
    const exchange = openExchange({ mtuBytes: 1500, state: { mask: many(186) } });
    expect(aoeError(await exchange.replyTo(mask(READ)))).toBe(2);
    expect(aoeError(await exchange.replyTo(mask(EDIT, [none(A)])))).toBe(2);
    expect(exchange.saved).toEqual([]);
    // It can be made small enough from here, too.
    expect(listOf(await exchange.replyTo(mask(EDIT, [remove(A + 1)]))).length).toBe(185);
  });
});

describe("bad arguments", () => {
  test("sub-commands from 2 on answer AoE error 2", async () => {
    for (const command of [2, 3, 127, 255]) {
      expect(aoeError(await openExchange().replyTo(mask(command, [add(A)])))).toBe(2);
    }
  });

  test("a count that is more than the frame holds answers AoE error 2 and applies nothing", async () => {
    const exchange = openExchange();
    const frame = mask(EDIT, [add(A), add(A + 1)]);
    for (const length of [frame.length - 1, 36, 28]) {
      expect(aoeError(await exchange.replyTo(frame.subarray(0, length)))).toBe(2);
    }
    expect(exchange.saved).toEqual([]);
  });

  test("directives behind the count are not looked at", async () => {
    const exchange = openExchange();
    const frame = mask(EDIT, [add(clientMac), add(A)]);
    frame[27] = 1;
    expect(listOf(await exchange.replyTo(frame)).map(formatMac)).toEqual([formatMac(clientMac)]);
  });

  test("24 to 27 bytes answer AoE error 2", async () => {
    for (let length = 24; length < 28; length++) {
      expect(aoeError(await openExchange().replyTo(mask(READ).subarray(0, length)))).toBe(2);
    }
  });
});
