/**
 * Verification over the control socket:
 *
 *     POST /verify?target=e1.0&max_duration_ms=600000    lines of JSON, the events of the verification
 *
 * Both parameters may be left out: all archives, without a limit. It ends when the client hangs up.
 */
import type { ControlRoute } from "./control-server.ts";
import { jsonLines } from "./json-lines.ts";

export interface VerifyRequest {
  /** As in `e1.0`. */
  readonly target?: string;
  readonly maxDurationMs?: number;
}

/** Begins a verification. Throws where there is nothing of that name to verify. */
export type BeginVerification = (asked: VerifyRequest) => AsyncGenerator<object, void, undefined>;

export const verifyLocation = ({ target, maxDurationMs }: VerifyRequest): string => {
  const parameters = new URLSearchParams();
  if (target !== undefined) parameters.set("target", target);
  if (maxDurationMs !== undefined) parameters.set("max_duration_ms", String(maxDurationMs));
  return `/verify?${parameters.toString()}`;
};

export function verifyRoutes(begin: BeginVerification): ControlRoute {
  return (request, { pathname, searchParams }, closing) => {
    if (request.method !== "POST" || pathname !== "/verify") return undefined;
    return Promise.resolve(answer(begin, searchParams, closing));
  };
}

function answer(begin: BeginVerification, parameters: URLSearchParams, closing: AbortSignal): Response {
  const target = parameters.get("target");
  const duration = parameters.get("max_duration_ms");
  if (duration !== null && !/^[0-9]{1,15}$/.test(duration)) {
    return Response.json({ error: "max_duration_ms is not a whole number of milliseconds" }, { status: 400 });
  }
  try {
    const events = begin({
      ...(target === null ? {} : { target }),
      ...(duration === null ? {} : { maxDurationMs: Number(duration) }),
    });
    return jsonLines(events, closing, 1);
  } catch (error) {
    return Response.json({ error: (error as Error).message }, { status: 422 });
  }
}
