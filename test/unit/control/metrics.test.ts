import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { renderMetrics } from "../../../src/control/metrics.ts";
import { someArchive, someClient, someNbd, someRemote, someReport, someTarget } from "../../support/status-report.ts";

const SAMPLE = /^([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\[\\"n])*",?)+)\})? (-?[0-9.e+]+)$/;

/** What a scraper reads: each sample, under its name, in the order of the text. Throws at a line it cannot read. */
function parse(text: string): Map<string, { labels: string; value: number }[]> {
  const samples = new Map<string, { labels: string; value: number }[]>();
  const types = new Map<string, string>();
  for (const line of text.trimEnd().split("\n")) {
    const [, comment, name = "", rest = ""] = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line) ?? [];
    if (comment === "TYPE") types.set(name, rest);
    if (comment !== undefined) continue;
    const [, sampleName = "", labels = "", value] = SAMPLE.exec(line) ?? [];
    if (value === undefined || !types.has(sampleName)) throw new Error(`not a sample: ${line}`);
    samples.set(sampleName, [...(samples.get(sampleName) ?? []), { labels, value: Number(value) }]);
  }
  return samples;
}

test("every line is a comment or a sample of a declared family, and the text ends in a newline", () => {
  const text = renderMetrics(someReport());
  expect(text.endsWith("\n")).toBe(true);
  expect(parse(text).size).toBeGreaterThan(20);
});

test("each family is declared once, with its samples right behind", () => {
  const text = renderMetrics(someReport({ targets: [someTarget(), someTarget({ name: "e1.1" })] }));
  const declared = [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name);
  expect(new Set(declared).size).toBe(declared.length);
  expect(text).toContain('voe_target_reads_total{target="e1.0"} 1000\nvoe_target_reads_total{target="e1.1"} 1000\n');
});

