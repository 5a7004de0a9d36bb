import { COMMIT, VERSION } from "../base/version.ts";
import type { StatusReport } from "../control/status.ts";
import { formatMac, readMac } from "../protocol/aoe/mac.ts";
import type { AoeServer } from "./aoe/aoe-server.ts";
import { archiveStatus, archiveWarnings } from "./archive-status.ts";
import type { ArchiveSet } from "./archive-set.ts";
import type { NbdServer } from "./nbd/nbd-server.ts";
import type { TargetSet } from "./target-set.ts";

/** Returns what builds the status report of this process whenever it is asked for. */
export function statusReporter(
  targets: TargetSet,
  archives: ArchiveSet,
  aoe: AoeServer | undefined,
  nbd: NbdServer | undefined,
  warnings: () => readonly string[],
): () => StatusReport {
  const startedMs = performance.now();
  const startedAt = new Date().toISOString();
  return () => {
    const nowMs = performance.now();
    const targetStatuses = targets.list.map((target) => target.status());
    const archiveStatuses = archives
      .list()
      .map((archive) => archiveStatus(archive, targets.list, archives.remote(archive)));
    const interfaces = aoe?.interfaces() ?? [];
    return {
      version: VERSION,
      commit: COMMIT,
      pid: process.pid,
      startedAt,
      uptimeSeconds: (nowMs - startedMs) / 1000,
      reportedAt: new Date().toISOString(),
      interfaces: interfaces.map(({ name, info, sectorsPerFrame, counters }) => ({
        name,
        mac: info === undefined ? "" : formatMac(readMac(info.mac, 0)),
        mtuBytes: info?.mtuBytes ?? 0,
        up: info?.running ?? false,
        sectorsPerFrame,
        ...counters,
      })),
      nbd: nbd?.status() ?? null,
      targets: targetStatuses,
      archives: archiveStatuses,
      clients: (aoe?.clients() ?? [])
        .map((client) => ({
          mac: formatMac(client.mac),
          interface: client.interfaceName,
          target: client.target,
          requests: client.requests,
          readBytes: client.readBytes,
          writtenBytes: client.writtenBytes,
          lastSeenSecondsAgo: Math.max(0, (nowMs - client.lastSeenMs) / 1000),
        }))
        .toSorted((a, b) => a.lastSeenSecondsAgo - b.lastSeenSecondsAgo),
      warnings: [
        ...warnings(),
        ...interfaces.filter(({ info }) => info === undefined).map(({ name }) => `interface ${name} does not exist`),
        ...interfaces.filter(({ info }) => info?.running === false).map(({ name }) => `interface ${name} has no link`),
        ...targetStatuses
          .filter(({ state }) => state === "failed")
          .map(({ name, reason }) => `target ${name}: ${reason}`),
        ...archiveStatuses.flatMap(archiveWarnings),
      ],
    };
  };
}
