/*
 * The status page's script, a classic script in the browser after format.js and chart.js. Text from a report only
 * ever becomes text nodes: a config string is set by whoever is on the wire.
 */
"use strict";

/** @typedef {import("../status.ts").TargetStatus} TargetStatus */
/** @typedef {import("../status.ts").InterfaceStatus} InterfaceStatus */
/** @typedef {import("../status.ts").ClientStatus} ClientStatus */
/** @typedef {import("../status.ts").NbdConnectionStatus} NbdConnectionStatus */

const INTERVAL_MS = 1000;
const TIMEOUT_MS = 5000;

/** @type {Map<string, ReturnType<typeof makeTargetCard>>} */
const targetCards = new Map();
/** @type {Map<string, ReturnType<typeof makeArchiveCard>>} */
const archiveCards = new Map();

/**
 * The card of a target, made once and then kept up to date.
 * @param {string} name
 */
function makeTargetCard(name) {
  const config = make("span", "config");
  const size = make("span", "size");
  const state = make("span", "pill");
  const reason = make("p", "reason");
  const throughput = makeChart("Throughput", (value) => `${formatBytes(value)}/s`, [
    { key: "readBytes", className: "read", label: "read" },
    { key: "writtenBytes", className: "write", label: "written" },
  ]);
  const operations = makeChart("Operations", (value) => `${formatCount(value)}/s`, [
    { key: "reads", className: "read", label: "read" },
    { key: "writes", className: "write", label: "written" },
  ]);
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
    throughput.draw(samples);
    operations.draw(samples);
    const part = target.sizeBytes === 0 ? 0 : Math.min(1, target.space.allocatedBytes / target.sizeBytes);
    setText(
      used,
      `${formatBytes(target.space.allocatedBytes)} ${target.backend === "cas" ? "in use" : "used on the medium"}`,
    );
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

/**
 * Keeps the cards of a list those of the rows, in their order, each made once.
 * @template Row
 * @template {{ root: HTMLElement }} Card
 * @param {Element} list
 * @param {Map<string, Card>} cards
 * @param {readonly Row[]} rows
 * @param {(row: Row) => string} nameOf
 * @param {(name: string) => Card} makeCard
 */
function keepCards(list, cards, rows, nameOf, makeCard) {
  const names = new Set(rows.map(nameOf));
  for (const [name, card] of cards) {
    if (names.has(name)) continue;
    card.root.remove();
    cards.delete(name);
  }
  return rows.map((row, index) => {
    const name = nameOf(row);
    const card = cards.get(name) ?? makeCard(name);
    cards.set(name, card);
    if (list.children[index] !== card.root) list.insertBefore(card.root, list.children[index] ?? null);
    return card;
  });
}

/** @param {StatusReport} report */
function showTargets({ targets }) {
  const list = element("targets");
  list.querySelector(".none")?.remove();
  const cards = keepCards(list, targetCards, targets, (target) => target.name, makeTargetCard);
  if (targets.length === 0) {
    list.append(make("p", "none", "No targets. Add a [[target]] to the configuration and reload."));
  }
  targets.forEach((target, index) => cards[index]?.update(target, samplesOf("target", target.name)));
}

/** @param {StatusReport} report */
function showArchives({ archives, reportedAt }) {
  element("archives-section").hidden = archives.length === 0;
  const cards = keepCards(element("archives"), archiveCards, archives, ({ store }) => store, makeArchiveCard);
  archives.forEach((archive, index) =>
    cards[index]?.update(archive, samplesOf("archive", archive.store), Date.parse(reportedAt)),
  );
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

/** @type {Column<NbdConnectionStatus>[]} */
const connectionColumns = [
  { title: "Client", cell: (connection) => connection.client, style: "mono" },
  { title: "Name", cell: (connection) => connection.name || "–" },
  { title: "Export", cell: (connection) => connection.export || "–" },
  { title: "TLS", cell: (connection) => (connection.tls ? "yes" : "no") },
  { title: "Requests", cell: (connection) => formatCount(connection.requests), style: "number" },
  { title: "Read", cell: (connection) => formatBytes(connection.readBytes), style: "number" },
  { title: "Written", cell: (connection) => formatBytes(connection.writtenBytes), style: "number" },
  { title: "In flight", cell: (connection) => formatCount(connection.inFlight), style: "number" },
  { title: "Connected", cell: (connection) => formatDuration(connection.connectedSeconds), style: "number" },
];

/** @param {StatusReport} report */
function showNbd({ nbd }) {
  element("nbd-section").hidden = nbd === null;
  if (nbd === null) return;
  const places = [nbd.address, nbd.socket].filter((place) => place !== "").join(", ");
  const refused = nbd.refusedConnections === 0 ? "" : `, ${formatCount(nbd.refusedConnections)} refused`;
  setText(
    element("nbd-facts"),
    `${places} · TLS ${nbd.tls} · ${nbd.connections.length} of ${nbd.connectionsLimit}${refused}`,
  );
  showTable(element("nbd"), "No connections.", connectionColumns, nbd.connections);
}

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
  const latest = report.targets.flatMap((target) => samplesOf("target", target.name).slice(-1));
  /** @param {string[]} keys */
  const sum = (...keys) =>
    latest.reduce((total, rates) => total + keys.reduce((of, key) => of + (rates[key] ?? 0), 0), 0);
  const measured = latest.length > 0;
  const size = report.targets.reduce((total, target) => total + target.sizeBytes, 0);
  const stored = report.archives.reduce((total, { storedBytes }) => total + storedBytes, 0);
  const totals = [
    ["Reading", measured ? `${formatBytes(sum("readBytes"))}/s` : "–"],
    ["Writing", measured ? `${formatBytes(sum("writtenBytes"))}/s` : "–"],
    ["Operations", measured ? `${formatCount(sum("reads", "writes"))}/s` : "–"],
    ["Served", formatBytes(size)],
    ...(report.archives.length === 0 ? [] : [["Stored in archives", formatBytes(stored)]]),
    ["Clients", formatCount(report.clients.length + (report.nbd?.connections.length ?? 0))],
  ];
  const list = element("totals");
  if (list.childElementCount !== totals.length) {
    list.replaceChildren(...totals.map(([name = ""]) => makeFact(name).root));
  }
  totals.forEach(([name = "", value = ""], index) => {
    const [title, figure] = list.children[index]?.children ?? [];
    if (title) setText(title, name);
    if (figure) setText(figure, value);
  });
}

/** @param {StatusReport} report */
function show(report) {
  const failed = report.targets.filter((target) => target.state === "failed").length;
  const count = report.targets.length;
  const health = element("health");
  const ailing = report.archives.filter(isAiling).length;
  const verdict =
    failed > 0
      ? `${failed} of ${count} failed`
      : ailing > 0
        ? ailing === 1
          ? "An archive needs attention"
          : `${ailing} archives need attention`
        : count === 0
          ? "No targets"
          : count === 1
            ? "Serving"
            : `${count} serving`;
  setText(health, verdict);
  health.className = `pill ${failed > 0 ? "bad" : ailing > 0 ? "warn" : count === 0 ? "" : "good"}`;
  document.title = failed + ailing > 0 ? `${verdict} – voe` : "voe";
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
  showArchives(report);
  showTable(element("clients"), "No clients yet.", clientColumns, report.clients);
  showNbd(report);
  showTable(element("interfaces"), "No interfaces: AoE is off.", interfaceColumns, report.interfaces);
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
