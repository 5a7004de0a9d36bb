import { describe, expect, test } from "bun:test";
import { RequestOrder, type OrderedRequest } from "../../../src/storage/request-order.ts";
import { seededRandom, testSeed } from "../../support/seeded-random.ts";

interface TestRequest extends OrderedRequest {
  readonly number: number;
  started: boolean;
}

/** Requests that note when they were started; `instant` ones end as they start. */
function requestMaker(order: RequestOrder) {
  let number = 0;
  return (sector: number, count: number, writes: boolean, instant = false): TestRequest => {
    const request: TestRequest = {
      number: number++,
      sector,
      count,
      writes,
      started: false,
      start() {
        if (request.started) throw new Error(`request ${request.number} was started twice`);
        request.started = true;
        if (instant) order.finish(request);
      },
    };
    return request;
  };
}

const overlaps = (a: OrderedRequest, b: OrderedRequest): boolean =>
  a.sector < b.sector + b.count && b.sector < a.sector + a.count;
const conflict = (a: OrderedRequest, b: OrderedRequest): boolean => (a.writes || b.writes) && overlaps(a, b);

describe("request order", () => {
  test("reads of the same sectors run side by side", () => {
    const order = new RequestOrder();
    const make = requestMaker(order);
    const reads = [make(0, 8, false), make(0, 8, false), make(4, 1, false)];
    for (const read of reads) order.begin(read);
    expect(reads.map((read) => read.started)).toEqual([true, true, true]);
  });

  test("requests that touch but do not overlap run side by side", () => {
    const order = new RequestOrder();
    const make = requestMaker(order);
    const writes = [make(0, 8, true), make(8, 8, true), make(16, 1, true)];
    for (const write of writes) order.begin(write);
    expect(writes.map((write) => write.started)).toEqual([true, true, true]);
  });

  test.each([
    ["a write waits for a read", false, true],
    ["a read waits for a write", true, false],
    ["a write waits for a write", true, true],
  ])("%s of the same sector", (_, firstWrites, secondWrites) => {
    const order = new RequestOrder();
    const make = requestMaker(order);
    const [first, second] = [make(7, 4, firstWrites), make(10, 4, secondWrites)];
    order.begin(first);
    expect(order.isBlocked(10, 4, secondWrites)).toBe(true);
    order.begin(second);
    expect(second.started).toBe(false);
    order.finish(first);
    expect(second.started).toBe(true);
  });

  test("a read does not pass a write that waits, even where what runs would let it", () => {
    const order = new RequestOrder();
    const make = requestMaker(order);
    const [running, waiting, late] = [make(0, 4, false), make(2, 8, true), make(6, 2, false)];
    for (const request of [running, waiting, late]) order.begin(request);
    expect([waiting.started, late.started]).toEqual([false, false]);
    order.finish(running);
    expect([waiting.started, late.started]).toEqual([true, false]);
    order.finish(waiting);
    expect(late.started).toBe(true);
  });

  test("it is idle when nothing runs or waits, and says so", async () => {
    const order = new RequestOrder();
    const make = requestMaker(order);
    await order.whenIdle();
    const [first, second] = [make(0, 4, true), make(0, 4, true)];
    order.begin(first);
    order.begin(second);
    expect(order.isIdle).toBe(false);
    let idle = false;
    const whenIdle = order.whenIdle().then(() => (idle = true));
    order.finish(first);
    await new Promise((resolve) => setImmediate(resolve));
    expect([idle, order.isIdle]).toEqual([false, false]);
    order.finish(second);
    await whenIdle;
    expect(order.isIdle).toBe(true);
  });

  test("requests that end as they start make one another free, however long the queue", () => {
    const order = new RequestOrder();
    const make = requestMaker(order);
    const first = make(0, 4, true);
    order.begin(first);
    const queue = Array.from({ length: 200 }, () => make(0, 4, true, true));
    for (const request of queue) order.begin(request);
    order.finish(first);
    expect(queue.every((request) => request.started)).toBe(true);
    expect(order.isIdle).toBe(true);
  });

  test(`random schedules keep the order of all that conflict and start all that may (VOE_TEST_SEED=${testSeed})`, () => {
    for (let round = 0; round < 300; round++) {
      const random = seededRandom(testSeed + round);
      const order = new RequestOrder();
      const make = requestMaker(order);
      const live: TestRequest[] = [];
      const startable = (request: TestRequest): boolean =>
        !live.some((other) => other.number < request.number && conflict(other, request));
      for (let step = 0; step < 150 || live.length > 0; step++) {
        if (step < 150 && random.chance(0.55)) {
          const request = make(random.below(24), 1 + random.below(8), random.chance(0.5));
          expect(order.isBlocked(request.sector, request.count, request.writes)).toBe(!startable(request));
          live.push(request);
          order.begin(request);
        } else {
          const running = live.filter((request) => request.started);
          if (running.length === 0) continue;
          const ending = running[random.below(running.length)]!;
          live.splice(live.indexOf(ending), 1);
          order.finish(ending);
        }
        // Exactly those run that no earlier one is in the way of.
        for (const request of live) {
          if (request.started === startable(request)) continue;
          throw new Error(
            `seed ${testSeed + round}, step ${step}: request ${request.number} started ${request.started}`,
          );
        }
        expect(order.isIdle).toBe(live.length === 0);
      }
    }
  });
});