test("names that end in _total are counters and the others gauges", () => {
  for (const [, name = "", type = ""] of renderMetrics(someReport()).matchAll(/^# TYPE (\S+) (\S+)$/gm)) {
    expect([name, type]).toEqual([name, name.endsWith("_total") ? "counter" : "gauge"]);
  }
});

test("the figures are those of the report", () => {
  const samples = parse(renderMetrics(someReport({ targets: [someTarget({ state: "failed", reason: "EIO" })] })));
  const value = (name: string) => samples.get(name)?.[0]?.value;
  expect(value("voe_target_up")).toBe(0);
  expect(value("voe_target_read_bytes_total")).toBe(8_192_000);
  expect(value("voe_target_allocated_bytes")).toBe(2 ** 31);
  expect(value("voe_interface_dropped_frames_total")).toBe(7);
  expect(value("voe_start_time_seconds")).toBe(1_769_860_800);
  expect(value("voe_clients")).toBe(1);
});

test("an archive's figures are labelled with its store, and those of volumes with their names", () => {
  const samples = parse(renderMetrics(someReport({ archives: [someArchive()] })));
  const store = 'store="the directory /srv/blobs"';
  expect(samples.get("voe_archive_stored_bytes")).toEqual([{ labels: store, value: 2 * 2 ** 30 }]);
  expect(samples.get("voe_archive_known_blocks_total")).toEqual([{ labels: store, value: 3400 }]);
  expect(samples.get("voe_volume_dirty_blocks")).toEqual([{ labels: `${store},volume="e1.0"`, value: 17 }]);
  expect(samples.get("voe_volume_checkpoint_timestamp_seconds")?.[0]?.value).toBe(1_769_860_860);
  expect(samples.get("voe_volume_snapshot_timestamp_seconds")?.[0]?.value).toBe(1_769_860_830);
  expect(samples.get("voe_archive_checkpoint_failing")).toEqual([{ labels: store, value: 0 }]);
});

test("what has not happened yet has no sample, and a failing checkpoint and damage have", () => {
  const verification = { ...someArchive().verification, lastRunAt: "", oldestAt: "", damagedPacks: 2, damagedParts: 1 };
  const checkpoint = { ...someArchive().checkpoint, lastSeconds: null, failed: 3, failure: "ENOSPC" };
  const samples = parse(
    renderMetrics(someReport({ archives: [someArchive({ verification, checkpoint, dedupRatio: null, volumes: [] })] })),
  );
  const value = (name: string) => samples.get(name)?.[0]?.value;
  expect(value("voe_archive_verification_timestamp_seconds")).toBeUndefined();
  expect(value("voe_archive_checkpoint_last_duration_seconds")).toBeUndefined();
  expect(value("voe_archive_dedup_ratio")).toBeUndefined();
  expect(value("voe_archive_damaged")).toBe(3);
  expect(value("voe_archive_checkpoint_failing")).toBe(1);
  expect(value("voe_archive_checkpoint_failures_total")).toBe(3);
  expect([...samples.keys()].filter((name) => name.startsWith("voe_volume_"))).toEqual([]);
});

test("a store far away has its requests by kind, and one on this host has none of that", () => {
  const archive = someArchive({ remote: someRemote({ awaySince: "2026-01-31T12:00:00.000Z", cache: null }) });
  const samples = parse(renderMetrics(someReport({ archives: [archive] })));
  const store = `store="${archive.store}"`;
  expect(samples.get("voe_store_requests_total")).toEqual([
    { labels: `${store},kind="put"`, value: 130 },
    { labels: `${store},kind="get"`, value: 4000 },
    { labels: `${store},kind="ref"`, value: 20 },
    { labels: `${store},kind="other"`, value: 7 },
  ]);
  expect(samples.get("voe_store_away")).toEqual([{ labels: store, value: 1 }]);
  expect(samples.get("voe_store_cache_bytes")).toBeUndefined();
  expect(samples.get("voe_archive_backlog_bytes")?.[0]?.value).toBe(64 * 2 ** 20);
  const local = parse(renderMetrics(someReport({ archives: [someArchive()] })));
  expect([...local.keys()].filter((name) => name.startsWith("voe_store_"))).toEqual([]);
});

test("quotes, backslashes and newlines in a label are escaped", () => {
  const text = renderMetrics(someReport({ targets: [someTarget({ configString: 'a"b\\c\nd' })] }));
  expect(text).toContain(String.raw`config_string="a\"b\\c\nd"`);
  expect(() => parse(text)).not.toThrow();
});

test("no client makes a series of its own, however many there are", () => {
  const clients = Array.from({ length: 50 }, (_, index) => someClient({ mac: `02:00:00:00:00:${index + 10}` }));
  const text = renderMetrics(someReport({ clients }));
  expect(text).not.toContain("02:00:00:00:00:1");
  expect(text).toContain("voe_clients 50\n");
});

test("a server without targets and interfaces declares no empty family", () => {
  const text = renderMetrics(someReport({ targets: [], interfaces: [], clients: [] }));
  expect(text).not.toContain("voe_target_");
  expect([...parse(text).keys()]).toEqual(["voe_build_info", "voe_start_time_seconds", "voe_warnings", "voe_clients"]);
});

test("the operator's page lists every metric, and neither it nor its alerts name one that there is not", () => {
  const page = readFileSync(join(import.meta.dir, "../../../docs/operations.md"), "utf8");
  const monitoring = page.slice(page.indexOf("\n## Monitoring"), page.indexOf("\n## Snapshots"));
  const named = new Set([...monitoring.matchAll(/\bvoe_[a-z_]+/g)].map(([name]) => name));
  expect([...named].toSorted()).toEqual(
    [
      ...parse(renderMetrics(someReport({ nbd: someNbd(), archives: [someArchive({ remote: someRemote() })] }))).keys(),
    ].toSorted(),
  );
});

test("NBD's figures are there where NBD is on, and name no client", () => {
  const samples = parse(renderMetrics(someReport({ nbd: someNbd() })));
  const value = (name: string) => samples.get(name)?.[0]?.value;
  expect(value("voe_nbd_connections")).toBe(1);
  expect(value("voe_nbd_accepted_connections_total")).toBe(7);
  expect(value("voe_nbd_in_flight_requests")).toBe(3);
  expect(renderMetrics(someReport())).not.toContain("voe_nbd");
  expect(renderMetrics(someReport({ nbd: someNbd() }))).not.toMatch(/alice|192\.168/);
});
