/**
 * One seeded run that ends with a bit flipped on the medium of a journal all of which is durable. What recovery may
 * say of it is worked out from the bytes as they were before: a witness that what is damaged was durable makes it
 * corruption; without one it is the tail, and everything before it is found.
 */
import {
  segmentHeader,
  parseSegmentName,
  recordBytes,
  recordHeader,
  getU64,
} from "../../src/storage/cas/journal-format.ts";
import { JournalCorruption } from "../../src/storage/cas/journal-corruption.ts";
import { payloadOffsetOf } from "../../src/storage/cas/journal-segment.ts";
import { openJournal } from "../../src/storage/cas/open-journal.ts";
import { copyOf, type ModelRecord } from "./journal-model.ts";
import { DIRECTORY, JournalRun, type Tally } from "./journal-schedule.ts";

interface Placed {
  readonly record: ModelRecord;
  readonly path: string;
  readonly offsetBytes: number;
  readonly claim: number;
}

export async function runDamage(seed: number, tally: Tally): Promise<void> {
  const run = new JournalRun(seed, tally);
  await run.disk.syncDirectory("/");
  let everything = false;
  for (let lives = run.random.below(3); lives > 0; lives--) {
    await run.recover(everything);
    everything = await run.live();
  }
  await run.recover(everything);
  await run.liveWell(run.random.chance(0.5));

  const files = await segmentFiles(run);
  const placed = placeRecords(run, files);
  const hit = run.random.pick(files);
  const usedBytes = Math.max(segmentHeader.bytes, ...placed.filter(({ path }) => path === hit.path).map(endOf));
  const spot = run.random.below(10);
  const offset = run.random.below(
    spot < 2 ? segmentHeader.bytes : spot < 9 ? usedBytes : run.disk.contentOf(hit.path).length,
  );
  // What the last checkpoint covers is not even looked at, where a later segment is the first that is needed.
  const covered = files.some(
    ({ firstSequence, previousEnd }) =>
      firstSequence > hit.firstSequence && previousEnd <= run.model.releasedBefore && run.model.releasedBefore > 0,
  );
  const first = covered ? undefined : firstDamaged(hit, placed, offset);
  const witnesses = [
    ...files.filter(({ firstSequence }) => firstSequence > hit.firstSequence).map(({ claim }) => claim),
    ...placed.filter(({ record }) => first !== undefined && record.sequence > first).map(({ claim }) => claim),
    // The records of a segment whose header is damaged are witnesses all the same.
    ...placed.filter(({ path }) => offset < segmentHeader.bytes && path === hit.path).map(({ claim }) => claim),
  ];
  // A journal that was closed ends with the header of a segment that covers everything.
  if (files.at(-1)!.claim === run.model.durableSequence) run.count("journals wholly covered");
  const proven = first !== undefined && witnesses.some((claim) => claim > first);
  run.disk.flipBit(hit.path, offset, run.random.below(8));
  if (run.random.chance(0.5)) run.disk.crash();
  else run.disk.restart();

  const found: ModelRecord[] = [];
  const before = await contents(run);
  try {
    await openJournal(run.disk.session(), DIRECTORY, run.options(), (record) => found.push(copyOf(record)));
  } catch (error) {
    if (!(error instanceof JournalCorruption)) throw error;
    if (first === undefined) throw new Error("what is not needed is no reason to refuse a journal", { cause: error });
    if ((await contents(run)) !== before) throw new Error("a journal that was refused was changed", { cause: error });
    run.count("damage reported");
    return;
  }
  if (proven) throw new Error(`record ${first} was durable and damaged, and ${found.length} others were recovered`);
  const intact = placed.map(({ record }) => record).filter(({ sequence }) => first === undefined || sequence < first);
  const wanted = intact.filter(({ sequence }) => sequence >= run.model.releasedBefore);
  // Those that a checkpoint covers may be found or not.
  const fault = sameRecords(found, intact.slice(Math.min(-found.length, -wanted.length) || intact.length));
  if (fault !== undefined) throw new Error(`${fault} after damage to ${first}`);
  run.count(first === undefined ? "damage to what is not needed" : "damage at the very tail");
}

async function segmentFiles(run: JournalRun) {
  const names = await run.disk.list(DIRECTORY);
  return names.filter(isSegment).map((name) => {
    const path = `${DIRECTORY}/${name}`;
    const view = new DataView(run.disk.contentOf(path).buffer);
    return {
      path,
      firstSequence: parseSegmentName(name)!,
      previousEnd: getU64(view, segmentHeader.previousEnd),
      claim: getU64(view, segmentHeader.durableSequence),
    };
  });
}

function placeRecords(run: JournalRun, files: Awaited<ReturnType<typeof segmentFiles>>): Placed[] {
  const views = new Map(files.map(({ path }) => [path, new DataView(run.disk.contentOf(path).buffer)]));
  return run.model.accepted.flatMap((record) => {
    const file = files.findLast(({ firstSequence }) => firstSequence <= record.sequence);
    if (file === undefined) return [];
    const view = views.get(file.path)!;
    const offsetBytes = payloadOffsetOf(record.place) - recordHeader.bytes;
    // Of a segment that was released.
    if (offsetBytes + recordHeader.bytes > view.byteLength) return [];
    if (getU64(view, offsetBytes + recordHeader.sequence) !== record.sequence) return [];
    const claim = getU64(view, offsetBytes + recordHeader.durableSequence);
    return [{ record, path: file.path, offsetBytes, claim }];
  });
}

const endOf = ({ offsetBytes, record }: Placed): number => offsetBytes + recordBytes(record.payload.length);

const isSegment = (name: string): boolean => parseSegmentName(name) !== undefined;

/** Sequence number of the first record that a flip at this place damages, or undefined where it harms nothing. */
function firstDamaged(
  hit: { path: string; firstSequence: number },
  placed: readonly Placed[],
  offset: number,
): number | undefined {
  if (offset < segmentHeader.bytes) {
    const before = placed.findLast(({ record }) => record.sequence < hit.firstSequence);
    return before === undefined ? hit.firstSequence : before.record.sequence + 1;
  }
  const owner = placed.find((one) => one.path === hit.path && offset >= one.offsetBytes && offset < endOf(one));
  // Beyond the last record there are zeros, and what the file was used for before.
  if (owner === undefined) return undefined;
  const inPadding = offset >= owner.offsetBytes + recordHeader.bytes + owner.record.payload.length;
  return inPadding ? undefined : owner.record.sequence;
}

async function contents(run: JournalRun): Promise<string> {
  const names = await run.disk.list(DIRECTORY);
  return names.map((name) => `${name} ${Bun.hash(run.disk.contentOf(`${DIRECTORY}/${name}`))}`).join("\n");
}

function sameRecords(found: readonly ModelRecord[], expected: readonly ModelRecord[]): string | undefined {
  if (found.length !== expected.length) return `${found.length} records were recovered and not ${expected.length}`;
  const odd = found.findIndex(
    ({ sequence, payload }, index) =>
      sequence !== expected[index]!.sequence || Buffer.compare(payload, expected[index]!.payload) !== 0,
  );
  return odd < 0 ? undefined : `record ${found[odd]!.sequence} is not what was accepted`;
}
