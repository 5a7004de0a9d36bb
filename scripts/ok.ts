/** The gate before a commit: format, types, lint, dead code, tests, build, and the binary started once. */
import { $ } from "bun";

const steps: [name: string, run: () => Promise<unknown>][] = [
  ["format", () => $`bun fmt --check src ffi test bench scripts`],
  ["types", () => $`bun check`],
  ["lint", () => $`oxlint --type-aware --deny-warnings src ffi test bench scripts`],
  ["dead code", () => $`knip`],
  ["tests", () => $`npm test`],
  ["build", () => $`bun scripts/build.ts`],
  ["binary", () => $`bun scripts/smoke.ts`],
];
for (const [name, run] of steps) {
  const start = performance.now();
  try {
    await run();
  } catch {
    console.error(`ok: ${name} failed`);
    process.exit(1);
  }
  console.log(`ok: ${name} (${((performance.now() - start) / 1000).toFixed(1)} s)`);
}
