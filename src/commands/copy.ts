/** `voe copy`: volumes and snapshots of one store, replicated to another. */
import { parseArgs } from "node:util";
import { defineCommand } from "citty";
import { log } from "../base/log.ts";
import { loadConfig } from "../config/parse.ts";
import { copyStore, type StoreCopyResult } from "../server/copy-stores.ts";
import { copyEvents } from "./copy-progress.ts";
import { copiedJson, renderCopied } from "./copy-text.ts";
import { copiesOf, type CopyChoice } from "./copy-targets.ts";
import { parseExported } from "./export.ts";
import { interruptible, targetName } from "./image-command.ts";
import { UsageError } from "./usage-error.ts";

export const copyCommand = defineCommand({
  meta: {
    name: "copy",
    description:
      "Replicate archives to another store: the volumes of the targets named, or of all, with all their snapshots; or " +
      "single snapshots. Only what is missing is copied, and a copy that was interrupted goes on. CONFIG may be in use, " +
      "and what it has not brought into its store yet is not copied: voe snapshot create does that. The copy is a " +
      "replica: voe recover CONFIG2 brings it to life, after which nothing is copied into it any more",
  },
  args: {
    config: { type: "positional", valueHint: "CONFIG", description: "The configuration of the archives to copy" },
    targets: {
      type: "positional",
      required: false,
      valueHint: "eX.Y[@ID] ...",
      description: "Targets of CONFIG; with @ID only that snapshot. All archives by default",
    },
    to: {
      type: "string",
      required: true,
      valueHint: "CONFIG2",
      description:
        "The configuration of the copies, as it will be served: its target of the same address says which store",
    },
    as: {
      type: "string",
      valueHint: "eA.B",
      description: "The target of CONFIG2 for the only target named, where it has another address there",
    },
    state: {
      type: "string",
      valueHint: "DIR",
      description: "Where indexes of both stores are kept, for the next copy; by default the state_dir of CONFIG",
    },
    json: { type: "boolean", description: "Print one JSON document on stdout" },
  },
  run: ({ rawArgs }) => copy(parseCopyArguments(rawArgs)),
});

interface CopyArguments {
  readonly config: string;
  readonly to: string;
  readonly chosen: readonly CopyChoice[];
  readonly state: string | undefined;
  readonly json: boolean;
}

export function parseCopyArguments(rawArgs: readonly string[]): CopyArguments {
  const { values, positionals } = parseArgs({
    args: [...rawArgs],
    options: {
      to: { type: "string" },
      as: { type: "string" },
      state: { type: "string" },
      json: { type: "boolean", default: false },
    },
    allowPositionals: true,
  });
  const [config, ...names] = positionals;
  if (config === undefined) throw new UsageError("voe copy needs the CONFIG of the archives to copy");
  if (values.to === undefined) throw new UsageError("--to CONFIG2 is missing: the configuration of the copies");
  const as = values.as === undefined ? undefined : targetName(values.as);
  const chosen = names.map((name): CopyChoice => {
    const exported = parseExported(name);
    return as === undefined ? exported : { ...exported, as };
  });
  if (as !== undefined && new Set(chosen.map(({ target }) => target)).size !== 1) {
    throw new UsageError(`--as ${as} is for one target: name it, and copy others by themselves`);
  }
  return { config, to: values.to, chosen, state: values.state, json: values.json };
}

async function copy({ config: path, to, chosen, state, json }: CopyArguments): Promise<void> {
  const config = loadConfig(path);
  const copies = copiesOf(config, path, loadConfig(to), to, chosen);
  const beganMs = performance.now();
  const results: StoreCopyResult[] = [];
  await interruptible(async (signal) => {
    for (const each of copies) {
      const display = copyEvents();
      try {
        const result = await copyStore(each, {
          stateDirectory: state ?? config.server.stateDir,
          signal,
          report: (_, message) => display.aside(() => log.warn(message)),
          events: display.events,
        });
        results.push(result);
        display.hide();
        if (!json) for (const line of renderCopied(result)) console.log(line);
      } finally {
        display.hide();
      }
    }
  });
  const seconds = (performance.now() - beganMs) / 1000;
  if (json) console.log(JSON.stringify({ copies: results.map(copiedJson), seconds }, undefined, 2));
}
