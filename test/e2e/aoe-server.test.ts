/** `voe serve` as a process, asked by the project's own initiator over cables. */
import { expect, test } from "bun:test";
import { readFile } from "node:fs/promises";
import { $ } from "bun";
import { fetchStatus } from "../../src/control/client.ts";
import { openDisk, type Disk } from "../../src/initiator/disk.ts";
import { discover } from "../../src/initiator/discover.ts";
import type { Initiator } from "../../src/initiator/initiator.ts";
import { RequestError, type RequestFailure } from "../../src/initiator/request-error.ts";
import { formatMac, readMac, type Mac } from "../../src/protocol/aoe/mac.ts";
import { createBed, logAnnouncements, until } from "../support/server-bed.ts";
import { missingForNetworks, titleUnless } from "../support/requirements.ts";
import { makeSectors } from "../support/versioned-sectors.ts";

const missing = missingForNetworks();
const e2e = (title: string, run: () => Promise<void>): void =>
  test.skipIf(missing !== undefined)(titleUnless(missing, title), run, 60_000);

const first = { shelf: 1, slot: 0 };
const FORCE_SET = 4;
const RESERVE_SET = 1;
const ADD = 1;
const macOf = (initiator: Initiator): Mac => readMac(initiator.interface.mac, 0);
/** How a request failed; undefined where it did not. */
const failureOf = (request: Promise<unknown>): Promise<RequestFailure | undefined> =>
  request.then(
    () => undefined,
    (error: unknown) => {
      if (error instanceof RequestError) return error.failure;
      throw error;
    },
  );

e2e(
  "several targets on two interfaces of different MTU are found on both, with the sectors that each carries",
  async () => {
    await using bed = await createBed([1500, 9000]);
    await bed.configure([
      { ...first, size: "1MiB", configString: "archive" },
      { shelf: 1, slot: 7, size: "2MiB" },
      { shelf: 65534, slot: 254, size: "3MiB" },
    ]);
    await bed.start();
    const initiators = [bed.initiator(0), bed.initiator(1)];
    const paths = await discover(initiators, 200);
    expect(
      paths.map(({ initiator, config, identity }) => [
        initiators.indexOf(initiator),
        config.address.shelf,
        config.address.slot,
        config.sectorsPerFrame,
        config.configString,
        identity?.sectorCount,
      ]),
    ).toEqual([
      [0, 1, 0, 2, "archive", 2048],
      [1, 1, 0, 16, "archive", 2048],
      [0, 1, 7, 2, "", 4096],
      [1, 1, 7, 16, "", 4096],
      [0, 65534, 254, 2, "", 6144],
      [1, 65534, 254, 16, "", 6144],
    ]);
    const disks = await Promise.all(initiators.map((initiator) => openDisk(initiator, first)));
    const data = makeSectors(0, 256, 1);
    await disks[0]!.write(0, data);
    expect(await disks[1]!.read(0, 256)).toEqual(data);
    const others = await openDisk(initiators[1]!, { shelf: 1, slot: 7 });
    expect(await others.read(0, 16)).toEqual(new Uint8Array(8192));
  },
);

for (const signal of ["SIGTERM", "SIGKILL"] as const) {
  e2e(`config string, mask list and reservation are as they were after ${signal} and a restart`, async () => {
    await using bed = await createBed([1500, 1500]);
    await bed.configure([{ ...first, size: "1MiB", configString: "configured", sync: "always" }]);
    const [mine, theirs] = [bed.initiator(0), bed.initiator(1)];
    const before = await bed.start();
    const disk = await openDisk(mine, first);
    await disk.target.config(FORCE_SET, "by hand");
    await disk.target.reserve(RESERVE_SET, [macOf(theirs)]);
    await disk.target.editMask([{ directive: ADD, mac: macOf(mine) }]);
    await before.stop(signal);

    const announcements = logAnnouncements(mine);
    await bed.start();
    expect((await announcements.of(1, 0)).configString).toBe("by hand");
    const again = await openDisk(mine, first);
    expect(again.info.configString).toBe("by hand");
    expect((await again.target.readMask()).macs).toEqual([macOf(mine)]);
    expect(await again.target.readReservation()).toEqual([macOf(theirs)]);
    expect(await failureOf(again.read(0, 1))).toEqual({ kind: "aoe", code: 6 });
    // Who is not on the list gets no answer.
    expect(await failureOf(openDisk(theirs, first, { findMs: 200 }))).toEqual({ kind: "timeout" });
  });
}

