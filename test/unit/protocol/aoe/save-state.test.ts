import { expect, test } from "bun:test";
import { KEPT, SILENCE } from "../../../../src/protocol/aoe/reply.ts";
import { aoeError, ata, config, mask, reserve } from "../../../support/aoe-frames.ts";
import { clientMac, openExchange } from "../../../support/aoe-exchange.ts";

const SET = 3;
/** A `save` that ends when the test says so. */
function heldSave() {
  const ends: { resolve: () => void; reject: (error: Error) => void }[] = [];
  const save = () => new Promise<void>((resolve, reject) => void ends.push({ resolve, reject }));
  return { ends, save };
}

test("a change is neither in effect nor answered before it is durable", async () => {
  const { ends, save } = heldSave();
  const exchange = openExchange({ save });
  const reply = exchange.ask(config(SET, "mine"));
  expect([exchange.sent.length, exchange.target.state.configString.length]).toEqual([0, 0]);
  expect(exchange.target.counters.inFlight).toBe(1);
  ends[0]!.resolve();
  expect(new TextDecoder().decode((await reply)!.subarray(32))).toBe("mine");
  expect(exchange.target.state.configString.length).toBe(4);
  expect(exchange.target.counters.inFlight).toBe(0);
});

test("while one change is being saved others are dropped, and everything else is answered", async () => {
  const { ends, save } = heldSave();
  const exchange = openExchange({ save });
  const first = exchange.ask(config(SET, "mine"));
  const directive = { directive: 1, mac: clientMac };
  for (const frame of [config(SET, "other"), config(SET, "mine"), mask(1, [directive]), reserve(1, [clientMac])]) {
    expect(exchange.take(frame)).toBe(SILENCE);
  }
  expect(ataLength(await exchange.replyTo(ata({ command: 0x24, count: 1 })))).toBe(548);
  expect(ends.length).toBe(1);
  ends[0]!.resolve();
  await first;
  expect(exchange.take(reserve(1, [clientMac]))).toBe(KEPT);
});

const ataLength = (reply: Uint8Array): number => reply.length;

test("a change that cannot be saved answers error 3, takes no effect, and the next one may succeed", async () => {
  const { ends, save } = heldSave();
  const exchange = openExchange({ save, state: { reservations: [] } });
  for (const frame of [config(SET, "mine"), mask(1, [{ directive: 1, mac: clientMac }]), reserve(1, [clientMac])]) {
    const reply = exchange.ask(frame);
    ends.at(-1)!.reject(new Error("no space"));
    const whole = (await reply)!;
    expect([whole.length, whole[14], aoeError(whole)]).toEqual([24, 0x1c, 3]);
    expect([...whole.subarray(16, 24)]).toEqual([...frame.subarray(16, 24)]);
  }
  const { state } = exchange.target;
  expect([state.configString.length, state.mask.length, state.reservations.length]).toEqual([0, 0, 0]);
  const reply = exchange.ask(config(SET, "mine"));
  ends.at(-1)!.resolve();
  expect(aoeError((await reply)!)).toBe(0);
});

test("where no request can be kept a change is dropped before it is saved", () => {
  const { ends, save } = heldSave();
  const exchange = openExchange({ save, mostPending: 0 });
  expect(exchange.take(config(SET, "mine"))).toBe(SILENCE);
  expect([ends.length, exchange.target.saving]).toEqual([0, false]);
});
