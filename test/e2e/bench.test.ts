import { $ } from "bun";
import { describe, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { missingForPrograms } from "../support/nbd-clients.ts";
import type { Report as BlobsReport } from "../../bench/blobs/table.ts";
import { missingForRadosgw } from "../support/object-stores/radosgw.ts";
import { missingForLongTests, missingForNetworks, titleUnless } from "../support/requirements.ts";

const main = resolve(import.meta.dir, "../../bench/main.ts");
async function bench(...args: string[]): Promise<{ pid: number; exitCode: number; complaints: string }> {
  const { pid, exited, stderr } = Bun.spawn([process.execPath, main, ...args], { stdout: "ignore", stderr: "pipe" });
  const complaints = await stderr.text();
  return { pid, exitCode: await exited, complaints };
}

function missingForBench(): string | undefined {
  const tool = ["gcc", "taskset", "vblade"].find((name) => Bun.which(name) === null);
  return missingForNetworks() ?? (tool === undefined ? undefined : `${tool} is not installed`);
}
const missing = missingForBench();
const missingForNbd = missing ?? missingForPrograms("fio", "nbdcopy", "nbdkit");
const isQuick = missingForLongTests() !== undefined;

interface Figures {
  readonly median: { readonly iops: number; readonly p50Us: number; readonly p99Us: number; readonly cpuUs: number };
}

interface ImageFigures {
  readonly median: { readonly storedBytes: number; readonly againStoredBytes: number };
}

interface ArchiveReport {
  readonly loads: readonly { title: string; rows: { figures: Record<string, Figures> }[] }[];
  readonly snapshots: {
    readonly volumeBytes: number;
    readonly median: { readonly snapshotMs: number; readonly longestMs: number };
    readonly unchanged: { readonly medianMs: number };
  };
  readonly images: readonly { title: string; figures: { voe: ImageFigures; cp: ImageFigures } }[];
}

describe("npm run bench", () => {
  test("names the benchmarks when asked for one that is not there", async () => {
    const { exitCode, complaints } = await bench("aeo");
    expect(exitCode).toBe(2);
    expect(complaints).toContain('no benchmark "aeo": use one of aoe');
  });

  test.each([
    [["--round", "3"], "--round"],
    [["--rounds", "none"], '--rounds takes a number above 0, not "none"'],
    [["--peers", "voe,iscsi"], "--peers is one of voe, vblade"],
    [["--mtu", "1400"], "--mtu is one of 9000, 1500"],
  ])("aoe refuses %j and says what is right", async (args, said) => {
    const { exitCode, complaints } = await bench("aoe", ...args);
    expect(exitCode).toBe(2);
    expect(complaints).toContain(said);
    expect(complaints).toContain("usage: npm run bench -- aoe");
  });

  test.each([
    [["--sizes", "3"], "--sizes"],
    [["--seconds", "0"], '--seconds takes a number above 0, not "0"'],
    [["--size", "8"], "--size takes at least 64, not 8"],
  ])("archive refuses %j and says what is right", async (args, said) => {
    const { exitCode, complaints } = await bench("archive", ...args);
    expect(exitCode).toBe(2);
    expect(complaints).toContain(said);
    expect(complaints).toContain("usage: npm run bench -- archive");
  });

  test.each([
    [["--round", "3"], "--round"],
    [["--peers", "voe,nbd-server"], "--peers is one of voe, nbdkit"],
    [["--size", "none"], '--size takes a number above 0, not "none"'],
  ])("nbd refuses %j and says what is right", async (args, said) => {
    const { exitCode, complaints } = await bench("nbd", ...args);
    expect(exitCode).toBe(2);
    expect(complaints).toContain(said);
    expect(complaints).toContain("usage: npm run bench -- nbd");
  });

  test("archive says when no row is left", async () => {
    const { exitCode, complaints } = await bench("archive", "--rows", "no such row");
    expect(exitCode).toBe(2);
    expect(complaints).toContain("a row: --rows leaves none");
  });

  test.skipIf(isQuick)(
    titleUnless(missingForLongTests(), "fills an index, opens it again, finds every block, and leaves nothing behind"),
    async () => {
      const directory = mkdtempSync(join(tmpdir(), "voe-bench-test-"));
      try {
        const output = join(directory, "table.json");
        const options = ["--entries", "50000", "--directory", directory, "--json", "--output", output];
        const { exitCode, complaints } = await bench("index", ...options);
        if (exitCode !== 0) throw new Error(complaints);
        const figures = JSON.parse(readFileSync(output, "utf8")) as Record<string, number>;
        expect(figures["entries"]).toBe(53_248);
        expect(figures["diskBytes"]! / figures["entries"]!).toBeLessThan(24);
        for (const name of ["insertsPerSecond", "presentPerSecond", "absentPerSecond", "openMs"]) {
          expect(figures[name]).toBeGreaterThan(0);
        }
        expect(readdirSync(directory)).toEqual(["table.json"]);
      } finally {
        rmSync(directory, { recursive: true, force: true });
      }
    },
    60_000,
  );

  test("refuses a number of entries that is none, and says what is right", async () => {
    const { exitCode, complaints } = await bench("index", "--entries", "many");
    expect(exitCode).toBe(2);
    expect(complaints).toContain('--entries takes a number from 1 to 2147483648, not "many"');
  });

  test.skipIf(isQuick)(
    titleUnless(missingForLongTests(), "measures the journal beside plain writes, and leaves nothing behind"),
    async () => {
      const directory = mkdtempSync(join(tmpdir(), "voe-bench-test-"));
      try {
        const output = join(directory, "table.json");
        const options = ["--mib", "32", "--rounds", "1", "--directory", directory, "--json", "--output", output];
        const { exitCode, complaints } = await bench("journal", ...options);
        if (exitCode !== 0) throw new Error(complaints);
        const { rows } = JSON.parse(readFileSync(output, "utf8")) as { rows: { append: Record<string, number> }[] };
        expect(rows).toHaveLength(6);
        for (const { append } of rows) {
          for (const name of ["lengthening", "overwriting", "fresh", "recycled"])
            expect(append[name]).toBeGreaterThan(0);
        }
        expect(readdirSync(directory)).toEqual(["table.json"]);
      } finally {
        rmSync(directory, { recursive: true, force: true });
      }
    },
    60_000,
  );

  test.skipIf(missing !== undefined)(
    titleUnless(missing, "measures voe, vblade and the floor, and leaves nothing behind"),
    async () => {
      const directory = mkdtempSync(join(tmpdir(), "voe-bench-test-"));
      try {
        const output = join(directory, "table.json");
        const tiny = ["--rounds", "1", "--seconds", "0.2", "--size", "16", "--directory", directory];
        const one = ["--rows", "random write 8 KiB, 16", "--peers", "voe,vblade,floor"];
        const { pid, exitCode, complaints } = await bench("aoe", ...tiny, ...one, "--json", "--output", output);
        if (exitCode !== 0) throw new Error(complaints);
        const { sections } = JSON.parse(readFileSync(output, "utf8")) as {
          sections: { sync: string; mtu: number; rows: { figures: Record<string, Figures> }[] }[];
        };
        expect(sections.map(({ sync, mtu, rows }) => [sync, mtu, Object.keys(rows[0]?.figures ?? {})])).toEqual([
          ["1s", 9000, ["voe", "vblade", "floor"]],
          ["always", 9000, ["voe", "vblade"]],
        ]);
        for (const { median } of sections.flatMap(({ rows }) =>
          rows.flatMap(({ figures }) => Object.values(figures)),
        )) {
          expect(median.iops).toBeGreaterThan(100);
          expect(median.p50Us).toBeGreaterThan(0);
          expect(median.p99Us).toBeGreaterThanOrEqual(median.p50Us);
          expect(median.cpuUs).toBeGreaterThan(0);
        }
        expect(readdirSync(directory)).toEqual(["table.json"]);
        expect(await $`ip netns list`.text()).not.toContain(`vk-${pid}-`);
      } finally {
        rmSync(directory, { recursive: true, force: true });
      }
    },
    60_000,
  );

  test.skipIf(missing !== undefined)(
    titleUnless(missing, "measures archives: loads, snapshots and images, and leaves nothing behind"),
    async () => {
      const directory = mkdtempSync(join(tmpdir(), "voe-bench-test-"));
      try {
        const output = join(directory, "table.json");
        const tiny = ["--quick", "--seconds", "0.1", "--size", "64", "--directory", directory];
        const rows = ["--rows", "^Writes: random write 8 KiB, 16 outstanding$", "--rows", "Snapshots", "--rows", "usr"];
        const { pid, exitCode, complaints } = await bench("archive", ...tiny, ...rows, "--json", "--output", output);
        if (exitCode !== 0) throw new Error(complaints);
        const { loads, snapshots, images } = JSON.parse(readFileSync(output, "utf8")) as ArchiveReport;
        expect(loads.map(({ title, rows }) => [title, Object.keys(rows[0]?.figures ?? {})])).toEqual([
          ["Writes", ["archive", "file", "vblade"]],
        ]);
        for (const { median } of Object.values(loads[0]!.rows[0]!.figures)) expect(median.iops).toBeGreaterThan(10);
        expect(snapshots.volumeBytes).toBe(8 * 64 * 2 ** 20);
        expect(snapshots.median.longestMs).toBeGreaterThan(0);
        expect(snapshots.median.snapshotMs).toBeGreaterThan(snapshots.unchanged.medianMs);
        const { voe, cp } = images[0]!.figures;
        expect(images.map(({ title }) => title)).toEqual(["Image: a tar of /usr"]);
        // Compressed, and the second copy costs little more than its tree.
        expect(voe.median.storedBytes).toBeLessThan(cp.median.storedBytes);
        expect(voe.median.againStoredBytes).toBeLessThan(1.1 * voe.median.storedBytes);
        expect(readdirSync(directory)).toEqual(["table.json"]);
        expect(await $`ip netns list`.text()).not.toContain(`vk-${pid}-`);
      } finally {
        rmSync(directory, { recursive: true, force: true });
      }
    },
    120_000,
  );

  test.skipIf(missingForRadosgw() !== undefined)(
    titleUnless(missingForRadosgw(), "measures an archive in an object store, and leaves nothing behind"),
    async () => {
      const directory = mkdtempSync(join(tmpdir(), "voe-bench-test-"));
      try {
        const output = join(directory, "table.json");
        const options = ["--rounds", "1", "--size", "64", "--directory", directory, "--json", "--output", output];
        const { exitCode, complaints } = await bench("blobs", ...options);
        if (exitCode !== 0) throw new Error(complaints);
        const { rounds } = JSON.parse(readFileSync(output, "utf8")) as BlobsReport;
        expect(rounds).toHaveLength(1);
        const { plain, archive } = rounds[0]!;
        for (const { putSeconds, getSeconds } of Object.values(plain)) {
          expect(putSeconds).toBeGreaterThan(0);
          expect(getSeconds).toBeGreaterThan(0);
        }
        expect(archive.uploadedSeconds).toBeGreaterThan(archive.inSeconds);
        // Four packs of data, one of the tree, and records.
        expect(archive.puts).toBeGreaterThan(5);
        expect(archive.gets).toBeGreaterThan(4);
        expect(readdirSync(directory)).toEqual(["table.json"]);
      } finally {
        rmSync(directory, { recursive: true, force: true });
      }
    },
    120_000,
  );

  test.skipIf(missingForNbd !== undefined)(
    titleUnless(missingForNbd, "measures NBD: voe and nbdkit, and images, and leaves nothing behind"),
    async () => {
      const directory = mkdtempSync(join(tmpdir(), "voe-bench-test-"));
      try {
        const output = join(directory, "table.json");
        const tiny = ["--quick", "--seconds", "0.2", "--size", "16", "--directory", directory, "--peers", "voe,nbdkit"];
        const rows = ["--rows", "random .* 4 KiB, 16 outstanding, 4", "--rows", "usr"];
        const { pid, exitCode, complaints } = await bench("nbd", ...tiny, ...rows, "--json", "--output", output);
        if (exitCode !== 0) throw new Error(complaints);
        const report = JSON.parse(readFileSync(output, "utf8")) as {
          rows: { row: { name: string }; figures: Record<string, Figures> }[];
          images: readonly { title: string; figures: { voe: ImageFigures; cp: ImageFigures } }[];
        };
        expect(report.rows.map(({ row, figures }) => [row.name, Object.keys(figures)])).toEqual([
          ["random read 4 KiB, 16 outstanding, 4 connections", ["voe", "nbdkit"]],
          ["random write 4 KiB, 16 outstanding, 4 connections", ["voe", "nbdkit"]],
        ]);
        for (const { median } of report.rows.flatMap(({ figures }) => Object.values(figures))) {
          expect(median.iops).toBeGreaterThan(100);
          expect(median.p99Us).toBeGreaterThanOrEqual(median.p50Us);
          expect(median.cpuUs).toBeGreaterThan(0);
        }
        const { voe, cp } = report.images[0]!.figures;
        expect(voe.median.storedBytes).toBeLessThan(cp.median.storedBytes);
        expect(readdirSync(directory)).toEqual(["table.json"]);
        expect(await $`ip netns list`.text()).not.toContain(`vk-${pid}-`);
      } finally {
        rmSync(directory, { recursive: true, force: true });
      }
    },
    60_000,
  );
});
