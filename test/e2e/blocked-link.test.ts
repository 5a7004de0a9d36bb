/** A wire that carries nothing for a while, as that of a paused guest: what waits for it stays right. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readInterface } from "../../ffi/interface.ts";
import { parseAtaReply } from "../../src/initiator/replies.ts";
import { ataRequest, setTag } from "../../src/initiator/requests.ts";
import { ATA_READ_SECTORS_EXT, ATA_STATUS_DRDY, ATA_WRITE_SECTORS_EXT, AT_TAG } from "../../src/protocol/aoe/frame.ts";
import { MAC_BROADCAST, readMac } from "../../src/protocol/aoe/mac.ts";
import { AoeTarget } from "../../src/protocol/aoe/target.ts";
import { PacketLink } from "../../src/server/aoe/packet-link.ts";
import { TargetTable } from "../../src/server/aoe/target-table.ts";
import { SECTOR_BYTES, type BlockStorage } from "../../src/storage/block-storage.ts";
import { fileStorage } from "../../src/storage/file/file-storage.ts";
import { openFile } from "../../src/storage/file/medium.ts";
import { heldStorage, type HeldStorage } from "../support/held-storage.ts";
import { dropCached } from "../support/page-cache.ts";
import { titleUnless } from "../support/requirements.ts";
import { readSectors } from "../support/storage-requests.ts";
import { createTap, missingForTaps, type Tap } from "../support/tap.ts";
import { makeSectors, versionOf } from "../support/versioned-sectors.ts";

const SECTOR_COUNT = 65_536;
/** Sectors of every request. */
const COUNT = 16;
const SOURCE = 0x02_00_00_00_00_05;
/** More than the socket may have under way. */
const MOST_FRAMES = 8000;

const missing = missingForTaps();

