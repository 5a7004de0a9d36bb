/** How long the binary takes until it serves. */
import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { createBed } from "../support/server-bed.ts";
import { missingForNetworks, titleUnless } from "../support/requirements.ts";

const binary = process.env["VOE_BINARY"] ?? join(import.meta.dir, "../../dist/voe");
const missing = missingForNetworks() ?? (existsSync(binary) ? undefined : `${binary} is not built (npm run build)`);
const target = { shelf: 1, slot: 0 };
const TRIES = 10;
const MOST_MS = 250;

/** Milliseconds from the start of the process, `ip netns exec` included, to its `voe ready` line. */
async function startOnce(namespace: string, config: string): Promise<number> {
  const startMs = performance.now();
  const command = ["ip", "netns", "exec", namespace, binary, "serve", config];
  const child = Bun.spawn(command, { stdout: "pipe", stderr: "pipe" });
  try {
    const decoder = new TextDecoder();
    let output = "";
    for await (const chunk of child.stdout) {
      output += decoder.decode(chunk, { stream: true });
      if (/^voe ready/m.test(output)) return performance.now() - startMs;
    }
    throw new Error(`it ended before it was ready:\n${output}${await new Response(child.stderr).text()}`);
  } finally {
    child.kill("SIGTERM");
    await child.exited;
  }
}

test.skipIf(missing !== undefined).each([
  ["a file", { ...target, size: "8GiB" }],
  ["an empty archive", { ...target, backend: "cas", size: "8GiB" }],
] as const)(
  titleUnless(missing, `the binary serves %s on an interface within ${MOST_MS} ms, in the best of ${TRIES} starts`),
  async (what, served) => {
    await using bed = await createBed([9000]);
    const config = await bed.configure([served]);
    const tookMs: number[] = [];
    // One is enough; more are for a machine that has other work.
    while (tookMs.length < TRIES && !tookMs.some((ms) => ms < MOST_MS)) {
      tookMs.push(await startOnce(bed.namespace, config));
    }
    console.log(`start to "voe ready", ${what}: ${tookMs.map((ms) => `${ms.toFixed(0)} ms`).join(", ")}`);
    expect(Math.min(...tookMs)).toBeLessThan(MOST_MS);
  },
  30_000,
);
