import { expect, test } from "bun:test";
import { recoveredJson, renderRecovered } from "../../../src/commands/recover-text.ts";
import type { RecoveredArchive } from "../../../src/storage/cas/recover-archive.ts";

const MINUTE_MS = 60_000;
const asOfMs = new Date(2026, 0, 31, 12, 0, 0).getTime();

const recovered: RecoveredArchive = {
  store: "file store /srv/blobs",
  epoch: 3,
  before: { epoch: 2, writerId: "ab".repeat(16), host: "old\u001bhost", claimedMs: asOfMs },
  packCount: 1200,
  storedBytes: 3 * 2 ** 30,
  volumes: [
    {
      name: "e1.0",
      volumeId: "cd".repeat(16),
      sizeBytes: 2 ** 33,
      asOfMs,
      snapshots: [
        {
          id: "77b2aa0be2d47785",
          volume: "e1.0",
          createdMs: asOfMs - MINUTE_MS,
          description: "before",
          root: "0".repeat(64),
          sizeBytes: 2 ** 33,
          logicalBytes: 1,
          uniqueBytes: 1,
          sequence: 4,
        },
      ],
    },
    { name: "e1.1", volumeId: "ef".repeat(16), sizeBytes: 2 ** 20, asOfMs, snapshots: [] },
  ],
};

test("each volume is told with its size, the time that it is of, and its snapshots", () => {
  expect(renderRecovered(recovered, ["e1.0", "e1.7"]).split("\n")).toEqual([
    "file store /srv/blobs: recovered as epoch 3, taken over from old\\x1bhost. 1,200 packs, 3 GiB",
    "  VOLUME   SIZE  AS OF                SNAPSHOTS  NEWEST SNAPSHOT",
    "  e1.0    8 GiB  2026-01-31 12:00:00          1  77b2aa0be2d47785 of 2026-01-31 11:59:00",
    "  e1.1    1 MiB  2026-01-31 12:00:00          0  -",
    "  Everything written up to AS OF is there. What was answered after it is lost at most: it was in the journal alone",
    "  The store has no volume e1.7: voe serve will make it, empty",
  ]);
});

test("programs get the same, times in UTC", () => {
  const asOf = new Date(asOfMs).toISOString();
  expect(recoveredJson(recovered)).toEqual({
    store: "file store /srv/blobs",
    epoch: 3,
    packCount: 1200,
    storedBytes: 3 * 2 ** 30,
    takenOverFrom: { host: "old\u001bhost", epoch: 2, claimedAt: asOf },
    volumes: [
      {
        name: "e1.0",
        sizeBytes: 2 ** 33,
        asOf,
        snapshots: [
          {
            id: "77b2aa0be2d47785",
            createdAt: new Date(asOfMs - MINUTE_MS).toISOString(),
            description: "before",
            sizeBytes: 2 ** 33,
          },
        ],
      },
      { name: "e1.1", sizeBytes: 2 ** 20, asOf, snapshots: [] },
    ],
  });
  expect(recoveredJson({ ...recovered, before: undefined })).toMatchObject({ takenOverFrom: null });
});
