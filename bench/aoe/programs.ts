import { $ } from "bun";
import { join } from "node:path";

export interface Programs {
  /** The load generator, load.c. */
  readonly load: string;
  /** The floor, floor.c. */
  readonly floor: string;
}

/** Compiles the C programs of the benchmark into a directory. Throws with the compiler's words when that fails. */
export async function compilePrograms(directory: string): Promise<Programs> {
  const programs = { load: join(directory, "load"), floor: join(directory, "floor") };
  const sources: [string, string[]][] = [
    [programs.load, ["load.c"]],
    [programs.floor, ["floor.c", "floor-packet.c", "floor-xdp.c"]],
  ];
  for (const [program, files] of sources) {
    const { exitCode, stderr } = await $`gcc -O2 -o ${program} ${files}`
      .cwd(import.meta.dir)
      .nothrow()
      .quiet();
    if (exitCode !== 0) throw new Error(`gcc failed on bench/aoe/${files[0]}: ${stderr.toString().trim()}`);
  }
  return programs;
}
