/** The status report as tables for a terminal. */
import { formatBytes, formatCount, formatDuration } from "../base/human.ts";
import { printable } from "../base/printable.ts";
import type { ClientStatus, InterfaceStatus, StatusReport, TargetStatus } from "./status.ts";

interface Column<Row> {
  readonly title: string;
  readonly right?: boolean;
  readonly cell: (row: Row) => string;
}

const left = <Row>(title: string, cell: (row: Row) => string): Column<Row> => ({ title, cell });
const right = <Row>(title: string, cell: (row: Row) => string): Column<Row> => ({ title, right: true, cell });

/**
 * The report as lines without newlines. With an earlier report of the same server, the columns that count show what
 * happened between the two, per second.
 */
export function renderStatus(report: StatusReport, earlier?: StatusReport): readonly string[] {
  const seconds = earlier === undefined ? 0 : report.uptimeSeconds - earlier.uptimeSeconds;
  // A server that was started again counts from zero: there is nothing to compare with.
  const rates = earlier !== undefined && earlier.startedAt === report.startedAt && seconds > 0;
  return [
    `voe ${report.version} (${report.commit}), pid ${report.pid}, up ${formatDuration(report.uptimeSeconds)}`,
    ...section(
      "No targets. Add a [[target]] to the configuration and reload.",
      rates ? targetRates(earlier, seconds) : TARGET_TOTALS,
      report.targets,
    ),
    ...section("AoE is off: no interfaces.", INTERFACES, report.interfaces),
    ...section("No clients yet.", CLIENTS, report.clients),
    ...report.targets
      .filter((target) => target.state === "failed")
      .map((target) => `FAILED ${target.name}: ${printable(target.reason)}`),
    ...report.warnings.map((warning) => `WARNING ${printable(warning)}`),
  ];
}

function section<Row>(none: string, columns: readonly Column<Row>[], rows: readonly Row[]): readonly string[] {
  return ["", ...(rows.length === 0 ? [none] : table(columns, rows))];
}

function table<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): readonly string[] {
  const grid = [columns.map(({ title }) => title), ...rows.map((row) => columns.map(({ cell }) => cell(row)))];
  const widths = columns.map((_, index) => Math.max(...grid.map((cells) => Bun.stringWidth(cells[index] ?? ""))));
  return grid.map((cells) =>
    columns
      .map((column, index) => {
        const text = cells[index] ?? "";
        const padding = " ".repeat((widths[index] ?? 0) - Bun.stringWidth(text));
        return column.right ? padding + text : text + padding;
      })
      .join("  ")
      .trimEnd(),
  );
}

const mode = ({ readOnly, sync }: TargetStatus): string => (readOnly ? "read-only" : sync);

const TARGET_IDENTITY: readonly Column<TargetStatus>[] = [
  left("TARGET", ({ name }) => name),
  left("STATE", ({ state }) => (state === "ok" ? "ok" : "FAILED")),
  right("SIZE", ({ sizeBytes }) => formatBytes(sizeBytes)),
  right("USED", ({ space }) => formatBytes(space.allocatedBytes)),
];

const TARGET_TOTALS: readonly Column<TargetStatus>[] = [
  ...TARGET_IDENTITY,
  left("SYNC", mode),
  right("READ", ({ readBytes }) => formatBytes(readBytes)),
  right("WRITTEN", ({ writtenBytes }) => formatBytes(writtenBytes)),
  right("ERRORS", ({ errors }) => formatCount(errors)),
  left("CONFIG STRING", ({ configString }) => printable(configString) || "-"),
  left("ON", ({ backend, path }) => printable(`${backend} ${path}`)),
];

function targetRates(earlier: StatusReport, seconds: number): readonly Column<TargetStatus>[] {
  const before = new Map(earlier.targets.map((target) => [target.name, target]));
  type Counter = "reads" | "writes" | "readBytes" | "writtenBytes";
  const rate = (target: TargetStatus, counter: Counter): number => {
    // A target that was removed and added again counts from zero too.
    const change = target[counter] - (before.get(target.name)?.[counter] ?? target[counter]);
    return Math.max(0, change) / seconds;
  };
  const count = (counter: Counter) => (target: TargetStatus) => formatCount(Math.round(rate(target, counter)));
  const bytes = (counter: Counter) => (target: TargetStatus) => `${formatBytes(rate(target, counter))}/s`;
  return [
    ...TARGET_IDENTITY,
    right("READS/S", count("reads")),
    right("READ", bytes("readBytes")),
    right("WRITES/S", count("writes")),
    right("WRITTEN", bytes("writtenBytes")),
    right("IN FLIGHT", ({ inFlight }) => formatCount(inFlight)),
    right("ERRORS", ({ errors }) => formatCount(errors)),
  ];
}

const INTERFACES: readonly Column<InterfaceStatus>[] = [
  left("INTERFACE", ({ name }) => name),
  left("LINK", ({ up }) => (up ? "up" : "DOWN")),
  left("MAC", ({ mac }) => mac),
  right("MTU", ({ mtuBytes }) => String(mtuBytes)),
  right("SECTORS", ({ sectorsPerFrame }) => String(sectorsPerFrame)),
  right("RECEIVED", ({ framesReceived }) => formatCount(framesReceived)),
  right("SENT", ({ framesSent }) => formatCount(framesSent)),
  right("DROPPED", ({ framesDropped }) => formatCount(framesDropped)),
  right("IGNORED", ({ framesIgnored }) => formatCount(framesIgnored)),
  right("NOT SENT", ({ sendFailures }) => formatCount(sendFailures)),
];

const CLIENTS: readonly Column<ClientStatus>[] = [
  left("CLIENT", ({ mac }) => mac),
  left("INTERFACE", (client) => client.interface),
  left("TARGET", ({ target }) => target),
  right("REQUESTS", ({ requests }) => formatCount(requests)),
  right("READ", ({ readBytes }) => formatBytes(readBytes)),
  right("WRITTEN", ({ writtenBytes }) => formatBytes(writtenBytes)),
  right("LAST SEEN", ({ lastSeenSecondsAgo }) => `${formatDuration(lastSeenSecondsAgo)} ago`),
];
