import { describe, expect, test } from "bun:test";
import { KEPT, REPLY, SILENCE } from "../../../../src/protocol/aoe/reply.ts";
import { isWrite, requestSector } from "../../../../src/protocol/aoe/ata.ts";
import { memoryStorage } from "../../../../src/storage/memory-storage.ts";
import type { BlockStorage } from "../../../../src/storage/block-storage.ts";
import { aoeError, ata, ataEnd, padded, sectorsOf } from "../../../support/aoe-frames.ts";
import { clientMac, openExchange } from "../../../support/aoe-exchange.ts";
import { heldStorage } from "../../../support/held-storage.ts";

const READ28 = 0x20;
const READ48 = 0x24;
const WRITE28 = 0x30;
const WRITE48 = 0x34;
const LBA48 = 0x40;
const GOOD = [0x40, 0];
const IDNF = [0x41, 0x10];
const ABRT = [0x41, 0x04];
const MOST_48 = 2 ** 48 - 1;

/** A disk far larger than memory, which says where it was read and keeps nothing. */
function hugeStorage(sectorCount: number): BlockStorage & { last: number } {
  const storage = {
    ...memoryStorage(1),
    last: -1,
    info: { sectorCount, readOnly: false, model: "huge", serial: "1", firmware: "1" },
    tryRead: (sector: number, count: number) => {
      if (sector + count > sectorCount) return 2;
      storage.last = sector;
      return 0;
    },
  };
  return storage;
}

