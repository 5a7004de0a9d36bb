/** TLS with the clients of libnbd and QEMU: the right certificate, a wrong one, and none. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeCertificates, type TestCertificates } from "../support/documented-certificates.ts";
import { createNbdBed, failureOf, missingForPrograms, type NbdBed } from "../support/nbd-clients.ts";
import { titleUnless } from "../support/requirements.ts";
import { run } from "../support/run.ts";

const missing = missingForPrograms("nbdinfo", "nbdcopy", "qemu-img", "certtool");
const MIB = 2 ** 20;

describe.skipIf(missing !== undefined)(titleUnless(missing, "NBD with TLS"), () => {
  let directory: string;
  let bed: NbdBed;
  let alice: string;
  let bob: string;
  let stranger: string;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "voe-tls-"));
    const ours: TestCertificates = makeCertificates(directory, "authority");
    alice = ours.client("alice");
    bob = ours.client("bob");
    stranger = makeCertificates(directory, "another").client("alice");
    bed = await createNbdBed(
      [
        { backend: "cas", size: "16MiB" },
        { backend: "file", size: "16MiB", lines: ['allow_clients = ["alice"]'] },
      ],
      () => [
        'tls = "required"',
        `cert = "${ours.directory}/server-cert.pem"`,
        `key = "${ours.directory}/server-key.pem"`,
        `client_ca = "${ours.directory}/ca-cert.pem"`,
      ],
    );
  });
  afterAll(async () => {
    await bed[Symbol.asyncDispose]();
    await rm(directory, { recursive: true });
  });

  const uri = (name: string, certificates: string): string =>
    `nbds://127.0.0.1:${bed.port}/${name}?tls-certificates=${certificates}`;
  const qemu = (name: string, certificates: string): string[] => [
    "--object",
    `tls-creds-x509,id=tls0,endpoint=client,dir=${certificates}`,
    "--image-opts",
    `driver=nbd,host=127.0.0.1,port=${bed.port},export=${name},tls-creds=tls0`,
  ];

  test("with the right certificate nbdcopy brings an image in and out", () => {
    const image = join(directory, "image");
    const out = join(directory, "out");
    writeFileSync(image, randomBytes(16 * MIB));
    run("nbdcopy", "--flush", image, uri("e1.0", alice));
    run("nbdcopy", uri("e1.0", bob), out);
    expect(Buffer.compare(readFileSync(out), readFileSync(image))).toBe(0);
    expect(JSON.parse(run("nbdinfo", "--json", uri("e1.0", alice)))).toMatchObject({ TLS: true, structured: true });
  });

  test("with the right certificate qemu-img finds the disk", () => {
    const { "virtual-size": sizeBytes } = JSON.parse(
      run("qemu-img", "info", "--output=json", ...qemu("e1.0", alice)),
    ) as {
      "virtual-size": number;
    };
    expect(sizeBytes).toBe(16 * MIB);
  });

  test("an export of certain clients is for nobody else, and is not listed to them", () => {
    const names = (certificates: string): string[] =>
      (
        JSON.parse(run("nbdinfo", "--json", "--list", uri("", certificates))) as {
          exports: { "export-name": string }[];
        }
      ).exports.map((entry) => entry["export-name"]);
    expect(names(alice)).toEqual(["e1.0", "e1.1"]);
    expect(names(bob)).toEqual(["e1.0"]);
    expect(JSON.parse(run("nbdinfo", "--json", uri("e1.1", alice)))).toMatchObject({ TLS: true });
    expect(failureOf("nbdinfo", uri("e1.1", bob))).toContain("e1.1");
  });

  test("a certificate of another authority is refused, to libnbd and to QEMU", () => {
    expect(failureOf("nbdinfo", uri("e1.0", stranger))).toMatch(/certificate|handshake|gnutls/i);
    expect(failureOf("qemu-img", "info", ...qemu("e1.0", stranger))).toMatch(/certificate|handshake|TLS/i);
  });

  test("without a certificate nobody comes in, nor without TLS", () => {
    const none = join(directory, "none");
    run("mkdir", "-p", none);
    run("cp", join(alice, "ca-cert.pem"), none);
    expect(failureOf("nbdinfo", uri("e1.0", none))).toMatch(/certificate|handshake|gnutls|closed|reset/i);
    expect(failureOf("nbdinfo", bed.tcpUri("e1.0"))).toMatch(/TLS/);
    expect(failureOf("qemu-img", "info", bed.tcpUri("e1.0"))).toMatch(/TLS/);
  });

  test("whoever may open the unix socket needs no certificate", () => {
    expect(JSON.parse(run("nbdinfo", "--json", bed.uri("e1.1")))).toMatchObject({ TLS: false });
  });
});
