/** The archives of a running server, verified. */
import type { Archive } from "../storage/cas/archive.ts";
import type { VerifyEvent } from "../storage/cas/verify/verify-events.ts";
import type { ArchiveSet } from "./archive-set.ts";
import type { TargetSet } from "./target-set.ts";

export interface AskedVerification {
  /** As in `e1.0`: the archive that this target is in; absent: all of them. */
  readonly target?: string;
  readonly maxDurationMs?: number;
}

/** What begins verifications. It throws where there is no archive of that name. */
export const verificationOf =
  (targets: Pick<TargetSet, "list" | "archiveOf">, archives: Pick<ArchiveSet, "list">) =>
  ({ target, maxDurationMs }: AskedVerification): AsyncGenerator<VerifyEvent, void, undefined> => {
    if (target === undefined) {
      if (archives.list().length === 0)
        throw new Error("this server has no archives, and nothing else has hashes to verify");
      return oneByOne(archives.list(), maxDurationMs);
    }
    const one = targets.archiveOf(target);
    if (one === undefined) throw new Error(noArchive(target, targets));
    return oneByOne([one.archive], maxDurationMs);
  };

/** Each of those that are left may take an equal part of the time that is left. */
async function* oneByOne(
  archives: readonly Archive[],
  maxDurationMs: number | undefined,
): AsyncGenerator<VerifyEvent, void, undefined> {
  const startMs = performance.now();
  for (const [at, archive] of archives.entries()) {
    if (maxDurationMs === undefined) {
      yield* archive.verify();
      continue;
    }
    const leftMs = Math.max(0, maxDurationMs - (performance.now() - startMs));
    yield* archive.verify({ maxDurationMs: leftMs / (archives.length - at) });
  }
}

function noArchive(target: string, targets: Pick<TargetSet, "list" | "archiveOf">): string {
  const names = targets.list.map(({ name }) => name);
  const archived = names.filter((name) => targets.archiveOf(name) !== undefined).join(", ");
  return names.includes(target)
    ? `${target} is no archive, and has no hashes to verify (archives: ${archived || "none"})`
    : `there is no target ${target} (archives: ${archived || "none"})`;
}
