/** Opens the journal in a directory: makes it, or finds what a crash has left of it, replays that, and cuts the tail. */
import { dirname, join } from "node:path";
import { ENOENT, SystemError } from "../../../ffi/libc.ts";
import { allocateMemory, freeMemory } from "../../../ffi/memory.ts";
import type { Disk, DiskFile } from "./disk.ts";
import { DAMAGED_ADVICE, JournalCorruption, WrongJournal } from "./journal-corruption.ts";
import {
  parseSegmentHeader,
  parseSegmentName,
  segmentHeader,
  type SegmentFields,
  UNIT_BYTES,
} from "./journal-format.ts";
import type { Report } from "./journal-reader.ts";
import { foundSegment, type FoundSegment, type JournalRecord, type Scan, scanJournal } from "./journal-recovery.ts";
import { createSegment, isEmpty, SEGMENT_MOST_BYTES, type Segment } from "./journal-segment.ts";
import { Journal, RESERVE_BYTES } from "./journal.ts";
import { isSpareName, SPARE_MOST_BYTES, type SpareSegments, spareSegments } from "./spare-segments.ts";

export const SEGMENT_BYTES = 256 * 2 ** 20;
export const LIMIT_BYTES = 4 * 2 ** 30;

export interface ExpectedJournal {
  readonly journalId: string;
  readonly fromSequence: number;
}

export interface OpenOptions {
  /**
   * What the last checkpoint says of this journal: its id, and the first record that the checkpoint does not cover;
   * those before it were durable when the checkpoint was written. Absent: nothing is known, no segment was ever
   * released, and a journal is made where the directory holds none.
   */
  readonly expected?: ExpectedJournal;
  /** The numbers of new records are above this one, 0 unless given: a root says that it covers records up to it. */
  readonly aboveSequence?: number;
  /** Size at which a new segment is begun, SEGMENT_BYTES unless given. */
  readonly segmentBytes?: number;
  /** Size of all segments together at which `append` says FULL, LIMIT_BYTES unless given. */
  readonly limitBytes?: number;
  /** Fills bytes at random: the id of a journal that is made. */
  readonly random: (bytes: Uint8Array) => void;
  readonly report: Report;
}

export interface Recovery {
  readonly recordCount: number;
  /** Sequence number after the last record. */
  readonly endSequence: number;
  /** Records that were found and had to be dropped: one before them was lost, or lost a part. None was durable. */
  readonly lostCount: number;
}

/**
 * Opens a journal and replays its records in their order to `replay`. When this resolves, everything that was replayed
 * is durable, nothing else is left, and records may be appended; places of replayed records hold. When it rejects,
 * what was replayed is void: with `WrongJournal` where the directory holds none, or not the expected one;
 * `JournalCorruption` where records that were durable are damaged or missing; `SystemError` where the disk refuses.
 * Nobody else may have the directory open.
 */
export async function openJournal(
  disk: Disk,
  directory: string,
  options: OpenOptions,
  replay: (record: JournalRecord) => void,
): Promise<{ journal: Journal; recovery: Recovery }> {
  const { segmentBytes = SEGMENT_BYTES, limitBytes = LIMIT_BYTES, report } = options;
  if (segmentBytes > SEGMENT_MOST_BYTES) throw new Error(`a segment has at most ${SEGMENT_MOST_BYTES} bytes`);
  const opened: DiskFile[] = [];
  try {
    const found = await findSegments(disk, directory, options, opened);
    const begun = found.length === 0 ? newJournal(options) : await recover(disk, directory, found, options, replay);
    const segments = begun.kept.map((segment, index) => openSegment(segment, index + 1));
    const fields = { journalId: begun.journalId, limitBytes, ...begun.next };
    const current = createSegment(disk, directory, segments.length + 1, fields);
    opened.push(current.file);
    await current.file.sync();
    await disk.syncDirectory(directory);
    // The directory's own name too, whoever made it.
    await disk.syncDirectory(dirname(directory));
    current.synced = true;
    const journal = new Journal({
      disk,
      directory,
      id: begun.journalId,
      segments: [...(await dropEmpty(disk, segments)), current],
      spares: await findSpares(disk, directory),
      segmentBytes,
      limitBytes,
      report,
    });
    return { journal, recovery: begun.recovery };
  } catch (error) {
    await Promise.all(opened.map((file) => file.close().catch(() => {})));
    throw error;
  }
}

