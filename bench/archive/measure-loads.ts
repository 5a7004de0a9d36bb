/** Measures the loads of a section: all its servers run at once, and one is asked at a time. */
import { join } from "node:path";
import { load, measure, summarise, type Extent, type Measurement } from "../testbed/load.ts";
import { median } from "../testbed/median.ts";
import { createNetwork } from "../testbed/network.ts";
import { startContender, type Contender } from "./contenders.ts";
import type { ContenderName, LoadRow, LoadSection } from "./load-sections.ts";
import type { Options } from "./options.ts";
import { dropPageCache } from "./page-cache.ts";

/** What it took after a run of writes until everything was where it is to stay. */
interface Settling {
  readonly seconds: number;
  /** Server CPU per request of the run, the run's own included, in microseconds. */
  readonly cpuUs: number;
}

interface Round {
  readonly measured: Measurement;
  /** Of writes. */
  readonly settling?: Settling;
}

export interface LoadFigures {
  readonly median: Measurement;
  readonly settling?: Settling;
  readonly rounds: readonly Measurement[];
}

export interface LoadResult extends Omit<LoadSection, "rows" | "contenders"> {
  /** What each contender was called with, in the order of the columns. */
  readonly contenders: Readonly<Partial<Record<ContenderName, string>>>;
  readonly rows: readonly { readonly row: LoadRow; readonly figures: Readonly<Record<string, LoadFigures>> }[];
}

export interface Setting {
  readonly options: Options;
  /** Path of the compiled load generator. */
  readonly program: string;
  readonly directory: string;
  readonly signal: AbortSignal;
}

const SECTOR_BYTES = 512;

async function runOnce(contender: Contender, row: LoadRow, section: LoadSection, options: Options): Promise<Round> {
  const { kind } = section;
  const wholeDisk = { requests: Math.floor(options.sizeBytes / (row.sectors * SECTOR_BYTES)) };
  const extent: Extent = kind === "cold" || kind === "sustained" ? wholeDisk : options;
  if (kind === "cold") {
    await contender.stop();
    await dropPageCache();
    await contender.start();
  }
  const { client } = contender;
  const measured = await measure(client, row, extent);
  if (!row.mode.endsWith("write")) return { measured };
  const before = client.server.cpuSeconds();
  const seconds = await contender.settle();
  const settlingUs = ((client.server.cpuSeconds() - before) * 1e6) / measured.requests;
  return { measured, settling: { seconds, cpuUs: measured.cpuUs + settlingUs } };
}

const summariseRounds = (rounds: readonly Round[]): LoadFigures => {
  const measured = rounds.map((round) => round.measured);
  const settlings = rounds.flatMap(({ settling }) => settling ?? []);
  return {
    median: summarise(measured),
    ...(settlings.length === 0
      ? {}
      : {
          settling: {
            seconds: median(settlings.map(({ seconds }) => seconds)),
            cpuUs: median(settlings.map(({ cpuUs }) => cpuUs)),
          },
        }),
    rounds: measured,
  };
};

/** Measures one section. Everything it makes is gone when it is done. */
export async function measureLoads(section: LoadSection, setting: Setting): Promise<LoadResult> {
  const { options, directory, program, signal } = setting;
  const { title, kind, rows } = section;
  await using network = await createNetwork(section.contenders.length, section.mtu);
  await using running = new AsyncDisposableStack();
  const contenders: Contender[] = [];
  for (const [i, name] of section.contenders.entries()) {
    const place = { directory: join(directory, name), network, interface: network.interfaces[i]!, program, signal };
    const contender = running.use(await startContender(name, section, { ...place, sizeBytes: options.sizeBytes }));
    contenders.push(contender);
    if (kind === "warm") {
      const pass = load("seqread", 8, 64);
      await measure(contender.client, pass, { requests: options.sizeBytes / (pass.sectors * SECTOR_BYTES) });
    }
  }

  const measured = new Map<string, Round[]>();
  // Round 0 is not counted: voe's code is compiled while it first runs, for about a second of load. A server that is
  // started for each run has no such round.
  for (let round = kind === "cold" ? 1 : 0; round <= options.rounds; round++) {
    for (const row of rows) {
      // Nobody is always first.
      const first = round % contenders.length;
      for (const contender of [...contenders.slice(first), ...contenders.slice(0, first)]) {
        const result = await runOnce(contender, row, section, options);
        const key = `${row.name} ${contender.name}`;
        if (round > 0) measured.set(key, [...(measured.get(key) ?? []), result]);
        console.error(
          `${title}, round ${round}/${options.rounds}, ${row.name}: ${contender.name} ${Math.round(result.measured.iops)}/s`,
        );
      }
    }
  }
  return {
    ...section,
    contenders: Object.fromEntries(contenders.map(({ name, description }) => [name, description])),
    rows: rows.map((row) => ({
      row,
      figures: Object.fromEntries(
        contenders.map(({ name }) => [name, summariseRounds(measured.get(`${row.name} ${name}`)!)]),
      ),
    })),
  };
}
