import { asWords, copyHash, FANOUT, HASH_BYTES, HASH_WORDS, isHole, NODE_BYTES, NODE_WORDS } from "./shape.ts";

/** Memory of one changed node with what JavaScript takes for it. Measured: 4970 bytes at level 1, where most are, 5970 above. */
export const CHANGED_NODE_BYTES = NODE_BYTES + 1024;

/**
 * A node that was changed since the last commit. What it holds under a slot is the changed child where there is one,
 * else the hash among its words.
 *
 * Changed nodes are persistent in the sense of data structures: only the one who made a node changes its content, and
 * everyone else copies it. So a commit or a reader that holds a tree keeps what it has, at the cost of 4 KiB for each
 * node that is changed meanwhile.
 */
export interface ChangedNode {
  readonly level: number;
  /** The generation of changes in which it was made; see `VolumeTree`. */
  readonly generation: number;
  readonly words: Int32Array;
  /** The same memory. */
  readonly bytes: Uint8Array;
  /** Absent at level 1, where the children are blocks. */
  readonly children: (ChangedNode | undefined)[] | undefined;
  /** Once it is stored: then it is no longer changed, and its parents may replace it by this. */
  hash: Int32Array | undefined;
}

const NO_CHILDREN: readonly undefined[] = Array.from({ length: FANOUT }, () => undefined);

/** A changed node with these words, which become its own. */
export function makeNode(
  level: number,
  generation: number,
  words: Int32Array = new Int32Array(NODE_WORDS),
  children: readonly (ChangedNode | undefined)[] = NO_CHILDREN,
): ChangedNode {
  const bytes = new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
  return { level, generation, words, bytes, children: level === 1 ? undefined : [...children], hash: undefined };
}

/**
 * What stands above the root, as if it were a node with a single slot: the root needs no rules of its own, and a tree
 * is one object. Its level is that of the root plus 1.
 */
export const makeTop = (level: number, generation: number, rootWords: Int32Array): ChangedNode =>
  makeNode(level, generation, rootWords, [undefined]);

export const copyNode = (node: ChangedNode, generation: number): ChangedNode =>
  makeNode(node.level, generation, node.words.slice(), node.children);

/** Whether nothing is under the slot. */
export const isSlotHole = (node: ChangedNode, slot: number): boolean =>
  node.children?.[slot] === undefined && isHole(node.words, slot * HASH_WORDS);

/** Puts a hash, or a hole, under the slot. */
export function placeHash(node: ChangedNode, slot: number, hash: Int32Array, at: number): void {
  copyHash(hash, at, node.words, slot * HASH_WORDS);
  if (node.children !== undefined) node.children[slot] = undefined;
}

/** The words of the hash that a store returned, checked. Throws where it is none. */
export function storedHash(hash: Uint8Array): Int32Array {
  const words = hash.length === HASH_BYTES ? asWords(hash.slice()) : undefined;
  if (words === undefined || isHole(words, 0)) {
    throw new Error(
      `the block store returned ${Buffer.from(hash).toString("hex")} as the hash of a node: not ${HASH_BYTES} bytes, or ` +
        "all zeros, which stands for a hole",
    );
  }
  return words;
}

/** Changed nodes under this one, of which those already stored are replaced by their hashes. */
export function countChanged(node: ChangedNode): number {
  if (node.children === undefined) return 0;
  let count = 0;
  for (let slot = 0; slot < node.children.length; slot++) {
    const child = node.children[slot];
    if (child === undefined) continue;
    if (child.hash === undefined) count += 1 + countChanged(child);
    else placeHash(node, slot, child.hash, 0);
  }
  return count;
}