describe("reads and writes", () => {
  for (const [width, flags, read, write] of [
    ["LBA28", 0, READ28, WRITE28],
    ["LBA48", LBA48, READ48, WRITE48],
  ] as const) {
    test(`${width}: a write answers 0x40 without data, and a read returns what was written, in both widths`, async () => {
      const exchange = openExchange();
      const data = new Uint8Array(1024).map((_, i) => i * 7);
      const written = await exchange.replyTo(ata({ command: write, sector: 5, count: 2, data, flags: flags | 1 }));
      expect([written.length, ...ataEnd(written)]).toEqual([36, ...GOOD]);
      for (const [otherFlags, command] of [
        [0, READ28],
        [LBA48, READ48],
      ] as const) {
        const reply = await exchange.replyTo(ata({ command, sector: 5, count: 2, flags: otherFlags }));
        expect(ataEnd(reply)).toEqual(GOOD);
        expect(reply.subarray(36)).toEqual(data);
      }
      expect((await exchange.replyTo(ata({ command: read, sector: 4, count: 1, flags }))).subarray(36)).toEqual(
        sectorsOf(0, 1),
      );
    });

    test(`${width}: the last sector can be read and written, the one after it answers IDNF without data`, async () => {
      const exchange = openExchange();
      const data = sectorsOf(0xee, 1);
      expect(ataEnd(await exchange.replyTo(ata({ command: write, sector: 63, count: 1, data, flags })))).toEqual(GOOD);
      expect((await exchange.replyTo(ata({ command: read, sector: 63, count: 1, flags }))).subarray(36)).toEqual(data);
      for (const [sector, count] of [
        [63, 2],
        [64, 1],
        [65, 1],
        [0x0fffffff, 1],
      ] as const) {
        const refusedRead = await exchange.replyTo(ata({ command: read, sector, count, flags }));
        expect([refusedRead.length, ...ataEnd(refusedRead)]).toEqual([36, ...IDNF]);
        const more = ata({ command: write, sector, count, data: sectorsOf(1, count), flags });
        expect(ataEnd(await exchange.replyTo(more))).toEqual(IDNF);
      }
      expect((await exchange.replyTo(ata({ command: read, sector: 63, count: 1, flags }))).subarray(36)).toEqual(data);
      expect(exchange.target.counters.errors).toBe(8);
    });
  }

  test("sectors at 2^48-1 answer IDNF, and neither wrap round nor touch sector 0", async () => {
    const exchange = openExchange();
    for (const sector of [MOST_48, MOST_48 - 1, 2 ** 47, 2 ** 32, 2 ** 32 + 1]) {
      expect(ataEnd(await exchange.replyTo(ata({ command: READ48, sector, count: 2 })))).toEqual(IDNF);
      const write = ata({ command: WRITE48, sector, count: 2, data: sectorsOf(0xff, 2) });
      expect(ataEnd(await exchange.replyTo(write))).toEqual(IDNF);
    }
    expect((await exchange.replyTo(ata({ command: READ48, sector: 0, count: 2 }))).subarray(36)).toEqual(
      sectorsOf(0, 2),
    );
  });

  test("a disk of 2^48 sectors is served to its last sector", async () => {
    const storage = hugeStorage(2 ** 48);
    const exchange = openExchange({ storage });
    for (const sector of [MOST_48, 2 ** 32, 2 ** 31, 0x80000000 + 5]) {
      expect(ataEnd(await exchange.replyTo(ata({ command: READ48, sector, count: 1 })))).toEqual(GOOD);
      expect(storage.last).toBe(sector);
    }
    expect(ataEnd(await exchange.replyTo(ata({ command: READ48, sector: MOST_48, count: 2 })))).toEqual(IDNF);
  });

  test("LBA28 takes only the low four bits of the fourth byte, and neither of the two after it", () => {
    const frame = ata({ command: READ28, sector: 0x0fedcba9, flags: 0 });
    frame.set([0xff, 0xff], 32);
    expect(frame[31]).toBe(0xef); // the device bits that Linux sets
    expect(requestSector(frame, 0)).toBe(0x0fedcba9);
    frame[24] = LBA48;
    expect(requestSector(frame, 0)).toBe(0xffff_efed_cba9);
  });

  test("a count of 0 answers AoE error 2, for reads and for writes with and without data", async () => {
    const exchange = openExchange();
    for (const frame of [
      ata({ command: READ48, count: 0 }),
      ata({ command: READ28, count: 0, flags: 0 }),
      ata({ command: WRITE48, count: 0 }),
      ata({ command: WRITE48, count: 0, data: sectorsOf(1, 1) }),
    ]) {
      const reply = await exchange.replyTo(frame);
      expect([reply.length, aoeError(reply)]).toEqual([24, 2]);
    }
    expect(exchange.target.counters.writes + exchange.target.counters.reads).toBe(0);
  });

  test("a write whose data is not as long as its count says answers AoE error 2 and writes nothing", async () => {
    const exchange = openExchange();
    const cases: [count: number, dataBytes: number][] = [
      [2, 512],
      [1, 1024],
      [1, 511],
      [1, 513],
      [1, 0],
      [255, 1024],
      [2, 1023],
    ];
    for (const [count, dataBytes] of cases) {
      const data = new Uint8Array(dataBytes).fill(0xff);
      expect(aoeError(await exchange.replyTo(ata({ command: WRITE48, count, data })))).toBe(2);
    }
    expect((await exchange.replyTo(ata({ command: READ48, count: 2 }))).subarray(36)).toEqual(sectorsOf(0, 2));
  });

  for (const [mtuBytes, most] of [
    [1500, 2],
    [1045, 1],
    [1046, 2],
    [1557, 2],
    [1558, 3],
    [9000, 17],
    [65536, 127],
  ] as const) {
    test(`at MTU ${mtuBytes} a read of ${most} sectors fits, and one more is refused with AoE error 2, never cut`, async () => {
      const exchange = openExchange({ mtuBytes, storage: memoryStorage(256) });
      const reply = await exchange.replyTo(ata({ command: READ48, count: most }));
      expect(reply.length).toBe(36 + most * 512);
      expect(reply.length - 14).toBeLessThanOrEqual(mtuBytes);
      expect(aoeError(await exchange.replyTo(ata({ command: READ48, count: most + 1 })))).toBe(2);
      expect(aoeError(await exchange.replyTo(ata({ command: READ48, count: 255 })))).toBe(2);
    });
  }

  test("a read request may have bytes behind it, such as Ethernet's padding", async () => {
    const reply = await openExchange().replyTo(padded(ata({ command: READ48, count: 1 })));
    expect([reply.length, ...ataEnd(reply)]).toEqual([548, ...GOOD]);
  });

  test("a write to a read-only disk answers ABRT, also past its end IDNF or ABRT, and writes nothing", async () => {
    const exchange = openExchange({ storage: memoryStorage(64, { readOnly: true }) });
    const write = ata({ command: WRITE48, count: 1, data: sectorsOf(0xff, 1) });
    expect(ataEnd(await exchange.replyTo(write))).toEqual(ABRT);
    const beyond = ata({ command: WRITE48, sector: 64, count: 1, data: sectorsOf(0xff, 1) });
    expect((await exchange.replyTo(beyond))[27]).toBe(0x41);
    expect((await exchange.replyTo(ata({ command: READ48, count: 1 }))).subarray(36)).toEqual(sectorsOf(0, 1));
  });

  test("an ATA request of fewer than 36 bytes answers AoE error 2, whatever its command", async () => {
    const exchange = openExchange();
    for (const command of [READ48, WRITE48, 0xec, 0xe7, 0x99]) {
      for (let length = 24; length < 36; length++) {
        const reply = await exchange.replyTo(ata({ command, count: 1 }).subarray(0, length));
        expect([reply.length, aoeError(reply)]).toEqual([24, 2]);
      }
    }
  });

  test("counters tell reads, writes, bytes and flushes", async () => {
    const exchange = openExchange();
    await exchange.ask(ata({ command: READ48, count: 2 }));
    await exchange.ask(ata({ command: WRITE48, count: 1, data: sectorsOf(1, 1) }));
    await exchange.ask(ata({ command: 0xea }));
    expect(exchange.target.counters).toEqual({
      reads: 1,
      writes: 1,
      flushes: 1,
      readBytes: 1024,
      writtenBytes: 512,
      errors: 0,
      inFlight: 0,
    });
  });
});

