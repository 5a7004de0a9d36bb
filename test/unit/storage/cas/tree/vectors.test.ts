/** Roots that were computed by another program in another language. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { hex, sha256 } from "../../../../support/test-node-store.ts";
import { makeTree } from "../../../../support/test-tree.ts";

interface Case {
  readonly title: string;
  readonly block_count: number;
  readonly blocks: Readonly<Record<string, number>>;
  readonly root: string;
}

const path = join(import.meta.dir, "../../../../vectors/archive/tree.json");
const { cases } = JSON.parse(readFileSync(path, "utf8")) as { cases: Case[] };

test("there are vectors", () => expect(cases.length).toBe(11));

test.each(cases.map((vector) => [vector.title, vector] as const))(
  "the root of %s is the known one",
  async (_, vector) => {
    const { tree } = makeTree(vector.block_count);
    for (const [block, value] of Object.entries(vector.blocks)) {
      await tree.set(Number(block), sha256(new Uint8Array(4096).fill(value)));
    }
    expect(hex(await tree.commit())).toBe(vector.root);
  },
);
