/** Seeded frames through a live socket: the server lives, and its disk holds what was written and nothing else. */
import { expect, test } from "bun:test";
import { readFile } from "node:fs/promises";
import { libc } from "../../ffi/libc.ts";
import { allocateMemory, freeMemory } from "../../ffi/memory.ts";
import { bindPacketSocket, openPacketSocket, sendFrame, setBufferBytes } from "../../ffi/packet.ts";
import { fetchStatus } from "../../src/control/client.ts";
import { openDisk } from "../../src/initiator/disk.ts";
import { ETHERTYPE_AOE } from "../../src/protocol/aoe/frame.ts";
import { formatMac, readMac } from "../../src/protocol/aoe/mac.ts";
import { createBed, until } from "../support/server-bed.ts";
import { makeFuzzFrame, type FuzzWorld } from "../support/fuzz-frames.ts";
import { accessOf } from "../support/fuzz-model.ts";
import { makeRandom, seedOfRun } from "../support/random.ts";
import { missingForNetworks, titleUnless } from "../support/requirements.ts";
import { makeSectors } from "../support/versioned-sectors.ts";

const missing = missingForNetworks();
const FRAMES = 100_000;
/** So many frames at once, and then the server is waited for: fewer than its ring has room for. */
const BURST = 64;
const SECTORS = 2048;
const FORCE_SET_RESERVATION = 2;

for (const mtu of [1500, 9000]) {
  test.skipIf(missing !== undefined)(
    titleUnless(missing, `${FRAMES} frames at MTU ${mtu}: the server lives, and only what was written has changed`),
    () => fuzz(mtu),
    120_000,
  );
}

async function fuzz(mtu: number): Promise<void> {
  const seed = seedOfRun();
  console.log(`live fuzz at MTU ${mtu}: VOE_SEED=${seed}`);
  const random = makeRandom(seed);
  await using bed = await createBed([mtu]);
  const initiator = bed.initiator();
  const mine = readMac(initiator.interface.mac, 0);
  const disk = { shelf: 1, slot: 0, size: `${SECTORS / 2}KiB`, allowMacs: [formatMac(mine)] };
  const readOnly = { shelf: 1, slot: 7, file: "read-only.img", readOnly: true, allowMacs: [formatMac(mine)] };
  const initial = makeSectors(0, SECTORS, 1);
  await Bun.write(bed.pathOf(disk), initial);
  await Bun.write(bed.pathOf(readOnly), initial);
  // What the configuration allows stays on the mask, so no frame can shut this initiator out.
  await bed.configure([disk, readOnly]);
  const server = await bed.start();
  const opened = await openDisk(initiator, disk);

  const world: FuzzWorld = {
    addresses: [disk, disk, disk, readOnly],
    sources: [mine, mine, mine, mine + 1],
    serverMac: opened.info.mac,
    // Half of the disk, and what is just behind that.
    sectorCount: SECTORS / 2,
    frameMostBytes: mtu + 14,
    forgeSources: true,
  };
  /** What each sector may hold, as hashes: its first content, and all that well-formed writes had for it. */
  const allowed = Array.from({ length: SECTORS }, (_, sector) => new Set([hashOf(initial, sector * 512)]));
  const fd = openPacketSocket();
  const memory = allocateMemory(mtu + 14);
  let sent = 0;
  try {
    setBufferBytes(fd, 1 << 20, 1 << 23);
    bindPacketSocket(fd, initiator.interface.index, ETHERTYPE_AOE);
    for (let i = 0; i < FRAMES; i++) {
      const lengthBytes = makeFuzzFrame(random, world, memory.bytes);
      if (lengthBytes < 14) continue; // no frame without a header gets past the sender's own kernel
      noteWrite(memory.bytes.subarray(0, lengthBytes), allowed);
      if (sendFrame(fd, memory, lengthBytes)) sent++;
      // Frames reserve the target for others, who are let in again, so that writes still get through.
      if (i % (64 * BURST) === 0) await opened.target.reserve(FORCE_SET_RESERVATION, []);
      else if (i % BURST === 0) await opened.target.readConfig();
    }
  } finally {
    libc.close(fd);
    freeMemory(memory);
  }

  // It answers afterwards, to this initiator, whatever the frames have reserved.
  await opened.target.reserve(FORCE_SET_RESERVATION, []);
  expect((await opened.target.identify()).sectorCount).toBe(SECTORS);
  const after = makeSectors(SECTORS - 1, 1, 2);
  allowed[SECTORS - 1]!.add(hashOf(after, 0));
  await opened.write(SECTORS - 1, after);
  expect(await opened.read(SECTORS - 1, 1)).toEqual(after);

  await until("nothing is under way", async () => {
    const { targets } = await fetchStatus([bed.controlSocket]);
    return targets.every(({ inFlight, state }) => inFlight === 0 && state === "ok");
  });
  const { interfaces, targets, clients } = await fetchStatus([bed.controlSocket]);
  expect(interfaces[0]!.framesDropped).toBe(0);
  expect(interfaces[0]!.sendFailures).toBe(0);
  expect(sent).toBeGreaterThan(FRAMES * 0.98);
  expect(targets[0]!.writes).toBeGreaterThan(FRAMES / 50);
  expect(targets[0]!.reads).toBeGreaterThan(FRAMES / 50);
  expect(clients.length).toBeLessThanOrEqual(256);
  expect(await server.stop("SIGTERM")).toBe(0);
  expect(server.log()).not.toContain("a request failed");

  const content = new Uint8Array(await readFile(bed.pathOf(disk)));
  expect(content.length).toBe(SECTORS * 512);
  const foreign = allowed.flatMap((hashes, sector) => (hashes.has(hashOf(content, sector * 512)) ? [] : [sector]));
  expect({ seed, foreign }).toEqual({ seed, foreign: [] });
  const written = allowed.filter((hashes) => hashes.size > 1).length;
  expect([written > SECTORS / 4, written < SECTORS * 0.9]).toEqual([true, true]);
  expect(Buffer.compare(await readFile(bed.pathOf(readOnly)), initial)).toBe(0);
}

const hashOf = (bytes: Uint8Array, at: number): bigint => Bun.hash.xxHash64(bytes.subarray(at, at + 512));

/** Notes what a frame may have written: where it is a write that makes sense, to the writable target or a wildcard. */
function noteWrite(frame: Uint8Array, allowed: Set<bigint>[]): void {
  const access = accessOf({
    frame,
    shelf: 1,
    slot: 0,
    state: { configString: new Uint8Array(0), mask: [], reservations: [] },
    sectorCount: SECTORS,
    readOnly: false,
    mtuBytes: 0,
  });
  if (access === undefined || !access.isWrite || frame.length !== 36 + access.count * 512) return;
  if (access.sector + access.count > SECTORS) return;
  for (let i = 0; i < access.count; i++) allowed[access.sector + i]!.add(hashOf(frame, 36 + i * 512));
}
