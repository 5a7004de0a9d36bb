/** Clients that come in thousands, abandon their connections or send anything at all: the server lives and serves. */
import { expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fetchStatus } from "../../src/control/client.ts";
import { startServer, type ServerProcess } from "../support/server-process.ts";
import { nbdSocket } from "../support/nbd-socket.ts";
import { CMD, FLAG, infoData, joined, OPT, option, request, u32 } from "../support/nbd-wire.ts";
import { makeRandom, seedOfRun, type Random } from "../support/random.ts";
import { titleUnless } from "../support/requirements.ts";
import { until } from "../support/server-bed.ts";

const missing = process.env["VOE_TEST_FULL"] === "1" ? undefined : "VOE_TEST_FULL=1 is not set";
const ABANDONED = 2000;
const WILD = 10_000;

interface LiveServer extends AsyncDisposable {
  readonly server: ServerProcess;
  readonly port: number;
  connections(): Promise<number>;
  residentBytes(): number;
}

async function serve(): Promise<LiveServer> {
  const directory = mkdtempSync(join(tmpdir(), "voe-nbd-live-"));
  const control = join(directory, "voe.sock");
  const config = join(directory, "voe.toml");
  writeFileSync(
    config,
    `[server]\nstate_dir = "${directory}/state"\ncontrol_socket = "${control}"\n[nbd]\nbind = "127.0.0.1:0"\n` +
      `[[target]]\nshelf = 1\nslot = 0\nbackend = "file"\npath = "${directory}/disk.img"\nsize = "16MiB"\nsync = "none"\n`,
  );
  const server = await startServer({ arguments: [config], directory });
  const { nbd } = await fetchStatus([control]);
  return {
    server,
    port: Number(nbd!.address.split(":")[1]),
    connections: async () => (await fetchStatus([control])).nbd!.connections.length,
    residentBytes: () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${server.pid}/status`, "utf8"))![1]) * 1024,
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** A connection that is sent something, and ends in one of the ways connections do. */
function abandon(port: number, bytes: Uint8Array, how: number): Promise<void> {
  return new Promise((resolve) => {
    const socket: Socket = connect(port, "127.0.0.1");
    socket.on("error", () => {});
    socket.on("close", () => resolve());
    socket.on("data", () => {});
    socket.once("connect", () => {
      socket.write(bytes, () => {
        if (how === 0) socket.destroy();
        else if (how === 1) socket.resetAndDestroy();
        else socket.end(() => setTimeout(() => socket.destroy(), 20));
      });
    });
  });
}

/** Does `work` for each number up to `count`, some at a time. */
async function each(count: number, atOnce: number, work: (i: number) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}

const begin = joined(u32(3), option(OPT.STRUCTURED_REPLY), option(OPT.GO, infoData("e1.0")));
const streams = [
  new Uint8Array(1),
  u32(3),
  joined(u32(3), option(OPT.LIST)),
  begin,
  joined(begin, request({ type: CMD.READ, length: 4096 })),
  joined(begin, request({ type: CMD.READ, length: 2 ** 20 }), request({ type: CMD.READ, length: 2 ** 22 })),
  joined(begin, request({ type: CMD.WRITE, data: new Uint8Array(2 ** 20) }).subarray(0, 300_000)),
  joined(begin, request({ type: CMD.WRITE, flags: FLAG.FUA, data: new Uint8Array(4096) }), request({ type: CMD.DISC })),
];

test.skipIf(missing !== undefined)(
  titleUnless(missing, `after ${ABANDONED} connections that were abandoned every slot is free and memory is bounded`),
  async () => {
    await using live = await serve();
    await each(ABANDONED / 4, 40, (i) => abandon(live.port, streams[i % streams.length]!, i % 3));
    const before = live.residentBytes();
    await each(ABANDONED, 40, (i) => abandon(live.port, streams[i % streams.length]!, i % 3));
    await until("all slots are free", async () => (await live.connections()) === 0, 20_000);
    expect(live.residentBytes() - before).toBeLessThan(64 * 2 ** 20);
    await checkServes(live);
  },
  60_000,
);

function wildStream(random: Random): Uint8Array {
  const parts: Uint8Array[] = random.chance(0.9) ? [u32(random.chance(0.9) ? 3 : random.word())] : [];
  for (let i = random.below(4); i > 0; i--) {
    parts.push(
      option(
        random.below(14),
        Uint8Array.from({ length: random.below(40) }, () => random.word()),
      ),
    );
  }
  if (random.chance(0.7)) parts.push(option(OPT.STRUCTURED_REPLY), option(OPT.GO, infoData("e1.0")));
  for (let i = random.below(6); i > 0; i--) {
    const data = random.chance(0.4) ? new Uint8Array(random.below(5000)).fill(1) : new Uint8Array();
    const fields = { type: random.below(10), flags: random.chance(0.2) ? random.below(70) : 0, cookie: BigInt(i) };
    const length = data.length > 0 ? data.length : random.below(100_000);
    parts.push(
      request({
        ...fields,
        type: data.length > 0 ? CMD.WRITE : fields.type,
        offset: random.below(15 * 2 ** 20 - 100_000),
        length,
        data,
      }),
    );
  }
  const whole = joined(...parts);
  const cut = random.chance(0.3) ? whole.subarray(0, random.below(whole.length + 1)) : whole;
  if (random.chance(0.3) && cut.length > 0) cut[random.below(cut.length)] = random.word();
  return cut;
}

test.skipIf(missing !== undefined)(
  titleUnless(missing, `${WILD} connections that send anything at all leave the server serving`),
  async () => {
    const seed = seedOfRun();
    console.log(`wild connections: VOE_SEED=${seed}`);
    const random = makeRandom(seed);
    await using live = await serve();
    await each(WILD, 20, () => abandon(live.port, wildStream(random), random.below(3)));
    await until("all slots are free", async () => (await live.connections()) === 0, 20_000);
    await checkServes(live);
    expect(live.server.log()).not.toContain("a request failed");
  },
  120_000,
);

/** A client that behaves is served, in the meantime as well. */
async function checkServes({ port }: LiveServer): Promise<void> {
  const client = await nbdSocket(port);
  await client.go("");
  const data = new Uint8Array(8192).fill(5);
  expect((await client.reply({ type: CMD.WRITE, flags: FLAG.FUA, offset: 15.5 * 2 ** 20, data })).error).toBe(0);
  expect((await client.reply({ type: CMD.READ, offset: 15.5 * 2 ** 20, length: 8192 })).data).toEqual(data);
  client.end();
}
