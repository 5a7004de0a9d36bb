import { isWanted } from "../testbed/options.ts";

/** What fio asks of a server. */
export interface FioRow {
  readonly name: string;
  /** fio's word. */
  readonly mode: "randread" | "randwrite" | "read" | "write";
  readonly kib: number;
  /** Requests under way on each connection. */
  readonly depth: number;
  readonly connections: number;
}

const row = (mode: FioRow["mode"], kib: number, depth: number, connections = 1): FioRow => {
  const order = mode.startsWith("rand") ? "random" : "sequential";
  const verb = mode.endsWith("read") ? "read" : "write";
  const size = kib >= 1024 ? `${kib / 1024} MiB` : `${kib} KiB`;
  const many = connections === 1 ? "" : `, ${connections} connections`;
  return { name: `${order} ${verb} ${size}, ${depth} outstanding${many}`, mode, kib, depth, connections };
};

const rows: readonly FioRow[] = [
  row("randread", 4, 1),
  row("randread", 4, 16),
  row("randread", 4, 16, 4),
  row("randwrite", 4, 1),
  row("randwrite", 4, 16),
  row("randwrite", 4, 16, 4),
  row("read", 1024, 4),
  row("write", 1024, 4),
];

/** Those that the patterns leave, in the order of the table. */
export const chosenRows = (patterns: readonly RegExp[]): FioRow[] =>
  rows.filter(({ name }) => isWanted(patterns, name));
