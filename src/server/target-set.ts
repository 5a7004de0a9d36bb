/** The targets that are served, and how they follow a new configuration. */
import { formatAddress } from "../base/address.ts";
import type { TargetConfig } from "../config/config.ts";
import type { ArchiveSet } from "./archive-set.ts";
import { openServedTarget, type ArchiveVolume, type Report, type ServedTarget } from "./served-target.ts";

/** A protocol that targets are served with. */
export interface TargetFace {
  addTarget(target: ServedTarget): void;
  removeTarget(target: ServedTarget): void;
  /** A target has another size. */
  resized(target: ServedTarget): void;
}

export interface TargetSet {
  readonly list: readonly ServedTarget[];
  /** The archive and the volume in it that a target (`e1.0`) serves; undefined where there is no such target, or it is none. */
  archiveOf(targetName: string): ArchiveVolume | undefined;
  /** Tells a protocol of targets, which knows those there are now, as they change. */
  attach(face: TargetFace): void;
  /**
   * Adds, removes, resizes and reopens targets until they are those of `configs`. Where one cannot be opened, all stay
   * as they were, and it rejects. Returns what has changed, a sentence each.
   */
  follow(configs: readonly TargetConfig[]): Promise<string[]>;
  /** Opens one more. Rejects where it cannot be served. */
  add(config: TargetConfig): Promise<void>;
  /** Closes one of them, for clients as `follow` does. */
  remove(name: string): Promise<void>;
  close(): Promise<void>;
}

/** Opens all targets, or none: throws where one cannot be served. */
export async function openTargets(
  configs: readonly TargetConfig[],
  stateDirectory: string,
  archives: ArchiveSet,
  report: Report,
): Promise<TargetSet> {
  const served = new Map<string, ServedTarget>();
  const faces: TargetFace[] = [];

  const open = async (config: TargetConfig): Promise<void> => {
    const target = await openNamed(config, stateDirectory, archives, report);
    served.set(target.name, target);
    for (const face of faces) face.addTarget(target);
  };
  const close = async (target: ServedTarget): Promise<void> => {
    served.delete(target.name);
    for (const face of faces) face.removeTarget(target);
    await target.close();
  };

  /** Closes some and opens others, or leaves everything as it was. */
  const exchange = async (toClose: readonly ServedTarget[], toOpen: readonly TargetConfig[]): Promise<void> => {
    for (const target of toClose) {
      // One that cannot sync is closed all the same, and must not take the others with it.
      await close(target).catch((error: Error) =>
        report(`${target.name}:close`, `target ${target.name}: ${error.message}`),
      );
    }
    const opened: string[] = [];
    try {
      for (const config of toOpen) {
        await open(config);
        opened.push(formatAddress(config));
      }
    } catch (error) {
      for (const name of opened) await close(served.get(name)!);
      for (const target of toClose) {
        try {
          await open(target.config);
        } catch (again) {
          report(`${target.name}:open`, `${(again as Error).message}. It was served before, and is not any more`);
        }
      }
      throw error;
    } finally {
      await archives.closeUnused().catch((error: Error) => report("archive:close", error.message));
    }
  };

  try {
    for (const config of configs) await open(config);
  } catch (error) {
    for (const target of served.values()) await target.close();
    await archives.closeUnused();
    throw error;
  }

  return {
    get list() {
      return [...served.values()];
    },
    archiveOf: (targetName) => served.get(targetName)?.archive,
    attach: (face) => void faces.push(face),
    async follow(next) {
      const names = new Set(next.map(formatAddress));
      const removed = [...served.values()].filter((target) => !names.has(target.name));
      const added = next.filter((config) => !served.has(formatAddress(config)));
      const kept = next.filter((config) => served.has(formatAddress(config)));
      const changed = kept.filter((config) => !isSameButSize(config, served.get(formatAddress(config))!.config));
      await exchange(
        [...removed, ...changed.map((config) => served.get(formatAddress(config))!)],
        [...changed, ...added],
      );
      const said = [
        ...removed.map((target) => `${target.name} removed`),
        ...added.map((config) => `${formatAddress(config)} added`),
        ...changed.map((config) => `${formatAddress(config)} reopened`),
      ];
      for (const config of kept) {
        const target = served.get(formatAddress(config))!;
        const before = target.aoe.storage.info.sectorCount;
        await target.grow(config);
        if (target.aoe.storage.info.sectorCount === before) continue;
        for (const face of faces) face.resized(target);
        said.push(`${target.name} grew`);
      }
      return said;
    },
    add: (config) => exchange([], [config]),
    async remove(name) {
      const target = served.get(name);
      if (target !== undefined) await exchange([target], []);
    },
    async close() {
      const failures: unknown[] = [];
      for (const target of served.values()) await close(target).catch((error: unknown) => void failures.push(error));
      await archives.closeUnused().catch((error: unknown) => void failures.push(error));
      if (failures.length > 0)
        throw new AggregateError(failures, failures.map((error) => (error as Error).message).join("; "));
    },
  };
}

async function openNamed(
  config: TargetConfig,
  stateDirectory: string,
  archives: ArchiveSet,
  report: Report,
): Promise<ServedTarget> {
  try {
    return await openServedTarget(config, stateDirectory, archives, report);
  } catch (error) {
    throw new Error(`target ${formatAddress(config)}: ${(error as Error).message}`, { cause: error });
  }
}

/** A configuration without what a target can take on while it is served. */
const withoutSize = (config: TargetConfig): unknown => ({
  ...config,
  backend: { ...config.backend, sizeBytes: 0, snapshotEveryMs: 0 },
});

/** Whether two configurations of a target differ at most in its size, which it can take on while it is served. */
function isSameButSize(a: TargetConfig, b: TargetConfig): boolean {
  return Bun.deepEquals(withoutSize(a), withoutSize(b));
}
