import { aoeErrorName, ataErrorName } from "./replies.ts";

/** Why a request failed: no answer in time, an answer that makes no sense, an AoE error reply, or an ATA error status. */
export type RequestFailure =
  | { readonly kind: "timeout" }
  | { readonly kind: "malformed" }
  | { readonly kind: "aoe"; readonly code: number }
  | { readonly kind: "ata"; readonly status: number; readonly error: number };

/** A request to a target that failed. */
export class RequestError extends Error {
  constructor(
    what: string,
    readonly failure: RequestFailure,
  ) {
    super(`${what}: ${describe(failure)}`);
    this.name = "RequestError";
  }
}

function describe(failure: RequestFailure): string {
  if (failure.kind === "timeout") return "no answer";
  if (failure.kind === "malformed") return "the answer makes no sense";
  if (failure.kind === "aoe") return `AoE error ${failure.code} (${aoeErrorName(failure.code)})`;
  return `ATA error (${ataErrorName(failure.status, failure.error)})`;
}
