import { $ } from "bun";
import { describe, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { missingForNetworks, titleUnless } from "../support/requirements.ts";

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

interface Figures {
  readonly median: { readonly iops: number; readonly p50Us: number; readonly p99Us: number; readonly cpuUs: number };
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
  ])("refuses %j and says what is right", async (args, said) => {
    const { exitCode, complaints } = await bench("aoe", ...args);
    expect(exitCode).toBe(2);
    expect(complaints).toContain(said);
    expect(complaints).toContain("usage: npm run bench -- aoe");
  });

  test("fills an index, opens it again, finds every block, and leaves nothing behind", async () => {
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
  }, 60_000);

  test("refuses a number of entries that is none, and says what is right", async () => {
    const { exitCode, complaints } = await bench("index", "--entries", "many");
    expect(exitCode).toBe(2);
    expect(complaints).toContain('--entries takes a number from 1 to 2147483648, not "many"');
  });

  test("measures the journal beside plain writes, and leaves nothing behind", async () => {
    const directory = mkdtempSync(join(tmpdir(), "voe-bench-test-"));
    try {
      const output = join(directory, "table.json");
      const options = ["--mib", "32", "--rounds", "1", "--directory", directory, "--json", "--output", output];
      const { exitCode, complaints } = await bench("journal", ...options);
      if (exitCode !== 0) throw new Error(complaints);
      const { rows } = JSON.parse(readFileSync(output, "utf8")) as { rows: { append: Record<string, number> }[] };
      expect(rows).toHaveLength(6);
      for (const { append } of rows) {
        for (const name of ["lengthening", "overwriting", "fresh", "recycled"]) expect(append[name]).toBeGreaterThan(0);
      }
      expect(readdirSync(directory)).toEqual(["table.json"]);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  }, 60_000);

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
});
