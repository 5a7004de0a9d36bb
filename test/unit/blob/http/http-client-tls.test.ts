import { expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createHttpClient } from "../../../../src/blob/http/http-client.ts";
import { failureOf } from "../../../support/blob-requests.ts";
import { makeCertificates } from "../../../support/documented-certificates.ts";
import { reasonOf } from "../../../support/reason-of.ts";
import { titleUnless } from "../../../support/requirements.ts";

const missing = Bun.which("certtool") === null ? "certtool is not installed (package gnutls-bin)" : undefined;

test.skipIf(missing !== undefined)(
  titleUnless(missing, "a server whose certificate the authority of `ca` has signed is trusted, and no other"),
  async () => {
    const directory = mkdtempSync(join(tmpdir(), "voe-tls-"));
    const of = (authority: string) => {
      const { directory: home } = makeCertificates(directory, authority);
      return (name: string): string => readFileSync(join(home, `${name}.pem`), "utf8");
    };
    const [right, wrong] = [of("right"), of("wrong")];
    using server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      tls: { cert: right("server-cert"), key: right("server-key") },
      fetch: () => new Response("hello"),
    });
    const request = (ca?: string): Promise<string> =>
      createHttpClient({ ca }).exchange(
        { method: "GET", url: `https://127.0.0.1:${server.port}/`, what: "it could not be read" },
        (answer) => answer.text(100),
      );
    expect(await request(right("ca-cert"))).toBe("hello");
    for (const ca of [undefined, wrong("ca-cert")]) {
      expect(await failureOf(request(ca))).toBe("denied");
      expect(await reasonOf(request(ca))).toContain("name the file of the authority that signed it as ca");
    }
    rmSync(directory, { recursive: true });
  },
);
