/** How long a snapshot takes, and how long requests wait because of it. */
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { awaitTarget, load, measure, watch, type Client, type Load } from "../testbed/load.ts";
import { median } from "../testbed/median.ts";
import { createNetwork } from "../testbed/network.ts";
import { ALL_CPUS, startServer } from "../testbed/server.ts";
import { journalBytes, launchArchive, SHELF, snapshotMs } from "./archive-server.ts";
import type { Setting } from "./measure-loads.ts";

/** Volumes are so many times as large as what has changed in them. */
const VOLUME_TIMES = 8;
const UNCHANGED_SNAPSHOTS = 50;
/** What the client goes on with meanwhile: 16 MiB/s, far from what would fill the journal. */
const WRITES_PER_SECOND = 2000;
const WRITING = { ...load("write", 8, 4), name: "writing on" };
/** The client is watched at least so long: before the snapshot begins, and where there is none. */
const WATCHED_MS = 300;

interface Changed {
  readonly snapshotMs: number;
  /** The longest that a request took while the snapshot was made, and in as much time without one. */
  readonly longestMs: number;
  readonly longestWithoutMs: number;
  /** Of the changes, what was still in the journal when the snapshot was asked for. */
  readonly journalBytes: number;
}

export interface SnapshotResult {
  readonly volumeBytes: number;
  readonly changedBytes: number;
  readonly writesPerSecond: number;
  readonly median: Changed;
  readonly rounds: readonly Changed[];
  readonly unchanged: { readonly count: number; readonly medianMs: number; readonly longestMs: number };
}

const medians = (rounds: readonly Changed[]): Changed => {
  const of = (key: keyof Changed): number => median(rounds.map((round) => round[key]));
  return {
    snapshotMs: of("snapshotMs"),
    longestMs: of("longestMs"),
    longestWithoutMs: of("longestWithoutMs"),
    journalBytes: of("journalBytes"),
  };
};

async function changeAndSnapshot(client: Client, directory: string, change: Load, requests: number): Promise<Changed> {
  await measure(client, change, { requests });
  const journal = await journalBytes(directory);
  const { result, longestMs } = await watch(client, WRITING, WRITES_PER_SECOND, async () => {
    await Bun.sleep(WATCHED_MS);
    return snapshotMs(directory);
  });
  // The changes of the time in between are in packs before the other half is watched.
  await snapshotMs(directory);
  const without = await watch(client, WRITING, WRITES_PER_SECOND, () => Bun.sleep(WATCHED_MS + result));
  return { snapshotMs: result, longestMs, longestWithoutMs: without.longestMs, journalBytes: journal };
}

/** Measures snapshots of a changed volume while a client writes on, and of an unchanged one. */
export async function measureSnapshots({ options, directory, program, signal }: Setting): Promise<SnapshotResult> {
  const place = join(directory, "snapshots");
  mkdirSync(place);
  const volumeBytes = options.sizeBytes * VOLUME_TIMES;
  await using network = await createNetwork(1, 9000);
  const interfaceName = network.interfaces[0]!;
  const launch = launchArchive({
    directory: place,
    interface: interfaceName,
    volumes: 1,
    sizeBytes: volumeBytes,
    sync: "1s",
  });
  try {
    await using server = await startServer("archive", launch, network.serverNamespace, ALL_CPUS);
    const at = { namespace: network.clientNamespace, interface: interfaceName, shelf: SHELF, slot: 0 };
    const client = { program, server, at, signal };
    await awaitTarget(client);
    const change = { ...load("write", 8, 16), name: "changing the volume" };
    const requests = options.sizeBytes / (change.sectors * 512);
    const rounds: Changed[] = [];
    // As with loads, round 0 is not counted.
    for (let round = 0; round <= options.rounds; round++) {
      const changed = await changeAndSnapshot(client, place, change, requests);
      if (round > 0) rounds.push(changed);
      console.error(
        `Snapshots, round ${round}/${options.rounds}: ${changed.snapshotMs.toFixed(0)} ms, longest request ${changed.longestMs.toFixed(1)} ms`,
      );
    }
    await snapshotMs(place);
    const unchangedMs: number[] = [];
    for (let i = 0; i < UNCHANGED_SNAPSHOTS; i++) unchangedMs.push(await snapshotMs(place));
    return {
      volumeBytes,
      changedBytes: options.sizeBytes,
      writesPerSecond: WRITES_PER_SECOND,
      median: medians(rounds),
      rounds,
      unchanged: {
        count: UNCHANGED_SNAPSHOTS,
        medianMs: median(unchangedMs),
        longestMs: Math.max(...unchangedMs),
      },
    };
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
}