describe("storages that answer later", () => {
  test("a read is kept, and its reply has the header of its request and the data that came", async () => {
    const storage = heldStorage(64);
    const exchange = openExchange({ storage });
    const filled = exchange.ask(ata({ command: WRITE48, sector: 8, count: 2, data: sectorsOf(0x77, 2) }));
    storage.release();
    expect(ataEnd((await filled)!)).toEqual(GOOD);
    const frame = ata({ command: READ48, sector: 8, count: 2 });
    frame.set([1, 2, 3, 4], 20);
    const reply = exchange.ask(frame);
    expect([storage.waiting, exchange.target.counters.inFlight]).toEqual([["read 8+2"], 1]);
    storage.release();
    const whole = (await reply)!;
    expect(whole.subarray(20, 24)).toEqual(new Uint8Array([1, 2, 3, 4]));
    expect([whole.length, ...ataEnd(whole)]).toEqual([36 + 1024, ...GOOD]);
    expect(whole.subarray(36)).toEqual(sectorsOf(0x77, 2));
    expect(exchange.target.counters.inFlight).toBe(0);
  });

  for (const [name, status, end] of [
    ["a medium error", 4, [0x41, 0x40]],
    ["a full medium", 5, [0x41, 0x40]],
    ["sectors beyond the end", 2, [0x41, 0x10]],
    ["a read-only disk", 3, [0x41, 0x04]],
  ] as const) {
    test(`${name} becomes ATA status ${Buffer.from(end).toString("hex")} of a read, a write and a flush, without data`, async () => {
      const storage = heldStorage(64);
      const exchange = openExchange({ storage });
      for (const frame of [
        ata({ command: READ48, count: 1 }),
        ata({ command: WRITE48, count: 1, data: sectorsOf(1, 1) }),
        ata({ command: 0xe7 }),
      ]) {
        const reply = exchange.ask(frame);
        storage.release(status);
        const whole = (await reply)!;
        expect([whole.length, aoeError(whole), ...ataEnd(whole)]).toEqual([36, 0, ...end]);
      }
      expect(exchange.target.counters.errors).toBe(3);
    });
  }

  test("where no more requests can be kept there is silence, and the storage was not asked", () => {
    const storage = heldStorage(64);
    const exchange = openExchange({ storage, mostPending: 1 });
    expect(exchange.take(ata({ command: READ48, count: 1 }))).toBe(KEPT);
    expect(exchange.take(ata({ command: READ48, count: 1 }))).toBe(SILENCE);
    expect(exchange.take(ata({ command: WRITE48, count: 1, data: sectorsOf(1, 1) }))).toBe(SILENCE);
    expect(exchange.take(ata({ command: 0xea }))).toBe(SILENCE);
    expect(storage.waiting).toEqual(["read 0+1"]);
    storage.release();
    expect(exchange.take(ata({ command: 0xea }))).toBe(KEPT);
  });

  test("requests that wait end in the order in which the storage ends them, each with its own reply", async () => {
    const storage = heldStorage(64);
    const exchange = openExchange({ storage });
    const frames = [11, 22, 33].map((tag, i) => {
      const frame = ata({ command: READ48, sector: i, count: 1 });
      frame[23] = tag;
      return frame;
    });
    const replies = frames.map((frame) => exchange.ask(frame));
    for (const _ of frames) storage.release();
    expect((await Promise.all(replies)).map((reply) => reply![23])).toEqual([11, 22, 33]);
  });
});

