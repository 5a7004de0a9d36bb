/**
 * What a blob store behind a network does when that network or the server fails: after every fault the error says so,
 * nothing is half stored, nothing wrong is taken for right, memory is let go, and trying again works.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { allocateMemory, freeMemory } from "../../ffi/memory.ts";
import type { Memory } from "../../src/base/memory.ts";
import { BlobStoreError, type BlobStore } from "../../src/blob/blob-store.ts";
import { withRetry } from "../../src/blob/wrap/retry.ts";
import { failureOf, getBytes, listAll } from "../support/blob-requests.ts";
import { everyOther, onceTo, startFaultProxy, type Fault, type FaultProxy } from "../support/fault-proxy.ts";
import { makeNamedBlob, nameOf } from "../support/named-blob.ts";
import { titleUnless } from "../support/requirements.ts";
import { seededRandom, testSeed } from "../support/seeded-random.ts";
import { until } from "../support/until.ts";
import { describeBlobStore, type BlobStoreImplementation } from "./blob-store.ts";

/** What the server itself answers, and what the store makes of that. */
export interface ServerAnswer {
  readonly status: number;
  readonly headers?: Record<string, string>;
  readonly body?: string;
  /** Failure, or what `createRef` resolves to. */
  readonly meaning: { readonly [K in Operation]?: string };
}

export interface RemoteStoreImplementation {
  readonly name: string;
  /** Why it cannot be tried here. */
  readonly missing?: string | undefined;
  /** Makes an empty place. */
  readonly makePlace: () => Promise<RemotePlace>;
  /** As BlobStoreImplementation.checksNames. */
  readonly checksNames?: boolean;
  /** What is tried; absent: everything, and the whole contract. */
  readonly operations?: readonly Operation[];
  /** Answers with 409, 412, 500 and 503 as this server words them. */
  readonly answers: readonly ServerAnswer[];
}

export interface RemotePlace extends AsyncDisposable {
  /** `http://HOST:PORT` of the server. */
  readonly server: string;
  /** Opens the store of this place, through a proxy at `http://HOST:PORT` or the server itself. */
  open(at: string, stallTimeoutMs: number): Promise<BlobStore>;
}

const OPERATIONS = ["put", "get", "createRef", "readRef", "list", "listRefs", "size", "delete"] as const;
type Operation = (typeof OPERATIONS)[number];
const WITH_BODY: readonly Operation[] = ["get", "readRef", "list", "listRefs"];

/** For what stalls. Everything else has time, or a busy machine would be taken for a stalled store. */
const STALL_TIMEOUT_MS = 60;
const PATIENT_TIMEOUT_MS = 20_000;
/** What `get` and `size` and `delete` work on. */
const kept = makeNamedBlob(3000, 1);
/** What `put` stores: more than goes out as one piece, so that a cut comes in the middle of it. */
const fresh = makeNamedBlob(300_000, 2);
const REF = "roots/v1/0002";
const refContent = makeNamedBlob(2000, 3).bytes;
const keptRef = { name: "roots/v1/0001", bytes: makeNamedBlob(1500, 4).bytes };

/** Faults that end in `unavailable`, whatever is asked. */
const BROKEN: readonly Fault[] = [
  { kind: "reset" },
  { kind: "stall request" },
  { kind: "lost answer" },
  { kind: "answer", status: 500 },
  { kind: "answer", status: 502, body: "<html>bad gateway</html>" },
  { kind: "answer", status: 503 },
  { kind: "false answer", status: 500 },
];
const BROKEN_BODY: readonly Fault[] = [
  { kind: "cut answer", afterBytes: 10 },
  { kind: "stall answer", afterBytes: 10 },
  { kind: "short answer", keepBytes: 10 },
];
const BROKEN_UPLOAD: readonly Fault[] = [
  { kind: "cut request", afterBytes: 0 },
  { kind: "cut request", afterBytes: 1000 },
  { kind: "wrong request byte", atByte: 500 },
];

const titleOf = ({ kind, ...details }: Fault): string =>
  [kind, ...Object.values(details).filter((value) => typeof value === "number")].join(" ");

