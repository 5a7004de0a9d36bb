/** The contract of blob stores, on Azurite. */
import { openAzureStore } from "../../src/blob/azure/azure-store.ts";
import { makeContainer, missingForAzurite } from "../support/object-stores/azurite.ts";
import { describeBlobStoreFaults, type ServerAnswer } from "./blob-store-faults.ts";
import { describeBlobStore } from "./blob-store.ts";

describeBlobStore({
  name: "a blob store in Azure",
  missing: missingForAzurite(),
  open: async () => {
    // Few on a page, so that lists have many.
    const options = { ...(await makeContainer()), prefix: "archives/ä b+c&d/", pageMostObjects: 40 };
    return {
      store: await openAzureStore({ ...options, create: true }),
      reopen: () => openAzureStore({ ...options, create: false }),
      [Symbol.asyncDispose]: async () => {},
    };
  },
});

const answer = (status: number, code: string, meaning: ServerAnswer["meaning"] = {}): ServerAnswer => ({
  status,
  headers: { "x-ms-error-code": code, "content-type": "application/xml" },
  body: `<?xml version="1.0" encoding="utf-8"?><Error><Code>${code}</Code><Message>Said by ${code}.</Message></Error>`,
  meaning,
});

describeBlobStoreFaults({
  name: "a blob store in Azure, behind a network that fails",
  missing: missingForAzurite(),
  makePlace: async () => {
    const container = await makeContainer();
    const { origin, pathname } = new URL(container.endpoint);
    return {
      server: origin,
      open: (at, stallTimeoutMs) =>
        openAzureStore({ ...container, endpoint: at + pathname, prefix: "host1/", create: true, stallTimeoutMs }),
    };
  },
  answers: [
    answer(500, "InternalError"),
    answer(500, "OperationTimedOut"),
    answer(503, "ServerBusy"),
    answer(409, "BlobAlreadyExists", { createRef: "exists" }),
    answer(409, "OperationNotAllowedOnContainerBeingDeleted"),
    answer(412, "ConditionNotMet", {
      put: "denied",
      get: "denied",
      createRef: "exists",
      readRef: "denied",
      list: "denied",
      listRefs: "denied",
      size: "denied",
      delete: "denied",
    }),
    answer(400, "Md5Mismatch"),
  ],
});