interface Beginning {
  readonly journalId: string;
  readonly kept: readonly FoundSegment[];
  readonly next: { readonly firstSequence: number; readonly previousEnd: number; readonly durableSequence: number };
  readonly recovery: Recovery;
}

function newJournal({ random, aboveSequence = 0 }: OpenOptions): Beginning {
  const id = new Uint8Array(8);
  random(id);
  const first = aboveSequence + 1;
  return {
    journalId: id.toHex(),
    kept: [],
    next: { firstSequence: first, previousEnd: first, durableSequence: first },
    recovery: { recordCount: 0, endSequence: first, lostCount: 0 },
  };
}

/**
 * Replays what a journal's directory holds intact, and leaves it as it is. Rejects as `openJournal` does where it is not
 * the expected one, or cannot be read.
 */
export async function readJournal(
  disk: Disk,
  directory: string,
  expected: ExpectedJournal | undefined,
  replay: (record: JournalRecord) => void,
): Promise<void> {
  const opened: DiskFile[] = [];
  try {
    const numbered = numberedSegments(directory, await namesIn(disk, directory));
    if (numbered.length === 0) return;
    const headers = await readHeaders(disk, numbered, opened);
    const journalId = expected?.journalId ?? headers.find(({ header }) => header !== undefined)?.header?.journalId;
    if (journalId === undefined) return;
    const found = ofJournal(headers, journalId);
    await scanJournal(neededSegments(found, expected?.fromSequence ?? 0), replay);
  } finally {
    await Promise.all(opened.map((file) => file.close()));
  }
}

/** Opens the segments in their order, and refuses what is no journal, or not the expected one. */
async function findSegments(
  disk: Disk,
  directory: string,
  options: OpenOptions,
  opened: DiskFile[],
): Promise<FoundSegment[]> {
  const { expected } = options;
  const names = await namesIn(disk, directory);
  const numbered = numberedSegments(directory, names);
  if (numbered.length === 0) {
    if (expected !== undefined) {
      throw new WrongJournal(
        `${directory} holds no journal, and journal ${expected.journalId} ought to be there with the writes since the ` +
          `last checkpoint: is the right directory configured, and mounted?`,
      );
    }
    const foreign = names.filter((name) => name !== "lost+found");
    if (foreign.length > 0) {
      throw new WrongJournal(`${directory} is not empty (${foreign[0]}): a journal wants a directory of its own`);
    }
    disk.makeDirectory(directory);
    return [];
  }
  const headers = await readHeaders(disk, numbered, opened);
  const journalId = expected?.journalId ?? headers.find(({ header }) => header !== undefined)?.header?.journalId;
  if (journalId === undefined) return await unborn(disk, directory, headers);
  return ofJournal(headers, journalId);
}

/** What the names of a directory say of segments, oldest first. */
const numberedSegments = (directory: string, names: readonly string[]): { path: string; firstSequence: number }[] =>
  names.flatMap((name) => {
    const firstSequence = parseSegmentName(name);
    return firstSequence === undefined ? [] : [{ path: join(directory, name), firstSequence }];
  });

/** Refuses files that belong to another journal. */
function ofJournal(headers: readonly Headed[], journalId: string): FoundSegment[] {
  const stranger = headers.find(({ header }) => header !== undefined && header.journalId !== journalId);
  if (stranger !== undefined) {
    throw new WrongJournal(
      `${stranger.file.path} belongs to journal ${stranger.header!.journalId}, and not to ${journalId}: ` +
        `is the right directory configured? A journal's directory is never shared, nor mixed with a copy of another`,
    );
  }
  return headers.map(({ file, firstSequence, header, sizeBytes }) =>
    foundSegment(file, firstSequence, header, sizeBytes, journalId),
  );
}

