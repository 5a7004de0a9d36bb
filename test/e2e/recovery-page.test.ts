/**
 * docs/recovery.md, followed to the letter: its commands are read out of the page and typed, on a host whose paths are
 * those of a directory, after the server was killed under load and its host wiped.
 */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { missingForRadosgw, RADOSGW_BUCKET, sharedRadosgw } from "../support/object-stores/radosgw.ts";
import { fillRandom } from "../support/block-content.ts";
import { missingForLongTests, titleUnless } from "../support/requirements.ts";
import { seededRandom, testSeed } from "../support/seeded-random.ts";
import { startServer, voeCommand, type ServerProcess } from "../support/server-process.ts";

const page = readFileSync(join(import.meta.dir, "../../docs/recovery.md"), "utf8");
const chapter = page.slice(page.indexOf("\n## A host was lost"), page.indexOf("\n## What is there"));
const blocksOf = (language: string): string[] =>
  Array.from(chapter.matchAll(new RegExp(`\n\`\`\`${language}\n(.*?)\`\`\``, "gs")), ([, text]) => text!);

const IMAGE_BYTES = 24 * 2 ** 20;
const BLOCK_BYTES = 4096;

let host: string;
let servers: ServerProcess[];

beforeEach(async () => {
  host = await mkdtemp(join(tmpdir(), "voe-recovery-"));
  servers = [];
  mkdirSync(join(host, "bin"));
});
afterEach(async () => {
  for (const server of servers) await server.stop("SIGKILL");
  await rm(host, { recursive: true });
});

/** The page's paths, as those of this host. */
const here = (text: string): string => text.replaceAll(/\/(etc|var\/lib|run)\/voe/g, (path) => `${host}${path}`);

interface Ended {
  readonly status: number;
  readonly output: string;
}

