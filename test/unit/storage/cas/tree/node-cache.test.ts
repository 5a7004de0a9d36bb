import { expect, test } from "bun:test";
import { CACHED_NODE_BYTES, NodeCache } from "../../../../../src/storage/cas/tree/node-cache.ts";
import { NODE_WORDS } from "../../../../../src/storage/cas/tree/shape.ts";
import { seededRandom, testSeed } from "../../../../support/seeded-random.ts";

/** A hash of few different first words, so that many fall into the same place of the table. */
const wordsOf = (number: number): Int32Array => Int32Array.of(number % 3, number, 0, 0, 0, 0, 0, 1);
const nodeOf = (number: number): Int32Array => new Int32Array(NODE_WORDS).fill(number + 1);

const makeCache = (nodes: number): NodeCache => new NodeCache(nodes * CACHED_NODE_BYTES);
const held = (cache: NodeCache, number: number): number | undefined => {
  const place = cache.peek(wordsOf(number), 0);
  return place < 0 ? undefined : cache.wordsAt(place)[cache.wordAt(place) + NODE_WORDS - 1]! - 1;
};

test("the least recently used node makes room", () => {
  const cache = makeCache(3);
  for (const number of [1, 2, 3]) cache.insert(wordsOf(number), 0, nodeOf(number));
  expect(cache.find(wordsOf(1), 0)).not.toBe(-1);
  cache.insert(wordsOf(4), 0, nodeOf(4));
  expect([1, 2, 3, 4].map((number) => held(cache, number))).toEqual([1, undefined, 3, 4]);
  expect(cache.evictions).toBe(1);
});

test("a node that was only peeked at is not used", () => {
  const cache = makeCache(2);
  for (const number of [1, 2]) cache.insert(wordsOf(number), 0, nodeOf(number));
  expect(cache.peek(wordsOf(1), 0)).not.toBe(-1);
  cache.insert(wordsOf(3), 0, nodeOf(3));
  expect(held(cache, 1)).toBeUndefined();
});

test("a node that is there already is not kept twice", () => {
  const cache = makeCache(2);
  for (const number of [1, 1, 1]) cache.insert(wordsOf(number), 0, nodeOf(number));
  expect(cache.nodeCount).toBe(1);
  expect(cache.usedBytes).toBe(CACHED_NODE_BYTES);
});

test("hits are counted", () => {
  const cache = makeCache(2);
  cache.insert(wordsOf(1), 0, nodeOf(1));
  cache.find(wordsOf(1), 0);
  cache.find(wordsOf(2), 0);
  cache.find(wordsOf(1), 0);
  expect(cache.hits).toBe(2);
});

test(`a cache holds what a list in the order of use holds (VOE_TEST_SEED=${testSeed})`, () => {
  const random = seededRandom(testSeed);
  for (const capacity of [1, 2, 3, 7, 64, 65, 200]) {
    const cache = makeCache(capacity);
    expect(cache.capacity).toBe(capacity);
    let model: number[] = [];
    for (let step = 0; step < 3000; step++) {
      const number = random.below(capacity * 2);
      const isHeld = model.includes(number);
      expect(held(cache, number)).toBe(isHeld ? number : undefined);
      if (random.chance(0.5)) {
        const place = cache.find(wordsOf(number), 0);
        expect(place >= 0).toBe(isHeld);
        if (isHeld) model = [number, ...model.filter((other) => other !== number)];
      } else {
        cache.insert(wordsOf(number), 0, nodeOf(number));
        if (!isHeld) model = [number, ...model].slice(0, capacity);
      }
    }
    expect(cache.nodeCount).toBe(model.length);
    for (let number = 0; number < capacity * 2; number++) {
      expect(held(cache, number)).toBe(model.includes(number) ? number : undefined);
    }
  }
});