e2e("allow_macs lets in those alone, and what it no longer allows after SIGHUP is shut out", async () => {
  await using bed = await createBed([1500, 1500]);
  const [mine, theirs] = [bed.initiator(0), bed.initiator(1)];
  const target = { ...first, size: "1MiB" };
  await bed.configure([{ ...target, allowMacs: [formatMac(macOf(mine))] }]);
  const server = await bed.start();
  const disk = await openDisk(mine, first);
  expect(await failureOf(openDisk(theirs, first, { findMs: 200 }))).toEqual({ kind: "timeout" });
  await disk.target.editMask([{ directive: ADD, mac: 0x02_00_00_00_00_99 }]); // saves the list

  await bed.configure([{ ...target, allowMacs: [formatMac(macOf(theirs))] }]);
  server.signal("SIGHUP");
  await openDisk(theirs, first);
  expect(await failureOf(disk.target.readConfig({ timeoutMs: 300 }))).toEqual({ kind: "timeout" });
});

e2e("SIGHUP adds, removes, renames and grows targets, announces them, and what they hold stays", async () => {
  await using bed = await createBed([9000]);
  await bed.configure([
    { ...first, size: "1MiB", configString: "old" },
    { shelf: 1, slot: 1, size: "1MiB" },
    { shelf: 1, slot: 2, size: "1MiB" },
  ]);
  const server = await bed.start();
  const initiator = bed.initiator();
  const data = makeSectors(0, 64, 1);
  const disk = await openDisk(initiator, first);
  const kept = await openDisk(initiator, { shelf: 1, slot: 1 });
  await disk.write(0, data);
  await kept.write(0, data);

  const announcements = logAnnouncements(initiator);
  await bed.configure([
    { ...first, size: "1MiB", configString: "new" },
    { shelf: 1, slot: 1, size: "4MiB" },
    { shelf: 2, slot: 0, size: "2MiB" },
  ]);
  server.signal("SIGHUP");
  expect((await announcements.of(1, 0)).configString).toBe("new");
  await announcements.of(1, 1);
  await announcements.of(2, 0);
  expect(await disk.read(0, 64)).toEqual(data);
  expect((await kept.target.identify()).sectorCount).toBe(8192);
  expect(await kept.read(0, 64)).toEqual(data);
  expect(await kept.read(8176, 16)).toEqual(new Uint8Array(8192));
  const paths = await discover([initiator], 200);
  expect(
    paths.map(({ config, identity }) => [config.address.shelf, config.address.slot, identity?.sectorCount]),
  ).toEqual([
    [1, 0, 2048],
    [1, 1, 8192],
    [2, 0, 4096],
  ]);
  await until("the log says so", () => server.log().includes("configuration read again"));
  expect(server.log()).toMatch(/e1\.2 removed.*e2\.0 added.*e1\.0 reopened.*e1\.1 grew/);
});

e2e("a wrong configuration at SIGHUP is refused with its reason, and everything is served as before", async () => {
  await using bed = await createBed([1500]);
  const good = [
    { ...first, size: "1MiB", configString: "good" },
    { shelf: 1, slot: 1, size: "1MiB" },
  ];
  await bed.configure(good);
  const server = await bed.start();
  const initiator = bed.initiator();
  const data = makeSectors(0, 8, 1);
  await (await openDisk(initiator, first)).write(0, data);

  const refusals: [name: string, reason: string, configure: () => Promise<unknown>][] = [
    [
      "a wrong key",
      "shlef",
      async () =>
        Bun.write(
          await bed.configure(good),
          (await Bun.file(`${bed.directory}/voe.toml`).text()).replace("shelf", "shlef"),
        ),
    ],
    ["no TOML", "voe.toml", async () => Bun.write(await bed.configure(good), "[server")],
    [
      "a target that cannot be opened, after one that is removed and one that is renamed",
      "cannot be created",
      () =>
        bed.configure([
          { ...first, size: "1MiB", configString: "renamed" },
          { shelf: 3, slot: 0, size: "1MiB", file: "no such directory/disk.img" },
        ]),
    ],
  ];
  for (const [name, reason, configure] of refusals) {
    await configure();
    const logged = server.log().length;
    server.signal("SIGHUP");
    await until(`${name} is refused`, () => server.log().slice(logged).includes("the configuration stays as it was"));
    expect([name, server.log().slice(logged)]).toEqual([name, expect.stringContaining(reason)]);
    const paths = await discover([initiator], 150);
    expect([name, paths.map(({ config }) => [config.address.slot, config.configString])]).toEqual([
      name,
      [
        [0, "good"],
        [1, ""],
      ],
    ]);
    expect(await (await openDisk(initiator, first)).read(0, 8)).toEqual(data);
  }
  await bed.configure([{ ...first, size: "1MiB", configString: "better" }]);
  const announcements = logAnnouncements(initiator);
  server.signal("SIGHUP");
  expect((await announcements.of(1, 0)).configString).toBe("better");
});

