/*
 * The status page's script, a classic script in the browser after format.js and chart.js. Text from a report only
 * ever becomes text nodes: a config string is set by whoever is on the wire.
 */
"use strict";

/** @typedef {import("../status.ts").StatusReport} StatusReport */
/** @typedef {import("../status.ts").TargetStatus} TargetStatus */
/** @typedef {import("../status.ts").InterfaceStatus} InterfaceStatus */
/** @typedef {import("../status.ts").ClientStatus} ClientStatus */

const INTERVAL_MS = 1000;
const TIMEOUT_MS = 5000;

/** @type {StatusReport | undefined} */
let earlier;
/** @type {Map<string, Rates[]>} */
const ratesOf = new Map();
/** @type {Map<string, ReturnType<typeof makeCard>>} */
const cards = new Map();

/**
 * @param {string} name
 * @param {string} [className]
 */
function makeFact(name, className) {
  const value = make("dd");
  const root = make("div", className, make("dt", "", name), value);
  return { root, value };
}

/**
 * The card of a target, made once and then kept up to date.
 * @param {string} name
 */
function makeCard(name) {
  const config = make("span", "config");
  const size = make("span", "size");
  const state = make("span", "pill");
  const reason = make("p", "reason");
  const throughput = makeChart("Throughput", (value) => `${formatBytes(value)}/s`);
  const operations = makeChart("Operations", (value) => `${formatCount(value)}/s`);
  const used = make("span");
  const share = make("span");
  const fill = make("div");
  const bar = make("div", "bar", fill);
  const facts = {
    sync: makeFact("Sync"),
    inFlight: makeFact("In flight"),
    flushes: makeFact("Flushes"),
    errors: makeFact("Errors"),
    path: makeFact("Backend", "wide"),
    reservations: makeFact("Reserved for", "wide"),
    maskList: makeFact("Only for", "wide"),
  };
  const title = make("h3", "", name);
  title.id = `target-${name}`;
  const root = make(
    "article",
    "",
    make("div", "title", title, config, size, state),
    reason,
    make("div", "charts", throughput.root, operations.root),
    make("div", "space", make("p", "", used, share), bar),
    make("dl", "facts", ...Object.values(facts).map((fact) => fact.root)),
  );
  root.setAttribute("aria-labelledby", title.id);
  bar.setAttribute("aria-hidden", "true");

  /**
   * @param {TargetStatus} target
   * @param {Rates[]} samples
   */
  const update = (target, samples) => {
    const failed = target.state === "failed";
    root.className = failed ? "failed" : "";
    setText(config, target.configString);
    config.title = target.configString;
    setText(size, formatBytes(target.sizeBytes));
    setText(state, failed ? "failed" : target.readOnly ? "read-only" : "ok");
    state.className = `pill ${failed ? "bad" : target.readOnly ? "" : "good"}`;
    reason.hidden = !failed;
    setText(reason, target.reason);
    throughput.draw(samples, "readBytes", "writtenBytes");
    operations.draw(samples, "reads", "writes");
    const part = target.sizeBytes === 0 ? 0 : Math.min(1, target.space.allocatedBytes / target.sizeBytes);
    setText(used, `${formatBytes(target.space.allocatedBytes)} used on the medium`);
    setText(share, `${trimmed(part * 100)} %`);
    fill.style.width = `${part * 100}%`;
    setText(facts.sync.value, target.sync);
    setText(facts.inFlight.value, formatCount(target.inFlight));
    setText(facts.flushes.value, formatCount(target.flushes));
    setText(facts.errors.value, formatCount(target.errors));
    facts.errors.root.className = target.errors > 0 ? "alarm" : "";
    setText(facts.path.value, `${target.backend} ${target.path}`);
    setText(facts.reservations.value, target.reservations.join(", "));
    facts.reservations.root.hidden = target.reservations.length === 0;
    setText(facts.maskList.value, target.maskList.join(", "));
    facts.maskList.root.hidden = target.maskList.length === 0;
  };
  return { root, update };
}

