import { beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadTls } from "../../../../src/server/nbd/tls.ts";
import { makeAuthority, makeCertificate, missingForCertificates } from "../../../support/certificates.ts";
import { memoryTarget, openNbdBed, type NbdBed } from "../../../support/nbd-bed.ts";
import type { NbdSocket } from "../../../support/nbd-socket.ts";
import { CMD, infoData, joined, OPT, option, REP, u32 } from "../../../support/nbd-wire.ts";
import { titleUnless } from "../../../support/requirements.ts";
import { until } from "../../../support/until.ts";

const missing = missingForCertificates();
const directory = mkdtempSync(join(tmpdir(), "voe-tls-"));
const path = (name: string): string => join(directory, `${name}.pem`);
const pem = (name: string): string => readFileSync(path(name), "utf8");
const identity = (name: string) => ({ cert: pem(`${name}-cert`), key: pem(`${name}-key`) });

const bed = (): Promise<NbdBed> =>
  openNbdBed({
    unix: true,
    config: { tls: { cert: path("server-cert"), key: path("server-key"), clientCa: path("clients-cert") } },
    targets: (state) => [
      memoryTarget("e1.0", state),
      memoryTarget("e2.0", state, { allowClients: ["alice", "carol"], configString: "secret" }),
    ],
  });

/** A connection for which STARTTLS was acknowledged. */
async function starting(server: NbdBed): Promise<NbdSocket> {
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
  beforeAll(() => {
    for (const name of ["servers", "clients", "strangers"]) makeAuthority(directory, name);
    makeCertificate(directory, "server", "localhost", "servers");
    makeCertificate(directory, "alice", "alice", "clients");
    makeCertificate(directory, "bob", "bob", "clients");
    makeCertificate(directory, "mallory", "alice", "strangers");
  });

  test("a client with a certificate of client_ca reads and writes", async () => {
    await using server = await bed();
    const client = await starting(server);
    await client.secure({ ca: pem("servers-cert"), ...identity("alice") });
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
    const [alice, bob] = [await starting(server), await starting(server)];
    await alice.secure({ ca: pem("servers-cert"), ...identity("alice") });
    await bob.secure({ ca: pem("servers-cert"), ...identity("bob") });
    expect(await listed(alice)).toEqual(["e1.0", "e2.0"]);
    expect(await listed(bob)).toEqual(["e1.0"]);
    for (const name of ["e2.0", "secret", "e9.9"]) {
      const [reply] = await bob.ask(OPT.GO, infoData(name));
      expect([reply!.type, reply!.text]).toEqual([REP.ERR_UNKNOWN, `no export "${name}"; there is e1.0`]);
    }
    // Of what bob may have there is one alone, which the empty name means.
    expect((await bob.ask(OPT.GO, infoData(""))).at(-1)!.type).toBe(REP.ACK);
    expect((await alice.ask(OPT.GO, infoData("secret"))).at(-1)!.type).toBe(REP.ACK);
  });

  test.each([
    ["of another authority", "mallory"],
    ["at all", undefined],
  ])("a client without a certificate %s gets nothing, whatever it calls itself", async (_, name) => {
    await using server = await bed();
    const client = await starting(server);
    const tls = { ca: pem("servers-cert"), ...(name === undefined ? {} : identity(name)) };
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
    const files = { cert: path("server-cert"), key: path("nothing"), clientCa: path("clients-cert") };
    expect(() => loadTls(files)).toThrow("[nbd] key: ENOENT");
  });

  test("files that are no certificate, or do not belong together, are an error at the start, without their content", () => {
    const files = { cert: path("server-cert"), key: path("server-key"), clientCa: path("clients-cert") };
    for (const over of [{ key: path("alice-key") }, { cert: path("server-key") }, { clientCa: path("server-key") }]) {
      expect(() => loadTls({ ...files, ...over })).toThrow("[nbd] tls");
      expect(() => loadTls({ ...files, ...over })).not.toThrow("PRIVATE KEY");
    }
  });
});
