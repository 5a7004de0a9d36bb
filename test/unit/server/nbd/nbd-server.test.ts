import { describe, expect, test } from "bun:test";
import { renameSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseCidr } from "../../../../src/base/cidr.ts";
import { openNbdServer } from "../../../../src/server/nbd/nbd-server.ts";
import { memoryStorage } from "../../../../src/storage/memory-storage.ts";
import { heldStorage } from "../../../support/held-storage.ts";
import { memoryTarget, openNbdBed } from "../../../support/nbd-bed.ts";
import { CMD, ERR, exportName, infoData, joined, OPT, option, REP, request, u32 } from "../../../support/nbd-wire.ts";
import { until } from "../../../support/until.ts";

const namesOf = (replies: readonly { type: number; data: Uint8Array }[]): string[] =>
  replies
    .filter(({ type }) => type === REP.SERVER)
    .map(({ data }) =>
      Buffer.from(data.subarray(4, 4 + new DataView(data.buffer, data.byteOffset).getUint32(0))).toString(),
    );

test("a client writes and reads through a socket, small and large, and says goodbye", async () => {
  await using bed = await openNbdBed();
  const client = await bed.connect();
  await client.go("scratch");
  const data = Uint8Array.from({ length: 600_000 }, (_, i) => (i * 31) >> 5);
  expect((await client.reply({ type: CMD.WRITE, offset: 512, data })).error).toBe(0);
  expect((await client.reply({ type: CMD.WRITE, offset: 600, data: new Uint8Array(100).fill(9) })).error).toBe(0);
  const { data: read } = await client.reply({ type: CMD.READ, offset: 512, length: 600_000 });
  expect(Buffer.compare(read, data.fill(9, 88, 188))).toBe(0);
  expect((await client.reply({ type: CMD.READ, offset: 600, length: 3 })).data).toEqual(new Uint8Array([9, 9, 9]));
  client.send(request({ type: CMD.DISC }));
  await client.closed;
  await until(() => bed.server.status().connections.length === 0);
  expect(bed.reports).toEqual([]);
});

test("what one connection has written and flushed, another one reads", async () => {
  await using bed = await openNbdBed();
  const [writer, reader] = [await bed.connect(), await bed.connect()];
  await Promise.all([writer.go(""), reader.go("e1.0")]);
  const data = new Uint8Array(4096).fill(3);
  await writer.reply({ type: CMD.WRITE, offset: 8192, data });
  await writer.reply({ type: CMD.FLUSH });
  expect((await reader.reply({ type: CMD.READ, offset: 8192, length: 4096 })).data).toEqual(data);
});

describe("exports", () => {
  const two = (directory: string) => [
    memoryTarget("e1.0", directory, { configString: "same" }),
    memoryTarget("e2.0", directory, { configString: "same" }),
    memoryTarget("e3.0", directory, { configString: "e1.0" }),
  ];
  test("are found by address, by config string where that is unique and no address; the empty name is for one alone", async () => {
    await using bed = await openNbdBed({ targets: two });
    const client = await bed.connect();
    await client.receive(18);
    client.send(u32(3));
    expect(namesOf(await client.ask(OPT.LIST))).toEqual(["e1.0", "e2.0", "e3.0"]);
    for (const name of ["same", "", "e4.0"]) {
      expect((await client.ask(OPT.INFO, infoData(name))).at(-1)!.type).toBe(REP.ERR_UNKNOWN);
    }
    const info = await client.ask(OPT.INFO, infoData("e1.0", 2));
    expect(info[1]!.text).toBe("\0\x02same");
  });

  test("of targets that are added are there at once, beside connections that go on", async () => {
    await using bed = await openNbdBed();
    const client = await bed.connect();
    await client.go("");
    bed.server.addTarget(memoryTarget("e5.0", bed.directory));
    const other = await bed.connect();
    await other.go("e5.0");
    expect((await client.reply({ type: CMD.READ, length: 512 })).error).toBe(0);
  });

  test("removing a target answers what is in flight and ends its connections, not those of others", async () => {
    const held = heldStorage(2048);
    const targets = new Map<string, ReturnType<typeof memoryTarget>>();
    await using bed = await openNbdBed({
      targets: (directory) => {
        targets.set("e1.0", memoryTarget("e1.0", directory, {}, held));
        targets.set("e2.0", memoryTarget("e2.0", directory));
        return [...targets.values()];
      },
    });
    const [client, other] = [await bed.connect(), await bed.connect()];
    await Promise.all([client.go("e1.0"), other.go("e2.0")]);
    client.send(request({ type: CMD.READ, cookie: 1n, length: 512 }));
    await until(() => held.waiting.length === 1);
    bed.server.removeTarget(targets.get("e1.0")!);
    expect(await client.reply({ type: CMD.READ, cookie: 2n, length: 512 })).toMatchObject({
      cookie: 2n,
      error: ERR.ESHUTDOWN,
    });
    held.release();
    expect((await client.receive(20 + 8 + 512))[15]).toBe(1);
    await client.closed;
    expect((await other.reply({ type: CMD.READ, length: 512 })).error).toBe(0);
    const late = await bed.connect();
    expect(await late.go("e1.0").catch((error: Error) => error.message)).toContain('no export "e1.0"');
  });
});

