import { beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadTls } from "../../../../src/server/nbd/tls.ts";
import { makeCertificates, type TestCertificates } from "../../../support/certificates.ts";
import { memoryTarget, openMemoryNbdServer, type MemoryNbdServer } from "../../../support/memory-nbd-server.ts";
import type { NbdSocket } from "../../../support/nbd-socket.ts";
import { CMD, infoData, joined, OPT, option, REP, u32 } from "../../../support/nbd-wire.ts";
import { titleUnless } from "../../../support/requirements.ts";
import { until } from "../../../support/until.ts";

const missing = Bun.which("certtool") === null ? "certtool is not installed (package gnutls-bin)" : undefined;
const directory = mkdtempSync(join(tmpdir(), "voe-tls-"));
let ours: TestCertificates;
let strangers: TestCertificates;
const pem = (path: string): string => readFileSync(path, "utf8");
const serverFile = (name: string): string => join(ours.server, `${name}.pem`);
const authority = (): string => pem(serverFile("ca-cert"));
const identity = (clientDirectory: string) => ({
  cert: pem(join(clientDirectory, "client-cert.pem")),
  key: pem(join(clientDirectory, "client-key.pem")),
});
const files = () => ({
  cert: serverFile("server-cert"),
  key: serverFile("server-key"),
  clientCa: serverFile("ca-cert"),
});

const bed = (): Promise<MemoryNbdServer> =>
  openMemoryNbdServer({
    unix: true,
    config: { tls: files() },
    targets: (state) => [
      memoryTarget("e1.0", state),
      memoryTarget("e2.0", state, { allowClients: ["alice", "carol"], configString: "secret" }),
    ],
  });

/** A connection for which STARTTLS was acknowledged. */
async function starting(server: MemoryNbdServer): Promise<NbdSocket> {
  const client = await server.connect();
  await client.receive(18);
  client.send(u32(3));
  expect((await client.ask(OPT.STARTTLS))[0]!.type).toBe(REP.ACK);
  return client;
}

const listed = async (client: NbdSocket): Promise<string[]> =>
  (await client.ask(OPT.LIST))
    .filter(({ type }) => type === REP.SERVER)
    .map(({ data }) => Buffer.from(data.subarray(4, 8)).toString());

describe.skipIf(missing !== undefined)(titleUnless(missing, "TLS with certificates on both sides"), () => {
  let alice: ReturnType<typeof identity>;
  let bob: typeof alice;
  let mallory: typeof alice;
  beforeAll(() => {
    ours = makeCertificates(directory, "ours");
    strangers = makeCertificates(directory, "strangers");
    alice = identity(ours.client("alice"));
    bob = identity(ours.client("bob"));
    mallory = identity(strangers.client("alice"));
  });

  test("a client with a certificate of client_ca reads and writes", async () => {
    await using server = await bed();
    const client = await starting(server);
    await client.secure({ ca: authority(), ...alice });
    expect((await client.ask(OPT.STRUCTURED_REPLY))[0]!.type).toBe(REP.ACK);
    expect((await client.ask(OPT.GO, infoData("e1.0"))).at(-1)!.type).toBe(REP.ACK);
    const data = Uint8Array.from({ length: 700_000 }, (_, i) => i >> 3);
    expect((await client.reply({ type: CMD.WRITE, offset: 512, data })).error).toBe(0);
    expect(Buffer.compare((await client.reply({ type: CMD.READ, offset: 512, length: 700_000 })).data, data)).toBe(0);
    expect(server.server.status().connections[0]).toMatchObject({
      tls: true,
      name: "alice",
      export: "e1.0",
      requests: 2,
    });
  });

  test("an export with allow_clients is there for these names alone: others neither see nor get it", async () => {
    await using server = await bed();
    const [first, second] = [await starting(server), await starting(server)];
    await first.secure({ ca: authority(), ...alice });
    await second.secure({ ca: authority(), ...bob });
    expect(await listed(first)).toEqual(["e1.0", "e2.0"]);
    expect(await listed(second)).toEqual(["e1.0"]);
    for (const name of ["e2.0", "secret", "e9.9"]) {
      const [reply] = await second.ask(OPT.GO, infoData(name));
      expect([reply!.type, reply!.text]).toEqual([REP.ERR_UNKNOWN, `no export "${name}"; there is e1.0`]);
    }
    // Of what bob may have there is one alone, which the empty name means.
    expect((await second.ask(OPT.GO, infoData(""))).at(-1)!.type).toBe(REP.ACK);
    expect((await first.ask(OPT.GO, infoData("secret"))).at(-1)!.type).toBe(REP.ACK);
  });

  test.each([
    ["of another authority", () => mallory],
    ["at all", () => ({})],
  ])("a client without a certificate %s gets nothing, whatever it calls itself", async (_, shown) => {
    await using server = await bed();
    const client = await starting(server);
    const tls = { ca: authority(), ...shown() };
    // With TLS 1.3 the client is told after it believes that all is well.
    await client.secure(tls).catch(() => {});
    client.send(option(OPT.LIST));
    await client.closed;
    expect(await client.receive(1).catch(() => "nothing")).toBe("nothing");
    await until(() => server.server.status().connections.length === 0);
    expect(server.reports.join()).toContain("TLS");
  });

  test("clear text after STARTTLS ends the connection", async () => {
    await using server = await bed();
    const client = await starting(server);
    client.send(joined(option(OPT.LIST), new Uint8Array(100)));
    await client.closed;
    expect(await client.receive(20).catch(() => "nothing")).toBe("nothing");
  });

  test("through the unix socket everything is there without a certificate", async () => {
    await using server = await bed();
    const client = await server.connect(server.server.socketPath);
    await client.receive(18);
    client.send(u32(3));
    expect(await listed(client)).toEqual(["e1.0", "e2.0"]);
  });

  test("a file that is not there is an error that names its key", () => {
    expect(() => loadTls({ ...files(), key: serverFile("nothing") })).toThrow("[nbd] key: ENOENT");
  });

  test("files that are no certificate, or do not belong together, are an error at the start, without their content", () => {
    const otherKey = join(strangers.server, "server-key.pem");
    for (const over of [{ key: otherKey }, { cert: otherKey }, { clientCa: otherKey }]) {
      expect(() => loadTls({ ...files(), ...over })).toThrow("[nbd] tls");
      expect(() => loadTls({ ...files(), ...over })).not.toThrow("PRIVATE KEY");
    }
  });
});
