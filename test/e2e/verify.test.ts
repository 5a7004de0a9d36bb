/** `voe verify` as users run it: on a running server, on a store at rest, and on one that a server has open. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { CasBackendConfig } from "../../src/config/config.ts";
import { archiveSet } from "../../src/server/archive-set.ts";
import { BLOCK_BYTES, blockOf, hashOf, hasher, writeBlock } from "../support/archive-store.ts";
import { parsePack } from "../../src/storage/cas/pack.ts";
import { missingForLongTests, titleUnless } from "../support/requirements.ts";
import { startServer, voeCommand, type ServerProcess } from "../support/server-process.ts";

const MIB = 2 ** 20;
const BLOCKS = 600;

let directory: string;
let store: string;
let server: ServerProcess | undefined;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "voe-verify-"));
  store = join(directory, "blobs");
  await fill();
});
afterEach(async () => {
  await server?.[Symbol.asyncDispose]();
  server = undefined;
  rmSync(directory, { recursive: true, force: true });
});

const backend = (): CasBackendConfig => ({
  kind: "cas",
  volume: "e1.0",
  blockSizeBytes: BLOCK_BYTES,
  sizeBytes: 16 * MIB,
  hash: "blake3",
  compression: "lz4",
  snapshotEveryMs: undefined,
  blobStore: { type: "file", path: store },
});

/** What a server would have written: a volume with a snapshot, in the state that the servers below find. */
async function fill(): Promise<void> {
  const archives = archiveSet(
    {
      stateDir: join(directory, "state"),
      cacheBytes: 16 * MIB,
      journalBytes: 64 * MIB,
    },
    () => {},
  );
  const archive = await archives.open(backend());
  const volume = await archive.openVolume({
    name: "e1.0",
    blockBytes: BLOCK_BYTES,
    sizeBytes: 16 * MIB,
    readOnly: false,
    sync: { kind: "none" },
  });
  for (let block = 0; block < BLOCKS; block++) await writeBlock(volume, block, blockOf(block));
  await archive.createSnapshot("e1.0", "before the move");
  await writeBlock(volume, 0, blockOf(9999));
  archives.release(backend());
  await archives.closeUnused();
}

async function serve(): Promise<void> {
  const path = join(directory, "voe.toml");
  writeFileSync(
    path,
    `[server]
state_dir = ${JSON.stringify(join(directory, "state"))}
control_socket = ${JSON.stringify(join(directory, "voe.sock"))}
[[target]]
shelf = 1
slot = 0
backend = "cas"
[target.cas]
size = "16MiB"
[target.cas.blob_store]
type = "file"
path = ${JSON.stringify(store)}
[[target]]
shelf = 2
slot = 0
backend = "file"
path = ${JSON.stringify(join(directory, "e2.0.img"))}
size = "1MiB"
`,
  );
  server = await startServer({ arguments: [path], directory });
}

interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

