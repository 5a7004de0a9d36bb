/* Numbers as people read them: the browser's copy of base/human.ts, held equal to it by a test. */
"use strict";
// The files of the page are one script in the browser: what is unused here is used in the next.
// oxlint-disable no-unused-vars

/** @param {number} value */
function trimmed(value) {
  const digits = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  const text = value.toFixed(digits);
  return digits === 0 ? text : text.replace(/\.?0+$/, "");
}

/** @param {number} bytes */
function formatBytes(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
  let unit = 0;
  for (; bytes >= 999.5 && unit < units.length - 1; unit += 1) bytes /= 1024;
  return `${trimmed(bytes)} ${units[unit]}`;
}

/** @param {number} count */
function formatCount(count) {
  if (count < 9999.5) return Math.round(count).toLocaleString("en");
  let unit = 0;
  for (count /= 1000; count >= 999.5 && unit < 3; unit += 1) count /= 1000;
  return `${trimmed(count)} ${["k", "M", "G", "T"][unit]}`;
}

/**
 * @param {number} large
 * @param {string} largeUnit
 * @param {number} small
 * @param {string} smallUnit
 */
function pair(large, largeUnit, small, smallUnit) {
  return `${Math.floor(large)} ${largeUnit}${small < 1 ? "" : ` ${Math.floor(small)} ${smallUnit}`}`;
}

/** @param {number} seconds */
function formatDuration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return pair(whole / 60, "min", whole % 60, "s");
  if (whole < 86_400) return pair(whole / 3600, "h", (whole % 3600) / 60, "min");
  return pair(whole / 86_400, "d", (whole % 86_400) / 3600, "h");
}
