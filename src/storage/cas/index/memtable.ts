/**
 * The entries that are in no run yet: a hash table whose slots are in the order of the hashes. An entry's home slot
 * grows with its hash, and entries that were pushed aside stay in order, so the table is sorted at any time and becomes
 * a run by being read from front to back: nothing is ever sorted.
 */
import { ENTRY_WORDS } from "./entry.ts";
import { addPlace, type Places } from "./places.ts";

/** A third of the slots stays empty: at that load an insertion moves about four entries. */
const SLOTS_PER_ENTRY = 1.5;
/** Slots behind the last home, for what is pushed over the end. The very last one stays empty and ends every search. */
const SLACK_SLOTS = 1024;
const PACK = 2;

export interface Memtable {
  /** Entries it holds, and the most it takes. */
  count: number;
  readonly capacity: number;
  readonly homeCount: number;
  /** Slots of four words; the pack's number plus one, so that zero is an empty slot. */
  readonly words: Uint32Array;
}

export function createMemtable(capacity: number): Memtable {
  const homeCount = Math.ceil(capacity * SLOTS_PER_ENTRY);
  return { count: 0, capacity, homeCount, words: new Uint32Array((homeCount + SLACK_SLOTS) * ENTRY_WORDS) };
}

const homeOf = (table: Memtable, high: number): number => Math.floor((high * table.homeCount) / 2 ** 32) * ENTRY_WORDS;

/** Whether the entry is in the table now; false where it is full. One that is there already is not added again. */
export function insertEntry(table: Memtable, high: number, low: number, pack: number, ordinal: number): boolean {
  const { words } = table;
  const mark = pack + 1;
  let at = homeOf(table, high);
  for (; words[at + PACK] !== 0; at += ENTRY_WORDS) {
    if (words[at]! < high) continue;
    if (words[at]! > high) break;
    const order = words[at + 1]! - low || words[at + PACK]! - mark || words[at + 3]! - ordinal;
    if (order === 0) return true;
    if (order > 0) break;
  }
  if (table.count >= table.capacity) return false;
  let end = at;
  while (words[end + PACK] !== 0) end += ENTRY_WORDS;
  if (end >= words.length - ENTRY_WORDS) return false;
  for (let word = end - 1; word >= at; word--) words[word + ENTRY_WORDS] = words[word]!;
  words[at] = high;
  words[at + 1] = low;
  words[at + PACK] = mark;
  words[at + 3] = ordinal;
  table.count += 1;
  return true;
}

/** Adds the places that the table has for a hash. */
export function findEntries(table: Memtable, high: number, low: number, places: Places): void {
  const { words } = table;
  for (let at = homeOf(table, high); words[at + PACK] !== 0; at += ENTRY_WORDS) {
    if (words[at]! < high) continue;
    if (words[at]! > high) return;
    if (words[at + 1] === low) addPlace(places, words[at + PACK]! - 1, words[at + 3]!);
  }
}

/**
 * Copies entries in order into `target`, from slot `fromSlot` on, until `target` is full or the table ends. Returns the
 * words that were copied, and the slot to go on from, in `next`.
 */
export function copyEntries(table: Memtable, fromSlot: number, target: Uint32Array, next: { slot: number }): number {
  const { words } = table;
  let to = 0;
  let at = fromSlot * ENTRY_WORDS;
  for (; at < words.length && to < target.length; at += ENTRY_WORDS) {
    if (words[at + PACK] === 0) continue;
    target[to] = words[at]!;
    target[to + 1] = words[at + 1]!;
    target[to + PACK] = words[at + PACK]! - 1;
    target[to + 3] = words[at + 3]!;
    to += ENTRY_WORDS;
  }
  next.slot = at / ENTRY_WORDS;
  return to;
}