async function voe(...words: string[]): Promise<Outcome> {
  const child = Bun.spawn([...voeCommand(), ...words], {
    cwd: directory,
    env: { ...process.env, VOE_CONTROL: join(directory, "voe.sock") },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  await child.exited;
  return { status: child.exitCode, stdout, stderr };
}

/** Flips a byte of a block where it lies, and tells in which pack and at which byte that is. */
function damage(hash: Uint8Array): { pack: string; offsetBytes: number } {
  for (const prefix of readdirSync(store).filter((name) => /^[0-9a-f]{2}$/.test(name))) {
    for (const rest of readdirSync(join(store, prefix))) {
      const path = join(store, prefix, rest);
      const bytes = new Uint8Array(readFileSync(path));
      const parsed = parsePack(bytes, hasher);
      if ("reason" in parsed) throw new Error(parsed.reason);
      const { directory: entries } = parsed;
      for (let entry = 0; entry < entries.entryCount; entry++) {
        if (!entries.holds(entry, hash, 0)) continue;
        const offsetBytes = entries.offsetBytes(entry);
        bytes[offsetBytes + 5]! ^= 1;
        writeFileSync(path, bytes);
        return { pack: prefix + rest, offsetBytes };
      }
    }
  }
  throw new Error(`no pack has ${hash.toHex()}`);
}

interface Report {
  readonly outcome: string;
  readonly stores: {
    store: string;
    complete: boolean;
    packsDone: number;
    packsTotal: number;
    damage: object[];
    affected: { volume: string; snapshot?: { id: string; description: string }; ranges: object[] }[];
  }[];
}
const reportOf = ({ stdout }: Outcome): Report => JSON.parse(stdout) as Report;
const missing = missingForLongTests();

describe.skipIf(missing !== undefined)(titleUnless(missing, "voe verify"), () => {
  test("a running server verifies the archive of a target, or all of them, and says how fast", async () => {
    await serve();
    for (const words of [["e1.0"], []]) {
      const { status, stdout } = await voe("verify", ...words);
      expect(status).toBe(0);
      expect(stdout).toStartWith(`file store ${store}: good.`);
      expect(stdout).toMatch(/\/s\n$/);
    }
  });

  test("what is no archive, and what is not there, cannot be verified, and the archives are named", async () => {
    await serve();
    const file = await voe("verify", "e2.0");
    expect(file.status).toBe(1);
    expect(file.stderr).toContain("e2.0 is no archive");
    expect(file.stderr).toContain("archives: e1.0");
    const absent = await voe("verify", "e7.0");
    expect(absent.status).toBe(1);
    expect(absent.stderr).toContain("no target e7.0");
  });

  test("damage on a running server is named with pack, byte, volume, snapshot and sectors, and the server goes on", async () => {
    await serve();
    const { pack, offsetBytes } = damage(hashOf(blockOf(0)));
    const text = await voe("verify", "e1.0");
    expect(text.status).toBe(1);
    expect(text.stdout).toContain(`pack ${pack}: 1 of its`);
    expect(text.stdout).toContain(`at byte ${offsetBytes}`);
    expect(text.stdout).toContain("(before the move): 4 KiB cannot be read\n    sectors 0 to 7\n");
    expect(text.stdout).not.toContain("as it is");
    const json = await voe("verify", "--json");
    expect(json.status).toBe(1);
    const { outcome, stores } = reportOf(json);
    expect(outcome).toBe("damaged");
    expect(stores[0]!.damage[0]).toMatchObject({ kind: "pack", pack, blocks: [{ offsetBytes }] });
    expect(stores[0]!.affected).toMatchObject([
      { volume: "e1.0", snapshot: { description: "before the move" }, ranges: [{ sector: 0, sectorCount: 8 }] },
    ]);
    expect((await voe("status", "--json")).status).toBe(0);
  });

  test("a run that is stopped by --max-duration has a status of its own, and the next one goes on", async () => {
    await serve();
    const first = await voe("verify", "--max-duration", "0s");
    expect(first.status).toBe(3);
    expect(first.stdout).toContain("stopped at --max-duration, 1 of ");
    expect(first.stdout).toContain("all good");
    const { stores } = reportOf(await voe("verify", "--max-duration", "0s", "--json"));
    expect(stores[0]).toMatchObject({ complete: false, outcome: "stopped", packsNeverVerified: 0 });
  });

  test("a store at rest is verified by its directory, keeps what is known beside its packs, and is served afterwards", async () => {
    expect((await voe("verify", "blobs")).status).toBe(0);
    expect(readFileSync(join(store, "verify", "verified"), "utf8")).toMatch(/^voe verified 1\n/);
    const { pack } = damage(hashOf(blockOf(9999)));
    const again = await voe("verify", "blobs", "--json");
    expect(again.status).toBe(1);
    const [only] = reportOf(again).stores;
    expect(only!.damage[0]).toMatchObject({ pack });
    expect(only!.affected).toMatchObject([{ volume: "e1.0", ranges: [{ sector: 0, sectorCount: 8 }] }]);
    expect(only!.affected[0]).not.toHaveProperty("snapshot");
    await serve();
  });

  test("--state keeps what is known of a store elsewhere, and leaves the store as it is", async () => {
    const before = readdirSync(store).toSorted();
    const { status } = await voe("verify", "blobs", "--state", "known", "--max-duration", "0s");
    expect(status).toBe(3);
    expect(readdirSync(store).toSorted()).toEqual(before);
    expect(readdirSync(join(directory, "known"))).toContain("verified");
  });

  test("a store that a server has open is left to the server, and that is said", async () => {
    await serve();
    const { status, stderr } = await voe("verify", "blobs");
    expect(status).toBe(1);
    expect(stderr).toContain("voe verify eX.Y");
  });

  test("a client that is killed ends the verification on the server, so that the next one is not refused", async () => {
    await serve();
    const child = Bun.spawn([...voeCommand(), "verify", "--control", join(directory, "voe.sock")], {
      stdin: "ignore",
      stdout: "ignore",
      stderr: "ignore",
    });
    child.kill("SIGKILL");
    await child.exited;
    expect((await voe("verify")).status).toBe(0);
  });

  test("wrong usage is told, with status 2", async () => {
    for (const words of [
      ["e1.0", "e1.1"],
      ["e70000.0"],
      ["--max-duration", "soon"],
      ["--state", "x"],
      ["blobs", "--control", "x"],
      ["--unknown"],
    ]) {
      expect({ words, status: (await voe("verify", ...words)).status }).toEqual({ words, status: 2 });
    }
  });

  test("what is no store and what has no server are told with what to do", async () => {
    const noStore = await voe("verify", "state");
    expect(noStore.status).toBe(1);
    expect(noStore.stderr).toContain("is no blob store");
    const noServer = await voe("verify");
    expect(noServer.status).toBe(1);
    expect(noServer.stderr).toContain("voe serve");
  });
});
