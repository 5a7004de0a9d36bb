import { describe, expect, test } from "bun:test";
import { requestFilter } from "../../../../src/server/aoe/packet-filter.ts";
import type { FilterInstruction } from "../../../../ffi/packet.ts";

interface Address {
  readonly shelf: number;
  readonly slot: number;
}

/**
 * Runs a classic BPF program as the kernel does (net/core/filter.c): the bytes of the frame that are let in, 0 for
 * none. A load from behind the end of the frame ends the program with 0. Refuses what the kernel's check refuses.
 */
function run(program: readonly FilterInstruction[], frame: Uint8Array): number {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  let accumulator = 0;
  for (let at = 0; at < program.length; at++) {
    const [code, jt, jf, k] = program[at]!;
    switch (code) {
      case 0x30: // ldb [k]
        if (k + 1 > frame.length) return 0;
        accumulator = view.getUint8(k);
        break;
      case 0x28: // ldh [k]
        if (k + 2 > frame.length) return 0;
        accumulator = view.getUint16(k);
        break;
      case 0x15: // jeq #k, jt, jf
        at += accumulator === k ? jt : jf;
        break;
      case 0x45: // jset #k, jt, jf
        at += (accumulator & k) !== 0 ? jt : jf;
        break;
      case 0x06: // ret #k
        return k;
      default:
        throw new Error(`instruction ${code.toString(16)} is not known`);
    }
  }
  throw new Error("the program runs off its end");
}

/** What the kernel checks before it attaches a program: jumps of one byte that stay inside, a return at the end. */
function expectAttachable(program: readonly FilterInstruction[]): void {
  expect(program.length).toBeLessThanOrEqual(4096);
  program.forEach(([code, jt, jf], at) => {
    expect(Math.max(jt, jf)).toBeLessThanOrEqual(255);
    if (code === 0x15 || code === 0x45) expect(at + 1 + Math.max(jt, jf)).toBeLessThan(program.length);
  });
  expect(program.at(-1)![0]).toBe(0x06);
}

function frameTo({ shelf, slot }: Address, change: Record<number, number> = {}): Uint8Array {
  const frame = new Uint8Array(36);
  frame.set([0x88, 0xa2, 0x10, 0, shelf >> 8, shelf & 0xff, slot], 12);
  for (const [at, value] of Object.entries(change)) frame[Number(at)] = value;
  return frame;
}

/** By the words of the protocol: shelf and slot of one target, each of them or a wildcard. */
const isForAny = (targets: readonly Address[], { shelf, slot }: Address): boolean =>
  targets.some((target) => (shelf === target.shelf || shelf === 0xffff) && (slot === target.slot || slot === 0xff));

const sets: Record<string, Address[]> = {
  "no target": [],
  "one target": [{ shelf: 1, slot: 0 }],
  "several on one shelf": [0, 1, 7, 254].map((slot) => ({ shelf: 9, slot })),
  "one on each of several shelves": [0, 1, 255, 256, 65534].map((shelf) => ({ shelf, slot: shelf & 3 })),
  "sixty on one shelf": Array.from({ length: 60 }, (_, slot) => ({ shelf: 1, slot })),
  "sixty on sixty shelves": Array.from({ length: 60 }, (_, shelf) => ({ shelf: shelf * 1000, slot: 254 - shelf })),
  "sixty in a square": Array.from({ length: 60 }, (_, i) => ({ shelf: i % 8, slot: Math.floor(i / 8) })),
};

for (const [name, targets] of Object.entries(sets)) {
  describe(`with ${name}`, () => {
    const program = requestFilter(targets);

    test("the kernel attaches the program", () => expectAttachable(program));

    test("exactly the requests to a target or a wildcard that covers one are let in, whole", () => {
      const shelves = new Set([0, 1, 2, 9, 255, 256, 0xfffe, 0xffff, ...targets.map((target) => target.shelf)]);
      const slots = new Set([0, 1, 2, 7, 254, 255, ...targets.map((target) => target.slot)]);
      for (const shelf of shelves) {
        for (const slot of slots) {
          const address = { shelf, slot };
          const accepted = run(program, frameTo(address));
          // To a wildcard shelf and slot everything here may answer, or nothing does: it costs nothing to look.
          if (targets.length === 0 && shelf === 0xffff && slot === 0xff) continue;
          expect([address, accepted >= 65536]).toEqual([address, isForAny(targets, address)]);
        }
      }
    });

    test("responses, other EtherTypes and frames that end before the address are dropped", () => {
      for (const address of [...targets, { shelf: 0xffff, slot: 0xff }]) {
        for (const flags of [0x18, 0x08, 0x1c, 0xff]) expect(run(program, frameTo(address, { 14: flags }))).toBe(0);
        expect(run(program, frameTo(address, { 12: 0x08, 13: 0 }))).toBe(0);
        expect(run(program, frameTo(address, { 13: 0xa3 }))).toBe(0);
        for (let length = 0; length < 19; length++) {
          expect(run(program, frameTo(address).subarray(0, length))).toBe(0);
        }
      }
    });

    test("wrong versions and commands are let in, since they get an answer", () => {
      for (const address of targets) {
        expect(run(program, frameTo(address, { 14: 0x20 }))).not.toBe(0);
        expect(run(program, frameTo(address, { 14: 0 }))).not.toBe(0);
        expect(run(program, frameTo(address, { 19: 0x77 }))).not.toBe(0);
      }
    });
  });
}

describe("with more targets than a program can name", () => {
  for (const count of [61, 255, 5000]) {
    const targets = Array.from({ length: count }, (_, i) => ({ shelf: i >> 7, slot: i & 127 }));
    const program = requestFilter(targets);
    test(`${count}: all requests are let in, and responses and other EtherTypes are not`, () => {
      expectAttachable(program);
      for (const address of [...targets.slice(0, 300), { shelf: 0xffff, slot: 0xff }, { shelf: 60000, slot: 1 }]) {
        expect(run(program, frameTo(address))).not.toBe(0);
        expect(run(program, frameTo(address, { 14: 0x18 }))).toBe(0);
        expect(run(program, frameTo(address, { 12: 0 }))).toBe(0);
      }
    });
  }
});
