/**
 * Snapshots over the control socket. Bodies are JSON objects; a body or path that is no such request answers 400, what
 * cannot be done 422, both with `{"error": "..."}`.
 *
 *     GET    /targets/e1.0/snapshots           {"target": "e1.0", "snapshots": [...]}
 *     POST   /targets/e1.0/snapshots           {"description": "..."}
 *     POST   /targets/e1.0/restore             {"id": "..."}
 *     POST   /targets/e1.0/expose              {"id": "...", "as": "e9.0"}
 *     POST   /targets/e1.0/clone               {"id": "...", "as": "e9.0", "volume": "..."}, the last may be left out
 *     DELETE /exposed/e9.0
 *     GET    /targets/e1.0/diff?from=ID&to=ID  lines of JSON: {"from": ..., "to": ...}, then [sector, count] for each
 *                                              range, then {"ranges": n, "sectors": n}
 */
import { formatAddress, parseAddress } from "../base/address.ts";
import type { ControlRoute } from "./control-server.ts";
import { jsonLines } from "./json-lines.ts";
import {
  parseDescription,
  parseSnapshotId,
  parseVolumeName,
  type SectorRange,
  type SnapshotOperations,
  type SnapshotReport,
} from "./snapshot-operations.ts";

/** A request that is none, whatever the state of the server. */
class MalformedRequest extends Error {}

const parseTarget = (text: string): string => formatAddress(parseAddress(text));

/** The routes of snapshots. */
export function snapshotRoutes(operations: SnapshotOperations): ControlRoute {
  const answers: Record<string, Answer> = {
    "GET targets/*/snapshots": ({ target }) => ({ target, snapshots: operations.list(target) }),
    "POST targets/*/snapshots": async ({ target, body }) => {
      const { description = "" } = await body({}, { description: parseDescription });
      return operations.create(target, description);
    },
    "POST targets/*/restore": async ({ target, body }) => operations.restore(target, (await body(ID)).id),
    "POST targets/*/expose": async ({ target, body }) => {
      const { id, as } = await body(ID_AND_AS);
      return operations.expose(target, id, as);
    },
    "POST targets/*/clone": async ({ target, body }) => {
      const { id, as, volume } = await body(ID_AND_AS, { volume: parseVolumeName });
      return operations.clone(target, id, as, volume);
    },
    "DELETE exposed/*": ({ target }) => operations.unexpose(target),
    "GET targets/*/diff": ({ target, parameter, closing }) => {
      const { from, to, ranges } = operations.diff(
        target,
        parameter("from", parseSnapshotId),
        parameter("to", parseSnapshotId),
      );
      return jsonLines(diffLines(from, to, ranges), closing);
    },
  };

  return (request, { pathname, searchParams }, closing) => {
    const [collection, target = "", ...action] = pathname.slice(1).split("/");
    const answer = answers[`${request.method} ${[collection, "*", ...action].join("/")}`];
    if (answer === undefined) return undefined;
    return respond(async () =>
      answer({
        target: checked("the target", parseTarget, target),
        closing,
        body: (required, optional) => readBody(request, required, optional),
        parameter: (key, parse) => checked(key, parse, searchParams.get(key) ?? undefined),
      }),
    );
  };
}

type Parse = (text: string) => string;
type Fields = Readonly<Record<string, Parse>>;

const ID = { id: parseSnapshotId };
const ID_AND_AS = { ...ID, as: parseTarget };

interface Asked {
  readonly target: string;
  /** Aborted when the server is stopped. */
  readonly closing: AbortSignal;
  /** The body's fields, checked; others than these are refused. */
  readonly body: <Required extends Fields, Optional extends Fields = Record<string, Parse>>(
    required: Required,
    optional?: Optional,
  ) => Promise<Body<Required, Optional>>;
  readonly parameter: (key: string, parse: Parse) => string;
}

type Body<Required, Optional> = { [K in keyof Required]: string } & { [K in keyof Optional]?: string };

type Answer = (asked: Asked) => unknown;

async function respond(answer: () => Promise<unknown>): Promise<Response> {
  try {
    const result = await answer();
    return result instanceof Response ? result : Response.json(result);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return Response.json({ error: reason }, { status: error instanceof MalformedRequest ? 400 : 422 });
  }
}

function checked(what: string, parse: Parse, value: unknown): string {
  if (typeof value !== "string")
    throw new MalformedRequest(`${what} is ${value === undefined ? "missing" : "no text"}`);
  try {
    return parse(value);
  } catch (error) {
    throw new MalformedRequest((error as Error).message, { cause: error });
  }
}

async function readBody<Required extends Fields, Optional extends Fields>(
  request: Request,
  required: Required,
  optional: Optional = {} as Optional,
): Promise<Body<Required, Optional>> {
  let json: unknown;
  try {
    json = await request.json();
  } catch {
    throw new MalformedRequest("the body is no JSON");
  }
  if (typeof json !== "object" || json === null || Array.isArray(json)) {
    throw new MalformedRequest("the body is no JSON object");
  }
  const fields = new Map<string, unknown>(Object.entries(json));
  const unknown = [...fields.keys()].find((key) => !Object.hasOwn(required, key) && !Object.hasOwn(optional, key));
  if (unknown !== undefined) throw new MalformedRequest(`the body has a key that means nothing: ${unknown}`);
  const read = (parsers: Fields, keys: readonly string[]): [string, string][] =>
    keys.map((key) => [key, checked(key, parsers[key]!, fields.get(key))]);
  return Object.fromEntries([
    ...read(required, Object.keys(required)),
    ...read(
      optional,
      Object.keys(optional).filter((key) => fields.has(key)),
    ),
  ]) as Body<Required, Optional>;
}

async function* diffLines(
  from: SnapshotReport,
  to: SnapshotReport,
  ranges: AsyncGenerator<SectorRange, void, undefined>,
): AsyncGenerator<unknown, void, undefined> {
  yield { from, to };
  let rangeCount = 0;
  let sectors = 0;
  for await (const { sector, sectorCount } of ranges) {
    yield [sector, sectorCount];
    rangeCount++;
    sectors += sectorCount;
  }
  yield { ranges: rangeCount, sectors };
}