async function namesIn(disk: Disk, directory: string): Promise<string[]> {
  try {
    return await disk.list(directory);
  } catch (error) {
    if (error instanceof SystemError && error.errno === ENOENT) return [];
    throw error;
  }
}

type Headed = Pick<FoundSegment, "file" | "firstSequence" | "header" | "sizeBytes">;

/**
 * Opens the files and reads their headers, from the medium: what an earlier process could not sync may be in the page
 * cache, and count as written there, though the medium has never had it.
 */
async function readHeaders(
  disk: Disk,
  numbered: readonly { path: string; firstSequence: number }[],
  opened: DiskFile[],
): Promise<Headed[]> {
  const memory = allocateMemory(UNIT_BYTES);
  const found: Headed[] = [];
  try {
    for (const { path, firstSequence } of numbered) {
      const file = disk.open(path);
      opened.push(file);
      await file.sync();
      file.forgetCached();
      const sizeBytes = file.sizeBytes();
      const done = await file.read(memory, 0, segmentHeader.bytes, 0);
      if (done < 0) throw new SystemError(`${path} cannot be read`, -done);
      const fields = done === segmentHeader.bytes ? parseSegmentHeader(memory, 0, path) : undefined;
      const header: SegmentFields | undefined = fields?.firstSequence === firstSequence ? fields : undefined;
      found.push({ file, firstSequence, header, sizeBytes });
    }
    return found;
  } finally {
    freeMemory(memory);
  }
}

/** No file has an intact header: power was lost while the journal was made, or all of it is damaged. */
async function unborn(disk: Disk, directory: string, headers: readonly Headed[]): Promise<FoundSegment[]> {
  const used = headers.find(({ sizeBytes }) => sizeBytes > segmentHeader.bytes);
  if (headers.length > 1 || used !== undefined) {
    const { file, firstSequence } = used ?? headers[0]!;
    const damage = { path: file.path, offsetBytes: 0, sequence: firstSequence, what: "the header is damaged" };
    throw new JournalCorruption(damage, undefined, DAMAGED_ADVICE);
  }
  disk.remove(headers[0]!.file.path);
  await headers[0]!.file.close();
  await disk.syncDirectory(directory);
  return [];
}

async function recover(
  disk: Disk,
  directory: string,
  found: readonly FoundSegment[],
  options: OpenOptions,
  replay: (record: JournalRecord) => void,
): Promise<Beginning> {
  const { expected } = options;
  const oldest = found[0]!;
  // Without a checkpoint nothing was ever released, and the first record is number 1.
  const fromSequence = expected?.fromSequence ?? 1;
  if (oldest.header !== undefined && oldest.header.previousEnd > fromSequence) {
    const unsaid = expected === undefined ? ", and no checkpoint.json says that a checkpoint covers them," : "";
    const what = `records ${fromSequence} to ${oldest.header.previousEnd - 1} are missing${unsaid}`;
    const damage = { path: oldest.file.path, offsetBytes: 0, sequence: fromSequence, what };
    throw new JournalCorruption(damage, undefined, DAMAGED_ADVICE);
  }
  const needed = neededSegments(found, expected?.fromSequence ?? 0);
  const scan = await scanJournal(needed, replay);
  refuseCorruption(needed, scan, expected?.fromSequence ?? 0);
  const kept = needed.slice(0, scan.intactCount);
  await cutTail(
    disk,
    directory,
    found.filter((segment) => !kept.includes(segment)),
    kept,
  );
  // Numbers of records that were lost are not given again: a journal of this size cannot have had more of them.
  const limitBytes = Math.max(...found.map(({ header }) => header?.limitBytes ?? 0));
  const skipped = scan.nextSequence + Math.ceil((limitBytes + RESERVE_BYTES) / UNIT_BYTES);
  const firstSequence = Math.max(skipped, (options.aboveSequence ?? 0) + 1);
  if (!Number.isSafeInteger(firstSequence)) throw new Error(`${directory}: the journal has used up its numbers`);
  return {
    journalId: kept[0]!.header!.journalId,
    kept,
    next: { firstSequence, previousEnd: scan.endSequence, durableSequence: firstSequence },
    recovery: { recordCount: scan.recordCount, endSequence: scan.endSequence, lostCount: scan.lostCount },
  };
}

