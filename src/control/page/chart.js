/* Building blocks of the page: elements, and the chart of a target's last two minutes. */
"use strict";
// The files of the page are one script in the browser: what is unused here is used in the next.
// oxlint-disable no-unused-vars

/**
 * Per second, `at` in seconds of the server's uptime.
 * @typedef {{ at: number, readBytes: number, writtenBytes: number, reads: number, writes: number }} Rates
 */

const HISTORY_SECONDS = 120;
const CHART_HEIGHT = 50;

/** @param {string} id */
function element(id) {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`no element ${id}`);
  return found;
}

/**
 * @param {string} tag
 * @param {string} className
 * @param {(Node | string)[]} children
 */
function make(tag, className = "", ...children) {
  const made = document.createElement(tag);
  if (className !== "") made.className = className;
  made.append(...children);
  return made;
}

/**
 * Sets a text only when it differs, so that a selection survives.
 * @param {Element} node
 * @param {string} text
 */
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * @param {string} name
 * @param {(value: number) => string} format
 */
function makeChart(name, format) {
  const svgNames = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(svgNames, "svg");
  svg.setAttribute("viewBox", `0 0 ${HISTORY_SECONDS} ${CHART_HEIGHT}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  const [area, read, written] = ["area", "read", "write"].map((className) => {
    const path = document.createElementNS(svgNames, "path");
    path.setAttribute("class", className);
    svg.append(path);
    return path;
  });
  const peak = make("span");
  const nowRead = make("span", "read");
  const nowWritten = make("span", "write");
  const root = make(
    "div",
    "chart",
    make("div", "name", make("span", "", name), peak),
    svg,
    make("div", "now", nowRead, nowWritten),
  );
  /**
   * @param {Rates[]} samples
   * @param {"readBytes" | "reads"} readKey
   * @param {"writtenBytes" | "writes"} writeKey
   */
  const draw = (samples, readKey, writeKey) => {
    const last = samples.at(-1);
    if (last === undefined) {
      setText(nowRead, "–");
      setText(nowWritten, "–");
      return;
    }
    const most = samples.reduce((top, sample) => Math.max(top, sample[readKey], sample[writeKey]), 0);
    /**
     * The curve, or nothing where nothing happened: a line on the axis is only clutter.
     * @param {keyof Rates} key
     */
    const curve = (key) => {
      if (samples.every((sample) => sample[key] === 0)) return "";
      const points = samples.map((sample) => {
        const x = HISTORY_SECONDS - (last.at - sample.at);
        const y = CHART_HEIGHT - 1 - (sample[key] / most) * (CHART_HEIGHT - 3);
        return `${x.toFixed(1)},${y.toFixed(1)}`;
      });
      return `M${points.join("L")}`;
    };
    const readCurve = curve(readKey);
    const start = HISTORY_SECONDS - (last.at - (samples[0]?.at ?? last.at));
    read?.setAttribute("d", readCurve);
    written?.setAttribute("d", curve(writeKey));
    area?.setAttribute("d", readCurve && `${readCurve}V${CHART_HEIGHT}H${start.toFixed(1)}Z`);
    setText(nowRead, format(last[readKey]));
    setText(nowWritten, format(last[writeKey]));
    setText(peak, most === 0 ? "" : `peak ${format(most)}`);
    svg.setAttribute(
      "aria-label",
      `${name} in the last two minutes: read ${format(last[readKey])}, written ${format(last[writeKey])} now, ` +
        `${format(most)} at most`,
    );
  };
  return { root, draw };
}
