/** `voe recover`: a lost host's state, made anew from the blob stores that its configuration names. */
import { parseArgs } from "node:util";
import { defineCommand } from "citty";
import { log } from "../base/log.ts";
import { loadConfig } from "../config/parse.ts";
import { recoverStore, storesOf, type RecoverStoreOptions } from "../server/recover-stores.ts";
import type { RecoveredArchive } from "../storage/cas/recover-archive.ts";
import type { Damage } from "../storage/cas/verify/verify-events.ts";
import { recoveredJson, renderRecovered } from "./recover-text.ts";
import { stderrProgress } from "./transfer-progress.ts";
import { UsageError } from "./usage-error.ts";
import { renderDamage, renderEnd } from "./verify-text.ts";

export const recoverCommand = defineCommand({
  meta: {
    name: "recover",
    description:
      "Make the state directory of a lost host anew from the blob stores that CONFIG names, and take them over from the " +
      "host that wrote them. Nothing that is in state_dir is touched",
  },
  args: {
    config: { type: "positional", valueHint: "CONFIG", description: "Configuration file", required: true },
    "take-over": {
      type: "boolean",
      description:
        "Also from a store that cannot keep two writers apart (Backblaze B2, Swift): voe is stopped for good on the host " +
        "that wrote it",
    },
    verify: { type: "boolean", description: "Read and hash every block first, and take nothing over that has damage" },
    damaged: { type: "boolean", description: "Go on where something is missing or damaged: what is left is served" },
    json: { type: "boolean", description: "Print one JSON document on stdout" },
  },
  run: ({ rawArgs }) => recover(parseRecoverArguments(rawArgs)),
});

interface RecoverArguments {
  readonly config: string;
  readonly takeOver: boolean;
  readonly verify: boolean;
  readonly acceptDamage: boolean;
  readonly json: boolean;
}

function parseRecoverArguments(rawArgs: readonly string[]): RecoverArguments {
  const { values, positionals } = parseArgs({
    args: [...rawArgs],
    options: {
      "take-over": { type: "boolean", default: false },
      verify: { type: "boolean", default: false },
      damaged: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
    },
    allowPositionals: true,
  });
  const [config, unexpected] = positionals;
  if (config === undefined) throw new UsageError("voe recover needs the CONFIG of the host that was lost");
  if (unexpected !== undefined) throw new UsageError(`voe recover takes one CONFIG, not also "${unexpected}"`);
  return {
    config,
    takeOver: values["take-over"],
    verify: values.verify,
    acceptDamage: values.damaged,
    json: values.json,
  };
}

async function recover({ config: path, json, ...how }: RecoverArguments): Promise<void> {
  const config = loadConfig(path);
  const stores = storesOf(config.targets);
  if (stores.length === 0) throw new Error(`${path} has no archive: there is nothing to recover (backend = "cas")`);
  const stop = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) {
    process.once(name, () => stop.abort(new Error(`ended by ${name}: run voe recover again`)));
  }
  const recovered: RecoveredArchive[] = [];
  const damage: Damage[] = [];
  let failure: Error | undefined;
  for (const store of stores) {
    const display = recoveryDisplay(json, damage);
    try {
      const result = await recoverStore(store, {
        ...how,
        ...display.options,
        stateDirectory: config.server.stateDir,
        signal: stop.signal,
      });
      display.end();
      if ("kept" in result) {
        log.info(
          `${result.kept} is there, with its journal, and was left as it is: voe serve goes on with it. Only where voe ` +
            `serve says that it is lost or was taken over, move it away and run voe recover again`,
        );
        continue;
      }
      recovered.push(result);
      if (!json) console.log(renderRecovered(result, store.volumes));
    } catch (error) {
      display.end();
      // The others may be fine.
      failure ??= error as Error;
      log.error((error as Error).message);
      if (stop.signal.aborted) break;
    }
  }
  if (json) console.log(JSON.stringify({ stores: recovered.map(recoveredJson), damage }, undefined, 2));
  if (failure !== undefined || recovered.length === 0) {
    process.exitCode = 1;
    if (failure === undefined) log.error("nothing was recovered: the state of every store is there already");
  } else if (!json) {
    console.log(`Serve it with: voe serve ${path}`);
  }
}

const SAY_EVERY_MS = 100;
const LINE_EVERY_MS = 5000;

/** Shows how far a recovery has come: on a terminal in one line, elsewhere by a line now and then. */
function recoveryDisplay(
  json: boolean,
  damage: Damage[],
): { options: Pick<RecoverStoreOptions, "report" | "progress" | "onVerify">; end(): void } {
  const steps = stderrProgress("recover", undefined);
  let nextMs = performance.now() + (process.stderr.isTTY ? 0 : LINE_EVERY_MS);
  let bar: ReturnType<typeof stderrProgress> | undefined;
  const end = (): void => {
    steps.end();
    bar?.end();
  };
  return {
    options: {
      report(_, message) {
        end();
        log.warn(message);
      },
      progress(what, done, total) {
        if (performance.now() < nextMs) return;
        nextMs = performance.now() + (process.stderr.isTTY ? SAY_EVERY_MS : LINE_EVERY_MS);
        if (process.stderr.isTTY) steps.say(`${what}, ${done} of ${total}`);
        else log.info(`${what}, ${done} of ${total}`);
      },
      onVerify(event) {
        if (event.event === "progress") {
          bar ??= stderrProgress(`verifying ${event.store}`, event.bytesTotal);
          if (event.phase === "packs") bar.update(event.bytesDone);
          else bar.say(`walking the trees, ${event.treePartsDone} of ${event.treePartsTotal} parts done`);
          return;
        }
        end();
        if (event.event === "damage") damage.push(event.damage);
        if (event.event === "notice") log.warn(event.message);
        else if (!json)
          console.log(event.event === "damage" ? renderDamage(event.store, event.damage) : renderEnd(event));
      },
    },
    end,
  };
}
