/** The status report as tables for a terminal. */
import { formatBytes, formatCount, formatDuration } from "../base/human.ts";
import { printable } from "../base/printable.ts";
import type {
  ClientStatus,
  InterfaceStatus,
  NbdConnectionStatus,
  NbdStatus,
  StatusReport,
  TargetStatus,
} from "../control/status.ts";
import { archiveLines } from "./archive-tables.ts";
import { count, tableLines, text, type Column } from "./table.ts";

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
    ...(rates ? archiveLines(report, earlier, seconds) : archiveLines(report)),
    ...section("AoE is off: no interfaces.", INTERFACES, report.interfaces),
    ...section("No clients yet.", CLIENTS, report.clients),
    ...nbdLines(report.nbd),
    ...(report.warnings.length === 0 ? [] : [""]),
    ...report.warnings.map((warning) => `WARNING ${printable(warning)}`),
  ];
}

function section<Row>(none: string, columns: readonly Column<Row>[], rows: readonly Row[]): readonly string[] {
  return ["", ...(rows.length === 0 ? [none] : tableLines(columns, rows))];
}

/** A config string may have 1024 characters, which no terminal has columns for. */
const shortened = (configString: string): string =>
  configString.length > 24 ? `${configString.slice(0, 23)}…` : configString;

const mode = ({ readOnly, sync }: TargetStatus): string => (readOnly ? "read-only" : sync);

const TARGET_IDENTITY: readonly Column<TargetStatus>[] = [
  text("TARGET", ({ name }) => name),
  text("STATE", ({ state }) => (state === "ok" ? "ok" : "FAILED")),
  count("SIZE", ({ sizeBytes }) => formatBytes(sizeBytes)),
  count("USED", ({ space }) => formatBytes(space.allocatedBytes)),
];

const TARGET_TOTALS: readonly Column<TargetStatus>[] = [
  ...TARGET_IDENTITY,
  text("SYNC", mode),
  count("READ", ({ readBytes }) => formatBytes(readBytes)),
  count("WRITTEN", ({ writtenBytes }) => formatBytes(writtenBytes)),
  count("ERRORS", ({ errors }) => formatCount(errors)),
  text("CONFIG STRING", ({ configString }) => shortened(configString)),
  text("ON", ({ backend, path }) => `${backend} ${path}`),
];

function targetRates(earlier: StatusReport, seconds: number): readonly Column<TargetStatus>[] {
  const before = new Map(earlier.targets.map((target) => [target.name, target]));
  type Counter = "reads" | "writes" | "readBytes" | "writtenBytes";
  const rate = (target: TargetStatus, counter: Counter): number => {
    // A target that was removed and added again counts from zero too.
    const change = target[counter] - (before.get(target.name)?.[counter] ?? target[counter]);
    return Math.max(0, change) / seconds;
  };
  const requests = (counter: Counter) => (target: TargetStatus) => formatCount(Math.round(rate(target, counter)));
  const bytes = (counter: Counter) => (target: TargetStatus) => `${formatBytes(rate(target, counter))}/s`;
  return [
    ...TARGET_IDENTITY,
    count("READS/S", requests("reads")),
    count("READ", bytes("readBytes")),
    count("WRITES/S", requests("writes")),
    count("WRITTEN", bytes("writtenBytes")),
    count("IN FLIGHT", ({ inFlight }) => formatCount(inFlight)),
    count("ERRORS", ({ errors }) => formatCount(errors)),
  ];
}

const INTERFACES: readonly Column<InterfaceStatus>[] = [
  text("INTERFACE", ({ name }) => name),
  text("LINK", ({ up }) => (up ? "up" : "DOWN")),
  text("MAC", ({ mac }) => mac || "-"),
  count("MTU", ({ mtuBytes }) => String(mtuBytes || "-")),
  count("SECTORS", ({ sectorsPerFrame }) => String(sectorsPerFrame || "-")),
  count("RECEIVED", ({ framesReceived }) => formatCount(framesReceived)),
  count("SENT", ({ framesSent }) => formatCount(framesSent)),
  count("DROPPED", ({ framesDropped }) => formatCount(framesDropped)),
  count("IGNORED", ({ framesIgnored }) => formatCount(framesIgnored)),
  count("NOT SENT", ({ sendFailures }) => formatCount(sendFailures)),
];

const CLIENTS: readonly Column<ClientStatus>[] = [
  text("CLIENT", ({ mac }) => mac),
  text("INTERFACE", (client) => client.interface),
  text("TARGET", ({ target }) => target),
  count("REQUESTS", ({ requests }) => formatCount(requests)),
  count("READ", ({ readBytes }) => formatBytes(readBytes)),
  count("WRITTEN", ({ writtenBytes }) => formatBytes(writtenBytes)),
  count("LAST SEEN", ({ lastSeenSecondsAgo }) => `${formatDuration(lastSeenSecondsAgo)} ago`),
];

function nbdLines(nbd: NbdStatus | null): readonly string[] {
  if (nbd === null) return ["", "NBD is off."];
  const { address, socket, connections, refusedConnections } = nbd;
  const places = [address, socket].filter((place) => place !== "").join(" and ");
  const refused = refusedConnections === 0 ? "" : `, ${formatCount(refusedConnections)} refused so far`;
  const used = `${connections.length} of ${nbd.connectionsLimit} connections${refused}`;
  return [
    "",
    `NBD on ${places}, TLS ${nbd.tls}, ${used}`,
    ...(connections.length === 0 ? [] : tableLines(CONNECTIONS, connections)),
  ];
}

const CONNECTIONS: readonly Column<NbdConnectionStatus>[] = [
  text("CLIENT", ({ client }) => client),
  text("NAME", ({ name }) => printable(name) || "-"),
  text("EXPORT", (connection) => connection.export || "-"),
  text("TLS", ({ tls }) => (tls ? "yes" : "no")),
  count("REQUESTS", ({ requests }) => formatCount(requests)),
  count("READ", ({ readBytes }) => formatBytes(readBytes)),
  count("WRITTEN", ({ writtenBytes }) => formatBytes(writtenBytes)),
  count("IN FLIGHT", ({ inFlight }) => formatCount(inFlight)),
  count("CONNECTED", ({ connectedSeconds }) => formatDuration(connectedSeconds)),
];
