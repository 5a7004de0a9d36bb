import { forEachBounded } from "./bounded-work.ts";
import type { NodeReader } from "./node-reader.ts";
import { HASH_WORDS, isEmptyNode } from "./shape.ts";
import { type ChangedNode, placeHash, storedHash } from "./tree-node.ts";

/** Nodes that are with the store at a time, for it to hash and pack as it sees fit. */
const PUTS_MOST = 32;
const HOLE_WORDS = new Int32Array(HASH_WORDS);

/**
 * Stores the changed nodes under a top, level by level from the bottom, in ascending order of their blocks within a
 * level: no node is put before all nodes of the levels below it were taken by the store. Nodes that hold nothing become
 * holes. Tells of every node that is changed no more. Rejects with the first failure, what was stored until then being
 * stored, and the tree holding what it held.
 */
export async function storeChanged(top: ChangedNode, reader: NodeReader, onClean: () => void): Promise<void> {
  const levels: Placed[][] = Array.from({ length: top.level }, () => []);
  collect(top, levels);
  for (const level of levels) {
    await forEachBounded(level, PUTS_MOST, (placed) => {
      const { node, parent, slot } = placed;
      if (isEmptyNode(node.words)) {
        node.hash = HOLE_WORDS;
        placeHash(parent, slot, HOLE_WORDS, 0);
        onClean();
        return undefined;
      }
      const taken = (returned: Uint8Array): void => {
        const hash = storedHash(returned);
        node.hash = hash;
        placeHash(parent, slot, hash, 0);
        reader.cache.insert(hash, 0, node.words);
        onClean();
      };
      const returned = reader.store.put(node.bytes);
      if (returned instanceof Promise) return returned.then(taken);
      taken(returned);
      return undefined;
    });
  }
}

interface Placed {
  readonly node: ChangedNode;
  readonly parent: ChangedNode;
  readonly slot: number;
}

/** Changed nodes by level, in the order of their blocks; those that an earlier commit has stored are put in place. */
function collect(parent: ChangedNode, levels: Placed[][]): void {
  if (parent.children === undefined) return;
  for (let slot = 0; slot < parent.children.length; slot++) {
    const node = parent.children[slot];
    if (node === undefined) continue;
    if (node.hash !== undefined) {
      placeHash(parent, slot, node.hash, 0);
      continue;
    }
    levels[node.level]!.push({ node, parent, slot });
    collect(node, levels);
  }
}
