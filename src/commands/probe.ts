import { defineCommand } from "citty";
import { formatAddress, parseAddress, type TargetAddress } from "../base/address.ts";
import { printable } from "../base/printable.ts";
import { formatMac } from "../protocol/aoe/mac.ts";
import { discover, type IdentifiedPath } from "../initiator/discover.ts";
import { measurePath, type PathMeasurements } from "../initiator/probe.ts";
import { judge, type Verdict } from "../initiator/verdict.ts";
import { INITIATOR_ARGS, openInitiators, parseInitiatorArguments, parsePositive } from "./aoe-interfaces.ts";
import { describePath, formatSize } from "./discover.ts";
import { formatTable } from "./table.ts";
import { UsageError } from "./usage-error.ts";

const REQUESTS = 2000;
const REQUESTS_MOST = 10_000_000;

interface ProbedPath {
  readonly path: IdentifiedPath;
  readonly measured: PathMeasurements;
  readonly verdict: Verdict;
}

/** `voe probe`: measures every path to one target and says whether it is good. Exit status 1 where one is not. */
export const probeCommand = defineCommand({
  meta: { name: "probe", description: "Is the path to an AoE target good? Never writes to it" },
  args: {
    target: { type: "positional", description: "eX.Y: shelf X, slot Y", required: true },
    ...INITIATOR_ARGS,
    requests: { type: "string", valueHint: "N", description: `How many reads to send, by default ${REQUESTS}` },
  },
  async run({ rawArgs }) {
    const { interfaces, timeoutMs, json, positionals, more } = parseInitiatorArguments(rawArgs, ["requests"]);
    const requestCount = parsePositive("requests", more["requests"], REQUESTS, REQUESTS_MOST);
    const address = onlyAddress(positionals);
    const initiators = openInitiators(interfaces);
    try {
      const probed: ProbedPath[] = [];
      // One after the other: they would spoil each other's figures.
      for (const path of await discover(initiators, timeoutMs, address)) {
        const measured = await measurePath(path, requestCount);
        probed.push({ path, measured, verdict: judge(path, measured) });
      }
      const names = initiators.map((initiator) => initiator.interface.name).join(", ");
      const absent =
        `${formatAddress(address)} did not answer within ${timeoutMs} ms on ${names}: check that it is served, on the ` +
        "same Ethernet segment and VLAN, and that this host's MAC is allowed";
      const good = probed.length > 0 && probed.every(({ verdict }) => verdict.good);
      if (json) {
        const problems = probed.length === 0 ? [absent] : [];
        const document = { target: formatAddress(address), good, problems, paths: probed.map(describeProbed) };
        console.log(JSON.stringify(document, null, 2));
      } else {
        console.log(probed.length === 0 ? `bad: ${absent}` : probed.map(formatProbed).join("\n\n"));
      }
      if (!good) process.exitCode = 1;
    } finally {
      for (const initiator of initiators) initiator.close();
    }
  },
});

function onlyAddress(positionals: readonly string[]): TargetAddress {
  const [text = "", unexpected] = positionals;
  if (unexpected !== undefined) throw new UsageError(`unexpected argument "${unexpected}"`);
  try {
    return parseAddress(text);
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

const describeProbed = ({ path, measured, verdict }: ProbedPath) => ({
  ...describePath(path),
  interfaceMtuBytes: path.initiator.interface.mtuBytes,
  sectors: measured.sectors,
  largestFrameBytes: measured.largestFrameBytes,
  latency: measured.latency ?? null,
  loss: { ...measured.loss, percent: lossPercent(measured) },
  throughput: measured.throughput ?? null,
  ...verdict,
});

const lossPercent = ({ loss }: PathMeasurements): number =>
  loss.requests === 0 ? 0 : (100 * loss.lost) / loss.requests;

function formatProbed({ path, measured, verdict }: ProbedPath): string {
  const { sectors, largestFrameBytes, latency, loss, throughput } = measured;
  const { config, identity } = path;
  const { name, mtuBytes } = path.initiator.interface;
  const rows = [
    ["path", `${formatAddress(config.address)} on ${name} (MTU ${mtuBytes}), at ${formatMac(config.mac)}`],
    ["target", `${identity?.model ?? "unknown"}, ${formatSize(identity)}, ${config.bufferCount} requests at once`],
    [
      "sectors per frame",
      `${sectors.passed} pass (the interface carries ${sectors.interface}, the target takes ${sectors.target})`,
    ],
    [
      "largest frame",
      `${largestFrameBytes.toTarget} bytes to the target, ${largestFrameBytes.fromTarget} bytes from it`,
    ],
    [
      "latency",
      latency
        ? `min ${formatMs(latency.minMs)}, median ${formatMs(latency.medianMs)}, p99 ${formatMs(latency.p99Ms)} ` +
          `(${latency.requests} lone reads of 1 sector)`
        : "no read was answered",
    ],
    ["loss", `${lossPercent(measured).toFixed(2)} % (${loss.lost} of ${loss.requests} requests)`],
    [
      "read throughput",
      throughput
        ? `${throughput.megabytesPerSecond.toFixed(1)} MB/s, ${Math.round(throughput.iops)} IOPS ` +
          `(${throughput.requests} reads of ${throughput.sectorsPerRequest} sectors, ${throughput.outstanding} at a time)`
        : "not measured",
    ],
  ];
  const conclusion = verdict.good
    ? [`good: ${sectors.passed} sectors a frame come through both ways`]
    : verdict.problems.map((problem) => `bad: ${printable(problem)}`);
  return [formatTable(rows), ...verdict.notes.map((note) => `note: ${note}`), ...conclusion].join("\n");
}

/** Microseconds below a millisecond, since a good path takes tens of them. */
const formatMs = (ms: number): string => (ms < 1 ? `${(ms * 1000).toFixed(0)} us` : `${ms.toFixed(2)} ms`);
