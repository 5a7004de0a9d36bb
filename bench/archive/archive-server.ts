/** A voe with archives to measure: its configuration, and what is asked of it beside its disks. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { request } from "../../src/control/client.ts";
import type { StatusReport } from "../../src/control/status.ts";
import type { Launch } from "../testbed/server.ts";
import { controlSocketIn, nbdTable, voeCommand, writeVoeConfig } from "../testbed/voe.ts";

export interface ArchiveVolumes {
  /** Of configuration, journal and store; made where it is not there. */
  readonly directory: string;
  /** Absent: AoE is off. */
  readonly interface?: string;
  /** Where NBD listens, "127.0.0.1:10809". Absent: it is off. */
  readonly nbd?: string;
  /** One target and volume each: e1.0, e1.1 and so on. */
  readonly volumes: number;
  readonly sizeBytes: number;
  readonly sync: "1s" | "always";
  /** The default unless given. */
  readonly journalBytes?: number;
  readonly cacheBytes?: number;
}

export const SHELF = 1;

export const blobsIn = (directory: string): string => join(directory, "blobs");

const sizeLine = (key: string, bytes: number | undefined): string => (bytes === undefined ? "" : `${key} = ${bytes}\n`);

/** How to start it. */
export function launchArchive(asked: ArchiveVolumes): Launch {
  const { directory, sizeBytes, sync } = asked;
  mkdirSync(directory, { recursive: true });
  const targets = Array.from(
    { length: asked.volumes },
    (_, slot) => `[[target]]
shelf = ${SHELF}
slot = ${slot}
backend = "cas"
sync = "${sync}"

[target.cas]
size = ${sizeBytes}

[target.cas.blob_store]
type = "file"
path = ${JSON.stringify(blobsIn(directory))}
`,
  );
  const server = sizeLine("journal_size", asked.journalBytes) + sizeLine("cache_size", asked.cacheBytes);
  if (asked.nbd !== undefined) targets.push(nbdTable(asked.nbd));
  const config = writeVoeConfig(directory, asked.interface, targets.join("\n"), server);
  return { command: [...voeCommand(), "serve", config], readyLine: "voe ready" };
}

/** Makes a snapshot of e1.SLOT: everything answered before is in packs then. Resolves to how long it took. */
export async function snapshotMs(directory: string, slot = 0): Promise<number> {
  const began = performance.now();
  const where = `/targets/e${SHELF}.${slot}/snapshots`;
  await (await request([controlSocketIn(directory)], where, { method: "POST", body: "{}" })).json();
  return performance.now() - began;
}

/** Bytes of the journal of the only store. */
export async function journalBytes(directory: string): Promise<number> {
  const report = (await (await request([controlSocketIn(directory)], "/status")).json()) as StatusReport;
  return report.archives[0]!.journalBytes;
}
