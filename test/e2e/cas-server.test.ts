/** `voe cas-server` as a process: TLS, its memory under many clients, its ends. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openCasStore } from "../../src/blob/cas/cas-store.ts";
import { openCasServer } from "../../src/server/cas/cas-server.ts";
import { failureOf, getBytes, listAll } from "../support/blob-requests.ts";
import { makeAuthority, makeCertificate } from "../support/certificates.ts";
import { makeNamedBlob, nameOf } from "../support/named-blob.ts";
import { reasonOf } from "../support/reason-of.ts";
import { missingForPrograms } from "../support/nbd-clients.ts";
import { titleUnless } from "../support/requirements.ts";
import { startServer, voeCommand, type ServerProcess } from "../support/server-process.ts";
import { until } from "../support/until.ts";

const missing = missingForPrograms("openssl", "curl");
const TOKEN = "0123456789abcdef0123456789abcdef";
const PACK_BYTES = 16 * 2 ** 20;

let directory: string;
let server: ServerProcess;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "voe-cas-server-"));
  writeFileSync(join(directory, "token"), `${TOKEN}\n`, { mode: 0o600 });
});
afterEach(async () => {
  await server?.[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true, force: true });
});

async function start(...more: string[]): Promise<string> {
  const common = ["--storage", "store", "--token-file", "token", "--bind", "127.0.0.1:0"];
  server = await startServer({ command: "cas-server", arguments: [...common, ...more], directory });
  return /https?:\/\/[^/\s]*/.exec(server.log())![0];
}

