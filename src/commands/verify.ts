/** `voe verify`: the archives of a running server, or a store that no server has open. */
import { mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { defineCommand } from "citty";
import { formatAddress, parseAddress } from "../base/address.ts";
import { createCompression } from "../base/compression.ts";
import { parseDuration } from "../base/duration.ts";
import { log } from "../base/log.ts";
import { BlobStoreError, type BlobStore } from "../blob/blob-store.ts";
import { openFileStore } from "../blob/file-store.ts";
import { controlPaths, request } from "../control/client.ts";
import { readJsonLines } from "../control/json-lines.ts";
import { verifyLocation } from "../control/verify-routes.ts";
import { realDisk } from "../storage/cas/real-disk.ts";
import { verifyAtRest } from "../storage/cas/verify/verify-at-rest.ts";
import type { Damage, VerifyEnd, VerifyEvent, VerifyOutcome } from "../storage/cas/verify/verify-events.ts";
import { stderrProgress, type Progress } from "./transfer-progress.ts";
import { UsageError } from "./usage-error.ts";
import { renderDamage, renderEnd } from "./verify-text.ts";

/** Exit status where the time was over before everything was verified, and nothing was wrong. */
const EXIT_STOPPED = 3;
const EXIT_STATUS: Record<VerifyOutcome, number> = { good: 0, damaged: 1, stopped: EXIT_STOPPED };

/** Where a store at rest keeps what is known of it, unless `--state` says otherwise. */
const STATE_IN_STORE = "verify";

export const verifyCommand = defineCommand({
  meta: {
    name: "verify",
    description:
      "Read and hash every pack of an archive again, and walk the trees of all its volumes and snapshots. Exit status " +
      `0: all good, 1: damage was found (or it failed), ${EXIT_STOPPED}: stopped at --max-duration, nothing wrong until then`,
  },
  args: {
    what: {
      type: "positional",
      required: false,
      valueHint: "eX.Y | STORE",
      description:
        "The archive that this target of a running server is in, or the directory of a store that no server has open " +
        "(./e1.0 where it has such a name); by default all archives of the running server",
    },
    "max-duration": {
      type: "string",
      valueHint: "TIME",
      description: "Stop after this time, such as 10m; the next run goes on with what was verified longest ago",
    },
    state: {
      type: "string",
      valueHint: "DIR",
      description: `For a STORE: where to keep when what was verified, and an index; by default STORE/${STATE_IN_STORE}`,
    },
    json: { type: "boolean", description: "Print one JSON document on stdout" },
    control: { type: "string", valueHint: "PATH", description: "Control socket of the server" },
  },
  run: ({ rawArgs }) => verify(parseVerifyArguments(rawArgs)),
});

interface VerifyArguments {
  readonly target: string | undefined;
  readonly store: string | undefined;
  readonly maxDurationMs: number | undefined;
  readonly state: string | undefined;
  readonly json: boolean;
  readonly control: string | undefined;
}

function parseVerifyArguments(rawArgs: readonly string[]): VerifyArguments {
  const { values, positionals } = parseArgs({
    args: [...rawArgs],
    options: {
      "max-duration": { type: "string" },
      state: { type: "string" },
      json: { type: "boolean" },
      control: { type: "string" },
    },
    allowPositionals: true,
  });
  const [what, unexpected] = positionals;
  if (unexpected !== undefined) throw new UsageError(`voe verify takes one eX.Y or STORE, not also "${unexpected}"`);
  const isTarget = what !== undefined && /^e\d+\.\d+$/.test(what);
  const store = isTarget ? undefined : what;
  if (store !== undefined && values.control !== undefined) {
    throw new UsageError(`--control is for a running server, and ${store} is a directory`);
  }
  if (store === undefined && values.state !== undefined) {
    throw new UsageError("--state is for a STORE at rest: a running server has its own state_dir");
  }
  return {
    target: isTarget ? checked(what, () => formatAddress(parseAddress(what))) : undefined,
    store,
    maxDurationMs: durationOf(values["max-duration"]),
    state: values.state,
    json: values.json ?? false,
    control: values.control,
  };
}

function checked<T>(what: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    const { message } = error as Error;
    throw new UsageError(error instanceof RangeError ? `${what} ${message}` : message);
  }
}

const durationOf = (text: string | undefined): number | undefined =>
  text === undefined ? undefined : checked(`--max-duration ${text}`, () => parseDuration(text));

/** What was told of one store. */
interface StoreReport {
  readonly damage: Damage[];
  readonly notices: string[];
  end: VerifyEnd | undefined;
}

