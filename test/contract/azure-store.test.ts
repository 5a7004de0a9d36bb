/** The contract of blob stores, on Azurite. */
import { openAzureStore } from "../../src/blob/azure/azure-store.ts";
import { makeContainer, missingForAzurite } from "../support/object-stores/azurite.ts";
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
