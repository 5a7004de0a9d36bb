/** The archives of a running server, verified one after the other. */
import type { Archive } from "../storage/cas/archive.ts";
import type { VerifyEvent, VerifyOptions } from "../storage/cas/verify/verify-events.ts";

/**
 * As `Archive.verify`. Each of those that are left may take an equal part of the time that is left. Ends with the first
 * that cannot be verified, throwing what is wrong with it.
 */
export async function* verifyArchives(
  archives: readonly Archive[],
  { maxDurationMs, signal }: VerifyOptions,
): AsyncGenerator<VerifyEvent, void, undefined> {
  const startMs = performance.now();
  for (const [at, archive] of archives.entries()) {
    const leftMs = maxDurationMs === undefined ? undefined : maxDurationMs - (performance.now() - startMs);
    yield* archive.verify({
      ...(leftMs === undefined ? {} : { maxDurationMs: Math.max(0, leftMs / (archives.length - at)) }),
      ...(signal === undefined ? {} : { signal }),
    });
  }
}
