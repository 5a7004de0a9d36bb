import { $ } from "bun";
import { writeFileSync } from "node:fs";

/** Writes out everything that is dirty and empties the page cache of the whole machine. Needs root. */
export async function dropPageCache(): Promise<void> {
  await $`sync`.quiet();
  writeFileSync("/proc/sys/vm/drop_caches", "3\n");
}