/** @param {StatusReport} report */
function remember(report) {
  const names = new Set(report.targets.map((target) => target.name));
  for (const name of ratesOf.keys()) if (!names.has(name)) ratesOf.delete(name);
  // A server that was started again counts from zero.
  if (earlier?.startedAt !== report.startedAt) {
    ratesOf.clear();
    earlier = undefined;
  }
  const seconds = report.uptimeSeconds - (earlier?.uptimeSeconds ?? report.uptimeSeconds);
  if (seconds > 0) {
    const before = new Map(earlier?.targets.map((target) => [target.name, target]));
    for (const target of report.targets) {
      const last = before.get(target.name);
      if (last === undefined) continue;
      /** @param {"readBytes" | "writtenBytes" | "reads" | "writes"} key */
      const rate = (key) => Math.max(0, target[key] - last[key]) / seconds;
      const samples = ratesOf.get(target.name) ?? [];
      const at = report.uptimeSeconds;
      samples.push({
        at,
        readBytes: rate("readBytes"),
        writtenBytes: rate("writtenBytes"),
        reads: rate("reads"),
        writes: rate("writes"),
      });
      ratesOf.set(
        target.name,
        samples.filter((sample) => at - sample.at <= HISTORY_SECONDS),
      );
    }
  }
  earlier = report;
}

/** @param {StatusReport} report */
function showTargets(report) {
  const list = element("targets");
  const names = new Set(report.targets.map((target) => target.name));
  for (const [name, card] of cards) {
    if (names.has(name)) continue;
    card.root.remove();
    cards.delete(name);
  }
  list.querySelector(".none")?.remove();
  if (names.size === 0) list.append(make("p", "none", "No targets. Add a [[target]] to the configuration and reload."));
  report.targets.forEach((target, index) => {
    const card = cards.get(target.name) ?? makeCard(target.name);
    cards.set(target.name, card);
    if (list.children[index] !== card.root) list.insertBefore(card.root, list.children[index] ?? null);
    card.update(target, ratesOf.get(target.name) ?? []);
  });
}

/**
 * @template Row
 * @typedef {{ title: string, cell: (row: Row) => string, style?: string, alarm?: (row: Row) => boolean }} Column
 */

/**
 * @template Row
 * @param {string} id
 * @param {string} none
 * @param {Column<Row>[]} columns
 * @param {readonly Row[]} rows
 */
function showTable(id, none, columns, rows) {
  const place = element(id);
  if (rows.length === 0) {
    place.replaceChildren(make("p", "none", none));
    return;
  }
  const body = rows.map((row) =>
    make(
      "tr",
      "",
      ...columns.map(({ cell, style, alarm }, index) => {
        const made = make(index === 0 ? "th" : "td", `${style ?? ""} ${alarm?.(row) ? "alarm" : ""}`, cell(row));
        if (index === 0) made.setAttribute("scope", "row");
        return made;
      }),
    ),
  );
  const titles = columns.map(({ title, style }) => {
    const made = make("th", style === "number" ? style : "", title);
    made.setAttribute("scope", "col");
    return made;
  });
  place.replaceChildren(make("table", "", make("thead", "", make("tr", "", ...titles)), make("tbody", "", ...body)));
}

/** @type {Column<ClientStatus>[]} */
const clientColumns = [
  { title: "MAC address", cell: (client) => client.mac, style: "mono" },
  { title: "Interface", cell: (client) => client.interface },
  { title: "Target", cell: (client) => client.target },
  { title: "Requests", cell: (client) => formatCount(client.requests), style: "number" },
  { title: "Read", cell: (client) => formatBytes(client.readBytes), style: "number" },
  { title: "Written", cell: (client) => formatBytes(client.writtenBytes), style: "number" },
  { title: "Last seen", cell: (client) => `${formatDuration(client.lastSeenSecondsAgo)} ago`, style: "number" },
];