function refuseCorruption(found: readonly FoundSegment[], scan: Scan, fromSequence: number): void {
  const { damage, claim, nextSequence, intactCount } = scan;
  // The oldest segment's header was durable before anything was appended to it.
  if (damage !== undefined && (claim !== undefined || intactCount === 0)) {
    throw new JournalCorruption(damage, claim, DAMAGED_ADVICE);
  }
  if (nextSequence >= fromSequence) return;
  const last = found[Math.max(0, intactCount - 1)]!;
  const what = `the last checkpoint covers records up to ${fromSequence - 1}, and the journal ends before that,`;
  const end = { path: last.file.path, offsetBytes: last.endBytes, sequence: nextSequence, what };
  throw new JournalCorruption(damage ?? end, undefined, DAMAGED_ADVICE);
}

/**
 * The segments from the last one on that begins no later than the checkpoint ends: those before it are covered, whether
 * or not a crash has kept their release from ending.
 */
function neededSegments(found: readonly FoundSegment[], fromSequence: number): readonly FoundSegment[] {
  const first = found.findLastIndex(({ header }) => header !== undefined && header.previousEnd <= fromSequence);
  return found.slice(Math.max(0, first));
}

/**
 * Takes away files that hold nothing wanted and what follows the last intact record, durably, before a new segment is
 * made: no later crash brings it back. (In a segment that is kept it would be void all the same, since the next one
 * says where this one ends.)
 */
async function cutTail(
  disk: Disk,
  directory: string,
  unwanted: readonly FoundSegment[],
  kept: readonly FoundSegment[],
): Promise<void> {
  // After a kill the names that are seen, and those that are not, need not be durable: an older segment must not go
  // before the newer ones are there to stay.
  await disk.syncDirectory(directory);
  for (const { file } of unwanted) {
    disk.remove(file.path);
    await file.close();
  }
  if (unwanted.length > 0) await disk.syncDirectory(directory);
  for (const { file, sizeBytes, endBytes } of kept) {
    if (sizeBytes === endBytes) continue;
    file.truncate(endBytes);
    await file.sync();
  }
}

const openSegment = (found: FoundSegment, ordinal: number): Segment => ({
  ordinal,
  file: found.file,
  key: found.key,
  firstSequence: found.firstSequence,
  endSequence: found.endSequence,
  endBytes: found.endBytes,
  preparedBytes: found.endBytes,
  synced: true,
  readCount: 0,
  released: false,
});

/** Spare segments that an earlier process has left. Their names are durable: the directory was synced. */
async function findSpares(disk: Disk, directory: string): Promise<SpareSegments> {
  const spares = spareSegments(disk, directory);
  for (const name of (await disk.list(directory)).filter(isSpareName)) {
    const file = disk.open(join(directory, name), true);
    spares.keep(file.path, file.sizeBytes());
    await file.close();
  }
  spares.trim(SPARE_MOST_BYTES);
  return spares;
}

/**
 * Removes segments without records, of which every start would leave one more. Only now, when there is a newer one: a
 * journal never is without a segment. Whether their removal is durable does not matter.
 */
async function dropEmpty(disk: Disk, segments: readonly Segment[]): Promise<Segment[]> {
  for (const segment of segments.filter(isEmpty)) {
    disk.remove(segment.file.path);
    await segment.file.close();
  }
  return segments.filter((segment) => !isEmpty(segment));
}
