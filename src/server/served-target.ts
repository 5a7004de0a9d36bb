/** A target of the configuration, opened: its storage, and its face on AoE. */
import { formatAddress } from "../base/address.ts";
import { formatDuration } from "../base/duration.ts";
import type { SyncConfig, TargetConfig } from "../config/config.ts";
import type { TargetStatus } from "../control/status.ts";
import { formatMac, parseMac } from "../protocol/aoe/mac.ts";
import { AoeTarget } from "../protocol/aoe/target.ts";
import { SECTOR_BYTES } from "../storage/block-storage.ts";
import { directStorage } from "../storage/file/direct-storage.ts";
import { fileStorage, type FileStorage } from "../storage/file/file-storage.ts";
import { openDevice, openFile } from "../storage/file/medium.ts";
import { openStateStore } from "./aoe/state-store.ts";

export type Report = (key: string, message: string) => void;

export interface ServedTarget {
  /** `e1.0` */
  readonly name: string;
  readonly config: TargetConfig;
  readonly aoe: AoeTarget;
  /** Takes on a larger size: the configured one, or that which the file or device has been given meanwhile. */
  grow(config: TargetConfig): Promise<void>;
  status(): TargetStatus;
  close(): Promise<void>;
}

/** Opens a target. Throws where it cannot be served, with what to do. */
export function openServedTarget(config: TargetConfig, stateDirectory: string, report: Report): ServedTarget {
  const name = formatAddress(config);
  const say: Report = (key, message) => report(`${name}:${key}`, `target ${name}: ${message}`);
  const maskFloor = config.allowMacs.map((mac) => parseMac(mac)!);
  const state = openStateStore(stateDirectory, name, config.configString, maskFloor, say);
  const { path, storage } = openBackend(config, say);
  const aoe = new AoeTarget(config.shelf, config.slot, storage, state.initial, maskFloor, (next) => state.save(next));
  let current = config;
  return {
    name,
    get config() {
      return current;
    },
    aoe,
    async grow(next) {
      await storage.grow(next.backend.kind === "file" ? next.backend.sizeBytes : undefined);
      current = next;
    },
    status: () => ({
      name,
      shelf: config.shelf,
      slot: config.slot,
      configString: new TextDecoder().decode(aoe.state.configString),
      backend: config.backend.kind,
      path,
      sizeBytes: storage.info.sectorCount * SECTOR_BYTES,
      readOnly: storage.info.readOnly,
      sync: formatSync(config.sync),
      state: storage.failure === undefined ? "ok" : "failed",
      reason: storage.failure ?? "",
      ...aoe.counters,
      space: { allocatedBytes: storage.allocatedBytes() },
      reservations: aoe.state.reservations.map(formatMac),
      maskList: aoe.state.mask.map(formatMac),
    }),
    close: () => storage.close(),
  };
}

const formatSync = (sync: SyncConfig): string =>
  sync.kind === "interval" ? formatDuration(sync.intervalMs) : sync.kind;

function openBackend(config: TargetConfig, report: Report): { path: string; storage: FileStorage } {
  const { backend, readOnly, sync } = config;
  switch (backend.kind) {
    case "file": {
      const medium = openFile(backend.path, backend.sizeBytes, readOnly);
      if (medium.notice !== undefined) report("notice", medium.notice);
      return { path: medium.path, storage: fileStorage(medium, { sync, report }) };
    }
    case "device": {
      const medium = openDevice(backend.path, readOnly, backend.direct);
      const open = backend.direct ? directStorage : fileStorage;
      return { path: medium.path, storage: open(medium, { sync, report }) };
    }
    default:
      throw new Error('backend = "cas": this version serves files and devices, and no archives yet');
  }
}
