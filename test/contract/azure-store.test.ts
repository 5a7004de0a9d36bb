/** The contract of blob stores, on Azurite. */
import { expect, test } from "bun:test";
import type { AzureContainer } from "../../src/blob/azure/azure-request.ts";
import { openAzureStore } from "../../src/blob/azure/azure-store.ts";
import { BlobStoreError, type BlobStore } from "../../src/blob/blob-store.ts";
import { failureOf, getBytes, listAll } from "../support/blob-requests.ts";
import { makeNamedBlob } from "../support/named-blob.ts";
import { containerSas, makeContainer, missingForAzurite } from "../support/object-stores/azurite.ts";
import { describeBlobStoreFaults, type ServerAnswer } from "./blob-store-faults.ts";
import { titleUnless } from "../support/requirements.ts";
import { describeBlobStore } from "./blob-store.ts";

const missing = missingForAzurite();

describeBlobStore({
  name: "a blob store in Azure",
  missing,
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
  missing,
  makePlace: async () => {
    const container = await makeContainer();
    const { origin, pathname } = new URL(container.endpoint);
    return {
      server: origin,
      [Symbol.asyncDispose]: async () => {},
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

const azureTest = (title: string, work: () => Promise<void>): void =>
  test.skipIf(missing !== undefined)(titleUnless(missing, title), work);
const inAnHour = (): Date => new Date(Date.now() + 3_600_000);
const open = (container: AzureContainer, create = true): Promise<BlobStore> =>
  openAzureStore({ ...container, prefix: "host1/", create });
const blob = makeNamedBlob(1000, 1);

azureTest("Azure refuses to open what is configured wrongly, says what to check, and touches nothing", async () => {
  const right = await makeContainer();
  const accountKey = Buffer.from("another key").toString("base64");
  const withSas = (permissions: string, expiry: Date): AzureContainer => {
    const sas = containerSas(right, permissions, expiry);
    return { ...right, credential: () => ({ sas }) };
  };
  for (const [wrong, advice] of [
    [{ ...right, credential: () => ({ accountKey }) }, "account_key"],
    [{ ...right, container: "no-such" }, "no-such"],
    [{ ...right, account: "other" }, "account"],
    [{ ...right, endpoint: right.endpoint.replace(/[^/]+$/, "other"), account: "other" }, "endpoint and account"],
    [withSas("rcwdl", new Date(Date.now() - 60_000)), "expired"],
    [withSas("rl", inAnHour()), "rcwdl"],
    [withSas("cwd", inAnHour()), "rcwdl"],
    [{ ...withSas("rcwdl", inAnHour()), container: (await makeContainer()).container }, "sas"],
  ] as const) {
    const error: unknown = await open(wrong).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(BlobStoreError);
    expect((error as BlobStoreError).failure).toBe("denied");
    expect((error as BlobStoreError).message).toContain(advice);
    expect((error as BlobStoreError).message).not.toContain("sig=");
  }
  expect(await failureOf(open(right, false))).toBe("missing");
});

azureTest("a SAS of a container is enough for a store", async () => {
  const container = await makeContainer();
  const sas = containerSas(container, "rcwdl", inAnHour());
  const store = await open({ ...container, credential: () => ({ sas }) });
  expect(store.atomicRefs).toBe(true);
  await store.put(blob.name, blob.bytes);
  expect(Buffer.compare(await getBytes(store, blob.name, 0, 1000), blob.bytes)).toBe(0);
  expect(await store.createRef("a", blob.bytes)).toBe("created");
  expect(await store.createRef("a", blob.bytes)).toBe("exists");
  expect(await listAll(store)).toEqual([{ name: blob.name, sizeBytes: 1000 }]);
  await store.delete(blob.name);
  await store.close();
});

azureTest("a container can have a store under each of several prefixes, and none where something else is", async () => {
  const container = await makeContainer();
  const one = await open(container);
  const other = await openAzureStore({ ...container, prefix: "host1", create: true }).catch((error: unknown) => error);
  expect((other as BlobStoreError).failure).toBe("corrupt");
  const second = await openAzureStore({ ...container, prefix: "host2/", create: true });
  await one.put(blob.name, blob.bytes);
  expect(await listAll(second)).toEqual([]);
  expect(await failureOf(openAzureStore({ ...container, prefix: "", create: true }))).toBe("corrupt");
});
