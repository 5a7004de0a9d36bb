import { mkdirSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus, release } from "node:os";
import { join } from "node:path";
import { prepareDisk, settleDisk } from "./disk.ts";
import { awaitTarget, measure, summarise, type Address, type Measurement } from "./measure.ts";
import { createNetwork } from "./network.ts";
import { parseOptions, USAGE, type Options } from "./options.ts";
import { findPeers, type Peer } from "./peers.ts";
import { compilePrograms, type Programs } from "./programs.ts";
import { chosenSections, type Section } from "./rows.ts";
import { startServer, type Server } from "./server.ts";
import { markdown, type Report, type SectionResult } from "./table.ts";

const SHELF = 1;
const SLOT = 0;

/** A peer that runs, and how its clients reach it. */
interface Contender {
  readonly peer: Peer;
  readonly server: Server;
  readonly at: Address;
  readonly disk: string | null;
}

interface Setting {
  readonly options: Options;
  readonly programs: Programs;
  readonly directory: string;
  readonly signal: AbortSignal;
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Measures one section: all its servers run at once, and one is asked at a time. */
async function runSection(section: Section, peers: readonly Peer[], setting: Setting): Promise<SectionResult> {
  const { options, programs, directory, signal } = setting;
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
      floor: programs.floor,
    };
    mkdirSync(place.directory);
    const launch = peer.launch(place, sync);
    if (!launch) continue;
    if (peer.usesDisk) prepareDisk(place.disk, options.sizeBytes, options.preparation);
    const server = running.use(await startServer(peer.name, launch, network.serverNamespace));
    const at = { namespace: network.clientNamespace, interface: place.interface, shelf: SHELF, slot: SLOT };
    await awaitTarget(programs, server, at, signal);
    contenders.push({ peer, server, at, disk: peer.usesDisk ? place.disk : null });
  }

  const measured = new Map<string, Measurement[]>();
  // Round 0 is not counted: voe's code is compiled while it first runs, for about a second of load.
  for (let round = 0; round <= options.rounds; round++) {
    for (const row of rows) {
      // Nobody is always first.
      const first = round % contenders.length;
      for (const { peer, server, at, disk } of [...contenders.slice(first), ...contenders.slice(0, first)]) {
        const figures = await measure(programs, server, at, row, options.seconds, signal);
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

const FILESYSTEMS: Record<number, string> = {
  0xef53: "ext4",
  0x58465342: "xfs",
  0x9123683e: "btrfs",
  0x01021994: "tmpfs",
};

const machine = (directory: string): string[] => {
  const type = statfsSync(directory).type;
  const filesystem = FILESYSTEMS[type] ?? `filesystem 0x${type.toString(16)}`;
  return [
    `Linux ${release()}, ${availableParallelism()} cores of ${cpus()[0]?.model ?? "an unknown processor"}.`,
    `Disks on ${filesystem}.`,
  ];
};

const missing = (): string[] => [
  ...(process.getuid?.() === 0 ? [] : ["root (for network namespaces and raw sockets)"]),
  ...["ip", "taskset", "gcc"].filter((tool) => Bun.which(tool) === null),
  ...(availableParallelism() < 2 ? ["a second core (one for the server, one for the client)"] : []),
];

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
    const programs = await compilePrograms(directory);
    const setting = { options, programs, directory, signal: interrupted.signal };
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
