/** The options that commands of the initiator's side share, and the interfaces that these ask for. */
import { parseArgs } from "node:util";
import { interfaceNames, readInterface } from "../../ffi/interface.ts";
import { ENODEV, SystemError } from "../../ffi/libc.ts";
import { openInitiator, type Initiator } from "../initiator/initiator.ts";
import { UsageError } from "./usage-error.ts";

/** For the help; citty itself keeps only the last of a repeated option, so `parseInitiatorArguments` reads them. */
export const INITIATOR_ARGS = {
  interface: {
    type: "string",
    alias: "i",
    valueHint: "IFACE",
    description: "Network interface, may be repeated; by default all that are up, lo too",
  },
  timeout: { type: "string", valueHint: "MS", description: "How long to wait for targets to answer, by default 500" },
  json: { type: "boolean", description: "Print one JSON document" },
} as const;

export interface InitiatorArguments {
  /** None: all that are up. */
  readonly interfaces: readonly string[];
  readonly timeoutMs: number;
  readonly json: boolean;
  readonly positionals: readonly string[];
  /** The command's own options. */
  readonly more: Readonly<Record<string, string | undefined>>;
}

const TIMEOUT_MS = 500;
const TIMEOUT_MOST_MS = 600_000;

/** Reads the command line strictly; `more` names options of the one command, which take a value. Throws `UsageError`. */
export function parseInitiatorArguments(rawArgs: readonly string[], more: readonly string[] = []): InitiatorArguments {
  try {
    const { values, positionals } = parseArgs({
      args: [...rawArgs],
      options: {
        interface: { type: "string", short: "i", multiple: true },
        timeout: { type: "string" },
        json: { type: "boolean" },
        ...Object.fromEntries(more.map((name) => [name, { type: "string" as const }])),
      },
      allowPositionals: true,
    });
    return {
      interfaces: [...new Set(values.interface)],
      timeoutMs: parsePositive("timeout", values.timeout, TIMEOUT_MS, TIMEOUT_MOST_MS),
      json: values.json ?? false,
      positionals,
      more: values as Record<string, string | undefined>,
    };
  } catch (error) {
    throw error instanceof UsageError ? error : new UsageError(error instanceof Error ? error.message : String(error));
  }
}

/** A whole number of an option from 1 to `most`. Throws `UsageError`. */
export function parsePositive(option: string, text: string | undefined, byDefault: number, most: number): number {
  if (text === undefined) return byDefault;
  const value = /^\d+$/.test(text) ? Number(text) : 0;
  if (value >= 1 && value <= most) return value;
  throw new UsageError(`--${option} ${text}: must be a whole number from 1 to ${most}`);
}

/** Opens the interfaces named, or all that are up and carry Ethernet. Throws where any of them cannot be opened. */
export function openInitiators(names: readonly string[]): Initiator[] {
  const chosen =
    names.length > 0
      ? names
      : interfaceNames().filter((name) => {
          const { up, ethernet } = readInterface(name);
          return up && ethernet;
        });
  if (chosen.length === 0) throw new Error("no network interface is up (ip link set lo up)");
  const opened: Initiator[] = [];
  try {
    // Sleeping in the kernel is right here: there is nothing else in this process to hold up.
    for (const name of chosen) opened.push(openInitiator(name, { sleepMs: 2 }));
  } catch (error) {
    for (const initiator of opened) initiator.close();
    throw error instanceof SystemError && error.errno === ENODEV ? new UsageError(error.message) : error;
  }
  return opened;
}
