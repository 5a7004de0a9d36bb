/* The card of an archive store: where its bytes are, its journal, its checks, its volumes and snapshots. */
"use strict";
// The files of the page are one script in the browser: what is unused here is used in the next.
// oxlint-disable no-unused-vars

/** @typedef {import("../status.ts").ArchiveStatus} ArchiveStatus */
/** @typedef {import("../status.ts").VolumeStatus} VolumeStatus */
/** @typedef {import("../status.ts").SnapshotStatus} SnapshotStatus */

/** Snapshots in the list of the newest. */
const SNAPSHOTS_SHOWN = 6;
/** Snapshots may read as a thousand times what there is: their bar ends in nothing where it leaves the picture. */
const WIDEST = 2.5;
const JOURNAL_WARNING_PART = 0.8;

let cardCount = 0;

/** @param {ArchiveStatus} archive */
const isDamaged = ({ verification }) => verification.damagedPacks + verification.damagedParts > 0;

/** @param {ArchiveStatus} archive */
const isFilling = ({ journalBytes, journalLimitBytes }) => journalBytes > journalLimitBytes * JOURNAL_WARNING_PART;

/** @param {ArchiveStatus} archive */
const isAiling = (archive) =>
  archive.checkpoint.failure !== "" || isDamaged(archive) || isAway(archive) || isFilling(archive);

/** @param {number | null} ratio */
const formatRatio = (ratio) => (ratio === null ? "–" : `${ratio < 9.95 ? trimmed(ratio) : formatCount(ratio)}×`);

/**
 * @param {number} number
 * @param {string} what
 */
const plural = (number, what) => `${formatCount(number)} ${what}${number === 1 ? "" : "s"}`;

/**
 * By the largest unit alone: a clock that counts seconds draws the eye.
 * @param {string} moment
 * @param {number} nowMs
 */
function formatAge(moment, nowMs) {
  if (moment === "") return "–";
  const seconds = (nowMs - Date.parse(moment)) / 1000;
  return seconds < 60 ? "just now" : `${formatDuration(seconds).split(" ").slice(0, 2).join(" ")} ago`;
}

/** @param {number} seconds */
const formatShort = (seconds) => (seconds < 9.95 ? `${Number(seconds.toFixed(2))} s` : formatDuration(seconds));

/**
 * A step of the picture: a name, a bar of one or two pieces, and what it stands for.
 * @param {string} name
 * @param {string[]} pieces
 */
function makeStep(name, ...pieces) {
  const value = make("span", "value");
  const fills = pieces.map((className) => make("div", className));
  const bar = make("div", "pieces", ...fills);
  bar.setAttribute("aria-hidden", "true");
  const root = make("li", "step", make("span", "step-name", name), bar, value);
  return { root, value, fills };
}

/** What leads from one step to the next: as wide as the one above, and at its end as the one below. */
function makeLink() {
  const shade = make("div", "shade");
  const text = make("span");
  return { root: make("li", "link", make("div", "shades", shade), text), shade, text };
}

