/** What every blob store does, wherever it keeps its blobs: the comments of src/blob/blob-store.ts as tests. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { allocateMemory, freeMemory } from "../../ffi/memory.ts";
import { BlobStoreError, REF_MOST_BYTES, type BlobInfo, type BlobStore } from "../../src/blob/blob-store.ts";
import { failureOf, getBytes, listAll } from "../support/blob-requests.ts";
import { makeNamedBlob } from "../support/named-blob.ts";
import { reasonOf } from "../support/reason-of.ts";
import { titleUnless } from "../support/requirements.ts";

export interface BlobStoreUnderTest extends AsyncDisposable {
  readonly store: BlobStore;
  /** Opens what the store left behind when it was closed. */
  readonly reopen: () => Promise<BlobStore>;
}

export interface BlobStoreImplementation {
  readonly name: string;
  /** Whether the store refuses what is not named by its hash. */
  readonly checksNames?: boolean;
  /** Why it cannot be tried here. */
  readonly missing?: string | undefined;
  /** Opens an empty store. */
  readonly open: () => Promise<BlobStoreUnderTest>;
}

const small = makeNamedBlob(1000, 1);
const ABSENT = "0".repeat(64);
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const bytesOf = (value: string): Uint8Array => new TextEncoder().encode(value);
const aborted = (): AbortSignal => AbortSignal.abort(new Error("no longer wanted"));

