import type { NodeCache } from "./node-cache.ts";
import { NOT_IN_MEMORY, type NodeStore } from "./node-store.ts";
import { asWords, blocksUnder, copyHash, HASH_BYTES, hashBytes, isEmptyNode, NODE_BYTES, NODE_WORDS } from "./shape.ts";

/** A node of a tree is missing or wrong: the blocks under it cannot be found. Never to be taken for a hole. */
export class NodeError extends Error {
  override readonly name = "NodeError";
  readonly hash: Uint8Array;
  readonly level: number;
  readonly firstBlock: number;
  /** Blocks under the node that are the volume's. */
  readonly blockCount: number;

  constructor(hash: Uint8Array, place: NodePlace, reason: string, cause?: unknown) {
    const blockCount = Math.min(blocksUnder(place.level), place.blockCount - place.firstBlock);
    super(
      `tree node ${Buffer.from(hash).toString("hex")} (level ${place.level}, blocks ${place.firstBlock} to ` +
        `${place.firstBlock + blockCount - 1}): ${reason}. Run voe verify to learn what else is affected`,
      { cause },
    );
    this.hash = hash;
    this.level = place.level;
    this.firstBlock = place.firstBlock;
    this.blockCount = blockCount;
  }
}

/** Where in which volume a node belongs. */
export interface NodePlace {
  readonly level: number;
  readonly firstBlock: number;
  /** Blocks of the whole volume. */
  readonly blockCount: number;
}

/** Nodes by hash, from the cache or from the store, checked for what a node must be. One for all trees of a store. */
export class NodeReader {
  readonly store: NodeStore;
  readonly cache: NodeCache;
  /** Nodes that were asked of the store. */
  loads = 0;
  readonly #loading = new Map<string, Promise<Int32Array>>();
  readonly #hashWords = new Int32Array(HASH_BYTES / 4);
  readonly #hash = new Uint8Array(this.#hashWords.buffer);
  readonly #nodeWords = new Int32Array(NODE_WORDS);
  readonly #node = new Uint8Array(this.#nodeWords.buffer);

  constructor(store: NodeStore, cache: NodeCache) {
    this.store = store;
    this.cache = cache;
  }

  /**
   * The place in the cache of the node with the hash at `words[at]`, read into it where the store has the node in
   * memory; -1 where it takes `load` to have the node or to learn what is wrong with it. Allocates nothing.
   */
  tryFind(words: Int32Array, at: number): number {
    const place = this.cache.find(words, at);
    if (place !== NOT_IN_MEMORY) return place;
    copyHash(words, at, this.#hashWords, 0);
    if (this.store.tryGet(this.#hash, this.#node) !== NODE_BYTES || isEmptyNode(this.#nodeWords)) return NOT_IN_MEMORY;
    this.loads++;
    return this.cache.insert(this.#hashWords, 0, this.#nodeWords);
  }

  /** A copy of the node where it is in memory, else undefined: then call `load`. Throws NodeError. */
  tryLoad(words: Int32Array, at: number, place: NodePlace): Int32Array | undefined {
    const found = this.tryFind(words, at);
    if (found === NOT_IN_MEMORY) return undefined;
    const node = this.#copy(found);
    this.#check(hashBytes(words, at), node, place);
    return node;
  }

  /** The node, which is then in the cache. Not to be changed, others may have it too. Rejects with NodeError. */
  async load(words: Int32Array, at: number, place: NodePlace): Promise<Int32Array> {
    const inMemory = this.tryLoad(words, at, place);
    if (inMemory !== undefined) return inMemory;
    const hash = hashBytes(words, at);
    const node = await this.#fetch(hash, place);
    this.cache.insert(asWords(hash), 0, node);
    return node;
  }

  /** As `load`, but leaves the cache as it is: for those who read a whole tree, and would empty it of what is used. */
  async read(words: Int32Array, at: number, place: NodePlace): Promise<Int32Array> {
    const found = this.cache.peek(words, at);
    const hash = hashBytes(words, at);
    if (found === NOT_IN_MEMORY) return this.#fetch(hash, place);
    const node = this.#copy(found);
    this.#check(hash, node, place);
    return node;
  }

  #copy(place: number): Int32Array {
    const start = this.cache.wordAt(place);
    return this.cache.wordsAt(place).slice(start, start + NODE_WORDS);
  }

  /** Those who want the same node at the same time share one `get`. */
  async #fetch(hash: Uint8Array, place: NodePlace): Promise<Int32Array> {
    const key = Buffer.from(hash).toString("latin1");
    let loading = this.#loading.get(key);
    if (loading === undefined) {
      loading = this.#get(hash).finally(() => this.#loading.delete(key));
      this.#loading.set(key, loading);
    }
    let node: Int32Array;
    try {
      node = await loading;
    } catch (error) {
      throw new NodeError(hash, place, error instanceof Error ? error.message : String(error), error);
    }
    this.#check(hash, node, place);
    return node;
  }

  async #get(hash: Uint8Array): Promise<Int32Array> {
    this.loads++;
    const bytes = await this.store.get(hash);
    if (bytes.length !== NODE_BYTES) throw new Error(`has ${bytes.length} bytes where a node has ${NODE_BYTES}`);
    const words = asWords(bytes);
    if (isEmptyNode(words)) throw new Error("is all zeros, which is never stored but written as a hole");
    return words;
  }

  /** A node at the right edge must have holes beyond the end of the volume: data there would come up when it grows. */
  #check(hash: Uint8Array, node: Int32Array, place: NodePlace): void {
    const { level, firstBlock, blockCount } = place;
    const used = Math.ceil((blockCount - firstBlock) / blocksUnder(level - 1));
    for (let at = used * (HASH_BYTES / 4); at < NODE_WORDS; at++) {
      if (node[at] !== 0) {
        throw new NodeError(
          hash,
          place,
          `holds something beyond the end of the volume, which has ${blockCount} blocks`,
        );
      }
    }
  }
}