describe("other commands", () => {
  test("IDENTIFY answers 512 bytes with status 0x40", async () => {
    const exchange = openExchange();
    const reply = await exchange.replyTo(ata({ command: 0xec, count: 1 }));
    expect([reply.length, ...ataEnd(reply)]).toEqual([548, ...GOOD]);
    expect(reply.subarray(36)).toEqual(exchange.target.identify);
  });

  test("IDENTIFY through an MTU that carries no sector is refused with AoE error 2", async () => {
    const identify = ata({ command: 0xec, count: 1 });
    expect(aoeError(await openExchange({ mtuBytes: 533 }).replyTo(identify))).toBe(2);
    expect(aoeError(await openExchange({ mtuBytes: 534 }).replyTo(identify))).toBe(0);
  });

  for (const command of [0xe7, 0xea]) {
    test(`FLUSH CACHE ${command.toString(16)} answers 0x40 once the storage says that all is durable`, async () => {
      const storage = heldStorage(64);
      const exchange = openExchange({ storage });
      const reply = exchange.ask(ata({ command }));
      expect(storage.waiting).toEqual(["flush"]);
      expect(exchange.sent).toEqual([]);
      storage.release();
      expect(ataEnd((await reply)!)).toEqual(GOOD);
    });
  }

  test("CHECK POWER MODE answers active, 0xFF in the sector count", async () => {
    const reply = await openExchange().replyTo(ata({ command: 0xe5 }));
    expect([reply.length, reply[26], ...ataEnd(reply)]).toEqual([36, 0xff, ...GOOD]);
  });

  for (const [feature, end] of [
    [0x03, GOOD],
    [0x55, GOOD],
    [0xaa, GOOD],
    [0x02, ABRT],
    [0x82, ABRT],
    [0x00, ABRT],
  ] as const) {
    test(`SET FEATURES ${feature.toString(16)} answers ${end === GOOD ? "0x40" : "ABRT"}`, async () => {
      expect(ataEnd(await openExchange().replyTo(ata({ command: 0xef, feature })))).toEqual([...end]);
    });
  }

  test("SMART RETURN STATUS answers healthy, its signature unchanged; without the signature, or another, ABRT", async () => {
    const exchange = openExchange();
    const reply = await exchange.replyTo(ata({ command: 0xb0, feature: 0xda, sector: 0xc24f00 }));
    expect([...ataEnd(reply), reply[29], reply[30]]).toEqual([...GOOD, 0x4f, 0xc2]);
    expect(ataEnd(await exchange.replyTo(ata({ command: 0xb0, feature: 0xda })))).toEqual(ABRT);
    expect(ataEnd(await exchange.replyTo(ata({ command: 0xb0, feature: 0xd0, sector: 0xc24f00 })))).toEqual(ABRT);
  });

  test("every other command of the 256 answers ABRT in 36 bytes, and no AoE error", async () => {
    const exchange = openExchange();
    const known = [0x20, 0x24, 0x30, 0x34, 0xb0, 0xe5, 0xe7, 0xea, 0xec, 0xef];
    for (let command = 0; command < 256; command++) {
      if (known.includes(command)) continue;
      const reply = await exchange.replyTo(ata({ command, count: 1, sector: 7 }));
      expect([command, reply.length, aoeError(reply), ...ataEnd(reply)]).toEqual([command, 36, 0, ...ABRT]);
    }
  });

  test("registers that a reply does not set are those of the request", async () => {
    const frame = ata({ command: 0x99, count: 3, sector: 0x665544332211, flags: 0x53 });
    frame.set([0x77, 0x88], 34);
    const reply = await openExchange().replyTo(frame);
    const expected = frame.slice(24, 36);
    expected[1] = 0x04;
    expected[3] = 0x41;
    expect(reply.subarray(24)).toEqual(expected);
  });
});

describe("a reserved target", () => {
  const other = clientMac + 1;
  for (const [name, reservations, isRefused] of [
    ["by another", [other], true],
    ["by the sender among others", [other, clientMac], false],
  ] as const) {
    test(`reserved ${name}, reads and writes ${isRefused ? "answer AoE error 6" : "are done"}`, async () => {
      const exchange = openExchange({ state: { reservations } });
      const write = ata({ command: WRITE48, count: 1, data: sectorsOf(9, 1) });
      for (const frame of [write, ata({ command: READ48, count: 1 }), ata({ command: READ28, count: 1, flags: 0 })]) {
        expect(aoeError(await exchange.replyTo(frame))).toBe(isRefused ? 6 : 0);
      }
      const read = await exchange.replyTo(ata({ command: READ48, count: 1 }, reservations[0]));
      expect(read[36]).toBe(isRefused ? 0 : 9);
    });
  }

  test("the sender is told by the source address, whatever the destination", async () => {
    const exchange = openExchange({ state: { reservations: [other] } });
    const frame = ata({ command: READ48, count: 1 });
    frame.set([0x02, 0, 0, 0, 0, 3], 0); // the holder's, as destination
    expect(aoeError(await exchange.replyTo(frame))).toBe(6);
  });

  test("IDENTIFY and FLUSH are for everybody", async () => {
    const exchange = openExchange({ state: { reservations: [other] } });
    expect(exchange.take(ata({ command: 0xec, count: 1 }))).toBe(REPLY);
    expect(exchange.take(ata({ command: 0xea }))).toBe(KEPT);
  });
});

test("isWrite knows the two write commands in whole ATA requests alone", () => {
  for (let command = 0; command < 256; command++) {
    const frame = ata({ command, count: 1 });
    expect(isWrite(frame, 0, frame.length)).toBe(command === WRITE28 || command === WRITE48);
    expect(isWrite(frame, 0, 35)).toBe(false);
    frame[19] = 1;
    expect(isWrite(frame, 0, frame.length)).toBe(false);
  }
});
