/**
 * When what of a store was last found good, kept as a file: what makes a run go on where the last one stopped. It is
 * disposable: without it everything counts as never verified. docs/format.md, "Verification", has the bytes.
 */
import { join } from "node:path";
import { ENOENT, ENOSPC, SystemError } from "../../../../ffi/libc.ts";
import { allocateMemory, freeMemory } from "../../../../ffi/memory.ts";
import type { Memory } from "../../../base/memory.ts";
import type { Disk, DiskFile } from "../disk.ts";
import { eventLoop } from "../../../base/event-loop.ts";

/** Times are milliseconds since 1970. */
export interface VerifyHistory {
  /** When each pack was last found good, by its blob name. */
  readonly packs: Map<string, number>;
  /** When the packs were found damaged that have not been found good since. */
  readonly badPacks: Map<string, number>;
  /** Blocks of a part of the trees, and when each part was last found good; 0: never. */
  readonly partBlocks: number;
  readonly parts: number[];
  /** When the parts were found to refer to blocks that cannot be read, and have not been found good since. */
  readonly badParts: Map<number, number>;
  /** When the last run ended; 0: there was none. */
  lastRunMs: number;
}

/** Where a history is kept. */
export interface HistoryStore {
  /** What was saved last; nothing where there is none, or it is damaged. */
  load(): Promise<VerifyHistory>;
  /** Replaces it, durably. Rejects where it cannot be written. */
  save(history: VerifyHistory): Promise<void>;
}

export const emptyHistory = (): VerifyHistory => ({
  packs: new Map(),
  badPacks: new Map(),
  partBlocks: 0,
  parts: [],
  badParts: new Map(),
  lastRunMs: 0,
});

const NAME = "verified";
const HEAD = "voe verified 1";
/** Bytes that are read or written before others have their turn. */
const SLICE_BYTES = 2 ** 16;

/** Keeps it as the file `verified` in a directory that exists. `report` is told of a damaged one. */
export function fileHistory(
  disk: Disk,
  directory: string,
  report: (key: string, message: string) => void,
): HistoryStore {
  const path = join(directory, NAME);
  return {
    async load() {
      const file = openIfThere(disk, path);
      if (file === undefined) return emptyHistory();
      try {
        const found = await read(file);
        if (found !== undefined) return found;
        report("verify:history", `${path} is damaged: everything counts as never verified`);
        return emptyHistory();
      } finally {
        await file.close();
      }
    },
    async save(history) {
      const temporary = `${path}.new`;
      removeIfThere(disk, temporary);
      const file = disk.create(temporary);
      try {
        await write(file, history);
        await file.sync();
      } finally {
        await file.close();
      }
      disk.rename(temporary, path);
      await disk.syncDirectory(directory);
    },
  };
}

function openIfThere(disk: Disk, path: string): DiskFile | undefined {
  try {
    return disk.open(path, true);
  } catch (error) {
    if (error instanceof SystemError && error.errno === ENOENT) return undefined;
    throw error;
  }
}

/** What a save that was interrupted has left. */
function removeIfThere(disk: Disk, path: string): void {
  try {
    disk.remove(path);
  } catch (error) {
    if (!(error instanceof SystemError) || error.errno !== ENOENT) throw error;
  }
}

function* linesOf({ packs, badPacks, partBlocks, parts, badParts, lastRunMs }: VerifyHistory): Generator<string> {
  yield `${HEAD}\n`;
  yield `run ${lastRunMs}\n`;
  yield `parts ${partBlocks} ${parts.length}\n`;
  for (const [part, verifiedMs] of parts.entries()) if (verifiedMs > 0) yield `part ${part} ${verifiedMs}\n`;
  for (const [part, foundMs] of badParts) yield `badpart ${part} ${foundMs}\n`;
  for (const [name, foundMs] of badPacks) yield `badpack ${name} ${foundMs}\n`;
  for (const [name, verifiedMs] of packs) yield `pack ${name} ${verifiedMs}\n`;
}

