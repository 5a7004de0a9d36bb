import { expect, test } from "bun:test";
import { announcements } from "../../../../src/protocol/aoe/announcement.ts";
import { readMac, type Mac } from "../../../../src/protocol/aoe/mac.ts";
import { config } from "../../../support/aoe-frames.ts";
import { clientMac, openExchange, serverMac } from "../../../support/aoe-exchange.ts";

const mac = new Uint8Array([2, 0, 0, 0, 0, 1]);
const configString = new TextEncoder().encode("archive");

test("a target without a mask list announces itself to everybody, in one frame", () => {
  const { target } = openExchange({ state: { configString } });
  const frames = announcements(target, mac, 9000);
  expect(frames.map((frame) => readMac(frame, 0))).toEqual([0xffffffffffff]);
});

test("a target with a mask list announces itself to each MAC on it, and to nobody else", () => {
  const mask: Mac[] = [clientMac, clientMac + 1, clientMac + 2];
  const { target } = openExchange({ state: { configString, mask } });
  expect(announcements(target, mac, 9000).map((frame) => readMac(frame, 0))).toEqual(mask);
});

test("an announcement is the answer to a config query, with tag 0, from the interface", async () => {
  const exchange = openExchange({ mtuBytes: 9000, state: { configString } });
  const [announcement] = announcements(exchange.target, mac, 9000);
  const query = config(0);
  query.fill(0, 20, 24);
  const reply = (await exchange.replyTo(query)).slice();
  reply.fill(0xff, 0, 6);
  expect(announcement!).toEqual(reply);
  expect([readMac(announcement!, 6), announcement![14]]).toEqual([serverMac, 0x18]);
});

test("a string that the MTU cannot carry is left out of the announcement, which still says that the target is there", () => {
  const { target } = openExchange({ state: { configString: new Uint8Array(1024).fill(0x61) } });
  const [frame] = announcements(target, mac, 1041);
  expect([frame!.length, frame![30], frame![31]]).toEqual([32, 0, 0]);
  expect(announcements(target, mac, 1042)[0]!.length).toBe(1056);
});
