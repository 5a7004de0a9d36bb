import { expect, test } from "bun:test";
import { jsonLines, readJsonLines } from "../../../src/control/json-lines.ts";
import { reasonOf } from "../../support/reason-of.ts";

const never = new AbortController().signal;

async function collect(response: Response): Promise<unknown[]> {
  const values: unknown[] = [];
  for await (const value of readJsonLines(response)) values.push(value);
  return values;
}

/** Counts without end, and notes how far it came and whether it was closed. */
function counting() {
  const seen = { next: 0, closed: false };
  async function* count(): AsyncGenerator<number, void, undefined> {
    try {
      for (;;) yield seen.next++;
    } finally {
      seen.closed = true;
    }
  }
  return { seen, values: count() };
}

test("values arrive as they were sent, whatever text they hold and however the chunks fall", async () => {
  const sent = Array.from({ length: 5000 }, (_, i) => ({ i, text: "a\nb \u{1f4be} \u2028" }));
  async function* values() {
    yield* sent;
  }
  expect(await collect(jsonLines(values(), never))).toEqual(sent);
});

test("a generator that throws ends the answer with its reason, after what it gave", async () => {
  async function* values() {
    yield 1;
    throw new Error("node 7 is damaged");
  }
  const seen: unknown[] = [];
  const reading = (async () => {
    for await (const value of readJsonLines(jsonLines(values(), never))) seen.push(value);
  })();
  expect(await reasonOf(reading)).toBe("node 7 is damaged");
  expect(seen).toEqual([1]);
});

test("nothing is made that nobody takes, and a client that goes away closes the generator", async () => {
  const { seen, values } = counting();
  const reader = jsonLines(values, never).body!.getReader();
  expect(seen.next).toBe(0);
  await reader.read();
  expect(seen.next).toBeLessThan(20_000);
  await reader.cancel();
  expect(seen.closed).toBe(true);
});

test("closing the server ends an answer that nobody takes, and says so", async () => {
  const { seen, values } = counting();
  const closing = new AbortController();
  const response = jsonLines(values, closing.signal);
  closing.abort();
  expect(await reasonOf(collect(response))).toBe("the server was stopped");
  expect(seen.next).toBe(0);
});

test("an answer that broke off is not taken for one that ended", async () => {
  expect(await reasonOf(collect(new Response("1\n2")))).toContain("answer broke off");
});
