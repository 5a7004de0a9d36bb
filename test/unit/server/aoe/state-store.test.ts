import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { chmod, mkdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Mac } from "../../../../src/protocol/aoe/mac.ts";
import type { TargetState } from "../../../../src/protocol/aoe/target.ts";
import { openStateStore } from "../../../../src/server/aoe/state-store.ts";

const A: Mac = 0x02_00_00_00_0a_00;
const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
const stateOf = (change: Partial<TargetState> = {}): TargetState => ({
  configString: new Uint8Array(0),
  mask: [],
  reservations: [],
  ...change,
});

const many = (count: number, from: Mac): Mac[] => Array.from({ length: count }, (_, i) => from + i);

let directory: string;
let reports: string[];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "voe-state-"));
  reports = [];
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));
const path = () => join(directory, "aoe", "e1.0.json");
const open = (configString = "", floor: readonly Mac[] = []) =>
  openStateStore(directory, "e1.0", configString, floor, (_, message) => void reports.push(message));

test("without a file the state is what the configuration says", () => {
  expect(open("archive", [A]).initial).toEqual(stateOf({ configString: bytesOf("archive"), mask: [A] }));
  expect(existsSync(path())).toBe(false);
});

test("what was saved is there again: any bytes of a config string, mask and reservations in their order", async () => {
  const saved = stateOf({
    configString: new Uint8Array(256).map((_, i) => 255 - i),
    mask: [A + 3, A, A + 1, 0xffffffffffff],
    reservations: [0, A],
  });
  await open().save(saved);
  expect(open().initial).toEqual(saved);
});

test("what another target saved is not touched", async () => {
  await open().save(stateOf({ reservations: [A] }));
  const other = openStateStore(directory, "e1.1", "", [], () => {});
  expect(other.initial).toEqual(stateOf());
  await other.save(stateOf({ reservations: [A + 1] }));
  expect(open().initial.reservations).toEqual([A]);
});

describe("the config string", () => {
  test("that an initiator has set stays while the configuration says what it said", async () => {
    await open("archive").save(stateOf({ configString: bytesOf("set") }));
    expect(open("archive").initial.configString).toEqual(bytesOf("set"));
  });

  test("of a changed configuration wins, and the rest of the state stays", async () => {
    await open("archive").save(stateOf({ configString: bytesOf("set"), reservations: [A] }));
    expect(open("backup").initial).toEqual(stateOf({ configString: bytesOf("backup"), reservations: [A] }));
    expect(open("").initial.configString).toEqual(bytesOf(""));
  });
});

describe("MACs that the configuration allows", () => {
  test("are on the mask from the start, and added to one that was saved without them", async () => {
    await open().save(stateOf({ mask: [A] }));
    expect(open("", [A + 1]).initial.mask).toEqual([A + 1, A]);
  });

  test("are off the mask when the configuration no longer allows them; what an initiator added stays", async () => {
    await open("", [A, A + 1]).save(stateOf({ mask: [A, A + 1, A + 2] }));
    expect(open("", [A + 1]).initial.mask).toEqual([A + 1, A + 2]);
    expect(open("").initial.mask).toEqual([A + 2]);
  });

  test("and those that were saved are together no more than a list can have, or the target is refused", async () => {
    await open().save(stateOf({ mask: many(200, A) }));
    expect(open("", many(55, A + 1000)).initial.mask.length).toBe(255);
    expect(() => open("", many(56, A + 1000))).toThrow(/e1\.0\.json.*256.*255/);
  });
});

/** Saves a good file and returns what is in it. */
const good = async (): Promise<Record<string, unknown>> => {
  await open("archive").save(stateOf({ configString: bytesOf("set"), mask: [A], reservations: [A] }));
  return JSON.parse(readFileSync(path(), "utf8")) as Record<string, unknown>;
};
const expectRefused = (content: string | Uint8Array): void => {
  writeFileSync(path(), content);
  expect(() => open("archive")).toThrow(/e1\.0\.json is damaged .*restore it from a backup, or delete it/);
};

describe("a damaged file", () => {
  test("is refused with what to do: empty, cut anywhere, or of zeros after a power loss", async () => {
    await good();
    const text = readFileSync(path(), "utf8").trimEnd();
    for (let length = 0; length < text.length; length++) expectRefused(text.slice(0, length));
    expectRefused(new Uint8Array(text.length));
  });

  test("is refused where it is JSON of something else", async () => {
    await good();
    for (const other of ["null", "[]", "1", '"text"', "{}"]) expectRefused(other);
  });

  for (const [name, change] of Object.entries({
    "another version": { version: 2 },
    "no version": { version: undefined },
    "no mask": { mask: undefined },
    "a mask that is no list": { mask: "02:00:00:00:0a:00" },
    "an entry that is no MAC": { mask: ["02:00:00:00:0a"] },
    "an entry that is no text": { reservations: [7] },
    "too many entries": { reservations: Array.from({ length: 256 }, () => "02:00:00:00:0a:00") },
    "no config string": { configString: undefined },
    "a config string that is no base64": { configString: "!not base64!" },
    "a config string of 1025 bytes": { configString: Buffer.alloc(1025).toString("base64") },
    "no configured string": { configured: 5 },
  })) {
    test(`is refused with ${name}`, async () => expectRefused(JSON.stringify({ ...(await good()), ...change })));
  }

  test("is not replaced by the refusal", async () => {
    await good();
    writeFileSync(path(), "{");
    expect(() => open("other")).toThrow("damaged");
    expect(readFileSync(path(), "utf8")).toBe("{");
  });
});

describe("saving", () => {
  test("replaces the file in one step: what was opened before still reads the old content", async () => {
    const store = open();
    await store.save(stateOf({ reservations: [A] }));
    const before = statSync(path()).ino;
    const file = Bun.file(path());
    const old = await file.text();
    await store.save(stateOf({ reservations: [A + 1] }));
    expect(statSync(path()).ino).not.toBe(before);
    expect(old).toContain("02:00:00:00:0a:00");
    expect(readdirSync(join(directory, "aoe"))).toEqual(["e1.0.json"]);
  });

  test("a temporary file that a crash left behind is neither read nor in the way", async () => {
    await open().save(stateOf({ reservations: [A] }));
    writeFileSync(`${path()}.new`, "half a fi");
    expect(open().initial.reservations).toEqual([A]);
    await open().save(stateOf({ reservations: [A + 1] }));
    expect(open().initial.reservations).toEqual([A + 1]);
  });

  test("that fails is reported with the path and rejects, and the file stays as it was", async () => {
    const store = open();
    await store.save(stateOf({ reservations: [A] }));
    // Root may write anywhere, but not over a directory.
    await mkdir(`${path()}.new`);
    expect(await store.save(stateOf()).catch(() => "refused")).toBe("refused");
    expect(reports).toEqual([expect.stringContaining(`${path()} could not be written, so the change was refused`)]);
    expect(open().initial.reservations).toEqual([A]);
  });

  test("the file is for its owner alone, since it tells who may use the disk", async () => {
    await open().save(stateOf());
    expect(statSync(path()).mode & 0o777).toBe(0o600);
  });
});

test.skipIf(process.getuid?.() === 0)(
  "a file that may not be read is an error, not an empty state [not as root]",
  async () => {
    await open().save(stateOf({ mask: [A] }));
    await chmod(path(), 0);
    expect(() => open()).toThrow("EACCES");
  },
);
