import { forEachBounded } from "./bounded-work.ts";
import type { NodePlace, NodeReader } from "./node-reader.ts";
import { blocksUnder, FANOUT, HASH_WORDS, isHole, slotOf } from "./shape.ts";
import { type ChangedNode, copyNode, countChanged, isSlotHole, makeNode, placeHash } from "./tree-node.ts";

/** Nodes that are fetched at a time for one batch of changes. */
const LOADS_MOST = 64;
const HOLE_WORDS = new Int32Array(HASH_WORDS);

/**
 * Changes being made to a tree, from a top that is theirs: it and all nodes made on the way are of one generation, and
 * nodes of others are copied before they are changed. Nobody else sees the changes until the top is put in place.
 */
export class Changes {
  readonly top: ChangedNode;
  /** Changed nodes that were made, and those that they replace. */
  made = 0;
  replaced = 0;
  /** How many blocks more are data, and not holes, than before; undefined where what was there before was not read. */
  allocationChange: number | undefined = 0;
  readonly #reader: NodeReader;
  readonly #blockCount: number;

  constructor(reader: NodeReader, blockCount: number, top: ChangedNode) {
    this.#reader = reader;
    this.#blockCount = blockCount;
    this.top = top;
  }

  /** Sets blocks, ascending, to the hashes among words. Rejects with NodeError, the changes then being half done. */
  async set(blocks: ArrayLike<number>, hashes: Int32Array): Promise<void> {
    let groups: Group[] = [{ parent: this.top, slot: 0, from: 0, to: blocks.length }];
    for (let level = this.top.level - 1; level >= 1; level--) {
      const next: Group[] = [];
      const fill = (node: ChangedNode, group: Group): void => {
        if (level > 1) split(node, group, blocks, next);
        else this.#count(fillLeaf(node, group, blocks, hashes));
      };
      await forEachBounded(groups, LOADS_MOST, (group) => {
        const { parent, slot, from, to } = group;
        if (isSlotHole(parent, slot) && areHoles(hashes, from, to)) return undefined;
        const whole = level === 1 && to - from === FANOUT;
        const node = this.#own(parent, slot, level, whole, blocks[from]!);
        if (node instanceof Promise) return node.then((node) => fill(node, group));
        fill(node, group);
        return undefined;
      });
      groups = next;
    }
  }

  /** Makes holes of blocks. What lies wholly among them is dropped without being read. Rejects with NodeError. */
  async clear(from: number, to: number): Promise<void> {
    // Beyond the end of the volume are holes anyway, so its last nodes lie wholly within what reaches to the end.
    await this.#clearUnder(this.top, 0, 0, from, to === this.#blockCount ? Infinity : to);
  }

  async #clearUnder(parent: ChangedNode, slot: number, first: number, from: number, to: number): Promise<void> {
    if (isSlotHole(parent, slot)) return;
    const level = parent.level - 1;
    if (from <= first && first + blocksUnder(level) <= to) {
      const child = parent.children?.[slot];
      if (child !== undefined && child.hash === undefined) this.replaced += 1 + countChanged(child);
      placeHash(parent, slot, HOLE_WORDS, 0);
      this.#count(level === 0 ? -1 : undefined);
      return;
    }
    const node = await this.#own(parent, slot, level, false, first);
    const step = blocksUnder(level - 1);
    const firstSlot = Math.max(0, Math.floor((from - first) / step));
    const endSlot = Math.min(FANOUT, Math.ceil((to - first) / step));
    for (let at = firstSlot; at < endSlot; at++) await this.#clearUnder(node, at, first + at * step, from, to);
  }

  /** The node under a slot, of this generation: at once where it is in memory, or where all of it will be overwritten. */
  #own(
    parent: ChangedNode,
    slot: number,
    level: number,
    isOverwritten: boolean,
    block: number,
  ): ChangedNode | Promise<ChangedNode> {
    const present = parent.children?.[slot];
    const { generation } = this.top;
    if (present !== undefined) {
      if (present.generation === generation) return present;
      if (present.hash === undefined) this.replaced++;
      return this.#adopt(parent, slot, copyNode(present, generation));
    }
    const at = slot * HASH_WORDS;
    if (isHole(parent.words, at)) return this.#adopt(parent, slot, makeNode(level, generation));
    if (isOverwritten) {
      this.#count(undefined);
      return this.#adopt(parent, slot, makeNode(level, generation));
    }
    const place: NodePlace = { level, firstBlock: block - (block % blocksUnder(level)), blockCount: this.#blockCount };
    const words = this.#reader.tryLoad(parent.words, at, place);
    if (words !== undefined) return this.#adopt(parent, slot, makeNode(level, generation, words));
    return this.#reader
      .load(parent.words, at, place)
      .then((words) => this.#adopt(parent, slot, makeNode(level, generation, words.slice())));
  }

  #count(change: number | undefined): void {
    if (this.allocationChange === undefined || change === undefined) this.allocationChange = undefined;
    else this.allocationChange += change;
  }

  #adopt(parent: ChangedNode, slot: number, node: ChangedNode): ChangedNode {
    this.made++;
    parent.children![slot] = node;
    return node;
  }
}

/** Changes `from` to `to` (exclusive) of a batch, all of which go under one slot. */
interface Group {
  readonly parent: ChangedNode;
  readonly slot: number;
  readonly from: number;
  readonly to: number;
}

function split(parent: ChangedNode, group: Group, blocks: ArrayLike<number>, groups: Group[]): void {
  for (let from = group.from; from < group.to;) {
    const slot = slotOf(blocks[from]!, parent.level);
    let to = from + 1;
    while (to < group.to && slotOf(blocks[to]!, parent.level) === slot) to++;
    groups.push({ parent, slot, from, to });
    from = to;
  }
}

/** Yields how many blocks more are data than before. */
function fillLeaf(leaf: ChangedNode, group: Group, blocks: ArrayLike<number>, hashes: Int32Array): number {
  let change = 0;
  for (let at = group.from; at < group.to; at++) {
    const slot = slotOf(blocks[at]!, 1);
    change += Number(isHole(leaf.words, slot * HASH_WORDS)) - Number(isHole(hashes, at * HASH_WORDS));
    placeHash(leaf, slot, hashes, at * HASH_WORDS);
  }
  return change;
}

function areHoles(hashes: Int32Array, from: number, to: number): boolean {
  for (let at = from; at < to; at++) if (!isHole(hashes, at * HASH_WORDS)) return false;
  return true;
}
