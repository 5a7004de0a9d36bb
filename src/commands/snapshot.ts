/** `voe snapshot`: what a running server does with the snapshots of its archives. */
import { parseArgs } from "node:util";
import { defineCommand, type ArgsDef, type CommandDef } from "citty";
import { formatAddress, parseAddress } from "../base/address.ts";
import { controlPaths, request } from "../control/client.ts";
import { readJsonLines } from "../control/json-lines.ts";
import {
  parseDescription,
  parseSnapshotId,
  parseVolumeName,
  type ExposedReport,
  type SectorRange,
  type SnapshotReport,
} from "../control/snapshot-operations.ts";
import {
  DIFF_HEAD,
  renderCreated,
  renderDiffTotal,
  renderExposed,
  renderRange,
  renderRestored,
  renderSnapshots,
  renderUnexposed,
} from "./snapshot-text.ts";
import { UsageError } from "./usage-error.ts";

/** What is gathered before it is written, in characters. */
const CHUNK_LENGTH = 16 * 1024;

type Parse = (text: string) => string;

const target: Parse = (text) => formatAddress(parseAddress(text));

interface Invocation {
  /** The operands, checked, in their order. */
  readonly operands: readonly string[];
  readonly option: (name: string) => string | undefined;
  readonly json: boolean;
  /** Asks the server, and yields its answer. */
  readonly ask: <T>(method: string, where: string, body?: Readonly<Record<string, string | undefined>>) => Promise<T>;
  readonly stream: (where: string) => Promise<Response>;
}

interface Subcommand {
  readonly description: string;
  readonly operands: readonly (readonly [name: string, description: string, parse: Parse])[];
  readonly options?: Readonly<Record<string, readonly [valueHint: string, description: string, parse: Parse]>>;
  /** Options that must be there. */
  readonly required?: readonly string[];
  run(invocation: Invocation): Promise<void>;
}

const TARGET = ["target", "eX.Y: shelf X, slot Y", target] as const;
const ID = ["id", "The snapshot's id, or as much of its beginning as no other has", parseSnapshotId] as const;
const AS = { as: ["eA.B", "Address of the new target", target] } as const;

function print({ json }: Invocation, document: unknown, text: string): void {
  console.log(json ? JSON.stringify(document, undefined, 2) : text);
}

const subcommands: Record<string, Subcommand> = {
  create: {
    description: "Make a snapshot of what the target holds now",
    operands: [TARGET],
    options: { description: ["TEXT", "What it is for, at most 1024 bytes", parseDescription] },
    async run(invocation) {
      const [name = ""] = invocation.operands;
      const description = invocation.option("description");
      const snapshot = await invocation.ask<SnapshotReport>("POST", `/targets/${name}/snapshots`, { description });
      print(invocation, snapshot, renderCreated(name, snapshot));
    },
  },
  list: {
    description: "The snapshots of a target, oldest first",
    operands: [TARGET],
    async run(invocation) {
      const [name = ""] = invocation.operands;
      const list = await invocation.ask<{ snapshots: SnapshotReport[] }>("GET", `/targets/${name}/snapshots`);
      print(invocation, list, renderSnapshots(name, list.snapshots));
    },
  },
  restore: {
    description:
      "Make the target read as the snapshot, of the present one being made first; unmount it on clients before",
    operands: [TARGET, ID],
    async run(invocation) {
      const [name = "", id] = invocation.operands;
      const done = await invocation.ask<Record<"restored" | "before", SnapshotReport>>(
        "POST",
        `/targets/${name}/restore`,
        { id },
      );
      print(invocation, done, renderRestored(name, done.restored, done.before));
    },
  },
  expose: {
    description: "Serve an old snapshot as a read-only target, beside the live one",
    operands: [TARGET, ID],
    options: AS,
    required: ["as"],
    async run(invocation) {
      const [name = "", id] = invocation.operands;
      const as = invocation.option("as");
      const exposed = await invocation.ask<ExposedReport>("POST", `/targets/${name}/expose`, { id, as });
      print(invocation, exposed, renderExposed(exposed));
    },
  },
  clone: {
    description: "Serve a writable disk that begins as the snapshot, on a volume of its own",
    operands: [TARGET, ID],
    options: { ...AS, volume: ["NAME", "Name of the new volume, by default eA.B", parseVolumeName] },
    required: ["as"],
    async run(invocation) {
      const [name = "", id] = invocation.operands;
      const [as, volume] = [invocation.option("as"), invocation.option("volume")];
      const exposed = await invocation.ask<ExposedReport>("POST", `/targets/${name}/clone`, { id, as, volume });
      print(invocation, exposed, renderExposed(exposed));
    },
  },
  unexpose: {
    description: "Take away a target that expose or clone has added; snapshot and volume stay",
    operands: [["target", "eA.B: its address", target]],
    async run(invocation) {
      const [name = ""] = invocation.operands;
      const exposed = await invocation.ask<ExposedReport>("DELETE", `/exposed/${name}`);
      print(invocation, exposed, renderUnexposed(exposed));
    },
  },
  diff: {
    description: "What changed from one snapshot to the other",
    operands: [TARGET, ["id1", "The one snapshot", parseSnapshotId], ["id2", "The other one", parseSnapshotId]],
    async run({ operands: [name = "", from = "", to = ""], json, stream }) {
      const response = await stream(`/targets/${name}/diff?from=${from}&to=${to}`);
      await printDiff(response, json);
    },
  },
};

