/** What of a volume is a hole: what changed since a commit, laid over the tree of that commit, which no longer changes. */
import { SECTOR_BYTES, type Extent } from "../block-storage.ts";
import { extentList } from "../extent-list.ts";
import { CLEAN, ZERO, type DirtyBlocks } from "./dirty-blocks.ts";
import { allocatedRanges } from "./tree/diff.ts";
import type { NodeReader } from "./tree/node-reader.ts";
import type { TreeRoot } from "./tree/walk.ts";

/** Changed blocks that one call looks at, in 3 to 5 ms; the extents it gives end before the next. */
const MOST_CHANGED_BLOCKS = 32768;
/** Nodes of the tree's lowest level that it reads: 1 GiB of data in blocks of 4 KiB. */
const MOST_LEAVES = 2048;

/** Sectors from `from` up to, not including, `to`. */
interface Run {
  readonly from: number;
  readonly to: number;
  readonly isHole: boolean;
}

export interface ExtentSource {
  readonly reader: Pick<NodeReader, "load">;
  readonly tree: TreeRoot;
  readonly blockBytes: number;
  /** What changed since, the newest first. A discarded sector is a hole, one with a place data. */
  readonly layers: readonly DirtyBlocks[];
}

/** As `BlockStorage.extents`, as things are when this is called. Rejects with NodeError. */
export async function treeExtents(
  { reader, tree, blockBytes, layers }: ExtentSource,
  sector: number,
  count: number,
  most: number,
): Promise<Extent[]> {
  const blockSectors = blockBytes / SECTOR_BYTES;
  const list = extentList(most);
  const fromBlock = Math.floor(sector / blockSectors);
  const changed = layers.map((layer) => layer.blocks(fromBlock, Math.ceil((sector + count) / blockSectors)));
  const endBlock = Math.min(...changed.map((blocks) => blocks[MOST_CHANGED_BLOCKS] ?? Infinity));
  const end = Math.min(sector + count, endBlock * blockSectors);
  // Gathered before anything is waited for: what is written meanwhile is as if it came after.
  const runs = layers
    .map((layer, i) => runsOf(layer, changed[i]!, blockSectors, fromBlock, end))
    .reduceRight<Run[]>((under, over) => [...overlaid(under, over)], []);

  let next = 0;
  let at = sector;
  /** The tree says so of the sectors up to `to`, and the runs know better. */
  const addUpTo = (to: number, isHoleInTree: boolean): void => {
    while (at < to && !list.isFull) {
      while (next < runs.length && runs[next]!.to <= at) next++;
      const run = runs[next];
      const isChanged = run !== undefined && run.from <= at;
      const runEnd = Math.min(to, isChanged ? run.to : (run?.from ?? to));
      list.add(runEnd - at, isChanged ? run.isHole : isHoleInTree);
      at = runEnd;
    }
  };
  // Clients ask bit by bit: the nodes stay at hand for the next call.
  let toldBlocks = fromBlock;
  const loading = { read: reader.load.bind(reader) };
  const range = { fromBlock, toBlock: Math.ceil(end / blockSectors), mostLeaves: MOST_LEAVES };
  for await (const { firstBlock, blockCount, isHole } of allocatedRanges(loading, tree, range)) {
    toldBlocks = firstBlock + blockCount;
    addUpTo(Math.min(end, toldBlocks * blockSectors), isHole);
    if (list.isFull) break;
  }
  // A volume that grew since the commit has holes behind its tree.
  if (toldBlocks >= Math.min(range.toBlock, tree.blockCount)) addUpTo(end, true);
  return list.extents;
}

/** What a layer says of the sectors before `end`, ascending: nothing of what did not change. */
function runsOf(layer: DirtyBlocks, blocks: Float64Array, blockSectors: number, fromBlock: number, end: number): Run[] {
  const runs: Run[] = [];
  const zeroed = [...layer.zeroRanges(fromBlock, end / blockSectors)];
  let next = 0;
  for (const block of blocks) {
    for (; next < zeroed.length && zeroed[next]![0] < block; next++) runs.push(zeroRun(zeroed[next]!, blockSectors));
    const endOfBlock = (block + 1) * blockSectors;
    if (block * blockSectors >= end) return runs;
    for (let from = block * blockSectors, to = from; from < endOfBlock; from = to) {
      const kind = kindOf(layer.placeOf(from));
      for (to = from + 1; to < endOfBlock && kindOf(layer.placeOf(to)) === kind;) to++;
      if (kind !== CLEAN) runs.push({ from, to, isHole: kind === ZERO });
    }
  }
  for (; next < zeroed.length; next++) runs.push(zeroRun(zeroed[next]!, blockSectors));
  return runs;
}

const kindOf = (place: number): number => Math.sign(place);

const zeroRun = ([from, to]: readonly [number, number], blockSectors: number): Run => ({
  from: from * blockSectors,
  to: to * blockSectors,
  isHole: true,
});

/** Both lists of runs as one, the upper one before the lower. */
function* overlaid(under: readonly Run[], over: readonly Run[]): Generator<Run, void, undefined> {
  let lower = 0;
  let at = 0;
  /** What is below, from `at` to before `to`. */
  const below = function* (to: number): Generator<Run, void, undefined> {
    for (; lower < under.length && under[lower]!.from < to; lower++) {
      const run = under[lower]!;
      const from = Math.max(run.from, at);
      if (from < Math.min(run.to, to)) yield { from, to: Math.min(run.to, to), isHole: run.isHole };
      if (run.to > to) break;
    }
  };
  for (const run of over) {
    yield* below(run.from);
    yield run;
    at = run.to;
  }
  yield* below(Infinity);
}