export function describeBlobStore({ name, missing, checksNames = false, open }: BlobStoreImplementation): void {
  describe.skipIf(missing !== undefined)(titleUnless(missing, name), () => {
    let under: BlobStoreUnderTest;
    let store: BlobStore;
    beforeEach(async () => {
      under = await open();
      store = under.store;
    });
    afterEach(async () => {
      await store.close();
      await under[Symbol.asyncDispose]();
    });
    const reopen = async (): Promise<void> => {
      await store.close();
      store = await under.reopen();
    };

    test("an empty store has no blobs and no refs", async () => {
      expect(await listAll(store)).toEqual([]);
      expect(await store.listRefs("")).toEqual([]);
    });

    test("a blob reads as it was put, whole and in parts, before and after the store is opened again", async () => {
      await store.put(small.name, small.bytes);
      for (const check of [0, 1]) {
        if (check === 1) await reopen();
        expect(await store.size(small.name)).toBe(1000);
        expect(Buffer.compare(await getBytes(store, small.name, 0, 1000), small.bytes)).toBe(0);
        expect(Buffer.compare(await getBytes(store, small.name, 17, 300), small.bytes.subarray(17, 317))).toBe(0);
        expect(Buffer.compare(await getBytes(store, small.name, 999, 1), small.bytes.subarray(999))).toBe(0);
        expect(await getBytes(store, small.name, 1000, 0)).toEqual(new Uint8Array(0));
        expect(await listAll(store)).toEqual([{ name: small.name, sizeBytes: 1000 }]);
      }
    });

    test("a blob of the size of a pack reads as it was put", async () => {
      const large = makeNamedBlob(17 * 2 ** 20 + 3, 2);
      await store.put(large.name, large.bytes);
      expect(Buffer.compare(await getBytes(store, large.name, 0, large.bytes.length), large.bytes)).toBe(0);
    });

    test("a blob whose cached bytes were forgotten reads as it was put", async () => {
      await store.put(small.name, small.bytes);
      await store.forgetCached(small.name);
      expect(Buffer.compare(await getBytes(store, small.name, 0, 1000), small.bytes)).toBe(0);
    });

    test("what was said to be read soon reads as it was put, and may be anything", async () => {
      const { length } = small.bytes;
      store.willRead?.(small.name, 0, 100);
      await store.put(small.name, small.bytes);
      store.willRead?.(small.name, 0, length);
      expect(Buffer.compare(await getBytes(store, small.name, 0, 10), small.bytes.subarray(0, 10))).toBe(0);
      store.willRead?.(small.name, length - 10, 2 * length);
      expect(Buffer.compare(await getBytes(store, small.name, 0, length), small.bytes)).toBe(0);
    });

    test("a blob of no bytes is one", async () => {
      const empty = makeNamedBlob(0, 0);
      await store.put(empty.name, empty.bytes);
      expect(await store.size(empty.name)).toBe(0);
      expect(await listAll(store)).toEqual([{ name: empty.name, sizeBytes: 0 }]);
    });

    test("the source may be changed once put has resolved", async () => {
      const bytes = small.bytes.slice();
      await store.put(small.name, bytes);
      bytes.fill(0);
      expect(Buffer.compare(await getBytes(store, small.name, 0, 1000), small.bytes)).toBe(0);
    });

    test("putting a blob again changes nothing, also while it is being read", async () => {
      await store.put(small.name, small.bytes);
      // Ceph answers 500 to one in thirty of such reads.
      const read = (): Promise<Uint8Array> =>
        getBytes(store, small.name, 0, 1000).catch((error: unknown) => {
          if (error instanceof BlobStoreError && error.failure === "unavailable") return read();
          throw error;
        });
      const reads = Array.from({ length: 20 }, read);
      await Promise.all([store.put(small.name, small.bytes), store.put(small.name, small.bytes)]);
      for (const bytes of await Promise.all(reads)) expect(Buffer.compare(bytes, small.bytes)).toBe(0);
      expect(await listAll(store)).toEqual([{ name: small.name, sizeBytes: 1000 }]);
    });

    if (checksNames) {
      test("a blob that is not named by its hash is refused, and one that is there stays", async () => {
        expect(await failureOf(store.put(small.name, new Uint8Array(400)))).toBe("unavailable");
        expect(await listAll(store)).toEqual([]);
        await store.put(small.name, small.bytes);
        expect(await failureOf(store.put(small.name, small.bytes.subarray(1)))).toBe("unavailable");
        expect(Buffer.compare(await getBytes(store, small.name, 0, 1000), small.bytes)).toBe(0);
      });
    } else {
      test("putting a blob again heals one that has other content", async () => {
        await store.put(small.name, new Uint8Array(400));
        expect(await getBytes(store, small.name, 0, 400)).toEqual(new Uint8Array(400));
        await store.put(small.name, small.bytes);
        expect(Buffer.compare(await getBytes(store, small.name, 0, 1000), small.bytes)).toBe(0);
      });
    }

    test("puts of one name at the same time all succeed and leave one whole blob", async () => {
      await Promise.all(Array.from({ length: 16 }, () => store.put(small.name, small.bytes)));
      expect(Buffer.compare(await getBytes(store, small.name, 0, 1000), small.bytes)).toBe(0);
      expect(await listAll(store)).toEqual([{ name: small.name, sizeBytes: 1000 }]);
    });

    test("puts, reads and deletes of many names at the same time do not disturb each other", async () => {
      const blobs = Array.from({ length: 60 }, (_, seed) => makeNamedBlob(500 + seed, 100 + seed));
      await Promise.all(
        blobs.map(async ({ name, bytes }, index) => {
          await store.put(name, bytes);
          expect(Buffer.compare(await getBytes(store, name, 0, bytes.length), bytes)).toBe(0);
          if (index % 3 === 0) await store.delete(name);
        }),
      );
      const kept = blobs.filter((_, index) => index % 3 !== 0).map(({ name }) => name);
      expect((await listAll(store)).map(({ name }) => name)).toEqual(kept.toSorted());
    });

    test("a list of 500 blobs names each once, with its size", async () => {
      const expected: BlobInfo[] = [];
      for (let part = 0; part < 5; part++) {
        const blobs = Array.from({ length: 100 }, (_, index) => makeNamedBlob(32 + index, part * 100 + index));
        await Promise.all(blobs.map(({ name, bytes }) => store.put(name, bytes)));
        expected.push(...blobs.map(({ name, bytes }) => ({ name, sizeBytes: bytes.length })));
      }
      expect(await listAll(store)).toEqual(expected.toSorted((one, other) => (one.name < other.name ? -1 : 1)));
    });

    test("a list may be left before its end, and blobs deleted while it goes on", async () => {
      for (let seed = 0; seed < 50; seed++) {
        const blob = makeNamedBlob(10, seed);
        await store.put(blob.name, blob.bytes);
      }
      for await (const _ of store.list()) break;
      let count = 0;
      for await (const { name } of store.list()) {
        await store.delete(name);
        count++;
      }
      expect(count).toBe(50);
      expect(await listAll(store)).toEqual([]);
    });

    test("what is not there is missing, in every operation that reads it", async () => {
      expect(await failureOf(getBytes(store, ABSENT, 0, 1))).toBe("missing");
      expect(await failureOf(store.size(ABSENT))).toBe("missing");
      expect(await failureOf(store.forgetCached(ABSENT))).toBe("missing");
      expect(await failureOf(store.readRef("root"))).toBe("missing");
      expect(await reasonOf(store.size(ABSENT))).toContain(ABSENT);
    });

    test("a read beyond the end is truncated, and says where the blob ends", async () => {
      await store.put(small.name, small.bytes);
      expect(await failureOf(getBytes(store, small.name, 0, 1001))).toBe("truncated");
      expect(await failureOf(getBytes(store, small.name, 1000, 1))).toBe("truncated");
      expect(await failureOf(getBytes(store, small.name, 2 ** 40, 1))).toBe("truncated");
      expect(await reasonOf(getBytes(store, small.name, 990, 20))).toContain("1000");
    });

    test("tryGet gives what get gives, or nothing", async () => {
      await store.put(small.name, small.bytes);
      const memory = allocateMemory(4096);
      await store.get(small.name, 0, 1000, memory, 0);
      memory.bytes.fill(0xee);
      if (store.tryGet(small.name, 100, 200, memory, 50)) {
        expect(Buffer.compare(memory.bytes.subarray(50, 250), small.bytes.subarray(100, 300))).toBe(0);
        expect(memory.bytes[250]).toBe(0xee);
      }
      expect(memory.bytes[49]).toBe(0xee);
      expect(store.tryGet(small.name, 900, 200, memory, 0)).toBe(false);
      expect(store.tryGet(ABSENT, 0, 1, memory, 0)).toBe(false);
      await store.delete(small.name);
      expect(store.tryGet(small.name, 0, 1, memory, 0)).toBe(false);
      freeMemory(memory);
    });

    test("a deleted blob is gone, deleting it again is no failure, and it can be put again", async () => {
      await store.put(small.name, small.bytes);
      await store.delete(small.name);
      await store.delete(small.name);
      await store.delete(ABSENT);
      expect(await failureOf(getBytes(store, small.name, 0, 1))).toBe("missing");
      await reopen();
      expect(await listAll(store)).toEqual([]);
      await store.put(small.name, small.bytes);
      expect(await store.size(small.name)).toBe(1000);
    });

    test("a ref is created once, and keeps what it was created with", async () => {
      expect(await store.createRef("roots/v1/0001", bytesOf("first"))).toBe("created");
      expect(await store.createRef("roots/v1/0001", bytesOf("second"))).toBe("exists");
      expect(text(await store.readRef("roots/v1/0001"))).toBe("first");
      await reopen();
      expect(await store.createRef("roots/v1/0001", bytesOf("third"))).toBe("exists");
      expect(text(await store.readRef("roots/v1/0001"))).toBe("first");
    });

    test("of many that create one ref at the same time, one does, and its content stays", async () => {
      for (let round = 0; round < 10; round++) {
        const ref = `roots/v1/${round}`;
        const outcomes = await Promise.all(
          Array.from({ length: 8 }, (_, writer) => store.createRef(ref, bytesOf(`writer ${writer}`))),
        );
        const created = outcomes.flatMap((outcome, writer) => (outcome === "created" ? [`writer ${writer}`] : []));
        // Where it cannot be one, it is at least one of those that were told so.
        if (store.atomicRefs) expect(created.length).toBe(1);
        expect(created).toContain(text(await store.readRef(ref)));
      }
    });

    test("refs are listed by prefix, sorted, apart from blobs", async () => {
      const names = ["roots/v1/0001", "roots/v1/0002", "roots/v10/0001", "roots/v2/0001", "store-id", "a/b/c/d"];
      for (const ref of names) await store.createRef(ref, bytesOf(ref));
      await store.put(small.name, small.bytes);
      expect(await store.listRefs("")).toEqual(names.toSorted());
      expect(await store.listRefs("roots/v1/")).toEqual(["roots/v1/0001", "roots/v1/0002"]);
      expect(await store.listRefs("roots/v1")).toEqual(["roots/v1/0001", "roots/v1/0002", "roots/v10/0001"]);
      expect(await store.listRefs("roots/v1/0002")).toEqual(["roots/v1/0002"]);
      expect(await store.listRefs("store")).toEqual(["store-id"]);
      expect(await store.listRefs("nothing/of/that")).toEqual([]);
      expect(await listAll(store)).toEqual([{ name: small.name, sizeBytes: 1000 }]);
    });

    test("a deleted ref is gone, deleting it again is no failure, and it can be created again", async () => {
      await store.createRef("roots/v1/0001", bytesOf("first"));
      await store.deleteRef("roots/v1/0001");
      await store.deleteRef("roots/v1/0001");
      await store.deleteRef("never/there");
      expect(await store.listRefs("")).toEqual([]);
      expect(await failureOf(store.readRef("roots/v1/0001"))).toBe("missing");
      expect(await store.createRef("roots/v1/0001", bytesOf("again"))).toBe("created");
      expect(text(await store.readRef("roots/v1/0001"))).toBe("again");
    });

    test("a ref may be empty or of the largest size, and no larger", async () => {
      await store.createRef("empty", new Uint8Array(0));
      expect(await store.readRef("empty")).toEqual(new Uint8Array(0));
      const largest = makeNamedBlob(REF_MOST_BYTES, 9).bytes;
      await store.createRef("largest", largest);
      expect(Buffer.compare(await store.readRef("largest"), largest)).toBe(0);
      expect(await failureOf(store.createRef("larger", new Uint8Array(REF_MOST_BYTES + 1)))).toStartWith("RangeError");
      expect(await store.listRefs("larger")).toEqual([]);
    });

    test("names that would lead elsewhere are refused before anything is done", async () => {
      for (const bad of [
        "",
        "abc",
        "../etc/passwd",
        ABSENT.replace("0", "/"),
        `${ABSENT}0`,
        "A".repeat(64),
        "g".repeat(64),
      ]) {
        expect(await failureOf(store.put(bad, small.bytes))).toStartWith("RangeError");
        expect(await failureOf(getBytes(store, bad, 0, 1))).toStartWith("RangeError");
        expect(await failureOf(store.size(bad))).toStartWith("RangeError");
        expect(await failureOf(store.delete(bad))).toStartWith("RangeError");
      }
      for (const bad of [
        "",
        "/a",
        "a/",
        "a//b",
        "..",
        "a/../b",
        ".hidden",
        "a/b/c/d/e",
        "A",
        "a b",
        "a".repeat(101),
        "ä",
      ]) {
        expect(await failureOf(store.createRef(bad, small.bytes))).toStartWith("RangeError");
        expect(await failureOf(store.readRef(bad))).toStartWith("RangeError");
        expect(await failureOf(store.deleteRef(bad))).toStartWith("RangeError");
      }
      expect(await listAll(store)).toEqual([]);
      expect(await store.listRefs("")).toEqual([]);
    });

    test("a target that is too small is refused", async () => {
      await store.put(small.name, small.bytes);
      const memory = allocateMemory(4096);
      for (const [offset, length, at] of [
        [0, 1000, memory.lengthBytes - 999],
        [0, 1, -1],
        [-1, 1, 0],
        [0, -1, 0],
      ] as const) {
        expect(await failureOf(store.get(small.name, offset, length, memory, at))).toStartWith("RangeError");
        expect(() => store.tryGet(small.name, offset, length, memory, at)).toThrow(RangeError);
      }
      freeMemory(memory);
    });

    test("an operation that was cancelled rejects with the signal's reason and does nothing", async () => {
      await store.put(small.name, small.bytes);
      await store.createRef("kept", small.bytes);
      const other = makeNamedBlob(10, 5);
      const memory = allocateMemory(4096);
      const list = async (): Promise<void> => {
        for await (const _ of store.list(aborted()));
      };
      for (const operation of [
        store.put(other.name, other.bytes, aborted()),
        store.get(small.name, 0, 1, memory, 0, aborted()),
        store.size(small.name, aborted()),
        store.delete(small.name, aborted()),
        store.createRef("new", other.bytes, aborted()),
        store.readRef("kept", aborted()),
        store.listRefs("", aborted()),
        store.deleteRef("kept", aborted()),
        list(),
      ]) {
        expect(await reasonOf(operation)).toBe("no longer wanted");
      }
      expect(await listAll(store)).toEqual([{ name: small.name, sizeBytes: 1000 }]);
      expect(await store.listRefs("")).toEqual(["kept"]);
      freeMemory(memory);
    });

    test("a put that is cancelled under way leaves a whole blob or none", async () => {
      const large = makeNamedBlob(4 * 2 ** 20, 6);
      for (let round = 0; round < 10; round++) {
        const controller = new AbortController();
        const put = failureOf(store.put(large.name, large.bytes, controller.signal));
        for (let turn = 0; turn < round; turn++) await new Promise(setImmediate);
        controller.abort(new Error("enough"));
        const failure = await put;
        if (failure !== undefined) expect(failure).toBe("Error: enough");
        const sizes = (await listAll(store)).map(({ sizeBytes }) => sizeBytes);
        expect(sizes).toEqual(failure === undefined || sizes.length > 0 ? [large.bytes.length] : []);
        if (sizes.length > 0)
          expect(Buffer.compare(await getBytes(store, large.name, 0, large.bytes.length), large.bytes)).toBe(0);
        await store.delete(large.name);
      }
    });
  });
}
