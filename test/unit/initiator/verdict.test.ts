import { expect, test } from "bun:test";
import type { IdentifiedPath } from "../../../src/initiator/discover.ts";
import { frameBytes, summarise, type PathMeasurements } from "../../../src/initiator/probe.ts";
import { judge } from "../../../src/initiator/verdict.ts";

interface Circumstances {
  mtuBytes?: number;
  interfaceSectors?: number;
  targetSectors?: number;
  bufferCount?: number;
  sectorCount?: number;
}

function pathWith(circumstances: Circumstances): IdentifiedPath {
  const {
    mtuBytes = 9000,
    interfaceSectors = 17,
    targetSectors = 16,
    bufferCount = 64,
    sectorCount = 8192,
  } = circumstances;
  return {
    initiator: { interface: { name: "eth0", mtuBytes } },
    config: { bufferCount, sectorsPerFrame: targetSectors },
    sectorsPerFrame: Math.min(interfaceSectors, targetSectors),
    identity: { sectorCount },
    refusal: "",
  } as unknown as IdentifiedPath;
}

function measuredWith(toTarget: number, fromTarget: number, more: Partial<PathMeasurements> = {}): PathMeasurements {
  return {
    sectors: { interface: 17, target: 16, passed: Math.min(toTarget, fromTarget) },
    largestFrameBytes: { toTarget: frameBytes(toTarget), fromTarget: frameBytes(fromTarget) },
    latency: { requests: 100, minMs: 0.1, medianMs: 0.1, p99Ms: 0.2 },
    loss: { requests: 2000, lost: 0, late: 0 },
    throughput: undefined,
    refusal: "",
    ...more,
  };
}

test("a path that carries what both sides promise, without loss, is good", () => {
  expect(judge(pathWith({}), measuredWith(16, 16))).toEqual({ good: true, problems: [], notes: [] });
});

test("a switch without jumbo frames is named, with the size that passes and what to do", () => {
  const { good, problems } = judge(pathWith({}), measuredWith(2, 2));
  expect(good).toBe(false);
  expect(problems).toHaveLength(1);
  expect(problems[0]).toContain("frames over 1060 bytes get lost either way");
  expect(problems[0]).toContain("the switch or the other side does not pass jumbo frames");
  expect(problems[0]).toContain("ip link set eth0 mtu 1500");
});

test("a limit in one direction is told from one in both", () => {
  expect(judge(pathWith({}), measuredWith(2, 16)).problems[0]).toContain("on the way to the target");
  expect(judge(pathWith({}), measuredWith(16, 2)).problems[0]).toContain("on the way from the target");
});

test("a path that carries more than the smaller side promises is good, with a note on the larger", () => {
  const sectors = { interface: 17, target: 2, passed: 2 };
  const { good, notes } = judge(pathWith({ targetSectors: 2 }), measuredWith(2, 2, { sectors }));
  expect(good).toBe(true);
  expect(notes).toHaveLength(1);
  expect(notes[0]).toContain("a larger MTU on the target's interface");
});

test("an interface with a smaller MTU than the target's gets a note", () => {
  const sectors = { interface: 2, target: 16, passed: 2 };
  const path = pathWith({ mtuBytes: 1500, interfaceSectors: 2 });
  const { good, notes } = judge(path, measuredWith(2, 2, { sectors }));
  expect(good).toBe(true);
  expect(notes[0]).toContain("a larger MTU here");
});

test("one loss in a thousand is bad, one in two thousand is worth a note", () => {
  const bad = judge(pathWith({}), measuredWith(16, 16, { loss: { requests: 2000, lost: 2, late: 0 } }));
  expect(bad.good).toBe(false);
  expect(bad.problems[0]).toStartWith("0.10 % of the requests");
  const tolerable = judge(pathWith({}), measuredWith(16, 16, { loss: { requests: 2000, lost: 1, late: 0 } }));
  expect(tolerable).toMatchObject({ good: true, notes: ["1 of 2000 requests got no answer"] });
});

test("a buffer count of 1, with which Linux shows no disk, is bad", () => {
  expect(judge(pathWith({ bufferCount: 1 }), measuredWith(16, 16)).problems[0]).toContain("Linux ignores it");
});

test("a target that refuses its data is bad and says why", () => {
  const { good, problems } = judge(pathWith({}), measuredWith(0, 0, { refusal: "UNC", latency: undefined }));
  expect(good).toBe(false);
  expect(problems).toEqual(["the target does not give its data: UNC; see the target's log"]);
});

test("a target that answers no read is bad", () => {
  const silent = measuredWith(0, 0, { latency: undefined, loss: { requests: 4, lost: 4, late: 0 } });
  expect(judge(pathWith({}), silent).problems[0]).toContain("answers queries and no reads");
});

test("late answers are the storage's and not the path's", () => {
  const late = { requests: 2000, lost: 0, late: 3 };
  const { good, notes } = judge(pathWith({}), measuredWith(16, 16, { loss: late }));
  expect(good).toBe(true);
  expect(notes).toEqual(["3 of 2000 answers took more than 1000 ms: the target's storage is slow"]);
  const never = measuredWith(0, 0, { latency: undefined, loss: { requests: 4, lost: 0, late: 4 } });
  expect(judge(pathWith({}), never).problems).toEqual([
    "every read takes more than 1000 ms: look at the target's storage",
  ]);
});

test("a disk smaller than a frame is measured by what it has", () => {
  expect(judge(pathWith({ sectorCount: 8 }), measuredWith(16, 8)).good).toBe(true);
});

test("a size that is no multiple of 4 KiB gets a note", () => {
  expect(judge(pathWith({ sectorCount: 8191 }), measuredWith(16, 16)).notes[0]).toContain("no multiple of 4 KiB");
});

test("latencies are summed up by their ranks", () => {
  const times = Array.from({ length: 200 }, (_, i) => 200 - i);
  expect(summarise(times)).toEqual({ requests: 200, minMs: 1, medianMs: 100, p99Ms: 198 });
  expect(summarise([7])).toEqual({ requests: 1, minMs: 7, medianMs: 7, p99Ms: 7 });
  expect(summarise([])).toBeUndefined();
});
