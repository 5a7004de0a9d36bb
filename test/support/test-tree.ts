/** Trees for tests: a store, a reader, and content as numbers in a plain Map. */
import { NodeCache } from "../../src/storage/cas/tree/node-cache.ts";
import { NodeReader } from "../../src/storage/cas/tree/node-reader.ts";
import { HOLE, VolumeTree } from "../../src/storage/cas/tree/volume-tree.ts";
import { hashOf, hex, HOLE_HASH, makeTestNodeStore, type TestNodeStore } from "./test-node-store.ts";

/** What each block holds; blocks that are not in it are holes. */
export type Content = ReadonlyMap<number, number> | Readonly<Record<number, number>>;
/** A content that makes a hole. */
export const NOTHING = 0;

export const CACHE_BYTES = 64 * 2 ** 20;

export const makeReader = (store: TestNodeStore, cacheBytes = CACHE_BYTES): NodeReader =>
  new NodeReader(store, new NodeCache(cacheBytes));

export function makeTree(blockCount: number): { store: TestNodeStore; reader: NodeReader; tree: VolumeTree } {
  const store = makeTestNodeStore();
  const reader = makeReader(store);
  return { store, reader, tree: new VolumeTree(reader, blockCount) };
}

/** Changes as `setMany` takes them, of which those with NOTHING make holes. */
export function batchOf(changes: Content): [blocks: number[], hashes: Uint8Array] {
  const entries: (readonly [block: number, content: number])[] =
    changes instanceof Map
      ? [...(changes as ReadonlyMap<number, number>)]
      : Object.entries(changes as Readonly<Record<number, number>>).map(([block, content]) => [Number(block), content]);
  entries.sort(([a], [b]) => a - b);
  const blocks = entries.map(([block]) => block);
  const hashes = new Uint8Array(blocks.length * 32);
  for (const [at, [, content]] of entries.entries()) {
    hashes.set(content === NOTHING ? HOLE_HASH : hashOf(content), at * 32);
  }
  return [blocks, hashes];
}

/** What a lookup finds: the hash in hexadecimal, or "hole". */
export async function lookUp(tree: VolumeTree, block: number): Promise<string> {
  const target = new Uint8Array(32);
  return (await tree.lookup(block, target, 0)) === HOLE ? "hole" : hex(target);
}

export const shown = (content: number | undefined): string =>
  content === undefined || content === NOTHING ? "hole" : hex(hashOf(content));

/** The root of a content, made by the shortest way: one batch into an empty tree. */
export async function rootOf(content: Content, blockCount: number): Promise<string> {
  const { tree } = makeTree(blockCount);
  await tree.setMany(...batchOf(content));
  return hex(await tree.commit());
}

export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}
