import { expect, test } from "bun:test";
import { createTurns } from "../../../src/server/turns.ts";
import { reasonOf } from "../../support/reason-of.ts";

test("work begins when all before it has ended, well or not", async () => {
  const turns = createTurns();
  const seen: string[] = [];
  const step = (name: string, fails = false) =>
    turns.do(async () => {
      seen.push(`${name} begins`);
      await Promise.resolve();
      seen.push(`${name} ends`);
      if (fails) throw new Error(name);
      return name;
    });
  const [one, two, three] = [step("one"), step("two", true), step("three")];
  expect(await reasonOf(two)).toBe("two");
  expect(await Promise.all([one, three])).toEqual(["one", "three"]);
  expect(seen).toEqual(["one begins", "one ends", "two begins", "two ends", "three begins", "three ends"]);
});

test("the end waits for what was asked for, and refuses what comes after", async () => {
  const turns = createTurns();
  const { promise, resolve } = Promise.withResolvers<void>();
  let done = false;
  void turns.do(() => promise.then(() => void (done = true)));
  const ended = turns.end();
  expect(await reasonOf(turns.do(() => Promise.resolve()))).toBe("the server is being stopped");
  resolve();
  await ended;
  expect(done).toBe(true);
});
