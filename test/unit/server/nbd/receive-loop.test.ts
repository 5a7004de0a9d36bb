import { afterEach, expect, test } from "bun:test";
import type { Connection } from "../../../../src/server/nbd/connection.ts";
import { createReceiveLoop, type ReceiveLoop } from "../../../../src/server/nbd/receive-loop.ts";

/** A connection of which it is told what it was asked to do, and that has so many bytes at hand. */
function fakeConnection(bytes = 0): { connection: Connection; turnsEnded: () => number } {
  let turnsEnded = 0;
  let left = bytes;
  const fake = {
    socket: { fd: -1 },
    canReceive: true,
    isWaiting: bytes > 0,
    isBulk: false,
    isClosed: false,
    receive: () => (left-- > 0 ? 1 : 0),
    receiveDirectly() {},
    endTurn: () => void turnsEnded++,
  };
  return { connection: fake as unknown as Connection, turnsEnded: () => turnsEnded };
}

let loop: ReceiveLoop | undefined;
afterEach(() => loop?.close());

test("a connection that is followed ends its turn at once: what it has been lent is good for no longer", () => {
  loop = createReceiveLoop();
  const { connection, turnsEnded } = fakeConnection();
  loop.follow(connection);
  expect(turnsEnded()).toBe(1);
});

test("it does so too while the loop waits for its own next turn, because of another connection", () => {
  loop = createReceiveLoop();
  const busy = fakeConnection(1);
  loop.follow(busy.connection);
  expect(busy.turnsEnded()).toBe(1);
  const { connection, turnsEnded } = fakeConnection();
  loop.follow(connection);
  expect(turnsEnded()).toBe(1);
});
