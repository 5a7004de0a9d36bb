import { afterAll } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { realDisk } from "../../src/storage/cas/real-disk.ts";
import { SimulatedDisk } from "../simulation/simulated-disk.ts";
import { seededRandom } from "../support/seeded-random.ts";
import { diskContract } from "./disk.ts";

const directory = mkdtempSync(join(tmpdir(), "voe-disk-"));
afterAll(() => rmSync(directory, { recursive: true }));

diskContract("the real disk", () => ({ disk: realDisk, directory: mkdtempSync(join(directory, "case-")) }));

let seed = 0;
diskContract("the simulated disk", () => {
  const disk = new SimulatedDisk(seededRandom(seed++));
  disk.makeDirectory("/case");
  return { disk, directory: "/case" };
});
