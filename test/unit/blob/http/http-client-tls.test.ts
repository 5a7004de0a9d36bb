import { expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createHttpClient } from "../../../../src/blob/http/http-client.ts";
import { failureOf } from "../../../support/blob-requests.ts";
import { makeAuthority, makeCertificate, missingForCertificates } from "../../../support/certificates.ts";
import { reasonOf } from "../../../support/reason-of.ts";
import { titleUnless } from "../../../support/requirements.ts";

const missing = missingForCertificates();

test.skipIf(missing !== undefined)(
  titleUnless(missing, "a server whose certificate the authority of `ca` has signed is trusted, and no other"),
  async () => {
    const directory = mkdtempSync(join(tmpdir(), "voe-tls-"));
    for (const authority of ["right", "wrong"]) makeAuthority(directory, authority);
    makeCertificate(directory, "server", "localhost", "right");
    const pem = (name: string): string => readFileSync(join(directory, `${name}.pem`), "utf8");
    using server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      tls: { cert: pem("server-cert"), key: pem("server-key") },
      fetch: () => new Response("hello"),
    });
    const request = (ca?: string): Promise<string> =>
      createHttpClient({ ca }).exchange(
        { method: "GET", url: `https://127.0.0.1:${server.port}/`, what: "it could not be read" },
        (answer) => answer.text(100),
      );
    expect(await request(pem("right-cert"))).toBe("hello");
    for (const ca of [undefined, pem("wrong-cert")]) {
      expect(await failureOf(request(ca))).toBe("denied");
      expect(await reasonOf(request(ca))).toContain("name the file of the authority that signed it as ca");
    }
    rmSync(directory, { recursive: true });
  },
);
