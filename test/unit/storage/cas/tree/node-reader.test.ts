import { expect, test } from "bun:test";
import { LATER } from "../../../../../src/storage/block-storage.ts";
import { NodeError } from "../../../../../src/storage/cas/tree/node-reader.ts";
import { VolumeTree } from "../../../../../src/storage/cas/tree/volume-tree.ts";
import { reasonOf } from "../../../../support/reason-of.ts";
import { hashOf, hex } from "../../../../support/test-node-store.ts";
import { lookUp, makeReader, makeTree } from "../../../../support/test-tree.ts";

const target = new Uint8Array(32);

const tampered = async (tamper: (bytes: Uint8Array) => Uint8Array | undefined): Promise<string> => {
  const { store, tree } = makeTree(20_000);
  await tree.set(300, hashOf(1));
  const root = await tree.commit();
  const [leaf] = store.putOrder;
  const damaged = tamper(store.nodes.get(leaf!)!);
  if (damaged === undefined) store.nodes.delete(leaf!);
  else store.nodes.set(leaf!, damaged);
  const reopened = new VolumeTree(makeReader(store), 20_000, root);
  for (const isInMemory of [false, true]) {
    store.isInMemory = isInMemory;
    expect(reopened.tryLookup(300, target, 0)).toBe(LATER);
    expect(reopened.tryLookup(300, target, 0)).toBe(LATER);
    for (const error of [
      await reopened.lookup(300, target, 0).catch((error: unknown) => error),
      await reopened.set(301, hashOf(2)).catch((error: unknown) => error),
    ]) {
      expect(error).toBeInstanceOf(NodeError);
      const { hash, level, firstBlock, blockCount } = error as NodeError;
      expect({ hash: hex(hash), level, firstBlock, blockCount }).toEqual({
        hash: leaf!,
        level: 1,
        firstBlock: 256,
        blockCount: 128,
      });
    }
  }
  const reason = await reasonOf(reopened.lookup(300, target, 0));
  expect(reason).toContain(`tree node ${leaf} (level 1, blocks 256 to 383): `);
  expect(reason).toContain("voe verify");
  // What does not need the node is served all the same.
  expect(await lookUp(reopened, 600)).toBe("hole");
  return reason;
};

test("a missing node is an error that names it and its blocks", async () => {
  expect(await tampered(() => undefined)).toContain("is not in the store");
});
test("a short node is an error", async () => {
  expect(await tampered((bytes) => bytes.slice(0, 4064))).toContain("has 4064 bytes where a node has 4096");
});
test("a long node is an error", async () => {
  expect(await tampered((bytes) => Buffer.concat([bytes, bytes]))).toContain("has 8192 bytes");
});
test("an empty node is an error", async () => {
  expect(await tampered(() => new Uint8Array(0))).toContain("has 0 bytes");
});
test("a node of zeros is an error", async () => {
  expect(await tampered(() => new Uint8Array(4096))).toContain("is all zeros");
});

test("a tree with data beyond the end of the volume is an error", async () => {
  const { store, tree } = makeTree(100);
  await tree.set(99, hashOf(1));
  await tree.set(5, hashOf(1));
  const root = await tree.commit();
  const cut = new VolumeTree(makeReader(store), 99, root);
  expect(await reasonOf(cut.lookup(5, target, 0))).toContain("beyond the end of the volume, which has 99 blocks");
  expect(await reasonOf(cut.set(5, hashOf(2)))).toContain("beyond the end");
  store.isInMemory = true;
  const cutInMemory = new VolumeTree(makeReader(store), 99, root);
  expect(await reasonOf(cutInMemory.set(5, hashOf(2)))).toContain("beyond the end");
});

test("a root that is no hash is refused", () => {
  expect(() => new VolumeTree(makeReader(makeTree(1).store), 10, new Uint8Array(31))).toThrow(RangeError);
});

test("a store that returns no hash fails the commit", async () => {
  for (const wrong of [new Uint8Array(32), new Uint8Array(20).fill(1)]) {
    const { store, tree } = makeTree(10);
    await tree.set(1, hashOf(1));
    store.put = () => wrong;
    expect(await reasonOf(tree.commit())).toContain("as the hash of a node");
  }
});