export function describeBlobStoreFaults(implementation: RemoteStoreImplementation): void {
  const { name, missing, makePlace, answers, operations: tried = OPERATIONS } = implementation;
  if (implementation.operations === undefined) describeBlobStore(failingPlace(implementation));
  describe.skipIf(missing !== undefined)(titleUnless(missing, name), () => {
    let proxy: FaultProxy;
    /** The store as the proxy lets it be seen, with patience and without, and as it is. */
    let store: BlobStore;
    let hasty: BlobStore;
    let direct: BlobStore;
    let place: RemotePlace;
    beforeAll(async () => {
      place = await makePlace();
      proxy = await startFaultProxy(place.server);
      direct = await place.open(place.server, PATIENT_TIMEOUT_MS);
      store = await place.open(proxy.endpoint, PATIENT_TIMEOUT_MS);
      hasty = await openHasty(STALL_TIMEOUT_MS);
      await direct.put(kept.name, kept.bytes);
      await direct.createRef(keptRef.name, keptRef.bytes);
    });
    afterAll(async () => {
      await store?.close();
      await hasty?.close();
      await direct?.close();
      await proxy?.[Symbol.asyncDispose]();
      await place?.[Symbol.asyncDispose]();
    });
    beforeEach(async () => {
      proxy.setPlan(undefined);
      await direct.put(kept.name, kept.bytes);
      await direct.delete(fresh.name);
      await direct.deleteRef(REF);
    });

    const operations: Record<Operation, (on: BlobStore, memory: Memory, signal?: AbortSignal) => Promise<unknown>> = {
      put(on, memory, signal) {
        const source = memory.bytes.subarray(0, fresh.bytes.length);
        source.set(fresh.bytes);
        return on.put(fresh.name, source, signal);
      },
      async get(on, memory, signal) {
        await on.get(kept.name, 0, kept.bytes.length, memory, 0, signal);
        return memory.bytes.slice(0, kept.bytes.length);
      },
      createRef: (on, _, signal) => on.createRef(REF, refContent, signal),
      readRef: (on, _, signal) => on.readRef(keptRef.name, signal),
      async list(on, _, signal) {
        const names: string[] = [];
        for await (const blob of on.list(signal)) names.push(blob.name);
        return names;
      },
      listRefs: (on, _, signal) => on.listRefs("", signal),
      size: (on, _, signal) => on.size(kept.name, signal),
      delete: (on, _, signal) => on.delete(kept.name, signal),
    };

    /** Opens the store through the proxy, again where a busy machine took longer than the timeout. */
    const openHasty = async (stallTimeoutMs: number): Promise<BlobStore> => {
      for (;;) {
        try {
          return await place.open(proxy.endpoint, stallTimeoutMs);
        } catch (error) {
          if (!(error instanceof BlobStoreError && error.failure === "unavailable")) throw error;
        }
      }
    };

    /** Runs an operation on memory that is gone as soon as it has settled: whoever touches it later crashes. */
    const operate = async (operation: Operation, on: BlobStore, signal?: AbortSignal): Promise<unknown> => {
      const memory = allocateMemory(fresh.bytes.length);
      try {
        return await operations[operation](on, memory, signal);
      } finally {
        freeMemory(memory);
      }
    };

    /** What has been stored is whole and right, or not there. */
    const expectNothingHalf = async (): Promise<void> => {
      for (const blob of await listAll(direct)) {
        const bytes = await getBytes(direct, blob.name, 0, blob.sizeBytes);
        expect(nameOf(bytes)).toBe(blob.name);
      }
      for (const ref of await direct.listRefs("")) {
        const expected = ref === REF ? refContent : keptRef.bytes;
        expect(Buffer.compare(await direct.readRef(ref), expected)).toBe(0);
      }
    };

    const checks: Record<Operation, (result: unknown) => unknown> = {
      put: async () => expect(await direct.size(fresh.name)).toBe(fresh.bytes.length),
      get: (bytes) => expect(Buffer.compare(bytes as Uint8Array, kept.bytes)).toBe(0),
      async createRef(outcome) {
        // A lost answer may have been one that said it is created.
        expect(["created", "exists"]).toContain(outcome as string);
        expect(Buffer.compare(await direct.readRef(REF), refContent)).toBe(0);
      },
      readRef: (bytes) => expect(Buffer.compare(bytes as Uint8Array, keptRef.bytes)).toBe(0),
      list: (names) => expect(names).toContain(kept.name),
      listRefs: (names) => expect(names).toContain(keptRef.name),
      size: (sizeBytes) => expect(sizeBytes).toBe(kept.bytes.length),
      delete: async () => expect(await failureOf(direct.size(kept.name))).toBe("missing"),
    };

    /** The operation works, through the proxy, which has no fault left. */
    const expectWorks = async (operation: Operation): Promise<void> => {
      await checks[operation](await operate(operation, store));
      await expectNothingHalf();
    };

    const faultsDone = (): number => [...proxy.faults.values()].reduce((sum, count) => sum + count, 0);
    /** Does a fault to the next request, or to the next upload: a store may have to look before it creates. */
    const plan = (fault: Fault): void => {
      const isOfUpload = BROKEN_UPLOAD.some(({ kind }) => kind === fault.kind);
      proxy.setPlan(onceTo(({ method }) => !isOfUpload || method === "PUT", fault));
    };

    const faultsOf = (operation: Operation): readonly Fault[] => {
      const onAnswer = WITH_BODY.includes(operation) ? BROKEN_BODY : [];
      const onUpload = operation === "put" || operation === "createRef" ? BROKEN_UPLOAD : [];
      return [...BROKEN, ...onAnswer, ...onUpload];
    };
    for (const operation of tried) {
      test.each(faultsOf(operation).map((fault) => [titleOf(fault), fault] as const))(
        `${operation} is unavailable after a fault, and works when it is tried again: %s`,
        async (_, fault) => {
          const before = faultsDone();
          plan(fault);
          const startMs = performance.now();
          const on = fault.kind.startsWith("stall") ? hasty : store;
          expect(await failureOf(operate(operation, on))).toBe("unavailable");
          expect(performance.now() - startMs).toBeLessThan(PATIENT_TIMEOUT_MS / 4);
          expect(faultsDone()).toBe(before + 1);
          await expectNothingHalf();
          await expectWorks(operation);
        },
      );

      for (const answer of answers) {
        const meaning = answer.meaning[operation] ?? "unavailable";
        test(`${operation} takes ${answer.status} ${titleOfAnswer(answer)} for ${meaning}`, async () => {
          plan({ ...answer, kind: "answer" });
          const result = operate(operation, store);
          const outcome = await result.catch((error: unknown) => error);
          expect(outcome instanceof BlobStoreError ? outcome.failure : outcome).toBe(meaning);
          await expectNothingHalf();
          await expectWorks(operation);
        });
      }

      test(`${operation} waits for a server that is slow`, async () => {
        plan({ kind: "latency", delayMs: 20 });
        await expectWorks(operation);
      });

      test(`${operation} that is cancelled during a stall rejects with the reason at once`, async () => {
        const stalls = proxy.faults.get("stall request") ?? 0;
        plan({ kind: "stall request" });
        const controller = new AbortController();
        const outcome = failureOf(operate(operation, store, controller.signal));
        await until(() => proxy.faults.get("stall request") === stalls + 1);
        controller.abort(new Error("no longer wanted"));
        expect(await outcome).toBe("Error: no longer wanted");
        await expectWorks(operation);
      });
    }

    test("an answer that trickles for longer than the timeout is read to its end", async () => {
      const timeoutMs = 400;
      const trickled = await openHasty(timeoutMs);
      plan({ kind: "slow answer", pieceCount: 11, everyMs: timeoutMs / 8 });
      const startMs = performance.now();
      expect(Buffer.compare(await getBytes(trickled, kept.name, 0, kept.bytes.length), kept.bytes)).toBe(0);
      expect(performance.now() - startMs).toBeGreaterThan(timeoutMs);
      await trickled.close();
    });

    test("a put whose answer was lost is stored, as a whole", async () => {
      plan({ kind: "lost answer" });
      expect(await failureOf(operate("put", store))).toBe("unavailable");
      expect(Buffer.compare(await getBytes(direct, fresh.name, 0, fresh.bytes.length), fresh.bytes)).toBe(0);
    });

    test("a ref whose creation was answered and the answer lost exists when it is tried again, with its content", async () => {
      proxy.setPlan(onceTo(({ method }) => method === "PUT", { kind: "lost answer" }));
      expect(await failureOf(operate("createRef", store))).toBe("unavailable");
      expect(await operate("createRef", store)).toBe("exists");
      expect(Buffer.compare(await store.readRef(REF), refContent)).toBe(0);
    });

    test("a wrong bit in what is read does not pass for the blob", async () => {
      for (const atByte of [0, 1500, 2999]) {
        plan({ kind: "wrong byte", atByte });
        const outcome = await operate("get", store).catch((error: unknown) => error);
        // Whoever reads verifies it by the hash; some stores find it out before.
        if (outcome instanceof BlobStoreError) expect(outcome.failure).toBe("unavailable");
        else expect(nameOf(outcome as Uint8Array)).not.toBe(kept.name);
        await expectWorks("get");
      }
    });

    test("while connections are refused everything is unavailable, and then works again", async () => {
      await proxy.refuse();
      try {
        for (const operation of OPERATIONS) expect(await failureOf(operate(operation, store))).toBe("unavailable");
      } finally {
        await proxy.listen();
      }
      for (const operation of OPERATIONS) {
        await direct.put(kept.name, kept.bytes);
        await expectWorks(operation);
      }
    });

    test("requests in great number during faults of all kinds end, each as itself, and leave nothing half", async () => {
      const faults = [...BROKEN, ...BROKEN_BODY].filter(({ kind }) => !kind.startsWith("stall"));
      let requestCount = 0;
      proxy.setPlan(() => (requestCount++ % 3 === 0 ? faults[((requestCount / 3) % faults.length) | 0] : undefined));
      const names = Array.from({ length: 40 }, (_, seed) => makeNamedBlob(2000, 100 + seed));
      const outcomes = await Promise.all(names.map(({ name, bytes }) => failureOf(store.put(name, bytes))));
      expect(new Set(outcomes)).toEqual(new Set([undefined, "unavailable"]));
      const reads = await Promise.all(
        Array.from({ length: 40 }, () => getBytes(store, kept.name, 0, kept.bytes.length).catch(() => undefined)),
      );
      for (const bytes of reads) if (bytes !== undefined) expect(Buffer.compare(bytes, kept.bytes)).toBe(0);
      proxy.setPlan(undefined);
      await expectNothingHalf();
      await Promise.all(names.map(({ name, bytes }) => store.put(name, bytes)));
      await Promise.all(names.map(({ name }) => store.delete(name)));
    });

    test("a fault at any request of opening makes it fail as that fault, or does no harm, and opening again works", async () => {
      for (const fault of [{ kind: "reset" }, { kind: "lost answer" }, { kind: "answer", status: 503 }] as const) {
        await using other = await makePlace();
        await using through = await startFaultProxy(other.server);
        for (let failing = 0, isOpen = false; !isOpen; failing++) {
          let requestCount = 0;
          through.setPlan(() => (requestCount++ === failing ? fault : undefined));
          const opened = await other.open(through.endpoint, PATIENT_TIMEOUT_MS).catch((error: unknown) => error);
          isOpen = requestCount <= failing;
          through.setPlan(undefined);
          if (opened instanceof Error) expect(await failureOf(Promise.reject(opened))).toBe("unavailable");
          else {
            // Refs that are not known to be created once would let two hosts write.
            expect((opened as BlobStore).atomicRefs).toBe(direct.atomicRefs);
            expect(await listAll(opened as BlobStore)).toEqual([]);
            expect(await (opened as BlobStore).listRefs("")).toEqual([]);
            await (opened as BlobStore).close();
          }
          expect(failing).toBeLessThan(20);
        }
      }
    });
  });
}

