/** A file store on a filesystem that really is full. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openFileStore } from "../../../src/blob/file-store.ts";
import { failureOf, getBytes, listAll } from "../../support/blob-requests.ts";
import { makeNamedBlob } from "../../support/named-blob.ts";
import { titleUnless } from "../../support/requirements.ts";

const missing =
  process.env["VOE_TEST_FULL"] !== "1"
    ? "VOE_TEST_FULL=1 is not set"
    : process.getuid?.() !== 0
      ? "root is needed to mount a small filesystem"
      : undefined;

let mountPoint: string;
beforeAll(() => {
  mountPoint = mkdtempSync(join(tmpdir(), "voe-full-"));
  if (missing !== undefined) return;
  const mount = Bun.spawnSync(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", mountPoint]);
  if (!mount.success) throw new Error(`cannot mount a tmpfs: ${mount.stderr.toString()}`);
});
afterAll(() => {
  if (missing === undefined) Bun.spawnSync(["umount", mountPoint]);
  rmSync(mountPoint, { recursive: true, force: true });
});

test.skipIf(missing !== undefined)(
  titleUnless(missing, "a put into a full filesystem is full, leaves what is stored whole, and works again with space"),
  async () => {
    const store = await openFileStore(join(mountPoint, "store"), { create: true });
    const first = makeNamedBlob(600_000, 1);
    const second = makeNamedBlob(600_000, 2);
    await store.put(first.name, first.bytes);
    for (let attempt = 0; attempt < 3; attempt++) {
      expect(await failureOf(store.put(second.name, second.bytes))).toBe("full");
      expect(readdirSync(join(mountPoint, "store/tmp"))).toEqual([]);
    }
    expect((await listAll(store)).map(({ name }) => name)).toEqual([first.name]);
    expect(Buffer.compare(await getBytes(store, first.name, 0, 600_000), first.bytes)).toBe(0);

    await store.delete(first.name);
    await store.put(second.name, second.bytes);
    expect(Buffer.compare(await getBytes(store, second.name, 0, 600_000), second.bytes)).toBe(0);
    await store.close();
  },
);
