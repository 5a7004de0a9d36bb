import { expect, test } from "bun:test";
import { readInterface } from "../../../ffi/interface.ts";
import { libc } from "../../../ffi/libc.ts";
import { allocateMemory, freeMemory } from "../../../ffi/memory.ts";
import { FAULT, openPacketSender, REFUSED, SENT, type PacketSender } from "../../../ffi/packet-sender.ts";
import { bindPacketSocket, openPacketSocket, receiveFrame, setBufferBytes } from "../../../ffi/packet.ts";
import { titleUnless } from "../../support/requirements.ts";
import { missingForWire } from "../../support/wire.ts";

/** IEEE 802 Local Experimental EtherType 2: nobody else's. */
const ETHERTYPE_EXPERIMENT = 0x88b6;
const HEADER_BYTES = 20;
const BODY_BYTES = 40;
const missing = missingForWire();

/** Runs a test with a sender on the loopback interface; `arrived` gives the first body bytes that came back. */
function onLoopback(title: string, run: (sender: PacketSender, arrived: () => number[]) => void): void {
  test.skipIf(missing !== undefined)(titleUnless(missing, title), () => {
    const fd = openPacketSocket();
    const incoming = allocateMemory(4096);
    const sender = openPacketSender(fd, 8, 1024);
    try {
      setBufferBytes(fd, 1 << 20, 1 << 20);
      bindPacketSocket(fd, readInterface("lo").index, ETHERTYPE_EXPERIMENT);
      run(sender, () => {
        const bodies: number[] = [];
        for (let length = 0; (length = receiveFrame(fd, incoming)) > 0;) {
          bodies.push(length === HEADER_BYTES ? -1 : incoming.bytes[HEADER_BYTES]!);
        }
        return bodies;
      });
    } finally {
      sender.close();
      libc.close(fd);
      freeMemory(incoming);
    }
  });
}

/** Queues a frame whose body, its own or one at an address, begins with `value` in its own case. */
function push(sender: PacketSender, value: number, address = 0, bodyBytes = BODY_BYTES): void {
  const i = sender.count;
  sender.memory.bytes.fill(0, sender.headerAt(i), sender.headerAt(i) + HEADER_BYTES);
  sender.memory.view.setUint16(sender.headerAt(i) + 12, ETHERTYPE_EXPERIMENT);
  sender.memory.bytes.fill(value, sender.bodyAt(i), sender.bodyAt(i) + BODY_BYTES);
  sender.push(HEADER_BYTES, address, bodyBytes);
}

onLoopback("frames leave in order, with their own bodies, with others' and with none", (sender, arrived) => {
  const lent = allocateMemory(4096);
  lent.bytes.fill(99);
  push(sender, 1);
  push(sender, 2, lent.address);
  push(sender, 3, 0, 0);
  push(sender, 4);
  expect([sender.flush(), sender.count, sender.first]).toEqual([SENT, 0, 0]);
  expect(arrived()).toEqual([1, 99, -1, 4]);
  freeMemory(lent);
});

onLoopback("a body that was taken over is the message's own, whatever becomes of what was lent", (sender, arrived) => {
  const lent = allocateMemory(4096);
  push(sender, 1, lent.address);
  push(sender, 2, lent.address);
  sender.own(0);
  lent.bytes.fill(99);
  expect(sender.flush()).toBe(SENT);
  expect(arrived()).toEqual([1, 99]);
  freeMemory(lent);
});

onLoopback(
  "a message that was dropped is left out, at the beginning, in the middle and at the end",
  (sender, arrived) => {
    for (let value = 1; value <= 6; value++) push(sender, value);
    for (const i of [0, 2, 3, 5]) sender.drop(i);
    expect([sender.flush(), arrived()]).toEqual([SENT, [2, 5]]);
    // And what has its place in the next batch is not.
    for (let value = 1; value <= 6; value++) push(sender, value);
    expect([sender.flush(), arrived()]).toEqual([SENT, [1, 2, 3, 4, 5, 6]]);
    push(sender, 1);
    sender.drop(0);
    expect([sender.flush(), sender.count, arrived()]).toEqual([SENT, 0, []]);
  },
);

onLoopback(
  "a body that cannot be read is told, and what comes after it is sent once that is skipped",
  (sender, arrived) => {
    const gone = allocateMemory(4096);
    freeMemory(gone);
    push(sender, 1);
    push(sender, 2, gone.address);
    push(sender, 3);
    expect([sender.flush(), sender.first]).toEqual([FAULT, 1]);
    sender.skip();
    expect(sender.flush()).toBe(SENT);
    expect(arrived()).toEqual([1, 3]);
  },
);

onLoopback("a frame that is too short for Ethernet is refused, with the reason", (sender, arrived) => {
  push(sender, 1);
  sender.push(10, 0, 0);
  push(sender, 3);
  expect([sender.flush(), sender.first, sender.failure > 0]).toEqual([REFUSED, 1, true]);
  sender.skip();
  expect([sender.flush(), arrived()]).toEqual([SENT, [1, 3]]);
});
