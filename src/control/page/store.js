/* The part of an archive's card that is of a store far away: what waits for it, how it fares, what is cached of it. */
"use strict";
// The files of the page are one script in the browser: what is unused here is used in the next.
// oxlint-disable no-unused-vars

/** @param {import("../status.ts").ArchiveStatus} archive */
const isAway = ({ remote }) => remote !== null && remote.awaySince !== "";

/**
 * @param {number} hits
 * @param {number} misses
 */
const formatHits = (hits, misses) =>
  hits + misses === 0 ? "–" : `${trimmed((hits / (hits + misses)) * 100)} % of ${formatCount(hits + misses)}`;

/**
 * @param {import("../status.ts").RemoteStatus} remote
 * @param {number} nowMs
 */
function storeText({ awaySince, lastError, lastErrorAt }, nowMs) {
  if (awaySince !== "") return `Away, since ${formatAge(awaySince, nowMs)}: ${lastError}`;
  return lastError === "" ? "" : `It is there. It failed last ${formatAge(lastErrorAt, nowMs)}: ${lastError}`;
}

/** Hidden where the store is on this host. */
function makeStore() {
  const note = make("p", "note");
  const facts = {
    backlog: makeFact("Waits for the store"),
    transfers: makeFact("Transfers"),
    puts: makeFact("Stored"),
    gets: makeFact("Fetched"),
    hits: makeFact("Reads from the disk cache"),
    cache: makeFact("Disk cache"),
  };
  const root = make("div", "store", make("dl", "facts", ...Object.values(facts).map((fact) => fact.root)), note);
  /**
   * @param {import("../status.ts").ArchiveStatus} archive
   * @param {number} nowMs
   */
  const update = ({ backlog, remote }, nowMs) => {
    root.hidden = remote === null;
    if (remote === null) return;
    const { uploads, downloads, waiting, requests, cache } = remote;
    setText(
      facts.backlog.value,
      backlog.bytes === 0
        ? "nothing"
        : `${formatBytes(backlog.bytes)}, ${formatAge(backlog.since, nowMs)}${backlog.slowsWrites ? ", writes are slowed" : ""}`,
    );
    setText(facts.transfers.value, `${uploads} up, ${downloads} down, ${waiting} waiting`);
    setText(facts.puts.value, `${formatBytes(requests.put.bytes)}, ${plural(requests.put.requests, "request")}`);
    setText(facts.gets.value, `${formatBytes(requests.get.bytes)}, ${plural(requests.get.requests, "request")}`);
    setText(facts.hits.value, cache === null ? "–" : formatHits(cache.hits, cache.misses));
    setText(
      facts.cache.value,
      cache === null ? "none" : `${formatBytes(cache.usedBytes)} of ${formatBytes(cache.limitBytes)}`,
    );
    setText(note, storeText(remote, nowMs));
    note.className = `note ${remote.awaySince === "" ? "" : "bad"}`;
  };
  return { root, update };
}
