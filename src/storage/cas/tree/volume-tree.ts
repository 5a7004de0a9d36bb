import { LATER } from "../../block-storage.ts";
import { Changes } from "./changes.ts";
import { storeChanged } from "./commit.ts";
import type { NodeReader } from "./node-reader.ts";
import {
  asWords,
  blocksUnder,
  copyHash,
  depthOf,
  FANOUT,
  HASH_BYTES,
  HASH_WORDS,
  hashBytes,
  isHole,
  rootWords,
  slotOf,
} from "./shape.ts";
import {
  CHANGED_NODE_BYTES,
  type ChangedNode,
  copyNode,
  countChanged,
  isSlotHole,
  makeNode,
  makeTop,
} from "./tree-node.ts";
import type { TreeRoot } from "./walk.ts";

/** What a lookup says of a block: its hash was filled in. */
export const FOUND = 0;
/** The block was never written, or was discarded: it reads as zeros. */
export const HOLE = -1;

/**
 * The tree of a volume: which block has which hash.
 *
 * Changes and commits take effect in the order in which they were called, changes whole or not at all: a read sees all
 * of a `setMany` or nothing of it, and everything of it once its promise has resolved. A change that is rejected (a
 * node on its way could not be read) has changed nothing.
 *
 * `commit` stores the tree as it stands after the changes that were called before it, and yields the root of exactly
 * that. Meanwhile reads go on, and see the newest changes; changes called after it take effect without waiting for the
 * store, and belong to the next commit. Commits end in the order in which they were called. A commit that is rejected
 * has lost nothing: what it did not store is part of the next one.
 *
 * `set`, `setMany`, `clear` and `grow` need what they are given unchanged until their promise settles.
 */
export class VolumeTree {
  readonly #reader: NodeReader;
  #blockCount: number;
  #top: ChangedNode;
  /** Of the changes that may be made in place: nodes of earlier ones are a commit's, or a failed change's original. */
  #generation = 0;
  #committed: TreeRoot;
  /** Ends when the changes and the beginnings of commits called so far have had their turn. */
  #turn: Promise<unknown> = Promise.resolve();
  /** Ends when the commits called so far have ended. */
  #lastCommit: Promise<unknown> = Promise.resolve();
  #commits = 0;
  /** Being made now. */
  #changes: Changes | undefined;
  #changedNodes = 0;
  #allocationChange: number | undefined = 0;
  /** Whether changes were made during a commit, which makes the count of changed nodes an upper bound until both end. */
  #overlapped = false;

  /** A tree of `blockCount` blocks with this root, 32 zero bytes being that of an empty one. Reads nothing yet. */
  constructor(reader: NodeReader, blockCount: number, root: Uint8Array = new Uint8Array(HASH_BYTES)) {
    this.#reader = reader;
    this.#blockCount = blockCount;
    this.#top = makeTop(depthOf(blockCount) + 1, 0, rootWords(root));
    this.#committed = { root: root.slice(), blockCount };
  }

  get blockCount(): number {
    return this.#blockCount;
  }

  /** The root of the last commit that ended well, or the one the tree was opened with. */
  get committedRoot(): Uint8Array {
    return this.#committed.root.slice();
  }

  /** The tree as it was then, which stays as it is. */
  get committed(): TreeRoot {
    return this.#committed;
  }

  /** Nodes that wait for a commit or are in one; while changes are made during a commit, at most that many. */
  get changedNodes(): number {
    return this.#changedNodes + (this.#changes?.made ?? 0);
  }

  /** Their memory. */
  get changedBytes(): number {
    return this.changedNodes * CHANGED_NODE_BYTES;
  }

  /**
   * How many blocks more are data, and not holes, than at the last `countAllocationFromHere`, or when the tree was
   * opened; undefined where that takes `allocationChange` of diff.ts, since nodes were replaced without being read.
   */
  get allocationChange(): number | undefined {
    return this.#allocationChange;
  }

  countAllocationFromHere(): void {
    this.#allocationChange = 0;
  }

