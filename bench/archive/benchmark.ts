import { mkdtempSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { formatBytes } from "../../src/base/human.ts";
import { busyness, machine, missing } from "../testbed/machine.ts";
import { isWanted } from "../testbed/options.ts";
import { compileLoad } from "../testbed/programs.ts";
import { chosenLoads } from "./load-sections.ts";
import { archiveTools } from "./image-tools.ts";
import { imageKinds, measureImages, type ImageResult } from "./measure-images.ts";
import { measureLoads, type LoadResult, type Setting } from "./measure-loads.ts";
import { measureSnapshots } from "./measure-snapshots.ts";
import { parseOptions, USAGE, type Options } from "./options.ts";
import { markdown, type Report } from "./table.ts";

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Bytes of unique writes that a fast machine may take in a second. */
const WRITTEN_PER_SECOND = 1.2 * 2 ** 30;

/** What the widest section may take: stores keep all that is written to them, round after round. */
function spaceBytes({ rounds, seconds, sizeBytes }: Options): number {
  const unique = 2 * (rounds + 1) * Math.max(1.2 * seconds * WRITTEN_PER_SECOND, sizeBytes);
  return unique + 4 * sizeBytes;
}

function lacking(options: Options, isAnything: boolean): string[] {
  const { bavail, bsize } = statfsSync(options.directory);
  const [need, have] = [spaceBytes(options), bavail * bsize];
  return [
    ...missing("vblade"),
    ...(isAnything ? [] : ["a row: --rows leaves none"]),
    ...(have >= need
      ? []
      : [`${formatBytes(need)} free in ${options.directory}, which has ${formatBytes(have)}: --directory, --rounds`]),
  ];
}

/**
 * `bench archive`: prints the table of the archive beside the file backend, vblade, borg and cp, or writes it to
 * `--output`. Returns the exit status: 0, 1 when a measurement failed, 2 when the options are wrong or the machine lacks
 * what it takes.
 */
export async function archiveBenchmark(args: string[]): Promise<number> {
  let options: Options;
  try {
    options = parseOptions(args);
  } catch (error) {
    console.error(`bench archive: ${messageOf(error)}\n${USAGE}`);
    return 2;
  }
  const sections = chosenLoads(options);
  const takesSnapshots = isWanted(options.rows, "Snapshots");
  const images = imageKinds.filter(({ title }) => isWanted(options.rows, title));
  const lacks = lacking(options, sections.length > 0 || takesSnapshots || images.length > 0);
  if (lacks.length > 0) {
    console.error(`bench archive: cannot run without ${lacks.join(", ")}`);
    return 2;
  }

  const interrupted = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => interrupted.abort(new Error(signal)));
  const directory = mkdtempSync(join(options.directory, "voe-bench-"));
  const description = [...machine(directory), busyness()];
  try {
    const setting: Setting = { options, directory, program: await compileLoad(directory), signal: interrupted.signal };
    const loads: LoadResult[] = [];
    for (const section of sections) loads.push(await measureLoads(section, setting));
    const snapshots = takesSnapshots ? await measureSnapshots(setting) : null;
    const imageResults: ImageResult[] = [];
    for (const kind of images) imageResults.push(await measureImages(kind, archiveTools(), setting));
    const { rounds, seconds, sizeBytes } = options;
    const report: Report = {
      date: new Date().toISOString().slice(0, 10),
      machine: description,
      options: { rounds, seconds, sizeBytes },
      loads,
      snapshots,
      images: imageResults,
    };
    const text = options.json ? `${JSON.stringify(report, null, 2)}\n` : markdown(report);
    if (options.output === null) process.stdout.write(text);
    else writeFileSync(options.output, text);
    return 0;
  } catch (error) {
    console.error(`bench archive: ${messageOf(error)}`);
    return 1;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
