/** What the measurements of a path mean for the Linux initiator, and what to do about it. */
import type { IdentifiedPath } from "./discover.ts";
import { ANSWER_MS, frameBytes, type PathMeasurements } from "./probe.ts";

export interface Verdict {
  readonly good: boolean;
  /** Why it is bad, each with what to do. */
  readonly problems: readonly string[];
  /** What could be better. */
  readonly notes: readonly string[];
}

/** A loss that costs Linux its window every few hundred requests. */
const LOSS_MOST = 0.001;
const PAGE_SECTORS = 8;

export function judge(path: IdentifiedPath, measured: PathMeasurements): Verdict {
  const problems = [...refusals(measured), ...frames(path, measured), ...losses(measured), ...buffers(path)];
  return { good: problems.length === 0, problems, notes: notes(path, measured) };
}

function refusals({ refusal }: PathMeasurements): string[] {
  return refusal ? [`the target does not give its data: ${refusal}; see the target's log`] : [];
}

function frames(
  path: IdentifiedPath,
  { sectors, largestFrameBytes, refusal, latency, loss }: PathMeasurements,
): string[] {
  if (refusal) return [];
  if (!latency && loss.late > 0) return [`every read takes more than ${ANSWER_MS} ms: look at the target's storage`];
  if (!latency) {
    return [
      "the target answers queries and no reads; if it is voe, see its log, else another host may use the same address",
    ];
  }
  const promised = Math.min(path.sectorsPerFrame, path.identity?.sectorCount ?? 0);
  if (promised === 0) return [`the MTU of ${path.initiator.interface.name} carries no sector; set it to 1500 or more`];
  if (sectors.passed >= promised) return [];
  const { name, mtuBytes } = path.initiator.interface;
  const passing = frameBytes(sectors.passed);
  const way =
    largestFrameBytes.toTarget === largestFrameBytes.fromTarget
      ? "either way"
      : largestFrameBytes.toTarget < largestFrameBytes.fromTarget
        ? "on the way to the target"
        : "on the way from the target";
  return [
    `frames over ${passing} bytes get lost ${way}, although the MTU of ${name} (${mtuBytes}) and the target promise ` +
      `${frameBytes(promised)}: the switch or the other side does not pass jumbo frames. Turn them on at every port on the ` +
      `way, or set the smaller MTU at both ends (ip link set ${name} mtu ${sectors.passed > 2 ? passing : 1500})`,
  ];
}

function losses({ loss, latency }: PathMeasurements): string[] {
  if (!latency || loss.lost / loss.requests < LOSS_MOST) return [];
  const percent = ((100 * loss.lost) / loss.requests).toFixed(2);
  return [
    `${percent} % of the requests got no answer, and every loss makes Linux slow down: look for errors and drops on ` +
      "the way (ip -s link, the switch's counters), a bad cable, or flow control that is off",
  ];
}

function buffers({ config }: IdentifiedPath): string[] {
  if (config.bufferCount >= 2) return [];
  return [
    `the target takes ${config.bufferCount} requests at once, with which Linux ignores it; it must offer 2 or more`,
  ];
}

/** Where there is room for a page, a multiple of it is as good as the few sectors more that would fit. */
const wholePages = (sectors: number): number => (sectors < PAGE_SECTORS ? sectors : sectors - (sectors % PAGE_SECTORS));

function notes(path: IdentifiedPath, { sectors, loss, latency }: PathMeasurements): string[] {
  const { name, mtuBytes } = path.initiator.interface;
  const found: string[] = [];
  if (sectors.target < wholePages(sectors.interface)) {
    found.push(
      `${name} (MTU ${mtuBytes}) would carry ${sectors.interface} sectors a frame and the target takes ` +
        `${sectors.target}: a larger MTU on the target's interface makes it faster`,
    );
  } else if (sectors.interface < wholePages(sectors.target)) {
    found.push(
      `the target takes ${sectors.target} sectors a frame and ${name} (MTU ${mtuBytes}) carries ${sectors.interface}: ` +
        "a larger MTU here makes it faster",
    );
  }
  if (latency && loss.lost > 0 && loss.lost / loss.requests < LOSS_MOST) {
    found.push(`${loss.lost} of ${loss.requests} requests got no answer`);
  }
  if (latency && loss.late > 0) {
    found.push(`${loss.late} of ${loss.requests} answers took more than ${ANSWER_MS} ms: the target's storage is slow`);
  }
  if ((path.identity?.sectorCount ?? 0) % PAGE_SECTORS !== 0) {
    found.push("the size is no multiple of 4 KiB, for which Linux uses requests of 512 bytes");
  }
  return found;
}
