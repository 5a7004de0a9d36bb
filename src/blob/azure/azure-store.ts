import type { BlobStore } from "../blob-store.ts";
import { createHttpClient, type HttpClientOptions } from "../http/http-client.ts";
import { openObjectStore } from "../objects/object-store.ts";
import { azureExchange, type AzureContainer } from "./azure-request.ts";
import { azureService, PAGE_MOST_OBJECTS } from "./azure-service.ts";

export interface AzureStoreOptions extends AzureContainer, HttpClientOptions {
  /** Before every key; may be empty. */
  readonly prefix: string;
  /** Whether the store may be created where there is nothing with this prefix; without, that is refused. */
  readonly create: boolean;
  /** False: not tried out, and not used, since nothing is going to be written. */
  readonly conditionalWrites?: boolean | undefined;
  /** For tests: fewer objects on a page of a list. */
  readonly pageMostObjects?: number | undefined;
}

/**
 * A blob store in a container of Azure Blob Storage. Rejects where credential, account, container or endpoint are
 * wrong, with what to check; voe creates no container. One request that fails is enough for that: none is tried again.
 */
export async function openAzureStore(options: AzureStoreOptions): Promise<BlobStore> {
  const { endpoint, container, prefix, create, pageMostObjects = PAGE_MOST_OBJECTS } = options;
  const service = azureService({
    description: `Azure store ${endpoint}/${container}`,
    exchange: azureExchange(options, createHttpClient(options)),
    pageMostObjects,
  });
  return await openObjectStore({ service, prefix, create, probesCreation: options.conditionalWrites ?? true });
}
