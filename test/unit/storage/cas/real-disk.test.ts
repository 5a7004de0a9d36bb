import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { allocateMemory } from "../../../../ffi/memory.ts";
import { realDisk } from "../../../../src/storage/cas/real-disk.ts";
import { missingForResidency } from "../../../support/page-cache.ts";
import { titleUnless } from "../../../support/requirements.ts";

const SIZE_BYTES = 3 * 2 ** 20;
const directory = mkdtempSync(join(tmpdir(), "voe-real-disk-"));
afterAll(() => rmSync(directory, { recursive: true }));

const memory = allocateMemory(SIZE_BYTES);

/** How many bytes of a file are zeros. */
async function zerosOf(path: string): Promise<number> {
  const file = realDisk.open(path, true);
  await file.read(memory, 0, SIZE_BYTES, 0);
  await file.close();
  return memory.bytes.reduce((count, byte) => count + (byte === 0 ? 1 : 0), 0);
}

test("prepare leaves alone what is cached, however much of it there is", async () => {
  const file = realDisk.create(join(directory, "cached"));
  memory.bytes.fill(7);
  file.write(memory, 0, SIZE_BYTES, 0);
  for (let at = 64; at < SIZE_BYTES; at += 65_536) file.prepare(at, Math.min(65_536, SIZE_BYTES - at));
  expect(await zerosOf(file.path)).toBe(0);
  await file.close();
});

const missing = missingForResidency();
test.skipIf(missing !== undefined)(
  titleUnless(missing, "prepare writes zeros over what is not cached, so that no write waits for the medium"),
  async () => {
    const file = realDisk.create(join(directory, "cold"));
    memory.bytes.fill(7);
    file.write(memory, 0, SIZE_BYTES, 0);
    // It is known to be cached, until it is not any more.
    file.prepare(0, 65_536);
    await file.sync();
    file.forgetCached();
    file.prepare(65_536, 65_536);
    expect(await zerosOf(file.path)).toBe(65_536);
    await file.close();
  },
);