/** Where the bytes are: what can be read, what of it is unique, and what that takes. */
function makePicture() {
  const readable = makeStep("Readable", "volumes", "snapshots");
  const unique = makeStep("Unique", "unique");
  const stored = makeStep("Stored", "stored");
  const dedup = makeLink();
  const compression = makeLink();
  const root = make("ol", "picture", ...[readable, dedup, unique, compression, stored].map((part) => part.root));
  root.setAttribute("role", "list");
  /** @param {ArchiveStatus} archive */
  const update = (archive) => {
    const { logicalBytes, snapshotLogicalBytes, uniqueBytes, storedBytes, dedupRatio, compressionRatio } = archive;
    const total = logicalBytes + snapshotLogicalBytes;
    const widest =
      Math.min(Math.max(total, uniqueBytes, storedBytes), WIDEST * Math.max(logicalBytes, uniqueBytes)) || 1;
    /** @param {number} bytes */
    const part = (bytes) => Math.min(1, bytes / widest);
    const [volumes, snapshots] = readable.fills;
    if (volumes !== undefined) setPart(volumes, part(logicalBytes));
    if (snapshots !== undefined) {
      setPart(snapshots, part(total) - part(logicalBytes));
      snapshots.classList.toggle("endless", total > widest);
    }
    for (const [step, bytes] of /** @type {const} */ ([
      [unique, uniqueBytes],
      [stored, storedBytes],
    ])) {
      if (step.fills[0] !== undefined) setPart(step.fills[0], part(bytes));
      setText(step.value, formatBytes(bytes));
    }
    setText(readable.value, formatBytes(total));
    root.classList.toggle("empty", total + uniqueBytes === 0);
    for (const [link, above, below] of /** @type {const} */ ([
      [dedup, part(total), part(uniqueBytes)],
      [compression, part(uniqueBytes), part(storedBytes)],
    ])) {
      link.shade.style.clipPath = `polygon(0 0, ${above * 100}% 0, ${below * 100}% 100%, 0 100%)`;
    }
    setText(dedup.text, dedupRatio === null ? "" : `${formatRatio(dedupRatio)} by deduplication`);
    setText(compression.text, compressionRatio === null ? "" : `${formatRatio(compressionRatio)} by compression`);
  };
  return { root, update };
}

/**
 * A bar with a name, a figure and a sentence; `marks` are places on it.
 * @param {string} name
 */
function makeGauge(name) {
  const value = make("span");
  const note = make("p", "note");
  const fill = make("div", "fill");
  const mark = make("div", "mark");
  const bar = make("div", "gauge", fill, mark);
  bar.setAttribute("role", "meter");
  bar.setAttribute("aria-label", name);
  bar.setAttribute("aria-valuemin", "0");
  bar.setAttribute("aria-valuemax", "100");
  const root = make("div", "measure", make("p", "name", make("span", "", name), value), bar, note);
  /**
   * @param {number} part
   * @param {string} figure
   * @param {string} sentence
   * @param {"good" | "warn" | "bad" | ""} mood
   * @param {number} [markAt]
   */
  const update = (part, figure, sentence, mood, markAt) => {
    setPart(fill, part);
    fill.className = `fill ${mood}`;
    mark.hidden = markAt === undefined;
    if (markAt !== undefined) mark.style.left = `${markAt * 100}%`;
    bar.setAttribute("aria-valuenow", String(Math.round(part * 100)));
    bar.setAttribute("aria-valuetext", figure);
    setText(value, figure);
    setText(note, sentence);
    note.className = `note ${mood === "bad" || mood === "warn" ? mood : ""}`;
  };
  return { root, update };
}

/** @param {ArchiveStatus} archive */
function checkpointText({ checkpoint, journalCheckpointBytes }) {
  const { runningSeconds, lastSeconds, completed, failure } = checkpoint;
  if (failure !== "")
    return `The last checkpoint failed: ${failure}. It is tried again, and the journal keeps everything.`;
  if (runningSeconds !== null) return `A checkpoint has run for ${formatShort(runningSeconds)}.`;
  const begins = `A checkpoint begins at ${formatBytes(journalCheckpointBytes)}`;
  return lastSeconds === null
    ? `${begins}; none yet.`
    : `${begins}; ${formatCount(completed)} so far, the last took ${formatShort(lastSeconds)}.`;
}

/**
 * @param {ArchiveStatus} archive
 * @param {number} nowMs
 */
function verificationText({ packs, verification }, nowMs) {
  const { running, lastRunAt, oldestAt, verifiedPacks, damagedPacks, damagedParts } = verification;
  if (running !== null) {
    return `Verifying: ${formatBytes(running.bytesDone)} of ${formatBytes(running.bytesTotal)} read.`;
  }
  if (damagedPacks + damagedParts > 0) {
    return `Damaged: ${plural(damagedPacks, "pack")}, ${plural(damagedParts, "part")} of trees. voe verify tells what it affects.`;
  }
  if (lastRunAt === "") return packs === 0 ? "Nothing to verify yet." : "Never verified: run voe verify.";
  const oldest = verifiedPacks === 0 ? "" : `, the oldest pack ${formatAge(oldestAt, nowMs)}`;
  return `Last run ${formatAge(lastRunAt, nowMs)}${oldest}.`;
}

