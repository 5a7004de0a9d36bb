/** A CAS server behind a network that fails. */
import { afterAll } from "bun:test";
import { openCasStore } from "../../src/blob/cas/cas-store.ts";
import { CAS_TOKEN, startCasServer, type TestCasServer } from "../support/cas-server.ts";
import { makeNamedBlob } from "../support/named-blob.ts";
import { describeBlobStoreFaults, type ServerAnswer } from "./blob-store-faults.ts";

const answer = (status: number, meaning: ServerAnswer["meaning"] = {}): ServerAnswer => ({
  status,
  headers: { "content-type": "text/plain" },
  body: "said by the test\n",
  meaning,
});
const denied = {
  put: "denied",
  get: "denied",
  createRef: "denied",
  readRef: "denied",
  list: "denied",
  listRefs: "denied",
  size: "denied",
  delete: "denied",
} as const;

const servers: TestCasServer[] = [];
afterAll(async () => {
  for (const server of servers) await server[Symbol.asyncDispose]();
});

describeBlobStoreFaults({
  name: "a blob store in a CAS server, behind a network that fails",
  missing: process.env["VOE_TEST_FULL"] === "1" ? undefined : "VOE_TEST_FULL=1 is not set",
  makePlace: async () => {
    const under = await startCasServer();
    servers.push(under);
    const { server } = under;
    // Of the place that faults are tried in: a page of a list is then more than a fault lets through.
    const store = await openCasStore({ endpoint: `${server.url}host7`, token: CAS_TOKEN });
    for (let seed = 10; seed < 14 && servers.length === 1; seed++) {
      const { name, bytes } = makeNamedBlob(100, seed);
      await store.put(name, bytes);
      await store.createRef(`roots/v${"0".repeat(32)}/${seed}`, makeNamedBlob(1500, 4).bytes);
    }
    await store.close();
    return {
      server: server.url.replace(/\/$/, ""),
      open: (at: string, stallTimeoutMs: number) =>
        openCasStore({ endpoint: `${at}/host7`, token: CAS_TOKEN, stallTimeoutMs }),
    };
  },
  answers: [answer(500), answer(503), answer(409, { createRef: "exists" }), answer(401, denied), answer(412, denied)],
});
