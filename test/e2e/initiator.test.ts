import { afterAll, beforeAll, describe, expect, spyOn, test } from "bun:test";
import { runCommand } from "citty";
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { discoverCommand } from "../../src/commands/discover.ts";
import { probeCommand } from "../../src/commands/probe.ts";
import { discover } from "../../src/initiator/discover.ts";
import { openDisk, type Disk } from "../../src/initiator/disk.ts";
import { openInitiator, type Initiator } from "../../src/initiator/initiator.ts";
import { aoeErrorOf } from "../../src/initiator/replies.ts";
import { ataRequest, configRequest } from "../../src/initiator/requests.ts";
import { CONFIG_FORCE_SET, CONFIG_PREFIX, CONFIG_SET, CONFIG_TEST } from "../../src/protocol/aoe/frame.ts";
import { createWire, loseFrames, missingForWire, startVblade, type Wire } from "../support/wire.ts";

const ADDRESS = { shelf: 3, slot: 1 };
const SECTORS = 32 * 1024;
const missing = missingForWire("vblade", "ip", "nft");
const title = missing === undefined ? "" : ` [skipped: ${missing}]`;

/** What a command printed on stdout, and its exit status. */
async function run(command: typeof discoverCommand | typeof probeCommand, ...rawArgs: string[]) {
  const printed: string[] = [];
  const log = spyOn(console, "log").mockImplementation((text: string) => void printed.push(text));
  try {
    await runCommand(command as typeof discoverCommand, { rawArgs });
    return { stdout: printed.join("\n"), status: Number(process.exitCode ?? 0) };
  } finally {
    log.mockRestore();
    process.exitCode = 0;
  }
}

async function rejection(promise: Promise<unknown>): Promise<Error> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof Error) return error;
  }
  throw new Error("the promise did not reject");
}

const random = (lengthBytes: number): Uint8Array<ArrayBuffer> => {
  const bytes = new Uint8Array(lengthBytes);
  for (let at = 0; at < lengthBytes; at += 65536) crypto.getRandomValues(bytes.subarray(at, at + 65536));
  return bytes;
};

let directory: string;
let file: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "voe-initiator-"));
  file = join(directory, "disk");
  writeFileSync(file, "");
  truncateSync(file, SECTORS * 512);
});
afterAll(() => rmSync(directory, { recursive: true }));

