import { expect, test } from "bun:test";
import { sectorsPerFrame } from "../../../../src/protocol/aoe/frame.ts";

test("a frame carries 2 sectors at MTU 1500, 17 at 9000, and never more than its count can say", () => {
  const pairs: [mtuBytes: number, sectors: number][] = [
    [0, 0],
    [21, 0],
    [533, 0],
    [534, 1],
    [1045, 1],
    [1046, 2],
    [1500, 2],
    [9000, 17],
    [65536, 127],
    [1_000_000, 255],
  ];
  for (const [mtuBytes, sectors] of pairs) expect([mtuBytes, sectorsPerFrame(mtuBytes)]).toEqual([mtuBytes, sectors]);
});
