import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { discover } from "../../src/initiator/discover.ts";
import { openDisk, type Disk } from "../../src/initiator/disk.ts";
import { openInitiator, type Initiator } from "../../src/initiator/initiator.ts";
import { measurePath } from "../../src/initiator/probe.ts";
import { parseConfigReply } from "../../src/initiator/replies.ts";
import { judge } from "../../src/initiator/verdict.ts";
import { AoeTarget } from "../../src/protocol/aoe/target.ts";
import { openAoeServer, type AoeServer } from "../../src/server/aoe/aoe-server.ts";
import { memoryStorage } from "../../src/storage/memory-storage.ts";
import { missingForWire } from "../support/wire.ts";

// Others may use the loopback interface at the same time, so the address is one that nobody else has.
const ADDRESS = { shelf: 20_000 + (process.pid % 20_000), slot: 7 };
const SECTORS = 4096;
const missing = missingForWire();

const memoryTarget = (): AoeTarget => {
  const state = { configString: new TextEncoder().encode("here"), mask: [], reservations: [] };
  return new AoeTarget(ADDRESS.shelf, ADDRESS.slot, memoryStorage(SECTORS), state, [], async () => {});
};

describe.skipIf(missing !== undefined)(
  `the initiator and a server in one process, on lo${missing ? ` [skipped: ${missing}]` : ""}`,
  () => {
    let server: AoeServer;
    let initiator: Initiator;
    let disk: Disk;

    beforeAll(async () => {
      server = openAoeServer(["lo"], [memoryTarget()], () => {});
      initiator = openInitiator("lo");
      disk = await openDisk(initiator, ADDRESS);
    });
    afterAll(async () => {
      initiator.close();
      await server.close(1000);
    });

    test("what was written is read back, in frames as large as loopback carries", async () => {
      expect(disk.info).toMatchObject({ sectorCount: SECTORS, sectorsPerFrame: 120, configString: "here" });
      const data = new Uint8Array(1000 * 512).map((_, i) => (i * 7) ^ (i >> 9));
      await disk.write(50, data);
      expect(await disk.read(50, 1000)).toEqual(data);
      await disk.flush();
    });

    test("a broadcast discovers the target once", async () => {
      const paths = await discover([initiator], 60);
      expect(paths.filter((path) => path.config.address.shelf === ADDRESS.shelf)).toMatchObject([
        { config: { configString: "here" }, sectorsPerFrame: 120, identity: { sectorCount: SECTORS }, refusal: "" },
      ]);
    });

    test("an announcement reaches those who listen", async () => {
      const { promise, resolve } = Promise.withResolvers<Uint8Array>();
      const stop = initiator.listen((frame) => {
        const config = parseConfigReply(frame);
        if (config?.address.shelf === ADDRESS.shelf) resolve(frame);
      });
      const moved = memoryTarget();
      server.announce(moved);
      expect(parseConfigReply(await promise)).toMatchObject({ address: ADDRESS, configString: "here" });
      stop();
    });

    test("probe finds the path good", async () => {
      const [path] = await discover([initiator], 60, ADDRESS);
      const measured = await measurePath(path!, 500);
      expect(judge(path!, measured)).toEqual({ good: true, problems: [], notes: [] });
      expect(measured.sectors.passed).toBe(120);
    });

    test("requests that are outstanding when the initiator is closed end without an answer", async () => {
      const other = openInitiator("lo");
      const nobody = { ...ADDRESS, slot: 8 };
      const found = openDisk(other, nobody).catch((error: unknown) => error);
      other.close();
      expect(await found).toBeInstanceOf(Error);
      expect(() => other.request(new Uint8Array(60), {}, () => {})).toThrow("is closed");
    });
  },
);