/** Prints the ranges as they arrive, at the pace at which they are taken. */
async function printDiff(response: Response, json: boolean): Promise<void> {
  let text = "";
  const write = async (more: string, now = false): Promise<void> => {
    text += more;
    if (text.length < CHUNK_LENGTH && !now) return;
    const chunk = text;
    text = "";
    await Bun.write(Bun.stdout, chunk);
  };
  let rangeCount = 0;
  let total: { ranges: number; sectors: number } | undefined;
  for await (const line of readJsonLines(response)) {
    if (Array.isArray(line)) {
      const [sector, sectorCount] = line as [number, number];
      const range: SectorRange = { sector, sectorCount };
      if (json) await write(`${rangeCount === 0 ? "" : ","}\n    ${JSON.stringify(range)}`);
      else await write(`${renderRange(range)}\n`);
      rangeCount++;
    } else if ("ranges" in (line as object)) {
      total = line as { ranges: number; sectors: number };
    } else if (json) {
      const { from, to } = line as Record<"from" | "to", SnapshotReport>;
      await write(`{\n  "from": ${JSON.stringify(from)},\n  "to": ${JSON.stringify(to)},\n  "ranges": [`);
    } else {
      await write(`${DIFF_HEAD}\n`);
    }
  }
  if (total === undefined) throw new Error("the server's answer broke off: is it still running?");
  const { ranges, sectors } = total;
  if (json) await write(`\n  ],\n  "rangeCount": ${ranges},\n  "sectorCount": ${sectors}\n}\n`, true);
  else await write(`${renderDiffTotal(ranges, sectors)}\n`, true);
}

function toCommand(name: string, subcommand: Subcommand): CommandDef {
  const { options = {} } = subcommand;
  const args: ArgsDef = {};
  for (const [operand, description] of subcommand.operands) {
    args[operand] = { type: "positional", description, required: true };
  }
  for (const [option, [valueHint, description]] of Object.entries(options)) {
    args[option] = { type: "string", valueHint, description };
  }
  args["json"] = { type: "boolean", description: "Print one JSON document on stdout" };
  args["control"] = { type: "string", valueHint: "PATH", description: "Control socket of the server" };
  return defineCommand({
    meta: { name, description: subcommand.description },
    args,
    run: ({ rawArgs }) => subcommand.run(parseInvocation(name, subcommand, rawArgs)),
  });
}

function parseInvocation(name: string, subcommand: Subcommand, rawArgs: readonly string[]): Invocation {
  const { options = {}, required = [] } = subcommand;
  const { values, positionals } = parseArgs({
    args: [...rawArgs],
    options: {
      ...Object.fromEntries(Object.keys(options).map((option) => [option, { type: "string" as const }])),
      json: { type: "boolean" },
      control: { type: "string" },
    },
    allowPositionals: true,
  });
  const unexpected = positionals[subcommand.operands.length];
  if (unexpected !== undefined) throw new UsageError(`voe snapshot ${name}: "${unexpected}" is one word too many`);
  const given = values as Readonly<Record<string, string | boolean | undefined>>;
  const missing = required.find((option) => given[option] === undefined);
  if (missing !== undefined) {
    const [valueHint, description] = options[missing]!;
    throw new UsageError(`voe snapshot ${name} needs --${missing} ${valueHint}: ${description}`);
  }
  const checked = new Map<string, string>();
  for (const [option, [, , parse]] of Object.entries(options)) {
    const value = given[option];
    if (typeof value === "string") checked.set(option, orUsage(parse, value));
  }
  const paths = controlPaths(typeof given["control"] === "string" ? given["control"] : undefined, process.env);
  return {
    operands: subcommand.operands.map(([, , parse], i) => orUsage(parse, positionals[i] ?? "")),
    option: (option) => checked.get(option),
    json: given["json"] === true,
    async ask<T>(method: string, where: string, body?: object) {
      const init = body === undefined ? { method } : { method, body: JSON.stringify(body) };
      return (await (await request(paths, where, init)).json()) as T;
    },
    stream: (where) => request(paths, where),
  };
}

function orUsage(parse: Parse, text: string): string {
  try {
    return parse(text);
  } catch (error) {
    throw new UsageError((error as Error).message, { cause: error });
  }
}

export const snapshotCommand = defineCommand({
  meta: { name: "snapshot", description: "Snapshots of the archives of a running server" },
  subCommands: Object.fromEntries(
    Object.entries(subcommands).map(([name, subcommand]) => [name, toCommand(name, subcommand)]),
  ),
});
