/** Roots that were computed by another program in another language. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { hex, sha256 } from "../../../../support/test-node-store.ts";
import { makeTree } from "../../../../support/test-tree.ts";

const path = join(import.meta.dir, "../../../../vectors/archive/tree.txt");
const vectors = [...readFileSync(path, "utf8").matchAll(/^# (.*)\n(\d+) ([0-9a-f]{64})(.*)$/gm)].map(
  ([, title = "", blockCount, root = "", blocks = ""]) => ({
    title,
    blockCount: Number(blockCount),
    root,
    blocks: blocks.trim() === "" ? [] : blocks.trim().split(" "),
  }),
);

test("there are vectors", () => expect(vectors.length).toBe(11));

test.each(vectors.map((vector) => [vector.title, vector] as const))(
  "the root of %s is the known one",
  async (_, vector) => {
    const { tree } = makeTree(vector.blockCount);
    for (const entry of vector.blocks) {
      const [block, value] = entry.split(":").map(Number) as [number, number];
      await tree.set(block, sha256(new Uint8Array(4096).fill(value)));
    }
    expect(hex(await tree.commit())).toBe(vector.root);
  },
);
