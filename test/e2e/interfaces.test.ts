/** Interfaces that vanish, return, go down, come up and change their MTU under a running server. */
import { expect, test } from "bun:test";
import { $ } from "bun";
import { openDisk } from "../../src/initiator/disk.ts";
import { openInitiator } from "../../src/initiator/initiator.ts";
import { createBed, logAnnouncements, until } from "../support/server-bed.ts";
import { missingForNetworks, titleUnless } from "../support/requirements.ts";
import { addCable } from "../support/test-network.ts";
import { makeSectors } from "../support/versioned-sectors.ts";

const missing = missingForNetworks();
const e2e = (title: string, run: () => Promise<void>): void =>
  test.skipIf(missing !== undefined)(titleUnless(missing, title), run, 60_000);

const targets = [
  { shelf: 1, slot: 0, size: "1MiB" },
  { shelf: 1, slot: 1, size: "1MiB" },
];
const first = { shelf: 1, slot: 0 };

e2e(
  "an interface that vanishes and returns is served again and announced to, and the other one all the time",
  async () => {
    await using bed = await createBed([1500, 1500]);
    await bed.configure(targets);
    const server = await bed.start();
    const data = makeSectors(0, 16, 1);
    await (await openDisk(bed.initiator(0), first)).write(0, data);
    const other = await openDisk(bed.initiator(1), first);

    for (let round = 1; round <= 3; round++) {
      await $`ip -n ${bed.namespace} link del ${bed.serverInterfaces[0]}`.quiet();
      await until("the server says so", () => server.log().split("is gone").length > 1);
      expect(await other.read(0, 16)).toEqual(data);
      // The initiator is there before the server's end has its name, so that it hears the first announcement.
      const cable = { serverInterface: "vglate", initiatorInterface: bed.initiatorInterfaces[0]!, mtu: 9000 };
      await addCable(bed.namespace, cable);
      const returned = openInitiator(cable.initiatorInterface);
      try {
        const announcements = logAnnouncements(returned);
        await $`ip -n ${bed.namespace} link set vglate down`.quiet();
        await $`ip -n ${bed.namespace} link set vglate name ${bed.serverInterfaces[0]}`.quiet();
        await $`ip -n ${bed.namespace} link set ${bed.serverInterfaces[0]} up`.quiet();
        for (const { shelf, slot } of targets) await announcements.of(shelf, slot);
        const disk = await openDisk(returned, first);
        expect(disk.info.sectorsPerFrame).toBe(16);
        expect(await disk.read(0, 16)).toEqual(data);
      } finally {
        returned.close();
      }
    }
  },
);

e2e("a link that comes up, and a carrier that returns, is announced to by every target", async () => {
  await using bed = await createBed([1500]);
  await bed.configure(targets);
  await bed.start();
  const initiator = bed.initiator();
  const announcements = logAnnouncements(initiator);
  const ends: [name: string, set: (state: string) => Promise<unknown>][] = [
    ["the server's end", (state) => $`ip -n ${bed.namespace} link set ${bed.serverInterfaces[0]} ${state}`.quiet()],
    ["the other end", (state) => $`ip link set ${bed.initiatorInterfaces[0]} ${state}`.quiet()],
  ];
  for (const [name, set] of ends) {
    await set("down");
    await Bun.sleep(300); // the server's heartbeat, three times over: what it does not see then it never sees
    announcements.forget();
    await set("up");
    for (const { shelf, slot } of targets) {
      expect([name, (await announcements.of(shelf, slot)).sectorsPerFrame]).toEqual([name, 2]);
    }
    const disk = await openDisk(initiator, first);
    expect((await disk.read(0, 4)).length).toBe(2048);
  }
});

e2e("a changed MTU is announced with its sectors per frame, and requests of that size are answered", async () => {
  await using bed = await createBed([1500]);
  await bed.configure(targets);
  await bed.start();
  const data = makeSectors(0, 64, 1);
  const initiator = bed.initiator();
  const announcements = logAnnouncements(initiator);
  await (await openDisk(initiator, first)).write(0, data);
  for (const [mtu, sectors] of [
    [9000, 16],
    [4200, 8],
    [1500, 2],
  ] as const) {
    await $`ip link set ${bed.initiatorInterfaces[0]} mtu ${mtu}`.quiet();
    announcements.forget();
    await $`ip -n ${bed.namespace} link set ${bed.serverInterfaces[0]} mtu ${mtu}`.quiet();
    for (const { shelf, slot } of targets) {
      await announcements.of(shelf, slot, (reply) => reply.sectorsPerFrame === sectors);
    }
    const again = openInitiator(bed.initiatorInterfaces[0]!); // it has read the MTU when it was opened
    try {
      const disk = await openDisk(again, first);
      expect(disk.info.sectorsPerFrame).toBe(sectors);
      expect(await disk.read(0, 64)).toEqual(data);
    } finally {
      again.close();
    }
  }
});

e2e("reads go on while the MTU changes again and again", async () => {
  await using bed = await createBed([9000]);
  await bed.configure(targets);
  const server = await bed.start();
  const data = makeSectors(0, 64, 1);
  const disk = await openDisk(bed.initiator(), first, { sectorsPerFrame: 2, outstanding: 8, timeoutMs: 10_000 });
  await disk.write(0, data);
  const changing = new AbortController();
  const readOn = async (): Promise<number> => {
    let reads = 0;
    for (; !changing.signal.aborted; reads++) expect(await disk.read(0, 64)).toEqual(data);
    return reads;
  };
  const reading = readOn();
  for (let i = 0; i < 20; i++) {
    await $`ip -n ${bed.namespace} link set ${bed.serverInterfaces[0]} mtu ${i % 2 === 0 ? 1500 : 9000}`.quiet();
    await Bun.sleep(20);
  }
  changing.abort();
  expect(await reading).toBeGreaterThan(0);
  expect(await server.stop("SIGTERM")).toBe(0);
});

e2e(
  "a server that has no file descriptor left when an interface vanishes lives, and serves it again later",
  async () => {
    await using bed = await createBed([1500, 1500]);
    await bed.configure(targets);
    const server = await bed.start();
    const other = await openDisk(bed.initiator(1), first);
    const limit = (count: number) => $`prlimit --pid ${server.pid} --nofile=${count}:4096`.quiet();
    await limit(3);
    await $`ip -n ${bed.namespace} link del ${bed.serverInterfaces[0]}`.quiet();
    await until("the server says what is wrong", () => server.log().includes("cannot open a socket to ask"));
    expect((await other.read(0, 16)).length).toBe(8192);
    await limit(1024);
    await until("the server has seen it", () => server.log().includes("is gone"));
    await addCable(bed.namespace, {
      serverInterface: bed.serverInterfaces[0]!,
      initiatorInterface: bed.initiatorInterfaces[0]!,
      mtu: 1500,
    });
    expect((await (await openDisk(bed.initiator(0), first)).read(0, 16)).length).toBe(8192);
  },
);