describe.skipIf(missing !== undefined)(titleUnless(missing, "voe cas-server"), () => {
  test("with a certificate it serves those who trust it and know the token, and tells the token to nobody", async () => {
    for (const authority of ["home", "stranger"]) makeAuthority(directory, authority);
    makeCertificate(directory, "server", "localhost", "home");
    const ca = (of: string): string => readFileSync(join(directory, `${of}-cert.pem`), "utf8");
    chmodSync(join(directory, "token"), 0o644);
    const endpoint = await start("--cert", "server-cert.pem", "--key", "server-key.pem");
    expect(endpoint).toStartWith("https://");
    const store = await openCasStore({ endpoint, token: TOKEN, ca: ca("home") });
    const blob = makeNamedBlob(100_000, 1);
    await store.put(blob.name, blob.bytes);
    expect(Buffer.compare(await getBytes(store, blob.name, 0, 100_000), blob.bytes)).toBe(0);
    expect(await failureOf(openCasStore({ endpoint, token: TOKEN, ca: ca("stranger") }))).toBe("denied");
    expect(await failureOf(openCasStore({ endpoint, token: `${TOKEN}0`, ca: ca("home") }))).toBe("denied");
    const curl = Bun.spawnSync([
      "curl",
      "-sf",
      "--cacert",
      join(directory, "home-cert.pem"),
      "-H",
      `Authorization: Bearer ${TOKEN}`,
      `${endpoint}/blobs/${blob.name}`,
    ]);
    expect(nameOf(curl.stdout)).toBe(blob.name);
    expect(server.log()).toContain("every user of this host can read it");
    expect(server.log()).not.toContain(TOKEN);
    await store.close();
  });

  test("what is asked for wrongly ends with status 2, and what to write", () => {
    const run = (...args: string[]) => {
      const { exitCode, stderr } = Bun.spawnSync([...voeCommand(), "cas-server", ...args], { cwd: directory });
      return [exitCode, stderr.toString()] as const;
    };
    writeFileSync(join(directory, "short"), "abc");
    for (const [args, message] of [
      [[], "--storage"],
      [["--storage", "s", "--bind", "0.0.0.0:0"], "--token-file"],
      [["--storage", "s", "--bind", "everywhere"], "is not HOST:PORT"],
      [["--storage", "s", "--token-file", "short"], "openssl rand"],
      [["--storage", "s", "--token-file", "absent"], "is not there"],
      [["--storage", "s", "--cert", "c"], "belong together"],
      [["--storage", "s", "--hash", "md5"], "blake3 or sha256"],
    ] as const) {
      const [status, said] = run(...args);
      expect([args, status]).toEqual([args, 2]);
      expect(said).toContain(message);
    }
    expect(readdirSync(directory)).not.toContain("s");
  });

  test("32 packs that arrive and leave at a time take no memory for whole ones", async () => {
    const endpoint = await start();
    const store = await openCasStore({ endpoint, token: TOKEN });
    const memory = (): number => Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${server.pid}/status`, "utf8"))![1]);
    const before = memory();
    const pack = makeNamedBlob(PACK_BYTES, 1);
    await Promise.all(Array.from({ length: 32 }, () => store.put(pack.name, pack.bytes)));
    const url = `${endpoint}/blobs/${pack.name}`;
    const answers = await Promise.all(
      Array.from({ length: 32 }, () => fetch(url, { headers: { authorization: `Bearer ${TOKEN}` } })),
    );
    // None of them is read yet.
    for (const answer of answers) {
      let bytes = 0;
      for await (const piece of answer.body!) bytes += piece.length;
      expect(bytes).toBe(PACK_BYTES);
    }
    // Whole ones would be 512 MiB each way.
    expect((memory() - before) / 1024).toBeLessThan(200);
    await store.close();
  }, 30_000);

  test("SIGTERM lets an upload end, then the server ends with status 0", async () => {
    const endpoint = await start();
    const blob = makeNamedBlob(1000, 2);
    const body = Promise.withResolvers<void>();
    const upload = fetch(`${endpoint}/blobs/${blob.name}`, {
      method: "PUT",
      headers: { authorization: `Bearer ${TOKEN}` },
      body: new ReadableStream<Uint8Array>({
        async start(controller) {
          controller.enqueue(blob.bytes.subarray(0, 500));
          await body.promise;
          controller.enqueue(blob.bytes.subarray(500));
          controller.close();
        },
      }),
    });
    await until(() => readdirSync(join(directory, "store/tmp")).length === 1);
    server.signal("SIGTERM");
    await until(() => server.log().includes("finishing what is under way"));
    body.resolve();
    expect((await upload).status).toBe(201);
    expect(await server.exited).toBe(0);
  });

  test("killed in the middle of uploads it has each that was answered when it starts again, and nothing half", async () => {
    const blobs = Array.from({ length: 200 }, (_, seed) => makeNamedBlob(200_000 + seed, seed));
    const answered = new Set<string>();
    for (let round = 0; round < 3; round++) {
      const store = await openCasStore({ endpoint: await start(), token: TOKEN });
      let answers = 0;
      const puts = blobs.slice(round * 60).map(async ({ name, bytes }) => {
        await store.put(name, bytes);
        answered.add(name);
        answers++;
      });
      const settled = Promise.allSettled(puts);
      await until(() => answers >= 10);
      await server.stop("SIGKILL");
      await settled;
    }
    const store = await openCasStore({ endpoint: await start(), token: TOKEN });
    const there = await listAll(store);
    for (const name of answered) expect(there.map((blob) => blob.name)).toContain(name);
    for (const { name, sizeBytes } of there) expect(nameOf(await getBytes(store, name, 0, sizeBytes))).toBe(name);
    expect(readdirSync(join(directory, "store/tmp"))).toEqual([]);
    await store.close();
  }, 30_000);

  test("a thousand connections that say nothing, or half a word, keep nobody else from being served", async () => {
    const endpoint = await start();
    const { port } = new URL(endpoint);
    const sockets = Array.from({ length: 1000 }, () => connect(Number(port), "127.0.0.1").on("error", () => {}));
    await until(() => sockets.every(({ connecting }) => !connecting));
    for (const [at, socket] of sockets.entries()) if (at % 2 === 0) socket.write("PUT /blo");
    const store = await openCasStore({ endpoint, token: TOKEN });
    const blob = makeNamedBlob(10_000, 1);
    await store.put(blob.name, blob.bytes);
    for (const socket of sockets) socket.destroy();
    expect(await store.size(blob.name)).toBe(10_000);
    await store.close();
    expect(await server.stop("SIGTERM")).toBe(0);
  });

  test("a second server on the same directory is refused, and a client that stalls is cut off", async () => {
    await start();
    const bind = { host: "127.0.0.1", port: 0 };
    const options = { bind, token: TOKEN, tls: undefined, allowsDelete: false };
    expect(await reasonOf(openCasServer({ ...options, storage: join(directory, "store") }))).toContain("in use");
    const hasty = await openCasServer({ ...options, storage: join(directory, "other"), idleMs: 1000 });
    const closed = Promise.withResolvers<void>();
    const socket = connect(Number(new URL(hasty.url).port), "127.0.0.1");
    socket.on("error", () => {}).on("close", () => closed.resolve());
    socket.write(
      `PUT /blobs/${"0".repeat(64)} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${TOKEN}\r\nContent-Length: 9\r\n\r\nab`,
    );
    await closed.promise;
    await hasty.close(0);
  }, 20_000);
});
