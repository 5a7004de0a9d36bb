/** The targets of a server on archives in a directory, in this process: with all that a server has but its sockets. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseAddress } from "../../src/base/address.ts";
import type { CasBackendConfig, ServerConfig, TargetConfig } from "../../src/config/config.ts";
import type { SnapshotOperations } from "../../src/control/snapshot-operations.ts";
import { archiveSet } from "../../src/server/archive-set.ts";
import { openExposedTargets, type ExposedTargets } from "../../src/server/exposed-targets.ts";
import { snapshotService } from "../../src/server/snapshot-service.ts";
import { openTargets, type TargetSet } from "../../src/server/target-set.ts";
import { createTurns } from "../../src/server/turns.ts";
import type { BlockStorage } from "../../src/storage/block-storage.ts";
import { readSectors, writeSectors } from "./storage-requests.ts";

const MIB = 2 ** 20;

export interface ArchiveBed {
  readonly directory: string;
  readonly stateDirectory: string;
  /** A target of 1 MiB in the store that all share, unless said otherwise. */
  target(name: string, more?: Partial<TargetConfig>, backend?: Partial<CasBackendConfig>): TargetConfig;
  /** Opens what a server does, on what the last one left. */
  start(configs: readonly TargetConfig[]): Promise<RunningBed>;
  remove(): void;
}

export interface RunningBed {
  readonly targets: TargetSet;
  readonly exposed: ExposedTargets;
  readonly operations: SnapshotOperations;
  readonly warnings: readonly string[];
  /** Names of the targets that are served. */
  names(): string[];
  storage(name: string): BlockStorage;
  /** Fills the first 8 sectors of a target with a number, and reads which number that is. */
  fill(name: string, value: number): Promise<void>;
  content(name: string): Promise<number>;
  stop(): Promise<void>;
}

export function createArchiveBed(): ArchiveBed {
  const directory = mkdtempSync(join(tmpdir(), "voe-archive-bed-"));
  const stateDirectory = join(directory, "state");
  const settings: ServerConfig = {
    interfaces: [],
    logLevel: "error",
    stateDir: stateDirectory,
    controlSocket: join(directory, "voe.sock"),
    cacheBytes: 16 * MIB,
    journalBytes: 64 * MIB,
    http: undefined,
  };
  return {
    directory,
    stateDirectory,
    target: (name, more, backend) => ({
      ...parseAddress(name),
      configString: "",
      readOnly: false,
      allowMacs: [],
      allowClients: [],
      sync: { kind: "none" },
      backend: {
        kind: "cas",
        volume: name,
        blockSizeBytes: 4096,
        sizeBytes: MIB,
        hash: "blake3",
        compression: "lz4",
        snapshotEveryMs: undefined,
        blobStore: { type: "file", path: join(directory, "blobs") },
        ...backend,
      },
      ...more,
    }),
    async start(configs) {
      const warnings: string[] = [];
      const report = (_key: string, message: string): void => void warnings.push(message);
      const targets = await openTargets(configs, stateDirectory, archiveSet(settings, report), report);
      const exposed = await openExposedTargets({
        targets,
        configured: configs,
        stateDirectory,
        warn: (message) => warnings.push(message),
      });
      const storage = (name: string): BlockStorage => {
        const target = targets.list.find((served) => served.name === name);
        if (target === undefined) throw new Error(`${name} is not served`);
        return target.aoe.storage;
      };
      return {
        targets,
        exposed,
        operations: snapshotService({ targets, exposed, turns: createTurns(), tell: () => {} }),
        warnings,
        names: () => targets.list.map(({ name }) => name).toSorted(),
        storage,
        fill: (name, value) => writeSectors(storage(name), 0, new Uint8Array(4096).fill(value)),
        async content(name) {
          const values = new Set(await readSectors(storage(name), 0, 8));
          if (values.size !== 1) throw new Error(`${name} is a mixture`);
          return [...values][0]!;
        },
        stop: () => targets.close(),
      };
    },
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}
