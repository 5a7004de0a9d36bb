/** Snapshots of a served archive as an initiator sees them: old content beside new, through restart and reload. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openDisk, type Disk } from "../../src/initiator/disk.ts";
import { discover } from "../../src/initiator/discover.ts";
import { openInitiator, type Initiator } from "../../src/initiator/initiator.ts";
import type { SnapshotReport } from "../../src/control/snapshot-operations.ts";
import { reasonOf } from "../support/reason-of.ts";
import { until } from "../support/server-bed.ts";
import { startServer, voeCommand, type ServerProcess } from "../support/server-process.ts";
import { missingForWire } from "../support/wire.ts";

// Others may use the loopback interface at the same time, so the shelf is one that nobody else has.
const SHELF = 20_000 + (process.pid % 20_000);
const LIVE = `e${SHELF}.0`;
const missing = missingForWire();

describe.skipIf(missing !== undefined)(
  `snapshots of a target on lo${missing === undefined ? "" : ` [skipped: ${missing}]`}`,
  () => {
    let directory: string;
    let server: ServerProcess;
    let initiator: Initiator;

    /** `slots`: of archive targets in one store, with the lines that their [target.cas] has besides. */
    const configure = (slots: Readonly<Record<number, string>>): void =>
      writeFileSync(
        join(directory, "voe.toml"),
        [
          '[server]\ninterface = "lo"\nstate_dir = "state"\ncontrol_socket = "voe.sock"',
          ...Object.entries(slots).map(
            ([slot, lines]) =>
              `[[target]]\nshelf = ${SHELF}\nslot = ${slot}\nbackend = "cas"\nsync = "1s"\n` +
              `[target.cas]\nsize = "8MiB"\nblob_store = { type = "file", path = "blobs" }\n${lines}`,
          ),
        ].join("\n"),
      );
    const start = async (): Promise<void> => {
      server = await startServer({ arguments: ["voe.toml"], directory });
    };
    const voe = async <T>(...args: string[]): Promise<T> => {
      const words = [...voeCommand(), "snapshot", ...args, "--json", "--control", join(directory, "voe.sock")];
      const child = Bun.spawn(words, { stdout: "pipe", stderr: "pipe" });
      const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
      if ((await child.exited) !== 0) throw new Error(stderr);
      return JSON.parse(stdout) as T;
    };
    const disk = (slot: number): Promise<Disk> => openDisk(initiator, { shelf: SHELF, slot });
    const fill = async (slot: number, value: number): Promise<void> =>
      (await disk(slot)).write(64, new Uint8Array(256 * 1024).fill(value));
    /** The one value of what `fill` wrote. */
    const content = async (slot: number): Promise<number[]> => [...new Set(await (await disk(slot)).read(64, 512))];
    const slots = async (): Promise<number[]> =>
      (await discover([initiator], 100))
        .map(({ config }) => config.address)
        .filter(({ shelf }) => shelf === SHELF)
        .map(({ slot }) => slot)
        .toSorted((a, b) => a - b);
    let first: string;

    beforeAll(async () => {
      directory = mkdtempSync(join(tmpdir(), "voe-snapshots-"));
      configure({ 0: "" });
      await start();
      initiator = openInitiator("lo");
      await fill(0, 1);
      first = (await voe<SnapshotReport>("create", LIVE, "--description", "ones")).id;
      await fill(0, 2);
    });
    afterAll(async () => {
      initiator?.close();
      await server?.stop("SIGTERM");
      rmSync(directory, { recursive: true, force: true });
    });

    test("an exposed snapshot announces itself and shows the old content beside the live disk", async () => {
      await voe("expose", LIVE, first.slice(0, 6), "--as", `e${SHELF}.5`);
      expect([await content(0), await content(5)]).toEqual([[2], [1]]);
      expect((await disk(5)).info.configString).toBe(`${LIVE}@${first}`);
      expect(await reasonOf(fill(5, 9))).not.toBe("");
      expect([await content(0), await content(5)]).toEqual([[2], [1]]);
    });

    test("a clone is written to without the other disks noticing", async () => {
      await voe("clone", LIVE, first, "--as", `e${SHELF}.6`);
      expect(await content(6)).toEqual([1]);
      await fill(6, 6);
      expect([await content(0), await content(5), await content(6)]).toEqual([[2], [1], [6]]);
    });

    test("a restored disk reads as the snapshot at once", async () => {
      const { before } = await voe<{ before: SnapshotReport }>("restore", LIVE, first);
      expect(await content(0)).toEqual([1]);
      await voe("restore", LIVE, before.id);
      expect(await content(0)).toEqual([2]);
    });

    test("after SIGTERM and after SIGKILL all are there again, with what was written", async () => {
      expect(await server.stop("SIGTERM")).toBe(0);
      await start();
      expect([await slots(), await content(0), await content(5), await content(6)]).toEqual([[0, 5, 6], [2], [1], [6]]);
      await fill(6, 7);
      await server.stop("SIGKILL");
      await start();
      expect([await slots(), await content(0), await content(5), await content(6)]).toEqual([[0, 5, 6], [2], [1], [7]]);
    });

    test("SIGHUP leaves them alone, adds a schedule, and takes an address that the configuration has", async () => {
      configure({ 0: 'snapshot_every = "1s"', 5: "" });
      server.signal("SIGHUP");
      await until("the empty target has the address", async () => (await content(5))[0] === 0);
      expect([await content(0), await content(6)]).toEqual([[2], [7]]);
      const scheduled = async (): Promise<SnapshotReport[]> =>
        (await voe<{ snapshots: SnapshotReport[] }>("list", LIVE)).snapshots.filter(
          ({ description }) => description === "scheduled",
        );
      await until("a snapshot by timer", async () => (await scheduled()).length > 0);
      const count = (await scheduled()).length;
      await fill(0, 3);
      await until("a snapshot of what was written", async () => (await scheduled()).length > count);
      configure({ 0: "" });
      server.signal("SIGHUP");
      await until("the snapshot has its address back", async () => (await content(5))[0] === 1);
    });

    test("an unexposed target answers no more, and its clone's volume is served again by its name", async () => {
      await voe("unexpose", `e${SHELF}.5`);
      await voe("unexpose", `e${SHELF}.6`);
      expect(await slots()).toEqual([0]);
      configure({ 0: "", 7: `volume = "e${SHELF}.6"` });
      server.signal("SIGHUP");
      await until("the volume is served", async () => (await slots()).includes(7));
      expect(await content(7)).toEqual([7]);
    });
  },
);
