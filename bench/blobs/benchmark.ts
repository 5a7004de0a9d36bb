import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { RADOSGW_BUCKET, startRadosgw } from "../../test/support/object-stores/radosgw.ts";
import { imageKinds } from "../archive/measure-images.ts";
import { busyness, machine } from "../testbed/machine.ts";
import { voeName } from "../testbed/voe.ts";
import { measureArchive } from "./measure-archive.ts";
import { measureWrapper } from "./measure-wrapper.ts";
import { parseOptions, USAGE, type Options } from "./options.ts";
import { measurePlain, plainClients, type PlainClientName, type PlainFigures } from "./plain-clients.ts";
import { markdown, type Report, type Round } from "./table.ts";

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

const lacking = (): string[] => [
  ...(process.getuid?.() === 0 ? [] : ["root (to drop the page cache)"]),
  ...["radosgw", "ceph-mon", "ceph-osd", "taskset"].filter((tool) => Bun.which(tool) === null),
];

async function measureRound(
  number: number,
  directory: string,
  image: string,
  options: Options,
  signal: AbortSignal,
): Promise<Round> {
  const gateway = await startRadosgw("memstore");
  try {
    const { endpoint, region, credentials } = gateway;
    const bucket = { endpoint, region, credentials, bucket: RADOSGW_BUCKET };
    const names = Object.keys(plainClients) as PlainClientName[];
    const plain: Partial<Record<PlainClientName, PlainFigures>> = {};
    // By turns, so that none of them always comes first.
    const first = number % names.length;
    for (const name of [...names.slice(first), ...names.slice(0, first)]) {
      signal.throwIfAborted();
      plain[name] = await measurePlain(name, bucket, options.sizeBytes);
    }
    const packs = join(directory, "packs");
    const archive = await measureArchive(join(directory, "voe"), image, options.sizeBytes, bucket, signal);
    const wrapperSeconds = await measureWrapper(bucket, "archive/", packs);
    rmSync(packs, { recursive: true });
    console.error(
      `round ${number}/${options.rounds}: uploaded in ${archive.uploadedSeconds.toFixed(2)} s, out in ${archive.outSeconds.toFixed(2)} s`,
    );
    return { plain: plain as Round["plain"], archive, wrapperSeconds };
  } finally {
    await gateway.stop();
  }
}

/**
 * `bench blobs`: prints the table of an archive in an object store beside plain clients, or writes it to `--output`.
 * Returns the exit status: 0, 1 when a measurement failed, 2 when the options are wrong or the machine lacks what it
 * takes.
 */
export async function blobsBenchmark(args: string[]): Promise<number> {
  let options: Options;
  try {
    options = parseOptions(args);
  } catch (error) {
    console.error(`bench blobs: ${messageOf(error)}\n${USAGE}`);
    return 2;
  }
  const lacks = lacking();
  if (lacks.length > 0) {
    console.error(`bench blobs: cannot run without ${lacks.join(", ")}`);
    return 2;
  }
  const interrupted = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => interrupted.abort(new Error(signal)));
  const directory = mkdtempSync(join(options.directory, "voe-bench-"));
  const description = [...machine(directory), busyness()];
  try {
    const image = join(directory, "image");
    await imageKinds[0]!.make(image, options.sizeBytes);
    const rounds: Round[] = [];
    for (let number = 1; number <= options.rounds; number++) {
      rounds.push(await measureRound(number, directory, image, options, interrupted.signal));
    }
    const report: Report = {
      date: new Date().toISOString().slice(0, 10),
      machine: description,
      voe: voeName(),
      sizeBytes: options.sizeBytes,
      rounds,
    };
    const text = options.json ? `${JSON.stringify(report, null, 2)}\n` : markdown(report);
    if (options.output === null) process.stdout.write(text);
    else writeFileSync(options.output, text);
    return 0;
  } catch (error) {
    console.error(`bench blobs: ${messageOf(error)}`);
    return 1;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
