/** A store of tree nodes in memory, hashed with SHA-256, that can be slow, fail, and hold damaged nodes. */
import { NODE_BYTES } from "../../src/storage/cas/tree/shape.ts";
import { NOT_IN_MEMORY, type NodeStore } from "../../src/storage/cas/tree/node-store.ts";
import type { SeededRandom } from "./seeded-random.ts";

export const sha256 = (bytes: Uint8Array): Uint8Array => Bun.SHA256.hash(bytes) as unknown as Uint8Array;
export const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

/** A hash that stands for the content of a block: different numbers, different hashes. */
export const hashOf = (content: number): Uint8Array => sha256(new TextEncoder().encode(`block ${content}`));
export const HOLE_HASH: Uint8Array = new Uint8Array(32);

export interface TestNodeStore extends NodeStore {
  /** By hash in hexadecimal; to be damaged at will. */
  readonly nodes: Map<string, Uint8Array>;
  /** Hashes in the order in which `put` was called, and in which it resolved. */
  readonly putOrder: string[];
  readonly takenOrder: string[];
  /** Calls of `get`, and how many of them were unanswered at the same time at most. */
  gets: number;
  getsAtOnce: number;
  /** Whether `tryGet` finds nodes. */
  isInMemory: boolean;
  /** Where given, `get` and `put` take that many turns of the event loop more; else they answer at once. */
  latency: Pick<SeededRandom, "below"> | undefined;
  /** While set, `put` waits for it. */
  gate: Promise<unknown> | undefined;
  /** Calls of `put` until one fails, just once; Infinity: none does. */
  putsUntilFailure: number;
}

const turns = async (count: number): Promise<void> => {
  for (let turn = 0; turn < count; turn++) {
    await new Promise<void>((resolve) => {
      setImmediate(resolve);
    });
  }
};

export function makeTestNodeStore(): TestNodeStore {
  const nodes = new Map<string, Uint8Array>();
  let getsNow = 0;
  const take = (bytes: Uint8Array): Uint8Array => {
    const hash = sha256(bytes);
    store.takenOrder.push(hex(hash));
    nodes.set(hex(hash), bytes.slice());
    return hash;
  };
  const takeLater = async (bytes: Uint8Array): Promise<Uint8Array> => {
    const before = hex(sha256(bytes));
    await store.gate;
    if (store.latency !== undefined) await turns(store.latency.below(3));
    if (hex(sha256(bytes)) !== before) throw new Error("a node changed while the store had it");
    return take(bytes);
  };
  const store: TestNodeStore = {
    nodes,
    putOrder: [],
    takenOrder: [],
    gets: 0,
    getsAtOnce: 0,
    isInMemory: false,
    latency: undefined,
    gate: undefined,
    putsUntilFailure: Infinity,
    tryGet(hash, target) {
      const bytes = store.isInMemory ? nodes.get(hex(hash)) : undefined;
      if (bytes === undefined) return NOT_IN_MEMORY;
      if (bytes.length === NODE_BYTES) target.set(bytes);
      return bytes.length;
    },
    async get(hash) {
      store.gets++;
      store.getsAtOnce = Math.max(store.getsAtOnce, ++getsNow);
      if (store.latency !== undefined) await turns(store.latency.below(4));
      getsNow--;
      const bytes = nodes.get(hex(hash));
      if (bytes === undefined) throw new Error("is not in the store");
      return bytes;
    },
    put(bytes) {
      if (store.putsUntilFailure-- === 0) throw new Error("no space left on device");
      store.putOrder.push(hex(sha256(bytes)));
      return store.gate === undefined && store.latency === undefined ? take(bytes) : takeLater(bytes);
    },
  };
  return store;
}