/** @type {Column<InterfaceStatus>[]} */
const interfaceColumns = [
  { title: "Interface", cell: (link) => link.name },
  { title: "Link", cell: (link) => (link.up ? "up" : "down"), alarm: (link) => !link.up },
  { title: "MAC address", cell: (link) => link.mac || "–", style: "mono" },
  { title: "MTU", cell: (link) => String(link.mtuBytes || "–"), style: "number" },
  { title: "Sectors per frame", cell: (link) => String(link.sectorsPerFrame || "–"), style: "number" },
  { title: "Received", cell: (link) => formatCount(link.framesReceived), style: "number" },
  { title: "Sent", cell: (link) => formatCount(link.framesSent), style: "number" },
  {
    title: "Dropped",
    cell: (link) => formatCount(link.framesDropped),
    style: "number",
    alarm: (link) => link.framesDropped > 0,
  },
  { title: "Ignored", cell: (link) => formatCount(link.framesIgnored), style: "number" },
  {
    title: "Not sent",
    cell: (link) => formatCount(link.sendFailures),
    style: "number",
    alarm: (link) => link.sendFailures > 0,
  },
];

/** @param {StatusReport} report */
function showTotals(report) {
  const latest = report.targets.flatMap((target) => ratesOf.get(target.name)?.at(-1) ?? []);
  /** @param {(rates: Rates) => number} of */
  const sum = (of) => latest.reduce((total, rates) => total + of(rates), 0);
  const measured = latest.length > 0;
  const size = report.targets.reduce((total, target) => total + target.sizeBytes, 0);
  const totals = [
    ["Reading", measured ? `${formatBytes(sum((rates) => rates.readBytes))}/s` : "–"],
    ["Writing", measured ? `${formatBytes(sum((rates) => rates.writtenBytes))}/s` : "–"],
    ["Operations", measured ? `${formatCount(sum((rates) => rates.reads + rates.writes))}/s` : "–"],
    ["Served", formatBytes(size)],
    ["Clients", formatCount(report.clients.length)],
  ];
  element("totals").replaceChildren(
    ...totals.map(([name = "", value = ""]) => make("div", "", make("dt", "", name), make("dd", "", value))),
  );
}

/** @param {StatusReport} report */
function show(report) {
  const failed = report.targets.filter((target) => target.state === "failed").length;
  const count = report.targets.length;
  const health = element("health");
  const verdict =
    failed > 0
      ? `${failed} of ${count} failed`
      : count === 0
        ? "No targets"
        : count === 1
          ? "Serving"
          : `${count} serving`;
  setText(health, verdict);
  health.className = `pill ${failed > 0 ? "bad" : count === 0 ? "" : "good"}`;
  document.title = failed > 0 ? `${failed} failed – voe` : "voe";
  setText(
    element("server"),
    `${report.version} (${report.commit}) · pid ${report.pid} · up ${formatDuration(report.uptimeSeconds)}`,
  );
  const warnings = element("warnings");
  if (warnings.dataset["shown"] !== report.warnings.join("\n")) {
    warnings.dataset["shown"] = report.warnings.join("\n");
    warnings.replaceChildren(...report.warnings.map((text) => make("li", "", make("b", "", "Warning"), text)));
  }
  showTotals(report);
  showTargets(report);
  showTable("clients", "No clients yet.", clientColumns, report.clients);
  showTable("interfaces", "No interfaces: AoE is off.", interfaceColumns, report.interfaces);
}

/** @type {Date | undefined} */
let lostSince;

async function poll() {
  const lost = element("lost");
  try {
    const response = await fetch("/api/status", { signal: AbortSignal.timeout(TIMEOUT_MS), cache: "no-store" });
    if (!response.ok) throw new Error(`the server answered ${response.status}`);
    const report = /** @type {StatusReport} */ (await response.json());
    lostSince = undefined;
    lost.hidden = true;
    document.body.className = "";
    remember(report);
    show(report);
  } catch (error) {
    console.error(error);
    lostSince ??= new Date();
    setText(lost, `No answer from the server since ${lostSince.toLocaleTimeString()}. Asking again each second.`);
    lost.hidden = false;
    document.body.className = "stale";
    setText(element("health"), "No answer");
    element("health").className = "pill bad";
    document.title = "No answer – voe";
  }
  setTimeout(() => void poll(), INTERVAL_MS);
}

void poll();
