/* What the counters of the last reports say per second, for targets and archives. */
"use strict";
// The files of the page are one script in the browser: what is unused here is used in the next.
// oxlint-disable no-unused-vars

/** @typedef {import("../status.ts").StatusReport} StatusReport */

/** @type {StatusReport | undefined} */
let earlier;
/** @type {Map<string, Rates[]>} */
let histories = new Map();

/** @type {(keyof import("../status.ts").TargetStatus)[]} */
const TARGET_COUNTERS = ["readBytes", "writtenBytes", "reads", "writes"];
/** @type {(keyof import("../status.ts").ArchiveStatus)[]} */
const ARCHIVE_COUNTERS = ["writtenBytes", "packedBytes", "newBlocks", "knownBlocks"];

/**
 * @template Row
 * @param {Row} row
 * @param {(keyof Row)[]} names
 */
const pick = (row, names) => Object.fromEntries(names.map((name) => [name, Number(row[name])]));

/**
 * What is counted in a report: each with a key of its own and its counters by name.
 * @param {StatusReport} report
 * @returns {[key: string, counters: Record<string, number>][]}
 */
function countersOf({ targets, archives }) {
  return [
    ...targets.map((target) => /** @type {const} */ ([`target ${target.name}`, pick(target, TARGET_COUNTERS)])),
    ...archives.map((archive) => /** @type {const} */ ([`archive ${archive.store}`, pick(archive, ARCHIVE_COUNTERS)])),
  ].map(([key, counters]) => [key, counters]);
}

/** @param {StatusReport} report */
function remember(report) {
  // A server that was started again counts from zero.
  if (earlier?.startedAt !== report.startedAt) {
    histories.clear();
    earlier = undefined;
  }
  const at = report.uptimeSeconds;
  const seconds = at - (earlier?.uptimeSeconds ?? at);
  const before = new Map(earlier === undefined ? [] : countersOf(earlier));
  earlier = report;
  if (seconds <= 0) return;
  const kept = new Map();
  for (const [key, counters] of countersOf(report)) {
    const last = before.get(key);
    if (last === undefined) continue;
    /** @type {Rates} */
    const sample = { at };
    for (const [name, value] of Object.entries(counters)) {
      sample[name] = Math.max(0, value - (last[name] ?? value)) / seconds;
    }
    const samples = [...(histories.get(key) ?? []), sample];
    kept.set(
      key,
      samples.filter((earlierSample) => at - earlierSample.at <= HISTORY_SECONDS),
    );
  }
  histories = kept;
}

/**
 * The last two minutes of a target or an archive, oldest first.
 * @param {"target" | "archive"} kind
 * @param {string} name
 */
const samplesOf = (kind, name) => histories.get(`${kind} ${name}`) ?? [];