describe.skipIf(missing !== undefined)(titleUnless(missing, "while the wire carries nothing"), () => {
  let directory: string;
  let path: string;
  let tap: Tap;
  let storage: BlockStorage;
  let held: HeldStorage;
  let link: PacketLink;
  const reported: string[] = [];
  const requests = new Map<number, { sector: number; shelf: number }>();
  let lastTag: number;

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), "voe-blocked-"));
    path = join(directory, "disk.img");
    writeFileSync(path, makeSectors(0, SECTOR_COUNT, 1));
    reported.length = 0;
    requests.clear();
    lastTag = 0;
    const report = (_key: string, message: string): void => void reported.push(message);
    storage = fileStorage(openFile(path, undefined, false), { sync: { kind: "none" }, report });
    held = heldStorage(SECTOR_COUNT);
    // Found in memory, so that they are lent from here on.
    for (let sector = 0; sector < SECTOR_COUNT; sector += 2048) await readSectors(storage, sector, 2048);
    tap = createTap(9000);
    const targets = new TargetTable();
    const state = { configString: new Uint8Array(0), mask: [], reservations: [] };
    for (const [shelf, disk] of [
      [1, storage],
      [2, held],
    ] as const) {
      targets.add(new AoeTarget(shelf, 0, disk, state, [], () => Promise.resolve()));
    }
    const counters = { framesReceived: 0, framesSent: 0, framesDropped: 0, framesIgnored: 0, sendFailures: 0 };
    link = new PacketLink(readInterface(tap.name), { targets, counters, report, onAnswered: () => {} });
  });
  afterEach(async () => {
    link.close();
    tap[Symbol.dispose]();
    await storage.close();
    rmSync(directory, { recursive: true });
  });

  const ask = (command: number, sector: number, version?: number, shelf = 1): void => {
    const data = version === undefined ? undefined : makeSectors(sector, COUNT, version);
    const route = { destination: MAC_BROADCAST, source: SOURCE, address: { shelf, slot: 0 } };
    const frame = ataRequest(route, { command, sector, count: COUNT, ...(data && { data }) });
    setTag(frame, ++lastTag);
    requests.set(lastTag, { sector, shelf });
    tap.send(frame);
  };
  const askRead = (sector: number, shelf = 1): void => ask(ATA_READ_SECTORS_EXT, sector, undefined, shelf);
  const askWrite = (sector: number, version: number): void => ask(ATA_WRITE_SECTORS_EXT, sector, version);

  /** Reads one stretch after the other until the socket takes no more, and returns the first sector not asked for. */
  const block = (): number => {
    tap.hold();
    let sector = 0;
    while (!link.isBlocked) {
      if (sector / COUNT > MOST_FRAMES) throw new Error("the socket takes all there is");
      askRead(sector % SECTOR_COUNT);
      sector += COUNT;
      link.drain(0);
    }
    return sector % SECTOR_COUNT;
  };

  /** Lets the wire carry again and returns the replies by tag, once all that were taken are answered. */
  const unblock = async (): Promise<Map<number, Uint8Array>> => {
    const replies = new Map<number, Uint8Array>();
    tap.release();
    for (let idle = 0; idle < 50 || link.isBlocked || link.isWaiting; idle++) {
      if (idle > 10_000) throw new Error("the link stays blocked");
      for (let frame = tap.receive(); frame !== undefined; frame = tap.receive()) {
        idle = 0;
        if (readMac(frame, 0) !== SOURCE) throw new Error(`a frame to ${readMac(frame, 0).toString(16)} was sent`);
        const tag = new DataView(frame.buffer).getUint32(AT_TAG);
        if (!requests.has(tag) || replies.has(tag)) throw new Error(`a reply with tag ${tag} was sent unasked`);
        replies.set(tag, frame);
      }
      link.flush();
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    return replies;
  };

  const expectVersion = (tag: number, frame: Uint8Array, version: number): void => {
    const { sector } = requests.get(tag)!;
    const data = dataOf(frame);
    expect(data.length).toBe(COUNT * SECTOR_BYTES);
    for (let i = 0; i < COUNT; i++) {
      const actual = versionOf(data.subarray(i * SECTOR_BYTES, (i + 1) * SECTOR_BYTES), sector + i);
      if (actual !== version) throw new Error(`tag ${tag}: sector ${sector + i} has version ${actual}, not ${version}`);
    }
  };

  test("a write does not change what earlier reads are still to bring", async () => {
    const end = block();
    const reads = lastTag;
    for (let back = 1; back <= 24; back++) askWrite(end - back * COUNT, 2);
    link.drain(0);
    const replies = await unblock();
    link.drain(0);
    for (let tag = 1; tag <= reads; tag++) expectVersion(tag, replies.get(tag)!, 1);
  });

  test("replies that wait outlive the storage that lent them", async () => {
    block();
    await storage.close();
    // What the kernel maps next lies where the disk was.
    writeFileSync(join(directory, "other"), new Uint8Array(SECTOR_BYTES));
    const replies = await unblock();
    expect(replies.size).toBe(lastTag);
    for (const [tag, frame] of replies) expectVersion(tag, frame, 1);
  });

  test("replies whose pages are gone by then are read anew, and the others leave as they were", async () => {
    const asked = block();
    dropCached(path);
    // Far from what was sent, whose pages stay, and apart, since the kernel fetches what lies beside.
    for (let sector = asked + 8192; sector < SECTOR_COUNT - 1024; sector += 1024) askRead(sector);
    expect(lastTag * COUNT).toBeGreaterThan(asked + 16 * COUNT);
    link.drain(0);
    expect(link.isWaiting).toBe(true);
    const replies = await unblock();
    expect(replies.size).toBe(lastTag);
    for (const [tag, frame] of replies) expectVersion(tag, frame, 1);
  });

  test("as many answers as wait, each is whole", async () => {
    for (let i = 0; i < 200; i++) askRead(i * COUNT, 2);
    while (held.waiting.length < 200) {
      link.drain(0);
      await new Promise((resolve) => setImmediate(resolve));
    }
    let sector = block();
    while (held.waiting.length > 0) held.release();
    // A read that is lent, and a write to it: the read has to leave first, and the answers above with it.
    for (let round = 0; round < 40; round++) {
      askRead(sector);
      askWrite(sector, 2);
      sector = (sector + COUNT) % SECTOR_COUNT;
      link.drain(0);
    }
    const replies = await unblock();
    for (const [tag, frame] of replies) {
      const { shelf } = requests.get(tag)!;
      if (shelf === 2) expect(dataOf(frame)).toEqual(new Uint8Array(COUNT * SECTOR_BYTES));
      else dataOf(frame);
    }
    for (let tag = 1; tag <= 200; tag++) expect(replies.has(tag)).toBe(true);
    expect(reported).toEqual([]);
  });
});

/** The data of a reply to a request that went well. */
function dataOf(frame: Uint8Array): Uint8Array {
  const reply = parseAtaReply(frame)!;
  expect(reply.status).toBe(ATA_STATUS_DRDY);
  return reply.data;
}
