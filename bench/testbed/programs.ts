import { $ } from "bun";
import { join } from "node:path";

/** Compiles C sources, the main one first. Throws with the compiler's words when that fails. */
export async function compile(program: string, sources: readonly string[]): Promise<void> {
  const { exitCode, stderr } = await $`gcc -O2 -o ${program} ${sources}`.nothrow().quiet();
  if (exitCode !== 0) throw new Error(`gcc failed on ${sources[0]}: ${stderr.toString().trim()}`);
}

/** Compiles the load generator, load.c, into a directory, and returns its path. */
export async function compileLoad(directory: string): Promise<string> {
  const program = join(directory, "load");
  await compile(program, [join(import.meta.dir, "load.c")]);
  return program;
}