/**
 * The store of a place as it is used, tried again while every other request fails: for the contract of blob stores, which
 * then holds as if nothing had failed.
 */
function failingPlace({ name, makePlace, ...rest }: RemoteStoreImplementation): BlobStoreImplementation {
  return {
    ...rest,
    name: `${name}, at every other request`,
    async open() {
      const place = await makePlace();
      const proxy = await startFaultProxy(place.server);
      const faults = [...BROKEN, ...BROKEN_BODY, ...BROKEN_UPLOAD].filter(({ kind }) => !kind.startsWith("stall"));
      const open = async (): Promise<BlobStore> => {
        // Opening is not tried again, by nobody.
        proxy.setPlan(undefined);
        const store = await place.open(proxy.endpoint, PATIENT_TIMEOUT_MS);
        proxy.setPlan(everyOther(seededRandom(testSeed), faults));
        const pauses = { firstPauseMs: 1, longestPauseMs: 4, random: Math.random };
        return withRetry(store, { ...pauses, mostAttempts: 100, mostMs: PATIENT_TIMEOUT_MS });
      };
      return {
        store: await open(),
        reopen: open,
        async [Symbol.asyncDispose]() {
          await proxy[Symbol.asyncDispose]();
          await place[Symbol.asyncDispose]();
        },
      };
    },
  };
}

const titleOfAnswer = ({ headers = {}, body = "" }: ServerAnswer): string =>
  /<Code>(\w+)/.exec(body)?.[1] ?? Object.values(headers)[0] ?? body;