describe("limits", () => {
  test("connections beyond max_connections are turned away, until one has ended however that came", async () => {
    await using bed = await openNbdBed({ config: { maxConnections: 2 } });
    const first = await bed.connect();
    const second = await bed.connect();
    await second.go("e1.0");
    const third = await bed.connect();
    await third.closed;
    expect(bed.server.status()).toMatchObject({ refusedConnections: 1, acceptedConnections: 2 });
    expect(bed.reports.join()).toContain("max_connections");
    // One in the handshake goes away, one in transmission breaks the protocol.
    first.end();
    second.send(new Uint8Array(28));
    await second.closed;
    await until(() => bed.server.status().connections.length === 0);
    const fourth = await bed.connect();
    await fourth.go("e1.0");
  });

  test("a handshake that takes too long ends with its connection, transmission may idle", async () => {
    await using bed = await openNbdBed({ handshakeMs: 60 });
    const idle = await bed.connect();
    await idle.go("e1.0");
    const slow = await bed.connect();
    slow.send(joined(u32(3), option(OPT.LIST).subarray(0, 10)));
    await slow.closed;
    expect(bed.reports.join()).toContain("handshake took longer");
    expect((await idle.reply({ type: CMD.READ, length: 512 })).error).toBe(0);
  });

  test("addresses that allow does not have are turned away", async () => {
    await using bed = await openNbdBed({ config: { allow: [parseCidr("192.0.2.0/24")] } });
    await (
      await bed.connect()
    ).closed;
    expect(bed.reports.join()).toContain("a connection from 127.0.0.1 was refused");
    await using open = await openNbdBed({ config: { allow: [parseCidr("127.0.0.0/8")] } });
    await (await open.connect()).go("");
  });
});

describe("the unix socket", () => {
  test("is for its owner alone, and serves beside TCP whatever allow and TLS say of that", async () => {
    await using bed = await openNbdBed({ unix: true, config: { allow: [parseCidr("192.0.2.0/24")] } });
    const path = bed.server.socketPath!;
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const client = await bed.connect(path);
    await client.go("");
    expect((await client.reply({ type: CMD.READ, length: 512 })).error).toBe(0);
    expect(bed.server.status().connections[0]).toMatchObject({ client: "unix", export: "e1.0", requests: 1 });
  });

  test("one that another server has, or that is no socket, is left alone and said so; a left-over one is replaced", async () => {
    await using bed = await openNbdBed({ unix: true });
    const config = { bind: undefined, socket: bed.server.socketPath, maxConnections: 1, allow: [], tls: undefined };
    const failure = (socket: string): Promise<string> =>
      openNbdServer({ ...config, socket }, [], () => {}).then(
        (server) => server.close(0).then(() => "it opened"),
        (error: Error) => error.message,
      );
    expect(await failure(config.socket!)).toContain("another server listens");
    const file = join(bed.directory, "file");
    writeFileSync(file, "");
    expect(await failure(file)).toContain("is no socket");
    const left = join(bed.directory, "left.sock");
    await using gone = await openNbdBed({ unix: true });
    renameSync(gone.server.socketPath!, left);
    await gone.server.close(0);
    expect(await failure(left)).toBe("it opened");
    expect(await failure(join(bed.directory, "no/such/directory"))).toContain("Set [nbd] socket");
  });
});