/**
 * @param {number} nowMs
 * @returns {Column<VolumeStatus>[]}
 */
const volumeColumns = (nowMs) => [
  { title: "Volume", cell: (volume) => volume.name, style: "name" },
  {
    title: "Served as",
    cell: (volume) =>
      volume.targets
        .map(({ name, snapshotId }) => (snapshotId === "" ? name : `${name} (${snapshotId.slice(0, 8)})`))
        .join(", ") || "–",
    style: "prose",
  },
  { title: "Size", cell: (volume) => formatBytes(volume.sizeBytes), style: "number" },
  {
    title: "In use",
    cell: (volume) => formatBytes(volume.logicalBytes),
    style: "number",
    bar: (volume) => volume.logicalBytes / volume.sizeBytes,
  },
  { title: "Unique", cell: (volume) => formatBytes(volume.uniqueBytes), style: "number" },
  { title: "Dirty", cell: (volume) => formatCount(volume.dirtyBlocks), style: "number" },
  { title: "Snapshots", cell: (volume) => formatCount(volume.snapshots), style: "number" },
  { title: "Checkpoint", cell: (volume) => formatAge(volume.checkpointAt, nowMs), style: "number" },
];

/** @typedef {SnapshotStatus & { volume: string }} SnapshotRow */

/**
 * @param {number} nowMs
 * @param {number} most
 * @returns {Column<SnapshotRow>[]}
 */
const snapshotColumns = (nowMs, most) => [
  { title: "Snapshot", cell: ({ id }) => id.slice(0, 8), style: "mono" },
  { title: "Of", cell: ({ volume }) => volume, style: "name" },
  { title: "Made", cell: ({ createdAt }) => formatAge(createdAt, nowMs), style: "number" },
  {
    title: "New in it",
    cell: ({ uniqueBytes }) => formatBytes(uniqueBytes),
    style: "number",
    bar: ({ uniqueBytes }) => (most === 0 ? 0 : uniqueBytes / most),
  },
  { title: "Description", cell: ({ description }) => description, style: "prose" },
];

/**
 * A table under a title, in a region that can be scrolled with the keyboard.
 * @param {string} name
 */
function makeTitledTable(name) {
  cardCount += 1;
  const title = make("h4", "", name);
  title.id = `table-${cardCount}`;
  const place = make("div", "scroll");
  place.tabIndex = 0;
  place.setAttribute("role", "region");
  place.setAttribute("aria-labelledby", title.id);
  return { root: make("div", "titled", title, place), place };
}

/**
 * The card of a store, made once and then kept up to date.
 * @param {string} store
 */