  /**
   * Fills in the hash of a block at `target[at]` and returns FOUND, or returns HOLE, or LATER where it takes `lookup`.
   * Allocates nothing. Throws RangeError for a block beyond the end.
   */
  tryLookup(block: number, target: Uint8Array, at: number): typeof FOUND | typeof HOLE | typeof LATER {
    if (!(block >= 0 && block < this.#blockCount)) throw beyondEnd(block, this.#blockCount);
    let node = this.#top;
    let slot = 0;
    for (;;) {
      const child: ChangedNode | undefined = node.children === undefined ? undefined : node.children[slot];
      if (child === undefined) break;
      node = child;
      slot = slotOf(block, node.level);
    }
    let { words, bytes } = node;
    let word = slot * HASH_WORDS;
    for (let level = node.level - 1; level > 0; level--) {
      if (isHole(words, word)) return HOLE;
      const place = this.#reader.tryFind(words, word);
      if (place < 0) return LATER;
      const { cache } = this.#reader;
      words = cache.wordsAt(place);
      bytes = cache.bytesAt(place);
      word = cache.wordAt(place) + slotOf(block, level) * HASH_WORDS;
    }
    if (isHole(words, word)) return HOLE;
    for (let i = 0, from = word * 4; i < HASH_BYTES; i++) target[at + i] = bytes[from + i]!;
    return FOUND;
  }

  /**
   * As `tryLookup`, reading what is missing from the store: what the block was when this was called. Rejects with
   * NodeError where a node on the way is missing or wrong.
   */
  async lookup(block: number, target: Uint8Array, at: number): Promise<typeof FOUND | typeof HOLE> {
    const known = this.tryLookup(block, target, at);
    if (known !== LATER) return known;
    const blockCount = this.#blockCount;
    let node = this.#top;
    let slot = 0;
    for (let child; (child = node.children?.[slot]) !== undefined; slot = slotOf(block, node.level)) node = child;
    // From here on everything is found by hash, and changes no more.
    const hash = node.words.slice(slot * HASH_WORDS, (slot + 1) * HASH_WORDS);
    for (let level = node.level - 1; level > 0 && !isHole(hash, 0); level--) {
      const firstBlock = block - (block % blocksUnder(level));
      const words = await this.#reader.load(hash, 0, { level, firstBlock, blockCount });
      copyHash(words, slotOf(block, level) * HASH_WORDS, hash, 0);
    }
    if (isHole(hash, 0)) return HOLE;
    target.set(hashBytes(hash, 0), at);
    return FOUND;
  }

  /** Sets the hash of a block, 32 zero bytes making it a hole. Rejects with NodeError, or RangeError beyond the end. */
  set(block: number, hash: Uint8Array): Promise<void> {
    return this.setMany([block], hash);
  }

  /**
   * Sets the hashes of many blocks: `blocks` ascending, `hashes` one after the other, 32 zero bytes making a hole.
   * Rejects with NodeError, or RangeError where the arguments are not as said.
   */
  setMany(blocks: ArrayLike<number>, hashes: Uint8Array): Promise<void> {
    return this.#inTurn(async () => {
      assertAscending(blocks, this.#blockCount);
      if (hashes.length !== blocks.length * HASH_BYTES) {
        throw new RangeError(`${hashes.length} bytes of hashes for ${blocks.length} blocks`);
      }
      if (blocks.length === 0) return;
      await this.#change(blocks[0]!, blocks[blocks.length - 1]!, (changes) => changes.set(blocks, asWords(hashes)));
    });
  }

  /**
   * Makes holes of `count` blocks from `firstBlock` on, in a time that follows from the depth of the tree and not from
   * the count. Rejects with NodeError, or RangeError beyond the end.
   */
  clear(firstBlock: number, count: number): Promise<void> {
    return this.#inTurn(async () => {
      const end = firstBlock + count;
      if (!Number.isInteger(firstBlock) || !Number.isInteger(count)) throw beyondEnd(firstBlock, this.#blockCount);
      if (!(firstBlock >= 0 && count >= 0 && end <= this.#blockCount)) throw beyondEnd(end - 1, this.#blockCount);
      if (count > 0) await this.#change(firstBlock, end - 1, (changes) => changes.clear(firstBlock, end));
    });
  }

  /** Makes the volume larger; the new blocks are holes. Takes constant time. Rejects with RangeError where it shrinks. */
  grow(blockCount: number): Promise<void> {
    return this.#inTurn(() => {
      if (blockCount < this.#blockCount) {
        throw new RangeError(`a volume of ${this.#blockCount} blocks cannot shrink to ${blockCount}`);
      }
      const levels = depthOf(blockCount) + 1 - this.#top.level;
      this.#blockCount = blockCount;
      if (levels === 0) return;
      const { level, words, children } = this.#top;
      const top = makeTop(level + levels, this.#generation, words.slice());
      let under = children![0];
      if (!isSlotHole(this.#top, 0)) {
        for (let added = level; added < level + levels; added++) {
          const node = makeNode(added, this.#generation);
          if (under === undefined) copyHash(words, 0, node.words, 0);
          else node.children![0] = under;
          under = node;
        }
        this.#changedNodes += levels;
        this.#overlapped ||= this.#commits > 0;
      }
      top.children![0] = under;
      this.#top = top;
    });
  }

  /**
   * Stores what has changed and yields the new root; see above for what is in it. Nodes are put level by level from the
   * bottom, by ascending block within a level, a level only when the store has taken all below it. Rejects with what
   * the store's `put` rejected with.
   */
  async commit(): Promise<Uint8Array> {
    const before = this.#lastCommit;
    const beginning = this.#inTurn(() => {
      this.#generation++;
      this.#commits++;
      return { top: this.#top, blockCount: this.#blockCount };
    });
    const ending = beginning.then(async ({ top, blockCount }) => {
      await before;
      try {
        await storeChanged(top, this.#reader, () => this.#changedNodes--);
        this.#committed = { root: hashBytes(top.words, 0), blockCount };
        return this.committedRoot;
      } finally {
        this.#commits--;
        this.#recount();
      }
    });
    this.#lastCommit = settled(ending);
    return ending;
  }

  #inTurn<T>(job: () => T | Promise<T>): Promise<T> {
    const done = this.#turn.then(job);
    this.#turn = settled(done);
    return done;
  }

  /** Makes changes to blocks from `first` to `last`, on a tree beside the present one, which it then replaces. */
  async #change(first: number, last: number, make: (changes: Changes) => Promise<void>): Promise<void> {
    // Within one leaf nothing fails once content has changed, so that may happen in place, without copies.
    const isOneLeaf = Math.floor(first / FANOUT) === Math.floor(last / FANOUT);
    if (!isOneLeaf) this.#generation++;
    const top = this.#top.generation === this.#generation ? this.#top : copyNode(this.#top, this.#generation);
    const changes = new Changes(this.#reader, this.#blockCount, top);
    this.#changes = changes;
    const isDuringCommit = this.#commits > 0;
    try {
      await make(changes);
      this.#top = top;
      const { allocationChange } = changes;
      if (this.#allocationChange === undefined || allocationChange === undefined) this.#allocationChange = undefined;
      else this.#allocationChange += allocationChange;
    } finally {
      this.#changes = undefined;
      // What a commit holds is not gone when it is replaced: the commit takes it off.
      if (this.#top === top) this.#changedNodes += changes.made - (isDuringCommit ? 0 : changes.replaced);
      this.#overlapped ||= isDuringCommit;
      this.#recount();
    }
  }

  /** Where changes and commits overlapped, some nodes are counted twice, or held though stored: put right when quiet. */
  #recount(): void {
    if (!this.#overlapped || this.#commits > 0 || this.#changes !== undefined) return;
    this.#overlapped = false;
    this.#changedNodes = countChanged(this.#top);
  }
}

const settled = (promise: Promise<unknown>): Promise<unknown> => promise.catch(() => undefined);

const beyondEnd = (block: number, blockCount: number): RangeError =>
  new RangeError(`block ${block} of a volume of ${blockCount} blocks`);

function assertAscending(blocks: ArrayLike<number>, blockCount: number): void {
  for (let at = 0, least = 0; at < blocks.length; at++) {
    const block = blocks[at]!;
    if (!Number.isInteger(block) || block < 0 || block >= blockCount) throw beyondEnd(block, blockCount);
    if (block < least) throw new RangeError(`block ${block} at place ${at} of changes that must ascend`);
    least = block + 1;
  }
}