async function verify(args: VerifyArguments): Promise<void> {
  const stop = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) {
    process.once(name, () =>
      stop.abort(new Error(`ended by ${name}; what was verified is kept, and the next run goes on from there`)),
    );
  }
  const events = args.store === undefined ? served(args, stop.signal) : atRest(args.store, args, stop.signal);
  const stores = new Map<string, StoreReport>();
  const display = progressDisplay();
  try {
    for await (const event of events) {
      const report = stores.get(event.store) ?? { damage: [], notices: [], end: undefined };
      stores.set(event.store, report);
      switch (event.event) {
        case "progress":
          display.show(event);
          break;
        case "damage":
          report.damage.push(event.damage);
          display.hide();
          if (!args.json) console.log(renderDamage(event.store, event.damage));
          break;
        case "notice":
          report.notices.push(event.message);
          display.hide();
          log.warn(`${event.store}: ${event.message}`);
          break;
        default:
          report.end = event;
          display.hide();
          if (!args.json) console.log(renderEnd(event));
      }
    }
  } catch (error) {
    throw stop.signal.aborted ? stop.signal.reason : error;
  } finally {
    display.hide();
  }
  const reports = [...stores.values()];
  if (reports.length === 0 || reports.some(({ end }) => end === undefined)) {
    throw new Error("the verification was ended by the server before it was done");
  }
  const outcomes = reports.map(({ end }) => end!.outcome);
  const outcome = (["damaged", "stopped", "good"] as const).find((worst) => outcomes.includes(worst))!;
  if (args.json) console.log(JSON.stringify({ outcome, stores: reports.map(toJson) }, undefined, 2));
  process.exitCode = EXIT_STATUS[outcome];
}

const toJson = ({ end, damage, notices }: StoreReport): object => {
  const { event: _, ...rest } = end!;
  return { ...rest, damage, notices };
};

async function* served(
  { target, maxDurationMs, control }: VerifyArguments,
  signal: AbortSignal,
): AsyncGenerator<VerifyEvent, void> {
  const location = verifyLocation({
    ...(target === undefined ? {} : { target }),
    ...(maxDurationMs === undefined ? {} : { maxDurationMs }),
  });
  const response = await request(controlPaths(control, process.env), location, { method: "POST", signal });
  yield* readJsonLines(response) as AsyncGenerator<VerifyEvent, void>;
}

async function* atRest(
  store: string,
  { state, maxDurationMs }: VerifyArguments,
  signal: AbortSignal,
): AsyncGenerator<VerifyEvent, void> {
  const path = resolve(store);
  const blobs = await openAtRest(path);
  try {
    const stateDirectory = state === undefined ? join(path, STATE_IN_STORE) : resolve(state);
    makeStateDirectory(stateDirectory);
    yield* verifyAtRest({
      blobs,
      compression: createCompression(),
      disk: realDisk,
      stateDirectory,
      signal,
      ...(maxDurationMs === undefined ? {} : { maxDurationMs }),
      report: (_, message) => log.warn(message),
      progress: indexProgress(),
    });
  } finally {
    await blobs.close();
  }
}

async function openAtRest(path: string): Promise<BlobStore> {
  try {
    return await openFileStore(path, { create: false });
  } catch (error) {
    // Where another process has the lock, no system call has failed.
    if (!(error instanceof BlobStoreError) || error.failure !== "denied" || error.cause !== undefined) throw error;
    throw new Error(
      `the blob store ${path} is open in another process, which must verify it itself: voe verify eX.Y, with the ` +
        `address of one of its targets, has the running server do that`,
      { cause: error },
    );
  }
}

function makeStateDirectory(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new Error(
      `${path}, where it would be kept when what was verified, cannot be made: ${(error as Error).message}. Name another ` +
        `directory with --state DIR`,
      { cause: error },
    );
  }
}

const INDEX_EVERY_MS = 2000;

/** Reading the directories of a large store for the first time takes minutes. */
function indexProgress(): (done: number, total: number) => void {
  let nextMs = performance.now() + INDEX_EVERY_MS;
  return (done, total) => {
    if (performance.now() < nextMs) return;
    nextMs = performance.now() + INDEX_EVERY_MS;
    log.info(`reading the directories of packs into the index, ${done} of ${total}`);
  };
}

/** A bar of the packs' bytes; while trees are walked, which part. */
function progressDisplay(): { show(event: VerifyEvent & { event: "progress" }): void; hide(): void } {
  let bar: { readonly store: string; readonly progress: Progress } | undefined;
  return {
    show({ store, phase, bytesDone, bytesTotal, treePartsDone, treePartsTotal }) {
      if (bar?.store !== store) {
        bar?.progress.end();
        bar = { store, progress: stderrProgress(store, bytesTotal) };
      }
      if (phase === "packs") bar.progress.update(bytesDone);
      else bar.progress.say(`${store}: walking the trees, ${treePartsDone} of ${treePartsTotal} parts done`);
    },
    hide: () => bar?.progress.end(),
  };
}
