import { resolve } from "node:path";
import type { BlobStoreConfig } from "./config.ts";

/** A text that is the same for two configurations of one blob store, whatever their credentials. Has no secrets. */
export const blobStoreKey = (store: BlobStoreConfig): string => {
  switch (store.type) {
    case "file":
      return `file:${resolve(store.path)}`;
    case "azure":
      return `azure:${store.endpoint}/${store.container}/${store.prefix}`;
    case "cas":
      return `cas:${store.endpoint}`;
    default:
      // Backblaze's store is the same whether it is called "b2" or "s3".
      return `s3:${store.endpoint}/${store.bucket}/${store.prefix}`;
  }
};
