import { expect, test } from "bun:test";
import { parseCopyArguments } from "../../../src/commands/copy.ts";
import { copiesOf, type CopyChoice } from "../../../src/commands/copy-targets.ts";
import { copiedJson, renderCopied } from "../../../src/commands/copy-text.ts";
import { UsageError } from "../../../src/commands/usage-error.ts";
import type { Config } from "../../../src/config/config.ts";
import { parseConfig } from "../../../src/config/parse.ts";
import type { RootRecord } from "../../../src/storage/cas/root-record.ts";

test("targets and snapshots of a configuration are copied to those of another", () => {
  expect(parseCopyArguments(["a.toml", "e1.0", "e2.0@3f", "--to", "b.toml", "--json"])).toMatchObject({
    config: "a.toml",
    to: "b.toml",
    chosen: [{ target: "e1.0" }, { target: "e2.0", snapshot: "3f" }],
    json: true,
  });
  expect(parseCopyArguments(["a.toml", "e1.0", "--to", "b.toml", "--as", "e7.1"]).chosen).toEqual([
    { target: "e1.0", as: "e7.1" },
  ]);
  expect(parseCopyArguments(["a.toml", "--to", "b.toml"]).chosen).toEqual([]);
});

test.each([
  [[], "needs the CONFIG"],
  [["a.toml"], "--to CONFIG2 is missing"],
  [["a.toml", "disk.img", "--to", "b.toml"], "disk.img"],
  [["a.toml", "e1.0@", "--to", "b.toml"], "names no snapshot"],
  [["a.toml", "--to", "b.toml", "--as", "e1.0"], "--as e1.0 is for one target"],
  [["a.toml", "e1.0", "e2.0", "--to", "b.toml", "--as", "e1.0"], "--as e1.0 is for one target"],
])("%j is bad usage", (args, message) => {
  expect(() => parseCopyArguments(args)).toThrow(UsageError);
  expect(() => parseCopyArguments(args)).toThrow(message);
});

const archive = (slot: number, store: string, more = ""): string => `
[[target]]
shelf = 1
slot = ${slot}
backend = "cas"
[target.cas]
size = "1MiB"
${more}
[target.cas.blob_store]
type = "file"
path = "${store}"
`;
const config = (...targets: string[]): Config => parseConfig(targets.join(""), "some.toml");
const copies = (from: Config, to: Config, ...chosen: CopyChoice[]) => copiesOf(from, "a.toml", to, "b.toml", chosen);

test("without targets all archives are copied, those between the same two stores at once", () => {
  const from = config(archive(0, "/a"), archive(1, "/a"), archive(2, "/other"));
  const to = config(archive(0, "/b"), archive(1, "/b", 'compression = "none"'), archive(2, "/b"));
  expect(copies(from, to)).toEqual([
    {
      source: { type: "file", path: "/a" },
      destination: { type: "file", path: "/b" },
      compression: "lz4",
      wanted: [{ volume: "e1.0" }, { volume: "e1.1" }],
    },
    {
      source: { type: "file", path: "/other" },
      destination: { type: "file", path: "/b" },
      compression: "lz4",
      wanted: [{ volume: "e1.2" }],
    },
  ]);
});

test("a target goes to one of another address that has its volume", () => {
  const to = config(archive(7, "/b", 'volume = "e1.0"'));
  expect(copies(config(archive(0, "/a")), to, { target: "e1.0", snapshot: "3f", as: "e1.7" })).toMatchObject([
    { wanted: [{ volume: "e1.0", snapshot: "3f" }] },
  ]);
});

test.each<[string, string[], string[], CopyChoice[], string]>([
  ["nothing to copy", [], [archive(0, "/b")], [], "a.toml has no archive"],
  ["a target that is not there", [archive(0, "/a")], [archive(0, "/b")], [{ target: "e9.9" }], "it has e1.0"],
  ["a copy that is not there", [archive(0, "/a")], [archive(1, "/b")], [], "b.toml has no archive e1.0, it has e1.1"],
  ["the same store", [archive(0, "/a")], [archive(0, "/a")], [], "has to name another one"],
  ["another name", [archive(0, "/a", 'volume = "x"')], [archive(0, "/b")], [], 'set volume = "x" in its [target.cas]'],
  ["another hash", [archive(0, "/a")], [archive(0, "/b", 'hash = "sha256"')], [], 'a copy of e1.0 has "blake3"'],
  ["another block size", [archive(0, "/a", "block_size = 512")], [archive(0, "/b")], [], "a copy of e1.0 has 512"],
])("%s is bad usage", (_, from, to, chosen, message) => {
  const file = '[[target]]\nshelf = 5\nslot = 0\nbackend = "file"\npath = "/f"\n';
  const copying = () => copies(config(file, ...from), config(file, ...to), ...chosen);
  expect(copying).toThrow(UsageError);
  expect(copying).toThrow(message);
});

const record = (kind: RootRecord["kind"], sequence: number): RootRecord => ({
  kind,
  volumeId: "a".repeat(32),
  volumeName: "e1.0",
  sequence,
  parent: null,
  root: "0".repeat(64),
  hash: "blake3",
  blockSizeBytes: 4096,
  sectorCount: 8,
  createdMs: 1_700_000_000_000 + sequence,
  description: "",
  journalSequence: 0,
  logicalBytes: 0,
  uniqueBytes: 0,
});

test("what was copied is told for each volume, in text and in JSON", () => {
  const result = {
    source: "file store /a",
    destination: "file store /b",
    broughtBytes: 2 ** 20,
    packBytes: 2 ** 19,
    volumes: [
      {
        name: "e1.0",
        volumeId: "a".repeat(32),
        copied: [
          { record: record("snapshot", 1), checksum: "b".repeat(64) },
          { record: record("checkpoint", 2), checksum: "c".repeat(64) },
        ],
        presentCount: 3,
      },
      { name: "e2.0", volumeId: "d".repeat(32), copied: [], presentCount: 1 },
    ],
  };
  expect(renderCopied(result)).toEqual([
    "e1.0: 1 snapshot and its present copied, 3 there already; as of 2023-11-14T22:13:20.002Z",
    "e2.0: nothing is missing at the destination",
    "copied file store /a to file store /b: 1 MiB of blocks brought, 512 KiB of packs stored",
  ]);
  expect(copiedJson(result)).toMatchObject({
    broughtBytes: 2 ** 20,
    volumes: [
      { name: "e1.0", presentCount: 3, copied: [{ kind: "snapshot", id: "b".repeat(16) }, { kind: "checkpoint" }] },
      { name: "e2.0", copied: [] },
    ],
  });
});