/** Types a line into a shell of this host. */
async function type(line: string): Promise<Ended> {
  const child = Bun.spawn(["bash", "-c", here(line)], {
    env: {
      ...process.env,
      PATH: `${join(host, "bin")}:${process.env["PATH"]}`,
      VOE_CONTROL: here("/run/voe/voe.sock"),
    },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [output, errors] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  return { status: await child.exited, output: output + errors };
}

async function typed(line: string): Promise<string> {
  const { status, output } = await type(line);
  if (status !== 0) throw new Error(`"${line}" ended with status ${status}:\n${output}`);
  return output;
}

/** What the page's commands find on a host: voe, and what stands for root, an editor and systemd. */
function install(config: string): void {
  const script = (name: string, body: string): void =>
    writeFileSync(join(host, "bin", name), `#!/bin/bash\n${body}\n`, { mode: 0o755 });
  const voe = voeCommand()
    .map((word) => `'${word}'`)
    .join(" ");
  script("voe", `exec ${voe} "$@"`);
  script("sudo", 'exec "$@"');
  // There is no user voe here.
  script("chown", 'case "$2" in voe:voe) shift 2; exec ls -d "$@";; esac; exit 1');
  writeFileSync(join(host, "voe.toml"), config);
  script("editor", `exec cp '${join(host, "voe.toml")}' "$1"`);
  script("systemctl", `[ "$*" = "start voe" ] && echo started >> '${join(host, "started")}'`);
}

async function serve(): Promise<ServerProcess> {
  const server = await startServer({ arguments: [here("/etc/voe/voe.toml")], directory: host });
  servers.push(server);
  return server;
}

/** The page's configuration with the store that the test has. */
const withStore = (store: string): string => {
  const [toml] = blocksOf("toml");
  return here(toml!).replace(/(?<=\[target\.cas\.blob_store\]\n).*/s, store);
};

function randomImage(name: string, seed: number): Uint8Array {
  const bytes = new Uint8Array(IMAGE_BYTES);
  fillRandom(seededRandom(seed), bytes);
  writeFileSync(join(host, name), bytes);
  return bytes;
}

const imageOf = async (what: string, control = "/run/voe/voe.sock"): Promise<Buffer> => {
  await typed(`voe export ${what} ${join(host, "out.img")} --force --control ${control}`);
  // The rest of the disk is a hole.
  return Buffer.from(await Bun.file(join(host, "out.img")).slice(0, IMAGE_BYTES).arrayBuffer());
};

const snapshot = async (): Promise<string> =>
  (JSON.parse(await typed("voe snapshot create e1.0 --json")) as { id: string }).id;

async function followThePage(config: string): Promise<void> {
  install(config);
  // The host that will be lost.
  for (const line of blocksOf("sh")[0]!.trim().split("\n")) await typed(line);
  const lost = await serve();
  const [first, second, third] = [1, 2, 3].map((number) => randomImage(`${number}.img`, testSeed + number));
  await typed(`voe import ${join(host, "1.img")} e1.0`);
  const firstSnapshot = await snapshot();
  await typed(`voe import ${join(host, "2.img")} e1.0`);
  const secondSnapshot = await snapshot();
  const load = type(`voe import ${join(host, "3.img")} e1.0`);
  await untilWritten(() => journalBytes() > IMAGE_BYTES / 8);
  await lost.stop("SIGKILL");
  await load;
  for (const path of ["/etc/voe", "/var/lib/voe", "/run/voe"]) rmSync(here(path), { recursive: true });

  // The page, command by command.
  const lines = blocksOf("sh").flatMap((block) => block.trim().split("\n"));
  const outputs = new Map<string, string>();
  for (const line of lines) {
    outputs.set(line, await typed(line));
    if (line === "sudo systemctl start voe") await serve();
  }
  expect(lines.filter((line) => line.startsWith("sudo voe recover"))).toHaveLength(1);
  expect(existsSync(join(host, "started"))).toBe(true);
  const recovered = outputs.get("sudo voe recover /etc/voe/voe.toml")!;
  expect(recovered).toMatch(/recovered as epoch 2, taken over from \S+\. \d+ packs/);
  expect(recovered).toMatch(/\n +e1\.0 +8 GiB +\S+ \S+ +2 /);
  expect(outputs.get("sudo voe snapshot list e1.0")).toContain(secondSnapshot);
  expect(outputs.get("sudo voe verify")).toContain(": good. ");

  expect(Buffer.compare(await imageOf(`e1.0@${firstSnapshot}`), first!)).toBe(0);
  expect(Buffer.compare(await imageOf(`e1.0@${secondSnapshot}`), second!)).toBe(0);
  const present = await imageOf("e1.0");
  for (let at = 0; at < IMAGE_BYTES; at += BLOCK_BYTES) {
    const block = present.subarray(at, at + BLOCK_BYTES);
    const isOne = [second!, third!].some((image) => Buffer.compare(block, image.subarray(at, at + BLOCK_BYTES)) === 0);
    if (!isOne) throw new Error(`byte ${at} is of neither image`);
  }
  // Snapshots can be exposed, and what is written goes on into the store.
  await typed(`voe snapshot expose e1.0 ${firstSnapshot} --as e9.0`);
  expect(Buffer.compare(await imageOf("e9.0"), first!)).toBe(0);
  await typed(`voe import ${join(host, "3.img")} e1.0`);
  await snapshot();
  expect(await servers.at(-1)!.stop("SIGTERM")).toBe(0);
  await serve();
  expect(Buffer.compare(await imageOf("e1.0"), third!)).toBe(0);
}

/** Bytes of the journal's segments of the only archive. */
function journalBytes(): number {
  const archives = here("/var/lib/voe/archives");
  const journal = join(archives, readdirSync(archives)[0]!, "journal");
  return readdirSync(journal)
    .filter((name) => name.endsWith(".journal"))
    .reduce((sum, name) => sum + Bun.file(join(journal, name)).size, 0);
}

async function untilWritten(condition: () => boolean): Promise<void> {
  for (const endMs = performance.now() + 20_000; !condition();) {
    if (performance.now() > endMs) throw new Error("the import has not begun to write");
    await Bun.sleep(2);
  }
}

test("the page has the steps that the test follows", () => {
  expect(blocksOf("toml")).toHaveLength(1);
  expect(blocksOf("sh").join("")).toContain("sudo voe recover /etc/voe/voe.toml\n");
  expect(withStore("")).toContain("[target.cas.blob_store]\n");
});

const missing = missingForLongTests();

describe.skipIf(missing !== undefined)(titleUnless(missing, "a host that was lost, on the page's commands"), () => {
  test("with a store in a directory", async () => {
    await followThePage(withStore(`type = "file"\npath = "${join(host, "blobs")}"\n`));
  }, 120_000);
});

const missingGateway = missingForRadosgw();

describe.skipIf(missingGateway !== undefined)(titleUnless(missingGateway, "an archive on radosgw"), () => {
  const s3 = async (): Promise<string> => {
    const { endpoint, region, credentials } = await sharedRadosgw();
    return [
      'type = "s3"',
      `bucket = "${RADOSGW_BUCKET}"`,
      `prefix = "recovery-${crypto.randomUUID()}/"`,
      `region = "${region}"`,
      `endpoint = "${endpoint}"`,
      `access_key_id = "${credentials.accessKeyId}"`,
      `secret_access_key = "${credentials.secretAccessKey}"\n`,
    ].join("\n");
  };

  test("a host that was lost comes back on the page's commands", async () => {
    await followThePage(withStore(await s3()));
  }, 180_000);

  test("a server that another host overtakes stops, says so, and is refused when it starts again", async () => {
    install(withStore(await s3()));
    for (const line of blocksOf("sh")[0]!.trim().split("\n")) await typed(line);
    const first = await serve();
    const image = randomImage("1.img", testSeed);
    await typed(`voe import ${join(host, "1.img")} e1.0`);
    await snapshot();
    const config = readFileSync(here("/etc/voe/voe.toml"), "utf8");
    const other = config.replaceAll("/var/lib/voe", "/var/lib/voe-other").replaceAll("voe.sock", "other.sock");
    mkdirSync(here("/var/lib/voe") + "-other");
    writeFileSync(join(host, "other.toml"), other);
    expect(await typed(`voe recover ${join(host, "other.toml")}`)).toContain("recovered as epoch 2");

    await type(`voe import ${join(host, "1.img")} e1.0`);
    const stopped = await type("voe snapshot create e1.0");
    expect(stopped.status).toBe(1);
    expect(stopped.output).toContain("was taken over by");
    expect(await typed("voe status")).toContain("was taken over by");
    expect((await type(`voe import ${join(host, "1.img")} e1.0`)).status).toBe(1);
    expect(first.log()).toContain("must not write it any more");
    await first.stop("SIGTERM");
    const refused = await serve().then(
      () => "",
      (error: Error) => error.message,
    );
    expect(refused).toContain("ended with status 1");
    expect(refused).toMatch(/was taken over by .* \(epoch 2, since/);
    expect(refused).toContain("of answered writes that never reached the store");

    const second = await startServer({ arguments: [join(host, "other.toml")], directory: host });
    servers.push(second);
    expect(Buffer.compare(await imageOf("e1.0", "/run/voe/other.sock"), image)).toBe(0);
  }, 120_000);
});
