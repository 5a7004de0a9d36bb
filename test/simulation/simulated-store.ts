/**
 * A blob store that is far away: what is asked of it arrives after a time, and is answered after another, in any order;
 * requests fail, answers are lost, a list breaks off. What a process has asked for when it ends may still arrive, however
 * much later. The seed decides.
 */
import { BlobStoreError, type BlobStore } from "../../src/blob/blob-store.ts";
import { createMemoryStore, emptyContents, type MemoryStoreContents } from "../../src/blob/memory-store.ts";
import type { SeededRandom } from "../support/seeded-random.ts";
import type { Tally } from "./archive-world.ts";
import type { SimulatedLoop } from "./simulated-loop.ts";

/** How much later than others a request may arrive whose process has ended, in milliseconds. */
const LATE_MOST_MS = 3000;

const away = (what: string): BlobStoreError => new BlobStoreError("unavailable", `the simulated store ${what}`);

export class SimulatedStore {
  readonly contents: MemoryStoreContents = emptyContents();
  /** Probability that a request fails, or is done without being answered. */
  faultChance = 0;
  /** Requests so far. */
  callCount = 0;
  /** Is called at the request after `callsLeft` more: the process ends there. */
  onLastCall = (): void => {};
  callsLeft = Number.POSITIVE_INFINITY;

  constructor(
    readonly random: SeededRandom,
    readonly loop: SimulatedLoop,
    readonly tally: Tally,
  ) {}

  /** The store as a process has it that is alive as long as `isAlive` says so. */
  session(isAlive: () => boolean): BlobStore {
    const store = createMemoryStore(this.contents);
    const ask = <T>(work: () => Promise<T>): Promise<T> => this.#request(isAlive, work);
    return {
      ...store,
      description: "simulated store",
      put: (name, bytes) => {
        // What is on its way does not change with the memory that it was sent from.
        const sent = bytes.slice();
        return ask(() => store.put(name, sent));
      },
      get: (name, offsetBytes, lengthBytes, target, at) =>
        ask(async () => {
          if (isAlive()) await store.get(name, offsetBytes, lengthBytes, target, at);
        }),
      tryGet: () => false,
      forgetCached: (name) => ask(() => store.forgetCached(name)),
      size: (name) => ask(() => store.size(name)),
      list: () => this.#list(store, ask),
      delete: (name) => ask(() => store.delete(name)),
      createRef: (name, bytes) => ask(() => store.createRef(name, bytes)),
      readRef: (name) => ask(() => store.readRef(name)),
      listRefs: (prefix) => ask(() => store.listRefs(prefix)),
      deleteRef: (name) => ask(() => store.deleteRef(name)),
    };
  }

  async *#list(store: BlobStore, ask: <T>(work: () => Promise<T>) => Promise<T>): ReturnType<BlobStore["list"]> {
    const all = await ask(() => Array.fromAsync(store.list()));
    for (const [at, info] of all.entries()) {
      // The next page of the list.
      if (at % 5 === 4) await ask(async () => {});
      yield info;
    }
  }

  #count(event: string): void {
    this.tally[event] = (this.tally[event] ?? 0) + 1;
  }

  #request<T>(isAlive: () => boolean, work: () => Promise<T>): Promise<T> {
    const { loop, random } = this;
    if (!isAlive()) return Promise.reject(away("is not asked any more: the process has ended"));
    this.callCount++;
    const fate = random.chance(this.faultChance) ? random.pick(["refused", "unanswered"] as const) : "answered";
    const arrivesLate = random.below(2) === 0 ? undefined : random.below(LATE_MOST_MS);
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const arrive = (): void => {
      const done = work();
      done.then(
        (result) => {
          loop.afterCall(() => {
            if (!isAlive()) reject(away("answered when the process had ended"));
            else if (fate === "unanswered") reject(away("did not answer"));
            else resolve(result);
          });
        },
        (error: Error) => void loop.afterCall(() => reject(error)),
      );
    };
    loop.afterCall(() => {
      if (fate === "refused") {
        this.#count("requests refused by the store");
        reject(away("refused a request"));
        return;
      }
      if (fate === "unanswered") this.#count("answers of the store that were lost");
      if (isAlive()) {
        arrive();
        return;
      }
      reject(away("is not asked any more: the process has ended"));
      if (arrivesLate === undefined) return;
      this.#count("requests that arrived after their process had ended");
      loop.after(arrivesLate, () => void work().catch(() => {}));
    });
    if (--this.callsLeft < 0) {
      this.callsLeft = Number.POSITIVE_INFINITY;
      this.onLastCall();
    }
    return promise;
  }
}