test("a port that is taken is an error that says what to do", async () => {
  await using bed = await openNbdBed();
  const config = { socket: undefined, maxConnections: 1, allow: [], tls: undefined };
  const bind = { host: "127.0.0.1", port: bed.port };
  const opened = openNbdServer({ ...config, bind }, [], () => {});
  expect(await opened.catch((error: Error) => error.message)).toBe(
    `cannot serve NBD on 127.0.0.1:${bed.port}: something else listens there. Stop it, or set [nbd] bind to another port.`,
  );
});

test("a server that stops answers what is in flight, tells clients of it, and ends all connections", async () => {
  const held = heldStorage(2048);
  await using bed = await openNbdBed({ targets: (directory) => [memoryTarget("e1.0", directory, {}, held)] });
  const [busy, idle, greeting] = [await bed.connect(), await bed.connect(), await bed.connect()];
  await Promise.all([busy.go(""), idle.go("")]);
  busy.send(request({ type: CMD.WRITE, cookie: 1n, data: new Uint8Array(512) }));
  await until(() => held.waiting.length === 1);
  const stopped = bed.server.close(5000);
  expect((await idle.reply({ type: CMD.READ, length: 512 })).error).toBe(ERR.ESHUTDOWN);
  await greeting.receive(18);
  greeting.send(u32(3));
  expect((await greeting.ask(OPT.GO, infoData("e1.0")))[0]!.type).toBe(REP.ERR_SHUTDOWN);
  await idle.closed;
  held.release();
  expect((await busy.receive(20))[15]).toBe(1);
  await Promise.all([busy.closed, greeting.closed, stopped]);
});

test("requests of one connection are done in their order, also where the data of one comes slowly", async () => {
  const storage = memoryStorage(2048);
  await using bed = await openNbdBed({ targets: (directory) => [memoryTarget("e1.0", directory, {}, storage)] });
  const client = await bed.connect();
  await client.go("");
  const write = request({ type: CMD.WRITE, cookie: 1n, data: new Uint8Array(200_000).fill(1) });
  client.send(write.subarray(0, 100_000));
  await until(() => bed.server.status().connections[0]!.inFlight === 1);
  client.send(joined(write.subarray(100_000), request({ type: CMD.WRITE_ZEROES, cookie: 2n, length: 100_000 })));
  expect((await client.receive(20))[15]).toBe(1);
  expect((await client.receive(20))[15]).toBe(2);
  const { data } = await client.reply({ type: CMD.READ, length: 200_000 });
  expect([data.indexOf(1), data.lastIndexOf(1)]).toEqual([100_000, 199_999]);
});

test("a client of EXPORT_NAME is served, and one that asks for what is not there is let go", async () => {
  await using bed = await openNbdBed();
  const client = await bed.connect();
  await client.receive(18);
  client.send(joined(u32(3), exportName("e1.0")));
  expect(await client.receive(10)).toHaveLength(10);
  const wrong = await bed.connect();
  wrong.send(joined(u32(3), exportName("nothing")));
  await wrong.closed;
});

test("a client that writes much, at once or bit by bit, has all of it written, and its end is noticed", async () => {
  const storage = memoryStorage(32_768);
  await using bed = await openNbdBed({ targets: (directory) => [memoryTarget("e1.0", directory, {}, storage)] });
  const client = await bed.connect();
  await client.go("");
  const data = Uint8Array.from({ length: 2 ** 20 }, (_, i) => (i * 31) >> 6);
  for (let i = 0; i < 8; i++) {
    client.send(request({ type: CMD.WRITE, cookie: BigInt(i), offset: i * 2 ** 20, data }));
  }
  for (let i = 0; i < 8; i++) expect((await client.receive(20))[15]).toBe(i);
  const slow = request({ type: CMD.WRITE, cookie: 8n, offset: 2 ** 23, data });
  for (const part of [slow.subarray(0, 100_000), slow.subarray(100_000, 100_001), slow.subarray(100_001)]) {
    client.send(part);
    await Bun.sleep(3);
  }
  expect((await client.receive(20))[15]).toBe(8);
  for (let i = 0; i < 9; i++) {
    const { data: read } = await client.reply({ type: CMD.READ, offset: i * 2 ** 20, length: 2 ** 20 });
    expect(Buffer.compare(read, data)).toBe(0);
  }
  client.send(slow.subarray(0, 500_000));
  await until(() => bed.server.status().connections[0]!.inFlight === 1);
  client.end();
  await until(() => bed.server.status().connections.length === 0);
  expect(bed.server.status().bufferBytes).toBe(0);
});
