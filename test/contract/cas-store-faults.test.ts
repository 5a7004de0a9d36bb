/** The store of a CAS server behind a network that fails. */
import { openCasStore } from "../../src/blob/cas/cas-store.ts";
import { CAS_TOKEN, startCasServer } from "../support/cas-server.ts";
import { missingForLongTests } from "../support/requirements.ts";
import { describeBlobStoreFaults } from "./blob-store-faults.ts";

describeBlobStoreFaults({
  name: "a blob store in a CAS server, behind a network that fails",
  missing: missingForLongTests(),
  checksNames: true,
  makePlace: async () => {
    const under = await startCasServer();
    return {
      server: new URL(under.server.url).origin,
      open: (at, stallTimeoutMs) => openCasStore({ endpoint: `${at}/host7`, token: CAS_TOKEN, stallTimeoutMs }),
      [Symbol.asyncDispose]: () => under[Symbol.asyncDispose](),
    };
  },
  answers: [
    { status: 503, body: "busy", meaning: {} },
    { status: 409, body: "exists", meaning: { createRef: "exists" } },
  ],
});