function makeArchiveCard(store) {
  const title = make("h3", "", store);
  cardCount += 1;
  title.id = `archive-${cardCount}`;
  title.title = store;
  const saving = make("span", "saving");
  const state = make("span", "pill");
  const picture = makePicture();
  const contents = make("p", "note");
  const journal = makeGauge("Journal");
  const verified = makeGauge("Verified");
  const flow = makeChart("Clients and packs", (value) => `${formatBytes(value)}/s`, [
    { key: "writtenBytes", className: "write", label: "written by clients" },
    { key: "packedBytes", className: "packed", label: "to packs" },
  ]);
  const facts = {
    written: makeFact("Written by clients"),
    known: makeFact("Blocks that were known"),
    cache: makeFact("Reads from memory"),
    memory: makeFact("Cache"),
    packs: makeFact("Packs"),
    index: makeFact("Index"),
  };
  const farAway = makeStore();
  const volumes = makeTitledTable("Volumes");
  const snapshots = makeTitledTable("Newest snapshots");
  const root = make(
    "article",
    "archive",
    make("div", "title", title, saving, state),
    make(
      "div",
      "halves",
      make(
        "div",
        "half",
        make("div", "", picture.root, contents),
        make("dl", "facts", ...Object.values(facts).map((fact) => fact.root)),
        farAway.root,
      ),
      make("div", "half", journal.root, verified.root, flow.root),
    ),
    make("div", "tables", volumes.root, snapshots.root),
  );
  root.setAttribute("aria-labelledby", title.id);

  /**
   * @param {ArchiveStatus} archive
   * @param {Rates[]} samples
   * @param {number} nowMs
   */
  const update = (archive, samples, nowMs) => {
    const { dedupRatio, compressionRatio, verification, newBlocks, knownBlocks, packs } = archive;
    const failing = archive.checkpoint.failure !== "";
    const damaged = isDamaged(archive);
    root.className = `archive ${failing || damaged ? "failed" : ""}`;
    farAway.update(archive, nowMs);
    const total = dedupRatio === null || compressionRatio === null ? null : dedupRatio * compressionRatio;
    setText(saving, total === null ? "" : `${formatRatio(total)} smaller`);
    const away = isAway(archive);
    const verdict = damaged
      ? "damaged"
      : away
        ? "store away"
        : failing
          ? "checkpoints fail"
          : isFilling(archive)
            ? "journal fills"
            : "ok";
    setText(state, verdict);
    state.className = `pill ${failing || damaged || away ? "bad" : verdict === "ok" ? "good" : "warn"}`;
    picture.update(archive);
    const snapshotCount = archive.volumes.reduce((sum, volume) => sum + volume.snapshots, 0);
    setText(
      contents,
      `${formatBytes(archive.logicalBytes)} in ${plural(archive.volumes.length, "volume")}, ` +
        `${formatBytes(archive.snapshotLogicalBytes)} in ${plural(snapshotCount, "snapshot")}`,
    );
    const filled = archive.journalBytes / archive.journalLimitBytes;
    journal.update(
      filled,
      `${formatBytes(archive.journalBytes)} of ${formatBytes(archive.journalLimitBytes)}`,
      checkpointText(archive),
      failing ? "bad" : isFilling(archive) ? "warn" : "",
      archive.journalCheckpointBytes / archive.journalLimitBytes,
    );
    const { running } = verification;
    const part =
      running === null ? verification.verifiedPacks / (packs || 1) : running.bytesDone / (running.bytesTotal || 1);
    verified.update(
      part,
      running === null
        ? `${formatCount(verification.verifiedPacks)} of ${plural(packs, "pack")}`
        : `${trimmed(part * 100)} %`,
      verificationText(archive, nowMs),
      damaged ? "bad" : running === null ? "good" : "",
    );
    flow.draw(samples);
    setText(facts.written.value, formatBytes(archive.writtenBytes));
    const put = newBlocks + knownBlocks;
    setText(facts.known.value, put === 0 ? "–" : `${trimmed((knownBlocks / put) * 100)} % of ${formatCount(put)}`);
    const { hits, misses } = archive.cache;
    setText(facts.cache.value, formatHits(hits, misses));
    setText(facts.packs.value, `${formatCount(packs)}, ${formatCount(archive.blocks)} blocks`);
    setText(facts.memory.value, `${formatBytes(archive.cache.usedBytes)} of ${formatBytes(archive.cache.limitBytes)}`);
    setText(
      facts.index.value,
      `${formatBytes(archive.indexMemoryBytes)} memory, ${formatBytes(archive.indexDiskBytes)} disk`,
    );
    showTable(volumes.place, "No volumes yet.", volumeColumns(nowMs), archive.volumes);
    const newest = archive.volumes
      .flatMap(({ name, recentSnapshots }) => recentSnapshots.map((snapshot) => ({ ...snapshot, volume: name })))
      .toSorted((a, b) => (a.createdAt < b.createdAt ? 1 : -1))
      .slice(0, SNAPSHOTS_SHOWN);
    const most = Math.max(0, ...newest.map(({ uniqueBytes }) => uniqueBytes));
    showTable(snapshots.place, "No snapshots yet: voe snapshot create.", snapshotColumns(nowMs, most), newest);
  };
  return { root, update };
}
