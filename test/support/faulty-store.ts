/** A blob store in memory that is far away: it fails, loses answers and holds requests back as a test says. */
import { BlobStoreError, type BlobFailure, type BlobStore } from "../../src/blob/blob-store.ts";
import { createMemoryStore, emptyContents, type MemoryStoreContents } from "../../src/blob/memory-store.ts";

export interface FaultyStore {
  readonly store: BlobStore;
  readonly contents: MemoryStoreContents;
  /** What was asked for, in order: `get NAME 0+4096`, with names cut to 8 digits. */
  readonly requests: string[];
  /** What the next operations fail with, one after the other, before they do anything. */
  readonly failures: BlobFailure[];
  /** How many of the next operations are done, and answered with `unavailable` all the same. */
  lostAnswers: number;
  /** How many of the next listings break off after their first blob. */
  brokenListings: number;
  /** While true, every operation waits for `release`. */
  held: boolean;
  /** Lets what waits go on. */
  release(): void;
  readonly waiting: number;
}

export function faultyStore(contents: MemoryStoreContents = emptyContents()): FaultyStore {
  const inner = createMemoryStore(contents);
  const holders: (() => void)[] = [];

  const operate = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
    faulty.requests.push(what);
    if (faulty.held) await new Promise<void>((resolve) => void holders.push(resolve));
    const failure = faulty.failures.shift();
    if (failure !== undefined) throw new BlobStoreError(failure, `${what} failed as it was told to`);
    const result = await work();
    if (faulty.lostAnswers === 0) return result;
    faulty.lostAnswers--;
    throw new BlobStoreError("unavailable", `the answer to ${what} was lost`);
  };
  const short = (name: string): string => name.slice(0, 8);

  const faulty: FaultyStore = {
    contents,
    requests: [],
    failures: [],
    lostAnswers: 0,
    brokenListings: 0,
    held: false,
    release() {
      for (const holder of holders.splice(0)) holder();
    },
    get waiting() {
      return holders.length;
    },
    store: {
      ...inner,
      description: "a store far away",
      put: (name, bytes, signal) => operate(`put ${short(name)}`, () => inner.put(name, bytes, signal)),
      get: (name, offsetBytes, lengthBytes, target, at, signal) =>
        operate(`get ${short(name)} ${offsetBytes}+${lengthBytes}`, () =>
          inner.get(name, offsetBytes, lengthBytes, target, at, signal),
        ),
      tryGet: () => false,
      forgetCached: (name, signal) => operate(`forget ${short(name)}`, () => inner.forgetCached(name, signal)),
      size: (name, signal) => operate(`size ${short(name)}`, () => inner.size(name, signal)),
      async *list(signal) {
        await operate("list", async () => {});
        for await (const blob of inner.list(signal)) {
          yield blob;
          if (faulty.brokenListings === 0) continue;
          faulty.brokenListings--;
          throw new BlobStoreError("unavailable", "the listing broke off");
        }
      },
      delete: (name, signal) => operate(`delete ${short(name)}`, () => inner.delete(name, signal)),
      createRef: (name, bytes, signal) => operate(`createRef ${name}`, () => inner.createRef(name, bytes, signal)),
      readRef: (name, signal) => operate(`readRef ${name}`, () => inner.readRef(name, signal)),
      listRefs: (prefix, signal) => operate(`listRefs ${prefix}`, () => inner.listRefs(prefix, signal)),
      deleteRef: (name, signal) => operate(`deleteRef ${name}`, () => inner.deleteRef(name, signal)),
    },
  };
  return faulty;
}
