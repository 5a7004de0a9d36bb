import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { prepareDisk, settleDisk } from "../testbed/disk.ts";
import { awaitTarget, measure, summarise, type Client, type Measurement } from "../testbed/load.ts";
import { machine, missing } from "../testbed/machine.ts";
import { createNetwork } from "../testbed/network.ts";
import { compile, compileLoad } from "../testbed/programs.ts";
import { startServer } from "../testbed/server.ts";
import { parseOptions, USAGE, type Options } from "./options.ts";
import { findPeers, type Peer } from "./peers.ts";
import { chosenSections, type Section } from "./rows.ts";
import { markdown, type Report, type SectionResult } from "./table.ts";

const SHELF = 1;
const SLOT = 0;

/** A peer that runs, and how its clients reach it. */
interface Contender {
  readonly peer: Peer;
  readonly client: Client;
  readonly disk: string | null;
}

interface Setting {
  readonly options: Options;
  readonly load: string;
  readonly floor: string;
  readonly directory: string;
  readonly signal: AbortSignal;
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Measures one section: all its servers run at once, and one is asked at a time. */
async function runSection(section: Section, peers: readonly Peer[], setting: Setting): Promise<SectionResult> {
  const { options, load, floor, directory, signal } = setting;
  const { mtu, sync, rows } = section;
  await using network = await createNetwork(peers.length, mtu);
  await using running = new AsyncDisposableStack();
  const contenders: Contender[] = [];
  for (const [i, peer] of peers.entries()) {
    const place = {
      interface: network.interfaces[i]!,
      shelf: SHELF,
      slot: SLOT,
      disk: join(directory, `${peer.name}.disk`),
      sizeBytes: options.sizeBytes,
      directory: join(directory, `${peer.name}-${mtu}-${sync}`),
      floor,
    };
    mkdirSync(place.directory);
    const launch = peer.launch(place, sync);
    if (!launch) continue;
    if (peer.usesDisk) prepareDisk(place.disk, options.sizeBytes, options.preparation);
    const server = running.use(await startServer(peer.name, launch, network.serverNamespace));
    const at = { namespace: network.clientNamespace, interface: place.interface, shelf: SHELF, slot: SLOT };
    const client = { program: load, server, at, signal };
    await awaitTarget(client);
    contenders.push({ peer, client, disk: peer.usesDisk ? place.disk : null });
  }

  const measured = new Map<string, Measurement[]>();
  // Round 0 is not counted: voe's code is compiled while it first runs, for about a second of load.
  for (let round = 0; round <= options.rounds; round++) {
    for (const row of rows) {
      // Nobody is always first.
      const first = round % contenders.length;
      for (const { peer, client, disk } of [...contenders.slice(first), ...contenders.slice(0, first)]) {
        const figures = await measure(client, row, options);
        const key = `${row.name} ${peer.name}`;
        if (round > 0) measured.set(key, [...(measured.get(key) ?? []), figures]);
        console.error(
          `round ${round}/${options.rounds}, MTU ${mtu}, sync ${sync}, ${row.name}: ${peer.name} ${Math.round(figures.iops)}/s`,
        );
        if (disk !== null && row.mode.endsWith("write")) settleDisk(disk);
      }
    }
  }
  return {
    mtu,
    sync,
    peers: Object.fromEntries(contenders.map(({ peer }) => [peer.name, peer.describe(sync)])),
    rows: rows.map((row) => ({
      row,
      figures: Object.fromEntries(
        contenders.map(({ peer }) => {
          const rounds = measured.get(`${row.name} ${peer.name}`)!;
          return [peer.name, { median: summarise(rounds), rounds }];
        }),
      ),
    })),
  };
}

/**
 * `bench aoe`: prints the table of the AoE file backend beside its peers, or writes it to `--output`. Returns the exit
 * status: 0, 1 when a measurement failed, 2 when the options are wrong or the machine lacks what it takes.
 */
export async function aoeBenchmark(args: string[]): Promise<number> {
  let options: Options;
  let peers: Peer[];
  try {
    options = parseOptions(args);
    peers = findPeers(options.peers);
  } catch (error) {
    console.error(`bench aoe: ${messageOf(error)}\n${USAGE}`);
    return 2;
  }
  const sections = chosenSections(options);
  const lacking = missing();
  if (sections.length === 0) lacking.push("a row: --rows, --mtu and --sync leave none");
  if (lacking.length > 0) {
    console.error(`bench aoe: cannot run without ${lacking.join(", ")}`);
    return 2;
  }

  const interrupted = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => interrupted.abort(new Error(signal)));
  const directory = mkdtempSync(join(options.directory, "voe-bench-"));
  try {
    const floor = join(directory, "floor");
    await compile(
      floor,
      ["floor.c", "floor-packet.c", "floor-xdp.c"].map((name) => join(import.meta.dir, name)),
    );
    const setting = { options, load: await compileLoad(directory), floor, directory, signal: interrupted.signal };
    const results: SectionResult[] = [];
    for (const section of sections) {
      // Nothing to compare where no peer has this mode.
      const result = await runSection(section, peers, setting);
      if (Object.keys(result.peers).length > 0) results.push(result);
    }
    const { rounds, seconds, preparation, sizeBytes } = options;
    const report: Report = {
      date: new Date().toISOString().slice(0, 10),
      machine: machine(directory),
      options: { rounds, seconds, preparation, sizeBytes },
      sections: results,
    };
    const text = options.json ? `${JSON.stringify(report, null, 2)}\n` : markdown(report);
    if (options.output === null) process.stdout.write(text);
    else writeFileSync(options.output, text);
    return 0;
  } catch (error) {
    console.error(`bench aoe: ${messageOf(error)}`);
    return 1;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