describe.skipIf(missing !== undefined)(`the initiator with vblade over a wire of MTU 9000${title}`, () => {
  const resources = new AsyncDisposableStack();
  let wire: Wire;
  let initiator: Initiator;
  let disk: Disk;

  beforeAll(async () => {
    wire = resources.use(await createWire({ mtu: 9000 }));
    resources.use(startVblade(wire, ADDRESS, file));
    initiator = openInitiator(wire.near);
    resources.defer(() => initiator.close());
    disk = await openDisk(initiator, ADDRESS);
  });
  afterAll(() => resources.disposeAsync());

  test("a disk says what it is", () => {
    expect(disk.info).toMatchObject({ address: ADDRESS, sectorCount: SECTORS, sectorsPerFrame: 17, bufferCount: 16 });
    expect(disk.info.model).toContain("vblade");
  });

  test("what was written, at any offset and length, is read back", async () => {
    const data = random(1000 * 512);
    const { sent, answered } = { ...initiator.counters };
    await disk.write(123, data);
    expect(await disk.read(123, 1000)).toEqual(data);
    expect(await disk.read(500, 1)).toEqual(data.subarray(377 * 512, 378 * 512));
    expect(initiator.counters.sent - sent).toBe(59 + 59 + 1);
    expect(initiator.counters.answered - answered).toBe(59 + 59 + 1);
  });

  test("a read past the last sector rejects with the ATA error IDNF", async () => {
    const error = await rejection(disk.read(SECTORS - 1, 2));
    expect(error).toMatchObject({ failure: { kind: "ata", error: 0x10 } });
    expect(error.message).toContain("ATA error (IDNF");
  });

  test("a command that vblade does not know rejects with the ATA error ABRT", async () => {
    expect(await rejection(disk.flush())).toMatchObject({ failure: { kind: "ata", error: 0x04 } });
  });

  test("config strings can be set, tested and replaced", async () => {
    const { target } = disk;
    expect((await target.config(CONFIG_SET, "first"))?.configString).toBe("first");
    const error = await rejection(target.config(CONFIG_SET, "second"));
    expect(error).toMatchObject({ failure: { kind: "aoe", code: 4 } });
    expect((await target.config(CONFIG_PREFIX, "fir"))?.configString).toBe("first");
    expect(await target.config(CONFIG_TEST, "fir", { timeoutMs: 100, retransmit: false })).toBeUndefined();
    expect((await target.config(CONFIG_FORCE_SET, ""))?.configString).toBe("");
    expect((await target.readConfig()).configString).toBe("");
  });

  test("mask list and reservation can be read and changed", async () => {
    const own = disk.target.route.source;
    expect(await disk.target.readMask()).toEqual({ error: 0, count: 0, macs: [] });
    expect((await disk.target.editMask([{ directive: 1, mac: own }])).macs).toEqual([own]);
    expect((await disk.target.readMask()).macs).toEqual([own]);
    expect(await disk.target.reserve(1, [own])).toEqual([own]);
    expect(await disk.target.readReservation()).toEqual([own]);
    expect(await disk.target.reserve(1, [])).toEqual([]);
  });

  test("a malformed frame goes out as it is, and its answer or silence comes back", async () => {
    const unknown = configRequest(disk.target.route, 0);
    unknown[19] = 0x77;
    unknown.set([1, 2, 3, 4], 20);
    const reply = await disk.raw(unknown);
    expect(aoeErrorOf(reply ?? new Uint8Array(0))).toBe(1);
    expect(reply?.subarray(20, 24)).toEqual(new Uint8Array([1, 2, 3, 4]));
    const response = configRequest(disk.target.route, 0);
    response[14] = 0x18;
    expect(await disk.raw(response, { timeoutMs: 50 })).toBeUndefined();
    expect(await disk.raw(unknown.subarray(0, 15), { timeoutMs: 50 })).toBeUndefined();
  });

  test("a frame beyond the MTU is refused with the reason", async () => {
    const data = new Uint8Array(18 * 512);
    const frame = ataRequest(disk.target.route, { command: 0x34, sector: 0, count: 18, data });
    expect((await rejection(disk.raw(frame))).message).toContain("longer than the MTU");
  });

  test("discover lists the target, as a table and as JSON", async () => {
    const table = await run(discoverCommand, "-i", wire.near);
    expect(table.status).toBe(0);
    const [head, row] = table.stdout.split("\n");
    expect(head).toStartWith("TARGET  INTERFACE");
    expect(row).toMatch(new RegExp(`^e3\\.1 +${wire.near} +[0-9a-f:]{17} +0\\.016GB +17 +16 +V25 +Coraid`));
    const found = JSON.parse((await run(discoverCommand, "-i", wire.near, "--json")).stdout);
    expect(found).toHaveLength(1);
    expect(found[0]).toMatchObject({ target: "e3.1", interface: wire.near, sizeBytes: SECTORS * 512, bufferCount: 16 });
  });

  test("probe finds the path good, and writes nothing", async () => {
    const before = Bun.hash(await Bun.file(file).bytes());
    const { stdout, status } = await run(probeCommand, "e3.1", "-i", wire.near, "--json", "--requests", "300");
    expect(status).toBe(0);
    const report = JSON.parse(stdout);
    expect(report).toMatchObject({ target: "e3.1", good: true, problems: [] });
    expect(report.paths[0]).toMatchObject({
      interfaceMtuBytes: 9000,
      sectors: { interface: 17, target: 17, passed: 17 },
      largestFrameBytes: { toTarget: 8740, fromTarget: 8740 },
      loss: { requests: 600, lost: 0 },
      throughput: { requests: 300, sectorsPerRequest: 17, outstanding: 16 },
    });
    const { minMs, medianMs, p99Ms } = report.paths[0].latency;
    expect(minMs).toBeGreaterThan(0);
    expect(medianMs).toBeGreaterThanOrEqual(minMs);
    expect(p99Ms).toBeGreaterThanOrEqual(medianMs);
    expect(Bun.hash(await Bun.file(file).bytes())).toBe(before);
  });

  test("probe of a target that is not there says so, with status 1", async () => {
    const { stdout, status } = await run(probeCommand, "e3.2", "-i", wire.near, "--timeout", "90");
    expect(stdout).toStartWith(`bad: e3.2 did not answer within 90 ms on ${wire.near}`);
    expect(status).toBe(1);
  });

  test("two paths to one target are two lines", async () => {
    await using second = await createWire({ mtu: 1500 });
    await using vblade = startVblade(second, ADDRESS, file);
    expect(vblade).toBeDefined();
    const other = openInitiator(second.near);
    try {
      await openDisk(other, ADDRESS);
      const paths = await discover([initiator, other], 100);
      expect(paths.map((path) => [path.initiator.interface.name, path.sectorsPerFrame])).toEqual([
        [wire.near, 17],
        [second.near, 2],
      ]);
    } finally {
      other.close();
    }
  });
});

describe.skipIf(missing !== undefined)(`the initiator over a bad path${title}`, () => {
  test("a switch that does not pass jumbo frames is found out", async () => {
    await using wire = await createWire({ mtu: 9000, switchMtu: 1500 });
    await using vblade = startVblade(wire, ADDRESS, file);
    expect(vblade).toBeDefined();
    const initiator = openInitiator(wire.near);
    await openDisk(initiator, ADDRESS).finally(() => initiator.close());
    const { stdout, status } = await run(probeCommand, "e3.1", "-i", wire.near, "--requests", "100");
    expect(status).toBe(1);
    expect(stdout).toContain("2 pass (the interface carries 17, the target takes 17)");
    expect(stdout).toMatch(/^bad: frames over 1060 bytes get lost either way/m);
    expect(stdout).toContain("the switch or the other side does not pass jumbo frames");
  }, 30_000);

  test("requests that get lost are sent again until everything is written, and probe tells the loss", async () => {
    await using wire = await createWire({ mtu: 9000 });
    await using vblade = startVblade(wire, ADDRESS, file);
    expect(vblade).toBeDefined();
    const initiator = openInitiator(wire.near);
    try {
      const disk = await openDisk(initiator, ADDRESS);
      const { sent, answered } = { ...initiator.counters };
      await loseFrames(wire, 20);
      const data = random(17 * 60 * 512);
      await disk.write(0, data);
      expect(await disk.read(0, 17 * 60)).toEqual(data);
      expect(initiator.counters.retransmitted).toBeGreaterThanOrEqual(5);
      expect(initiator.counters.sent - sent).toBe(120 + initiator.counters.retransmitted);
      expect(initiator.counters.answered - answered).toBe(120);
    } finally {
      initiator.close();
    }
    const { stdout, status } = await run(probeCommand, "e3.1", "-i", wire.near, "--json", "--requests", "100");
    expect(status).toBe(1);
    const [path] = JSON.parse(stdout).paths;
    expect(path.loss.percent).toBeGreaterThan(3);
    expect(path.loss.percent).toBeLessThan(8);
    expect(path.problems[0]).toContain("of the requests got no answer");
  }, 30_000);
});
