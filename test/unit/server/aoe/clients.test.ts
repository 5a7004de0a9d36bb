import { expect, test } from "bun:test";
import { clientTable } from "../../../../src/server/aoe/clients.ts";

const MOST = 256;

test("an initiator has one entry per target, which is the same object every time", () => {
  const clients = clientTable("eth0", () => 0);
  const first = clients.of(1, "e1.0");
  first.requests++;
  expect(clients.of(1, "e1.0")).toBe(first);
  expect(clients.of(1, "e1.1")).not.toBe(first);
  expect(clients.of(2, "e1.0")).not.toBe(first);
  expect(clients.list().map(({ mac, target, requests }) => [mac, target, requests])).toEqual([
    [1, "e1.0", 1],
    [1, "e1.1", 0],
    [2, "e1.0", 0],
  ]);
});

test("a flood of forged MACs takes no more than 256 entries", () => {
  let nowMs = 0;
  const clients = clientTable("eth0", () => nowMs);
  for (let mac = 0; mac < 20_000; mac++) {
    nowMs++;
    clients.of(mac, "e1.0");
  }
  expect(clients.list().length).toBe(MOST);
  expect(Math.min(...clients.list().map(({ mac }) => mac))).toBe(20_000 - MOST);
});

test("the longest unseen is forgotten first, and one that keeps asking stays", () => {
  let nowMs = 0;
  const clients = clientTable("eth0", () => nowMs);
  const steady = clients.of(0xffff_ffff, "e1.0");
  for (let mac = 0; mac < 2 * MOST; mac++) {
    nowMs++;
    clients.of(mac, "e1.0");
    const again = clients.of(0xffff_ffff, "e1.0");
    again.lastSeenMs = nowMs;
    expect(again).toBe(steady);
  }
});