async function write(file: DiskFile, history: VerifyHistory): Promise<void> {
  const memory = allocateMemory(SLICE_BYTES);
  try {
    let offsetBytes = 0;
    let checksum = 0;
    let text = "";
    const flush = (): void => {
      const bytes = Buffer.from(text, "latin1");
      memory.bytes.set(bytes);
      const written = file.write(memory, 0, bytes.length, offsetBytes);
      if (written !== bytes.length) {
        throw new SystemError(`${file.path} cannot be written`, written < 0 ? -written : ENOSPC);
      }
      checksum = Bun.hash.crc32(bytes, checksum);
      offsetBytes += bytes.length;
      text = "";
    };
    for (const line of linesOf(history)) {
      if (text.length + line.length > SLICE_BYTES) {
        flush();
        await eventLoop.turn();
      }
      text += line;
    }
    flush();
    text = `end ${checksumText(checksum)}\n`;
    flush();
  } finally {
    freeMemory(memory);
  }
}

const checksumText = (checksum: number): string => checksum.toString(16).padStart(8, "0");

/** Yields undefined where the file is not whole. */
async function read(file: DiskFile): Promise<VerifyHistory | undefined> {
  const memory = allocateMemory(SLICE_BYTES);
  try {
    const parser = historyParser();
    for await (const line of readLines(file, memory)) {
      if (!parser.take(line)) return undefined;
    }
    return parser.end();
  } finally {
    freeMemory(memory);
  }
}

async function* readLines(file: DiskFile, memory: Memory): AsyncGenerator<string> {
  let rest = "";
  for (let offsetBytes = 0; ;) {
    const count = await file.read(memory, 0, SLICE_BYTES, offsetBytes);
    if (count < 0) throw new SystemError(`${file.path} cannot be read`, -count);
    if (count === 0) break;
    offsetBytes += count;
    const lines = (rest + Buffer.from(memory.bytes.subarray(0, count)).toString("latin1")).split("\n");
    rest = lines.pop()!;
    yield* lines;
  }
  if (rest !== "") yield rest;
}

function historyParser(): { take(line: string): boolean; end(): VerifyHistory | undefined } {
  const history = { ...emptyHistory(), partBlocks: 0, parts: [] as number[] };
  let checksum = 0;
  let isFirst = true;
  let isWhole = false;
  const body = (line: string): boolean => {
    if (isFirst) {
      isFirst = false;
      return line === HEAD;
    }
    const [, packBad, pack, packMs] = /^(bad)?pack ([0-9a-f]{64}) (\d{1,15})$/.exec(line) ?? [];
    if (pack !== undefined) {
      history[packBad === undefined ? "packs" : "badPacks"].set(pack, Number(packMs));
      return true;
    }
    const [, partBad, part, partMs] = /^(bad)?part (\d{1,9}) (\d{1,15})$/.exec(line) ?? [];
    if (part !== undefined) {
      if (Number(part) >= history.parts.length) return false;
      if (partBad === undefined) history.parts[Number(part)] = Number(partMs);
      else history.badParts.set(Number(part), Number(partMs));
      return true;
    }
    const [, runMs] = /^run (\d{1,15})$/.exec(line) ?? [];
    if (runMs !== undefined) {
      history.lastRunMs = Number(runMs);
      return true;
    }
    const [, blocks, count] = /^parts (\d{1,15}) (\d{1,8})$/.exec(line) ?? [];
    if (blocks === undefined) return false;
    history.partBlocks = Number(blocks);
    history.parts = Array.from({ length: Number(count) }, () => 0);
    return true;
  };
  return {
    take(line) {
      if (isWhole) return false;
      if (line.startsWith("end ")) {
        isWhole = line === `end ${checksumText(checksum)}`;
        return isWhole;
      }
      checksum = Bun.hash.crc32(Buffer.from(`${line}\n`, "latin1"), checksum);
      return body(line);
    },
    end: () => (isWhole ? history : undefined),
  };
}
