/** Requests in flight for the same sectors take effect in the order in which they arrive. */
import { expect, test } from "bun:test";
import { $ } from "bun";
import { openDisk } from "../../src/initiator/disk.ts";
import { parseAtaReply } from "../../src/initiator/replies.ts";
import { ataRequest, type AtaRequest } from "../../src/initiator/requests.ts";
import { createBed } from "../support/server-bed.ts";
import { makeRandom, seedOfRun } from "../support/random.ts";
import { missingForNetworks, missingForSlowLinks, titleUnless } from "../support/requirements.ts";

const missing = missingForNetworks();
const first = { shelf: 1, slot: 0 };
const ROUNDS = 400;
const OUTSTANDING = 24;
const SECTORS = 40;
const SLOW_ROUNDS = 60;
/** 100 Mbit/s, and what is over 20 kB at a time is refused, as a network card does whose queue is full. */
const SLOW_LINK = ["tbf", "rate", "100mbit", "burst", "20kb", "limit", "20kb"];
const READ = 0x24;
const WRITE = 0x34;

for (const sync of ["always", "1s", "none"]) {
  const title = `${ROUNDS} rounds of ${OUTSTANDING} overlapping reads and writes in flight, sync = "${sync}"`;
  test.skipIf(missing !== undefined)(
    titleUnless(missing, `${title}: each read sees the writes before it and none after it`),
    () => overlap(sync, ROUNDS),
    60_000,
  );
}

// Replies wait in the server then, while it takes the requests that came after them.
const missingSlowLinks = missingForSlowLinks();
test.skipIf(missingSlowLinks !== undefined)(
  titleUnless(missingSlowLinks, "the same on a link that takes replies more slowly than requests come"),
  () => overlap("1s", SLOW_ROUNDS, SLOW_LINK),
  60_000,
);

/** `queue`: what `tc` puts between the server and its cable. */
async function overlap(sync: string, rounds: number, queue: readonly string[] = []): Promise<void> {
  const seed = seedOfRun();
  console.log(`request order, sync = "${sync}": VOE_SEED=${seed}`);
  const random = makeRandom(seed);
  await using bed = await createBed([9000]);
  await bed.configure([{ ...first, size: "1MiB", sync }]);
  await bed.start();
  if (queue.length > 0) await $`tc -n ${bed.namespace} qdisc add dev ${bed.serverInterfaces[0]} root ${queue}`.quiet();
  const initiator = bed.initiator();
  const disk = await openDisk(initiator, first);
  /** What every sector must hold for the next request: two bytes, repeated. */
  const model = new Uint16Array(SECTORS);
  let version = 0;

  /** Sends a request and resolves with its data. Requests leave in the order of these calls, and a cable keeps it. */
  const send = (request: AtaRequest): Promise<Uint8Array> =>
    new Promise((resolve, reject) => {
      const options = { retransmit: false, timeoutMs: 10_000 };
      initiator.request(ataRequest(disk.target.route, request), options, (frame) => {
        const reply = frame && parseAtaReply(frame);
        if (reply?.status === 0x40) resolve(reply.data.slice());
        else reject(new Error(`command ${request.command} of ${request.count} at ${request.sector}: ${reply?.status}`));
      });
    });

  for (let round = 0; round < rounds; round++) {
    const ends: Promise<void>[] = [];
    for (let i = 0; i < OUTSTANDING; i++) {
      const count = 1 + random.below(16);
      const sector = random.below(SECTORS - count + 1);
      if (random.chance(0.6)) {
        version = (version + 1) & 0xffff;
        model.fill(version, sector, sector + count);
        const data = new Uint8Array(new Uint16Array(count * 256).fill(version).buffer);
        ends.push(send({ command: WRITE, sector, count, data }).then(() => {}));
      } else {
        const expected = model.slice(sector, sector + count);
        const check = (data: Uint8Array): void => {
          const words = new Uint16Array(data.buffer);
          const isRight = words.every((word, at) => word === expected[at >> 8]);
          if (isRight) return;
          const found = Array.from(expected, (_, at) => words[at * 256]);
          throw new Error(
            `seed ${seed}, round ${round}: sectors ${sector}+${count} hold ${found.join()} and not ${expected.join()}`,
          );
        };
        ends.push(send({ command: READ, sector, count }).then(check));
      }
    }
    await Promise.all(ends);
  }
  const words = new Uint16Array((await disk.read(0, SECTORS)).buffer);
  expect(words.filter((_, at) => at % 256 === 0)).toEqual(model);
}
