import { copyHash, HASH_WORDS, isSameHash, NODE_BYTES, NODE_WORDS } from "./shape.ts";

/** What a node costs beside its bytes: its hash (32), its links (8), and up to four places in the table (16). */
const OVERHEAD_BYTES = 56;
/** Memory of one node in the cache. */
export const CACHED_NODE_BYTES = NODE_BYTES + OVERHEAD_BYTES;

const CHUNK_NODES = 64;
const NONE = -1;

/**
 * Clean nodes by hash, least recently used first out: one for all trees of a store, since volumes and their snapshots
 * share most of their nodes. A place is a number, so that finding a node allocates nothing; what a place holds is valid
 * until the next `insert`.
 */
export class NodeCache {
  /** The most nodes that are kept: what fits into the limit, and at least one. */
  readonly capacity: number;
  /** Calls of `find` that found their node; what was not found, `NodeReader` counts when it has read it. */
  hits = 0;
  evictions = 0;
  #count = 0;
  readonly #chunks: { words: Int32Array; bytes: Uint8Array }[] = [];
  readonly #hashes: Int32Array;
  /** Neighbours in the order of use. */
  readonly #newer: Int32Array;
  readonly #older: Int32Array;
  #newest = NONE;
  #oldest = NONE;
  /** Open addressing, linear probing: place + 1, or 0 where free. */
  readonly #table: Int32Array;
  readonly #mask: number;

  constructor(limitBytes: number) {
    this.capacity = Math.max(1, Math.floor(limitBytes / CACHED_NODE_BYTES));
    this.#hashes = new Int32Array(this.capacity * HASH_WORDS);
    this.#newer = new Int32Array(this.capacity);
    this.#older = new Int32Array(this.capacity);
    this.#table = new Int32Array(2 ** Math.ceil(Math.log2(this.capacity * 2)));
    this.#mask = this.#table.length - 1;
  }

  get nodeCount(): number {
    return this.#count;
  }

  get usedBytes(): number {
    return this.#count * CACHED_NODE_BYTES;
  }

  /** The place of the node with the hash at `words[at]`, which is from now on the most recently used; -1 if absent. */
  find(words: Int32Array, at: number): number {
    const place = this.peek(words, at);
    if (place === NONE) return NONE;
    this.hits++;
    if (place !== this.#newest) {
      this.#unlink(place);
      this.#linkNewest(place);
    }
    return place;
  }

  /** As `find`, but leaves the order of use as it is: for those who read everything once. */
  peek(words: Int32Array, at: number): number {
    let probe = words[at]! & this.#mask;
    for (;;) {
      const entry = this.#table[probe]!;
      if (entry === 0) return NONE;
      if (isSameHash(this.#hashes, (entry - 1) * HASH_WORDS, words, at)) return entry - 1;
      probe = (probe + 1) & this.#mask;
    }
  }

  /** The words among which the node's are, from `wordAt` on. */
  wordsAt(place: number): Int32Array {
    return this.#chunks[(place / CHUNK_NODES) | 0]!.words;
  }

  bytesAt(place: number): Uint8Array {
    return this.#chunks[(place / CHUNK_NODES) | 0]!.bytes;
  }

  wordAt(place: number): number {
    return (place % CHUNK_NODES) * NODE_WORDS;
  }

  /** Copies a node into the cache, in place of the least recently used one where it is full, and returns its place. */
  insert(words: Int32Array, at: number, node: Int32Array): number {
    const present = this.peek(words, at);
    if (present !== NONE) return present;
    const place = this.#count < this.capacity ? this.#add() : this.#evict();
    copyHash(words, at, this.#hashes, place * HASH_WORDS);
    this.wordsAt(place).set(node, this.wordAt(place));
    this.#linkNewest(place);
    let probe = words[at]! & this.#mask;
    while (this.#table[probe] !== 0) probe = (probe + 1) & this.#mask;
    this.#table[probe] = place + 1;
    return place;
  }

  #add(): number {
    const place = this.#count++;
    if (place % CHUNK_NODES === 0) {
      const words = new Int32Array(Math.min(CHUNK_NODES, this.capacity - place) * NODE_WORDS);
      this.#chunks.push({ words, bytes: new Uint8Array(words.buffer) });
    }
    return place;
  }

  #evict(): number {
    const place = this.#oldest;
    this.evictions++;
    this.#unlink(place);
    let free = this.#hashes[place * HASH_WORDS]! & this.#mask;
    while (this.#table[free] !== place + 1) free = (free + 1) & this.#mask;
    // What follows moves up, unless that would put it before the place where its search begins.
    for (let probe = (free + 1) & this.#mask; this.#table[probe] !== 0; probe = (probe + 1) & this.#mask) {
      const home = this.#hashes[(this.#table[probe]! - 1) * HASH_WORDS]! & this.#mask;
      if (((probe - home) & this.#mask) < ((probe - free) & this.#mask)) continue;
      this.#table[free] = this.#table[probe]!;
      free = probe;
    }
    this.#table[free] = 0;
    return place;
  }

  #unlink(place: number): void {
    const newer = this.#newer[place]!;
    const older = this.#older[place]!;
    if (newer === NONE) this.#newest = older;
    else this.#older[newer] = older;
    if (older === NONE) this.#oldest = newer;
    else this.#newer[older] = newer;
  }

  #linkNewest(place: number): void {
    this.#newer[place] = NONE;
    this.#older[place] = this.#newest;
    if (this.#newest === NONE) this.#oldest = place;
    else this.#newer[this.#newest] = place;
    this.#newest = place;
  }
}
