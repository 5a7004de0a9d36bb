/* Building blocks of the page: elements, and the chart of the last two minutes. */
"use strict";
// The files of the page are one script in the browser: what is unused here is used in the next.
// oxlint-disable no-unused-vars

/**
 * Figures per second under their names, `at` in seconds of the server's uptime.
 * @typedef {{ at: number, [name: string]: number }} Rates
 */

/**
 * A curve of a chart: the figure it shows, its class, and what it is called where it cannot be seen.
 * @typedef {{ key: string, className: string, label: string }} Curve
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
 * @param {Rates} sample
 * @param {string} key
 */
const figure = (sample, key) => sample[key] ?? 0;

/**
 * Two curves; the area under the first is filled.
 * @param {string} name
 * @param {(value: number) => string} format
 * @param {[Curve, Curve]} curves
 */
function makeChart(name, format, curves) {
  const svgNames = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(svgNames, "svg");
  svg.setAttribute("viewBox", `0 0 ${HISTORY_SECONDS} ${CHART_HEIGHT}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  /** @param {string} className */
  const makePath = (className) => {
    const path = document.createElementNS(svgNames, "path");
    path.setAttribute("class", className);
    svg.append(path);
    return path;
  };
  const area = makePath(`area ${curves[0].className}`);
  const lines = curves.map(({ key, className }) => ({ key, path: makePath(className), now: make("span", className) }));
  const peak = make("span");
  const root = make(
    "div",
    "chart",
    make("div", "name", make("span", "", name), peak),
    svg,
    make("div", "now", ...lines.map(({ now }) => now)),
  );
  /** @param {Rates[]} samples */
  const draw = (samples) => {
    const last = samples.at(-1);
    const start = samples[0];
    if (last === undefined || start === undefined) {
      for (const { now } of lines) setText(now, "–");
      return;
    }
    const most = samples.reduce((top, sample) => Math.max(top, ...curves.map(({ key }) => figure(sample, key))), 0);
    /**
     * The curve, or nothing where nothing happened: a line on the axis is only clutter.
     * @param {string} key
     */
    const curve = (key) => {
      if (samples.every((sample) => figure(sample, key) === 0)) return "";
      const points = samples.map((sample) => {
        const x = HISTORY_SECONDS - (last.at - sample.at);
        const y = CHART_HEIGHT - 1 - (figure(sample, key) / most) * (CHART_HEIGHT - 3);
        return `${x.toFixed(1)},${y.toFixed(1)}`;
      });
      return `M${points.join("L")}`;
    };
    for (const { key, path, now } of lines) {
      path.setAttribute("d", curve(key));
      setText(now, format(figure(last, key)));
    }
    const first = curve(curves[0].key);
    const startX = HISTORY_SECONDS - (last.at - start.at);
    area.setAttribute("d", first && `${first}V${CHART_HEIGHT}H${startX.toFixed(1)}Z`);
    setText(peak, most === 0 ? "" : `peak ${format(most)}`);
    const now = curves.map(({ key, label }) => `${label} ${format(figure(last, key))}`).join(", ");
    svg.setAttribute("aria-label", `${name} in the last two minutes: ${now} now, ${format(most)} at most`);
  };
  return { root, draw };
}
