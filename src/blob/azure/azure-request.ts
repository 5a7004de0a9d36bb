/** Requests to one container of Azure Blob Storage, signed with the key of its account or by a shared access signature. */
import type { HttpAnswer, HttpClient, HttpRequest } from "../http/http-client.ts";
import { readRefusal, type AzurePlace, type AzureRefusal } from "./azure-failure.ts";
import { sharedKeyAuthorization } from "./shared-key.ts";

/** The version of the service that is spoken. */
const VERSION = "2021-12-02";

/** One of the two: a key of the account, in base64, or a shared access signature (SAS), as the query of a URL. */
export type AzureCredential = { readonly accountKey: string } | { readonly sas: string };

export interface AzureContainer {
  /** `https://ACCOUNT.blob.core.windows.net`, without a slash at the end. */
  readonly endpoint: string;
  readonly account: string;
  readonly container: string;
  /** Asked for each request, so that it may be renewed. */
  readonly credential: () => AzureCredential;
}

export interface AzureRequest extends Pick<HttpRequest, "method" | "body" | "what"> {
  /** Absent: the container itself. */
  readonly key?: string;
  readonly query?: Readonly<Record<string, string>>;
  /** Names in lower case. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal: AbortSignal | undefined;
}

export interface AzureAnswer extends HttpAnswer {
  /** What an answer says that is no success. Reads its body. */
  refusal(): Promise<AzureRefusal>;
}

/** Sends a request, and gives its answer to `take`: as HttpClient.exchange. */
export type AzureExchange = <T>(request: AzureRequest, take: (answer: AzureAnswer) => Promise<T>) => Promise<T>;

export function azureExchange(container: AzureContainer, http: HttpClient): AzureExchange {
  const root = `${container.endpoint}/${encodeURIComponent(container.container)}`;

  return async ({ key, query = {}, headers = {}, ...request }, take) => {
    const credential = container.credential();
    const url = new URL(key === undefined ? root : `${root}/${key.split("/").map(encodeURIComponent).join("/")}`);
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
    const all: Record<string, string> = {
      ...headers,
      "x-ms-date": new Date().toUTCString(),
      "x-ms-version": VERSION,
    };
    if ("accountKey" in credential) {
      const parts = { method: request.method, url, headers: all, bodyBytes: request.body?.length ?? 0 };
      all["authorization"] = sharedKeyAuthorization(container.account, credential.accountKey, parts);
    } else {
      for (const [name, value] of queryOf(credential.sas)) url.searchParams.set(name, value);
    }
    return await http.exchange({ ...request, url: url.href, headers: all }, (answer) =>
      take({ ...answer, refusal: () => readRefusal(answer, request.what, placeOf(container, credential)) }),
    );
  };
}

const queryOf = (sas: string): URLSearchParams => new URLSearchParams(sas.replace(/^\?/, ""));

function placeOf({ account, container }: AzureContainer, credential: AzureCredential): AzurePlace {
  if ("accountKey" in credential) return { account, container, credential: "account_key" };
  const expiry = Date.parse(queryOf(credential.sas).get("se") ?? "");
  return {
    account,
    container,
    credential: "sas",
    sasExpiry: Number.isNaN(expiry) ? undefined : new Date(expiry),
  };
}
