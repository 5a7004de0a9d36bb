import { expect, test } from "bun:test";
import { verificationOf } from "../../../src/server/verify-archives.ts";
import type { ServedTarget } from "../../../src/server/served-target.ts";
import type { Archive } from "../../../src/storage/cas/archive.ts";
import type { VerifyEvent, VerifyOptions } from "../../../src/storage/cas/verify/verify-events.ts";

/** An archive that only notes what is asked of it. */
function noting(name: string, asked: [string, VerifyOptions | undefined][]): Archive {
  const verify = async function* (options?: VerifyOptions): AsyncGenerator<VerifyEvent, void> {
    asked.push([name, options]);
    yield { event: "notice", store: name, message: "" };
  };
  return { verify } as unknown as Archive;
}

const bed = () => {
  const asked: [string, VerifyOptions | undefined][] = [];
  const [one, two] = [noting("one", asked), noting("two", asked)];
  const targets = {
    list: [{ name: "e1.0" }, { name: "e2.0" }] as ServedTarget[],
    archiveOf: (name: string) => (name === "e1.0" ? { archive: one, volume: "e1.0" } : undefined),
  };
  return { asked, begin: verificationOf(targets, { list: () => [one, two] }), targets };
};

async function storesOf(events: AsyncIterable<VerifyEvent>): Promise<string[]> {
  const stores: string[] = [];
  for await (const { store } of events) stores.push(store);
  return stores;
}

test("a target's archive alone is verified, or one archive after the other", async () => {
  const { asked, begin } = bed();
  expect(await storesOf(begin({ target: "e1.0" }))).toEqual(["one"]);
  expect(await storesOf(begin({}))).toEqual(["one", "two"]);
  expect(asked.map(([, options]) => options)).toEqual([undefined, undefined, undefined]);
});

test("each archive may take its part of the time, and the last one what is left", async () => {
  const { asked, begin } = bed();
  await storesOf(begin({ maxDurationMs: 60_000 }));
  const [first, second] = asked.map(([, options]) => options!.maxDurationMs!);
  expect(first).toBeGreaterThan(29_000);
  expect(first).toBeLessThanOrEqual(30_000);
  expect(second).toBeGreaterThan(59_000);
});

test("what is no archive and what is not there are refused, naming the archives", () => {
  const { begin, targets } = bed();
  expect(() => begin({ target: "e2.0" })).toThrow("e2.0 is no archive, and has no hashes to verify (archives: e1.0)");
  expect(() => begin({ target: "e9.0" })).toThrow("there is no target e9.0 (archives: e1.0)");
  expect(() => verificationOf(targets, { list: () => [] })({})).toThrow("no archives");
});
