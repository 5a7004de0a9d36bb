/** What Azure's refusals mean, and what to check. */
import { BlobStoreError, type BlobFailure } from "../blob-store.ts";
import type { HttpAnswer } from "../http/http-client.ts";
import { failureOfStatus } from "../http/http-failure.ts";

/** What an operator can check. */
export interface AzurePlace {
  readonly account: string;
  readonly container: string;
  readonly credential: "account_key" | "sas";
  /** When the SAS expires, where that is known. */
  readonly sasExpiry?: Date | undefined;
}

/** Most of the body of a refusal that is read. */
const BODY_MOST_BYTES = 64 * 1024;
/** Azure takes requests that are at most 15 minutes old: less than that may be the way they took. */
const SKEW_TOLD_MS = 5 * 60_000;
const MS_PER_MINUTE = 60_000;

const FAILURES: Readonly<Record<string, BlobFailure>> = {
  BlobNotFound: "missing",
  InvalidRange: "truncated",
  // What arrived is not what was sent: sent again it may be.
  Md5Mismatch: "unavailable",
  InvalidMd5: "unavailable",
  // Not "missing": that would say so of a blob.
  ContainerNotFound: "denied",
  ContainerDisabled: "denied",
  AccountIsDisabled: "denied",
  BlobArchived: "denied",
  BlobImmutableDueToPolicy: "denied",
  BlobImmutableDueToLegalHold: "denied",
  PublicAccessNotPermitted: "denied",
  LeaseIdMissing: "denied",
  SnapshotsPresent: "denied",
};

const SAS_NEEDS = `the SAS must be of the container, or of the account with service b and resource types co, with the permissions rcwdl`;

type Advice = (place: AzurePlace) => string;

const checkCredential: Advice = ({ account, credential, sasExpiry }) => {
  if (credential === "account_key") {
    return `check that account_key (or AZURE_STORAGE_KEY) is one of the two keys of the account ${account}`;
  }
  if (sasExpiry !== undefined && sasExpiry.getTime() < Date.now()) {
    return `the SAS expired at ${sasExpiry.toISOString()}: have a new one signed`;
  }
  return "check sas (or AZURE_STORAGE_SAS_TOKEN): it may be cut, or signed with a key that was renewed";
};

const ADVICE: Readonly<Record<string, Advice>> = {
  AuthenticationFailed: checkCredential,
  InvalidAuthenticationInfo: checkCredential,
  NoAuthenticationInformation: checkCredential,
  KeyBasedAuthenticationNotPermitted: ({ account }) =>
    `the account ${account} does not permit shared keys: allow them there, or use a SAS that a user or role has signed`,
  AuthorizationFailure: (place) =>
    `${checkCredential(place)}; and the network rules (firewall) of the account ${place.account}`,
  AuthorizationPermissionMismatch: () => SAS_NEEDS,
  AuthorizationResourceTypeMismatch: () => SAS_NEEDS,
  AuthorizationServiceMismatch: () => SAS_NEEDS,
  AuthorizationProtocolMismatch: () => "the SAS permits https only: check endpoint",
  AuthorizationSourceIPMismatch: () => "the SAS is for other addresses than this host's: have it signed for this one",
  InsufficientAccountPermissions: ({ account }) => `check what the credential may do in the account ${account}`,
  AccountIsDisabled: ({ account }) => `look after the account ${account} in the Azure portal`,
  ContainerNotFound: ({ account, container }) =>
    `check container: the account ${account} has none of the name ${container}. voe creates none`,
  ContainerBeingDeleted: ({ container }) => `the container ${container} is being deleted: name another one`,
  ResourceNotFound: ({ account }) => `check endpoint and account: ${account} is not known there`,
  BlobArchived: () =>
    "it is in the archive tier, from which nothing can be read: change its tier, and the rule of the container that moved it there",
  BlobImmutableDueToPolicy: ({ container }) => `a policy keeps the blobs of the container ${container} as they are`,
  BlobImmutableDueToLegalHold: ({ container }) => `a legal hold keeps the blobs of the container ${container}`,
  LeaseIdMissing: () => "somebody holds a lease on it: end that lease",
  SnapshotsPresent: () => "it has snapshots of Azure's own: delete those first",
};

/** For codes without advice of their own. */
const ADVICE_FOR: Readonly<Record<BlobFailure, string>> = {
  missing: "it was deleted, or never stored there",
  truncated: "it is damaged, restore it from a copy",
  denied: "check account, container, prefix and endpoint, and what the credential permits",
  unavailable: "it may work when it is tried again; look at the health of the account if it stays so",
  corrupt: "restore it from a copy",
  full: "look at the limits of the account",
};
const STRANGE = "check that endpoint is that of Azure Blob Storage, and what is on the way there";

const codeOf = ({ headers }: HttpAnswer, body: string): string =>
  headers.get("x-ms-error-code") ?? /<Code>([A-Za-z0-9]+)<\/Code>/.exec(body)?.[1] ?? "";

/** How far this host's clock is from the store's, in words; empty where it is near. */
function clockAdvice(headers: Headers): string {
  const skewMs = Date.now() - Date.parse(headers.get("date") ?? "");
  // Also where the store tells no time: not a number.
  if (!(Math.abs(skewMs) > SKEW_TOLD_MS)) return "";
  const direction = skewMs > 0 ? "ahead of" : "behind";
  return `set the clock of this host, which is ${Math.round(Math.abs(skewMs) / MS_PER_MINUTE)} minutes ${direction} the store's`;
}

/**
 * What answers without one of Azure's codes is something else on the way (a gateway, a portal that wants a login): its
 * 404 says nothing of a blob, and its 200 not that anything was done.
 */
function failureWithoutCode(status: number): BlobFailure {
  if (status < 400) return "unavailable";
  const failure = failureOfStatus(status);
  return failure === "missing" || failure === "truncated" ? "denied" : failure;
}

/** The code of a refusal (`BlobAlreadyExists`, or empty) and the store's error for it. */
export interface AzureRefusal {
  readonly code: string;
  readonly error: BlobStoreError;
}

/**
 * Reads an answer that is no success. `what` says what could not be done. Nothing of the answer's text is shown but its
 * first line: the rest repeats what was signed.
 */
export async function readRefusal(answer: HttpAnswer, what: string, place: AzurePlace): Promise<AzureRefusal> {
  const { status, headers } = answer;
  const body = await answer.text(BODY_MOST_BYTES);
  const code = codeOf(answer, body);
  const message = /<Message>([^<\r\n]*)/.exec(body)?.[1]?.trim();
  const failure = FAILURES[code] ?? failureWithoutCode(status);
  const clock = status === 403 ? clockAdvice(headers) : "";
  const known = code === "" ? STRANGE : (ADVICE[code]?.(place) ?? ADVICE_FOR[failure]);
  const advice = clock === "" ? known : clock;
  const said = [status, code].filter((word) => word !== "").join(" ") + (message === undefined ? "" : `, ${message}`);
  return {
    code,
    error: new BlobStoreError(failure, `${what} (${said}): ${advice}`),
  };
}
