import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { readInterface } from "../../../ffi/interface.ts";
import { libc } from "../../../ffi/libc.ts";
import { allocateMemory } from "../../../ffi/memory.ts";
import { FAULT, openPacketSender, REFUSED, SENT, type PacketSender } from "../../../ffi/packet-sender.ts";
import { bindPacketSocket, openPacketSocket } from "../../../ffi/packet.ts";
import { titleUnless } from "../../support/requirements.ts";
import { createTap, missingForTaps, type Tap } from "../../support/tap.ts";

const ETHERTYPE = 0x88a2;
const HEADER_BYTES = 36;
const CAPACITY = 8;

const missing = missingForTaps();

describe.skipIf(missing !== undefined)(titleUnless(missing, "a packet sender"), () => {
  let tap: Tap;
  let fd: number;
  let sender: PacketSender;
  const elsewhere = allocateMemory(4096);
  elsewhere.bytes.fill(0xee);

  beforeEach(() => {
    tap = createTap(9000);
    fd = openPacketSocket();
    bindPacketSocket(fd, readInterface(tap.name).index, ETHERTYPE);
    sender = openPacketSender(fd, CAPACITY, 8192);
  });
  afterEach(() => {
    sender.close();
    libc.close(fd);
    tap[Symbol.dispose]();
  });

  /** Queues a message whose header ends in its number, and whose own body is full of it. */
  const push = (number: number, bodyAddress: number, bodyBytes: number): void => {
    const i = sender.count;
    const { bytes } = sender.memory;
    const headerAt = sender.headerAt(i);
    bytes.fill(0, headerAt, headerAt + HEADER_BYTES);
    bytes.set([0xff, 0xff, 0xff, 0xff, 0xff, 0xff], headerAt);
    bytes.set([ETHERTYPE >> 8, ETHERTYPE & 0xff], headerAt + 12);
    bytes[headerAt + HEADER_BYTES - 1] = number;
    bytes.fill(number, sender.bodyAt(i), sender.bodyAt(i) + 8192);
    sender.push(HEADER_BYTES, bodyAddress, bodyBytes);
  };

  /** What has left: the number of each message, the length of its body, and what the body is full of. */
  const sent = (): [number, number, number | undefined][] => {
    const frames: [number, number, number | undefined][] = [];
    for (let frame = tap.receive(); frame !== undefined; frame = tap.receive()) {
      const body = frame.subarray(HEADER_BYTES);
      if (!body.every((byte) => byte === body[0])) throw new Error("a body is mixed");
      frames.push([frame[HEADER_BYTES - 1]!, body.length, body[0]]);
    }
    return frames;
  };

  test("sends headers alone, with their own bodies, and with bodies from elsewhere", () => {
    push(1, 0, 0);
    push(2, 0, 8192);
    push(3, elsewhere.address, 512);
    expect(sender.flush()).toBe(SENT);
    expect(sent()).toEqual([
      [1, 0, undefined],
      [2, 8192, 2],
      [3, 512, 0xee],
    ]);
    expect([sender.count, sender.first]).toEqual([0, 0]);
  });

  test("stops at a body that is not there, and goes on behind it", () => {
    push(1, elsewhere.address, 512);
    push(2, 4096, 512);
    push(3, 0, 512);
    expect(sender.flush()).toBe(FAULT);
    expect(sender.first).toBe(1);
    sender.skip();
    expect(sender.flush()).toBe(SENT);
    expect(sent().map(([number]) => number)).toEqual([1, 3]);
  });

  test("stops at a message that is refused, with the reason", () => {
    const tooLong = allocateMemory(16_384);
    push(1, tooLong.address, 16_384);
    push(2, 0, 0);
    expect(sender.flush()).toBe(REFUSED);
    expect(sender.failure).toBe(90); // EMSGSIZE
    sender.skip();
    expect(sender.flush()).toBe(SENT);
    expect(sent().map(([number]) => number)).toEqual([2]);
  });

  test("a message takes its own body instead of one elsewhere", () => {
    push(1, elsewhere.address, 1024);
    push(2, elsewhere.address, 1024);
    sender.useOwnBody(1);
    expect(sender.flush()).toBe(SENT);
    expect(sent()).toEqual([
      [1, 1024, 0xee],
      [2, 1024, 2],
    ]);
  });

  test.each([
    ["a header alone", 0, 0, [4, 0, undefined]],
    ["its own body", 0, 2048, [4, 2048, 4]],
    ["a body elsewhere", elsewhere.address, 512, [4, 512, 0xee]],
  ] as const)("a message that is withdrawn leaves its place to the last one, with %s", (_, address, bytes, last) => {
    push(1, 0, 512);
    push(2, elsewhere.address, 1024);
    push(3, 0, 0);
    push(4, address, bytes);
    sender.withdraw(1);
    expect(sender.count).toBe(3);
    // The place that the last one had is taken anew.
    push(5, 0, 256);
    expect(sender.flush()).toBe(SENT);
    expect(sent()).toEqual([[1, 512, 1], [...last], [3, 0, undefined], [5, 256, 5]]);
  });

  test("the last message can be withdrawn, and the only one", () => {
    push(1, 0, 512);
    push(2, 0, 512);
    sender.withdraw(1);
    expect(sender.flush()).toBe(SENT);
    expect(sent()).toEqual([[1, 512, 1]]);
    push(3, 0, 512);
    sender.withdraw(0);
    expect(sender.flush()).toBe(SENT);
    expect(sent()).toEqual([]);
  });

  test("is used again and again as it is emptied", () => {
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < CAPACITY; i++) push(round * CAPACITY + i, 0, 64);
      expect(sender.flush()).toBe(SENT);
      expect(sent().map(([number]) => number)).toEqual(
        Array.from({ length: CAPACITY }, (_, i) => round * CAPACITY + i),
      );
    }
  });
});
