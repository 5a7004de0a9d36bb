/** A whole server whose archive is in Azure (Azurite), behind a network that fails now and then. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AzureContainer } from "../../src/blob/azure/azure-request.ts";
import { fillRandom } from "../support/block-content.ts";
import {
  everyOther,
  onceTo,
  startFaultProxy,
  type Fault,
  type FaultPlan,
  type FaultProxy,
} from "../support/fault-proxy.ts";
import { ACCOUNT_KEY, containerSas, makeContainer, missingForAzurite } from "../support/object-stores/azurite.ts";
import { titleUnless } from "../support/requirements.ts";
import { seededRandom, testSeed } from "../support/seeded-random.ts";
import { startServer, voeCommand, type ServerProcess } from "../support/server-process.ts";

const MIB = 2 ** 20;
const missing = missingForAzurite();
const FAULTS: readonly Fault[] = [
  { kind: "reset" },
  { kind: "lost answer" },
  { kind: "answer", status: 503, headers: { "x-ms-error-code": "ServerBusy" } },
  { kind: "answer", status: 500 },
  { kind: "latency", delayMs: 50 },
  { kind: "cut request", afterBytes: 100_000 },
  { kind: "cut answer", afterBytes: 10 },
  { kind: "short answer", keepBytes: 10 },
];

let directory: string;
let container: AzureContainer;
let proxy: FaultProxy;
let sas: string;
const at = (name: string): string => join(directory, name);
const image = new Uint8Array(40 * MIB);

beforeAll(async () => {
  if (missing !== undefined) return;
  directory = mkdtempSync(join(tmpdir(), "voe-azure-"));
  container = await makeContainer();
  const { origin, pathname } = new URL(container.endpoint);
  proxy = await startFaultProxy(origin);
  sas = containerSas(container, "rcwdl", new Date(Date.now() + 3_600_000));
  writeFileSync(at("credentials"), `AZURE_STORAGE_SAS_TOKEN=${sas}\n`, { mode: 0o600 });
  writeFileSync(
    at("voe.toml"),
    `[server]
state_dir = "${at("state")}"
control_socket = "${at("voe.sock")}"
cache_size = "16MiB"
journal_size = "128MiB"
[[target]]
shelf = 1
slot = 0
backend = "cas"
sync = "1s"
[target.cas]
size = "64MiB"
[target.cas.blob_store]
type = "azure"
account = "${container.account}"
container = "${container.container}"
prefix = "host1/"
endpoint = "${proxy.endpoint}${pathname}"
credentials_file = "${at("credentials")}"
cache_path = "${at("cache")}"
`,
  );
  fillRandom(seededRandom(7), image.subarray(0, 30 * MIB));
  writeFileSync(at("image"), image);
});
afterAll(async () => {
  await proxy?.[Symbol.asyncDispose]();
  if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
});

const serve = (): Promise<ServerProcess> => startServer({ arguments: [at("voe.toml")], directory });
const voe = (...args: string[]): Promise<string> => runVoe(...args, "--control", at("voe.sock"));
async function runVoe(...args: string[]): Promise<string> {
  const child = Bun.spawn([...voeCommand(), ...args], {
    cwd: directory,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  if ((await child.exited) !== 0) throw new Error(`voe ${args.join(" ")}: ${stderr}`);
  return stdout;
}

test.skipIf(missing !== undefined)(
  titleUnless(missing, "an archive in Azure takes an image and gives it back, whatever the network does meanwhile"),
  async () => {
    const logs: string[] = [];
    {
      await using server = await serve();
      proxy.setPlan(everyOther(seededRandom(testSeed), FAULTS));
      await voe("import", at("image"), "e1.0");
      await voe("snapshot", "create", "e1.0", "--description", "first");
      proxy.setPlan(undefined);
      logs.push(await voe("status", "--json"), await voe("snapshot", "list", "e1.0", "--json"));
      expect(await server.stop("SIGTERM")).toBe(0);
      logs.push(server.log());
    }
    const puts = proxy.requests.filter(({ method }) => method === "PUT").length;
    expect([...proxy.faults.values()].reduce((sum, count) => sum + count, 0)).toBeGreaterThan(0);
    // Nothing but packs, about 16 MiB each, and roots: at a store that asks money for each request.
    expect(puts).toBeLessThan(80);

    rmSync(at("cache"), { recursive: true });
    {
      // The SAS is renewed under the running server, here by a key.
      await using server = await serve();
      writeFileSync(at("credentials"), `AZURE_STORAGE_KEY=${ACCOUNT_KEY}\n`);
      proxy.setPlan(everyOther(seededRandom(testSeed + 1), FAULTS));
      await voe("export", "e1.0", at("exported"));
      expect(Buffer.compare(readFileSync(at("exported")).subarray(0, image.length), image)).toBe(0);
      expect(await server.stop("SIGTERM")).toBe(0);
      logs.push(server.log());
    }
    for (const text of logs) {
      expect(text).not.toContain(ACCOUNT_KEY);
      expect(text).not.toContain(new URLSearchParams(sas.slice(1)).get("sig")!);
      expect(text).not.toContain("sig=");
    }
  },
  60_000,
);

test.skipIf(missing !== undefined)(
  titleUnless(missing, "a bit that the network changes in a pack is never served"),
  async () => {
    proxy.setPlan(undefined);
    rmSync(at("cache"), { recursive: true, force: true });
    await using server = await serve();
    const isOfBlob = ({ method, target }: { method: string; target: string }): boolean =>
      method === "GET" && /\/host1\/[0-9a-f]{2}\/[0-9a-f]{62}/.test(target);
    proxy.setPlan(onceTo(isOfBlob, { kind: "wrong byte", atByte: 5000 }));
    await voe("export", "e1.0", at("exported-again"));
    expect(proxy.faults.get("wrong byte")).toBe(1);
    expect(Buffer.compare(readFileSync(at("exported-again")).subarray(0, image.length), image)).toBe(0);
    // Nor did what failed before leave half of anything in the store.
    await voe("verify", "e1.0");
    await server.stop("SIGTERM");
  },
  60_000,
);

test.skipIf(missing !== undefined)(
  titleUnless(missing, "an archive of a host that is lost is recovered from Azure alone, behind the same network"),
  async () => {
    for (const name of ["state", "cache"]) rmSync(at(name), { recursive: true });
    const failing = everyOther(seededRandom(testSeed + 2), FAULTS);
    // A store that cannot be opened is not waited for: whoever started this tries again.
    const plan: FaultPlan = (request) =>
      /\/(voe-store\.json|probes\/)/.test(request.target) ? undefined : failing(request);
    proxy.setPlan(plan);
    await runVoe("recover", at("voe.toml"));
    await using server = await serve();
    await voe("export", "e1.0", at("recovered"));
    expect(Buffer.compare(readFileSync(at("recovered")).subarray(0, image.length), image)).toBe(0);
    expect(await voe("snapshot", "list", "e1.0")).toContain("first");
    proxy.setPlan(undefined);
    await server.stop("SIGTERM");
  },
  60_000,
);

test.skipIf(missing !== undefined)(
  titleUnless(missing, "a server with a wrong key does not start, and says what to check"),
  async () => {
    writeFileSync(at("credentials"), `AZURE_STORAGE_KEY=${Buffer.from("wrong").toString("base64")}\n`);
    proxy.setPlan(undefined);
    const before = proxy.requests.length;
    const start = await serve().catch((error: unknown) => String(error));
    expect(start).toContain("status 1 before it was ready");
    expect(start).toContain("account_key");
    expect(proxy.requests.slice(before).filter(({ method }) => method !== "GET")).toEqual([]);
  },
);
