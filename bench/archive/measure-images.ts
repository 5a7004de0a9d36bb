/** Images into stores and out again: how long it takes, and what is stored. */
import { $ } from "bun";
import { closeSync, mkdirSync, openSync, rmSync, statSync, truncateSync, writeSync } from "node:fs";
import { join } from "node:path";
import { median } from "../testbed/median.ts";
import { createNetwork, type Network } from "../testbed/network.ts";
import { openTool, type ToolOpener } from "./image-tools.ts";

const MIB = 2 ** 20;

export interface ImageKind {
  readonly title: string;
  readonly about: string;
  make(path: string, sizeBytes: number): Promise<void> | void;
}

function writeRandom(path: string, sizeBytes: number): void {
  const fd = openSync(path, "w");
  const piece = new Uint8Array(MIB);
  try {
    for (let at = 0; at < sizeBytes; at += MIB) {
      for (let part = 0; part < MIB; part += 65_536) crypto.getRandomValues(piece.subarray(part, part + 65_536));
      writeSync(fd, piece, 0, Math.min(MIB, sizeBytes - at), at);
    }
  } finally {
    closeSync(fd);
  }
}

/** tar is ended by the pipe when there is enough. */
async function writeTar(path: string, sizeBytes: number): Promise<void> {
  await $`tar -C / --sort=name -cf - usr 2>/dev/null | head -c ${sizeBytes} > ${path}`.nothrow().quiet();
  const { size } = statSync(path);
  if (size === 0) throw new Error("tar made nothing of /usr");
  // Targets are written in whole sectors.
  truncateSync(path, Math.ceil(size / 512) * 512);
}

export const imageKinds: readonly ImageKind[] = [
  { title: "Image: random", about: "Nothing to compress and nothing twice.", make: writeRandom },
  { title: "Image: a tar of /usr", about: "The beginning of it, names in order.", make: writeTar },
];

/** Seconds, and bytes; those of a tool that is done when it has brought an image in have no `packed`. */
interface Figures {
  readonly inSeconds: number;
  readonly inPackedSeconds?: number;
  readonly storedBytes: number;
  readonly againSeconds: number;
  readonly againPackedSeconds?: number;
  readonly againStoredBytes: number;
  readonly outSeconds: number;
}

export interface ImageResult {
  readonly title: string;
  readonly about: string;
  readonly imageBytes: number;
  /** What each was called with, in the order of the columns. */
  readonly tools: Readonly<Record<string, string>>;
  readonly figures: Readonly<Record<string, { readonly median: Figures; readonly rounds: readonly Figures[] }>>;
}

export interface ImageSetting {
  readonly options: { readonly sizeBytes: number; readonly rounds: number };
  readonly directory: string;
  readonly signal: AbortSignal;
}

async function seconds(work: () => Promise<void>): Promise<number> {
  const began = performance.now();
  await work();
  return (performance.now() - began) / 1000;
}

async function measureTool(
  name: string,
  open: ToolOpener,
  image: string,
  place: { directory: string; network: Network },
  setting: ImageSetting,
): Promise<{ description: string; figures: Figures }> {
  const { options, signal } = setting;
  await using tool = await openTool(open, { ...place, sizeBytes: options.sizeBytes, signal });
  const bringIn = async (copy: 0 | 1): Promise<{ taken: number; packed?: number; stored: number }> => {
    await $`sync`.quiet();
    const taken = await seconds(() => tool.bringIn(image, copy));
    const { settle } = tool;
    const packed = settle === undefined ? {} : { packed: taken + (await seconds(settle)) };
    return { taken, ...packed, stored: await tool.storedBytes() };
  };
  const first = await bringIn(0);
  const again = await bringIn(1);
  await tool.coolDown();
  const out = join(place.directory, "out");
  const outSeconds = await seconds(() => tool.bringOut(out));
  // A figure of wrong data is none.
  const { size } = statSync(image);
  const { exitCode } = await $`cmp --bytes=${size} ${image} ${out}`.nothrow().quiet();
  if (exitCode !== 0) throw new Error(`${name} has brought another image out than in`);
  return {
    description: tool.description,
    figures: {
      inSeconds: first.taken,
      ...(first.packed === undefined ? {} : { inPackedSeconds: first.packed }),
      storedBytes: first.stored,
      againSeconds: again.taken,
      ...(again.packed === undefined ? {} : { againPackedSeconds: again.packed }),
      againStoredBytes: again.stored,
      outSeconds,
    },
  };
}

function medians(rounds: readonly Figures[]): Figures {
  const keys = Object.keys(rounds[0]!) as (keyof Figures)[];
  return Object.fromEntries(keys.map((key) => [key, median(rounds.map((round) => round[key]!))])) as unknown as Figures;
}

/** Measures one kind of image with every tool, which are named for the columns. Everything it makes is gone when it is done. */
export async function measureImages(
  kind: ImageKind,
  openers: ReadonlyMap<string, ToolOpener>,
  setting: ImageSetting,
): Promise<ImageResult> {
  const { options, directory } = setting;
  const place = join(directory, "images");
  mkdirSync(place);
  try {
    const image = join(place, "image");
    await kind.make(image, options.sizeBytes);
    await using network = await createNetwork(1, 9000);
    const names = [...openers.keys()];
    const tools: Record<string, string> = {};
    const rounds = new Map<string, Figures[]>(names.map((name) => [name, []]));
    // Every tool starts anew each time, so no round needs to go uncounted.
    for (let round = 1; round <= options.rounds; round++) {
      const first = round % names.length;
      for (const name of [...names.slice(first), ...names.slice(0, first)]) {
        const { description, figures } = await measureTool(
          name,
          openers.get(name)!,
          image,
          { directory: join(place, name), network },
          setting,
        );
        tools[name] = description;
        rounds.get(name)!.push(figures);
        console.error(
          `${kind.title}, round ${round}/${options.rounds}: ${name} in ${figures.inSeconds.toFixed(2)} s, again ${figures.againSeconds.toFixed(2)} s, out ${figures.outSeconds.toFixed(2)} s`,
        );
      }
    }
    return {
      title: kind.title,
      about: kind.about,
      imageBytes: statSync(image).size,
      tools: Object.fromEntries(names.map((name) => [name, tools[name]!])),
      figures: Object.fromEntries(
        names.map((name) => [name, { median: medians(rounds.get(name)!), rounds: rounds.get(name)! }]),
      ),
    };
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
}