for (const sync of ["always", "1s"]) {
  e2e(`SIGTERM under load answers every write that was taken, with sync = "${sync}", and exits 0`, async () => {
    await using bed = await createBed([9000]);
    await bed.configure([{ ...first, size: "1MiB", sync }]);
    for (let round = 1; round <= 10; round++) {
      const server = await bed.start();
      const initiator = bed.initiator();
      const disk = await openDisk(initiator, first, { retransmit: false, timeoutMs: 20_000 });
      const written = new Map<number, boolean>();
      const ended = writeOnUntilSilence(disk, round, written);
      await until("writes are answered", () => [...written.values()].filter(Boolean).length > 50 * round);
      expect(await server.stop("SIGTERM")).toBe(0);
      await Bun.sleep(50); // the last answers are on the cable
      initiator.close(); // what is not answered by now never is
      await ended;
      const content = new Uint8Array(await readFile(bed.pathOf(first)));
      for (const [sector, isAnswered] of written) {
        const found = Buffer.compare(content.subarray(sector * 512, sector * 512 + 512), makeSectors(sector, 1, round));
        expect([round, sector, isAnswered]).toEqual([round, sector, found === 0]);
      }
    }
  });
}

/** Writes every sector once, 64 at a time; `written` notes which were sent, and which of those were answered. */
async function writeOnUntilSilence(disk: Disk, version: number, written: Map<number, boolean>): Promise<void> {
  let next = 0;
  const writeOn = async (): Promise<void> => {
    while (next < disk.info.sectorCount) {
      const sector = next++;
      written.set(sector, false);
      if ((await failureOf(disk.write(sector, makeSectors(sector, 1, version)))) !== undefined) return;
      written.set(sector, true);
    }
  };
  await Promise.all(Array.from({ length: 64 }, writeOn));
}

e2e("a second server on the same file is refused with what to do, and the first one goes on", async () => {
  await using bed = await createBed([1500]);
  await bed.configure([{ ...first, size: "1MiB" }]);
  await bed.start();
  const second = await bed.start().then(
    () => "it started",
    (error: unknown) => (error as Error).message,
  );
  expect(second).toMatch(/ended with status 1 .*e1\.0\.img is served by another process: stop that one/s);
  const disk = await openDisk(bed.initiator(), first);
  expect((await disk.read(0, 1)).length).toBe(512);
});

e2e("without CAP_NET_RAW an interface that was asked for is refused with the setcap line", async () => {
  await using bed = await createBed([1500]);
  const config = await bed.configure([{ ...first, size: "1MiB" }]);
  const result = await $`ip netns exec ${bed.namespace} setpriv --bounding-set -net_raw --inh-caps -net_raw \
    ${process.execPath} ${`${import.meta.dir}/../../src/main.ts`} serve ${config}`
    .quiet()
    .nothrow();
  expect(result.stderr.toString()).toMatch(/CAP_NET_RAW.*sudo setcap cap_net_raw\+ep \//s);
  expect([result.exitCode, result.stdout.toString()]).toEqual([1, ""]);
});

e2e("the control socket shows the traffic: requests, bytes, the client's MAC, frames of the interface", async () => {
  await using bed = await createBed([9000]);
  await bed.configure([{ ...first, size: "1MiB", configString: "archive" }]);
  await bed.start();
  const initiator = bed.initiator();
  const disk = await openDisk(initiator, first, { retransmit: false });
  await disk.write(0, makeSectors(0, 64, 1)); // 4 frames
  await disk.read(0, 128); // 8 frames
  await disk.flush();
  await failureOf(disk.read(5000, 1));
  const report = await fetchStatus([bed.controlSocket]);
  const [target] = report.targets;
  expect(target!).toMatchObject({
    name: "e1.0",
    configString: "archive",
    sizeBytes: 2 ** 20,
    state: "ok",
    inFlight: 0,
  });
  expect(target!).toMatchObject({ writes: 4, writtenBytes: 32768, reads: 9, flushes: 1, errors: 1 });
  expect(report.clients.map(({ mac, target: name, writtenBytes }) => [mac, name, writtenBytes])).toEqual([
    [formatMac(macOf(initiator)), "e1.0", 32768],
  ]);
  const [link] = report.interfaces;
  expect(link!).toMatchObject({ mtuBytes: 9000, up: true, sectorsPerFrame: 16, framesDropped: 0, sendFailures: 0 });
  expect(link!.framesReceived).toBeGreaterThanOrEqual(4 + 8 + 1 + 1);
  expect(link!.framesSent).toBeGreaterThan(link!.framesReceived); // the announcement
});
