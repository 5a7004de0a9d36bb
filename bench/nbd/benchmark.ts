import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { imageKinds, measureImages, type ImageResult } from "../archive/measure-images.ts";
import { prepareDisk, settleDisk } from "../testbed/disk.ts";
import { busyness, machine, missing } from "../testbed/machine.ts";
import { createNetwork } from "../testbed/network.ts";
import { isWanted } from "../testbed/options.ts";
import { startServer } from "../testbed/server.ts";
import { measureFio, summarise, type FioTarget, type Measurement } from "./fio.ts";
import { nbdTools } from "./image-tools.ts";
import { parseOptions, USAGE, type Options } from "./options.ts";
import { findPeers, uriOf, type Peer } from "./peers.ts";
import { chosenRows, type FioRow } from "./rows.ts";
import { markdown, type Report, type RowResult } from "./table.ts";

const FIRST_PORT = 10_809;

interface Contender {
  readonly peer: Peer;
  readonly target: FioTarget;
  readonly disk: string | null;
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** All servers run at once, and one is asked at a time. */
async function measureRows(
  rows: readonly FioRow[],
  peers: readonly Peer[],
  { options, directory, signal }: { options: Options; directory: string; signal: AbortSignal },
): Promise<RowResult[]> {
  await using network = await createNetwork(0, 1500);
  await using running = new AsyncDisposableStack();
  const contenders: Contender[] = [];
  for (const [i, peer] of peers.entries()) {
    const place = {
      directory: join(directory, peer.name),
      port: FIRST_PORT + i,
      disk: join(directory, `${peer.name}.disk`),
      sizeBytes: options.sizeBytes,
    };
    mkdirSync(place.directory);
    if (peer.usesDisk) prepareDisk(place.disk, options.sizeBytes, "written");
    const namespace = network.serverNamespace;
    const server = running.use(await startServer(peer.name, peer.launch(place), namespace));
    const uri = uriOf(peer, place.port);
    const target = { server, namespace, uri, sizeBytes: options.sizeBytes, directory: place.directory, signal };
    contenders.push({ peer, target, disk: peer.usesDisk ? place.disk : null });
  }

  const measured = new Map<string, Measurement[]>();
  // Round 0 is not counted: voe's code is compiled while it first runs, for about a second of load.
  for (let round = 0; round <= options.rounds; round++) {
    for (const row of rows) {
      // Nobody is always first.
      const first = round % contenders.length;
      for (const { peer, target, disk } of [...contenders.slice(first), ...contenders.slice(0, first)]) {
        const figures = await measureFio(target, row, options.seconds);
        const key = `${row.name} ${peer.name}`;
        if (round > 0) measured.set(key, [...(measured.get(key) ?? []), figures]);
        console.error(`round ${round}/${options.rounds}, ${row.name}: ${peer.name} ${Math.round(figures.iops)}/s`);
        if (disk !== null && row.mode.endsWith("write")) settleDisk(disk);
      }
    }
  }
  return rows.map((row) => ({
    row,
    figures: Object.fromEntries(
      contenders.map(({ peer }) => {
        const rounds = measured.get(`${row.name} ${peer.name}`)!;
        return [peer.name, { median: summarise(rounds), rounds }];
      }),
    ),
  }));
}

/**
 * `bench nbd`: prints the table of NBD beside nbdkit and qemu-nbd, and of images in and out of an archive beside borg,
 * restic and cp, or writes it to `--output`. Returns the exit status: 0, 1 when a measurement failed, 2 when the options
 * are wrong or the machine lacks what it takes.
 */
export async function nbdBenchmark(args: string[]): Promise<number> {
  let options: Options;
  let peers: Peer[];
  try {
    options = parseOptions(args);
    peers = findPeers(options.peers);
  } catch (error) {
    console.error(`bench nbd: ${messageOf(error)}\n${USAGE}`);
    return 2;
  }
  const rows = chosenRows(options.rows);
  const images = imageKinds.filter(({ title }) => isWanted(options.rows, title));
  const lacking = missing("fio", "nbdcopy");
  if (rows.length + images.length === 0) lacking.push("a row: --rows leaves none");
  if (lacking.length > 0) {
    console.error(`bench nbd: cannot run without ${lacking.join(", ")}`);
    return 2;
  }

  const interrupted = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => interrupted.abort(new Error(signal)));
  const directory = mkdtempSync(join(options.directory, "voe-bench-"));
  const description = [...machine(directory), busyness()];
  try {
    const setting = { options, directory, signal: interrupted.signal };
    const results = rows.length === 0 ? [] : await measureRows(rows, peers, setting);
    const imageResults: ImageResult[] = [];
    for (const kind of images) imageResults.push(await measureImages(kind, nbdTools(), setting));
    const { rounds, seconds, sizeBytes } = options;
    const report: Report = {
      date: new Date().toISOString().slice(0, 10),
      machine: description,
      options: { rounds, seconds, sizeBytes },
      peers: Object.fromEntries(peers.map((peer) => [peer.name, peer.description])),
      rows: results,
      images: imageResults,
    };
    const text = options.json ? `${JSON.stringify(report, null, 2)}\n` : markdown(report);
    if (options.output === null) process.stdout.write(text);
    else writeFileSync(options.output, text);
    return 0;
  } catch (error) {
    console.error(`bench nbd: ${messageOf(error)}`);
    return 1;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
