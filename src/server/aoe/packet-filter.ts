import type { FilterInstruction } from "../../../ffi/packet.ts";
import {
  AT_ETHERTYPE,
  AT_SHELF,
  AT_SLOT,
  AT_VERSION_FLAGS,
  ETHERTYPE_AOE,
  FLAG_RESPONSE,
  SHELF_BROADCAST,
  SLOT_BROADCAST,
} from "../../protocol/aoe/frame.ts";

// Classic BPF (filter.txt of the kernel's documentation): class, size, mode.
const LOAD_BYTE = 0x30;
const LOAD_HALF = 0x28;
const JUMP_IF_EQUAL = 0x15;
const JUMP_IF_SET = 0x45;
const RETURN = 0x06;
const WHOLE_FRAME = 0x40000;
/** Jumps reach 255 instructions; with more targets than this every shelf and slot is let in, and looked up later. */
const MOST_TARGETS = 60;

/**
 * The frames that this server may have to answer: AoE requests to one of its targets, or to a wildcard. The kernel
 * drops the others, so that a busy segment costs nothing here.
 */
export function requestFilter(targets: readonly { shelf: number; slot: number }[]): FilterInstruction[] {
  const accept: FilterInstruction = [RETURN, 0, 0, WHOLE_FRAME];
  const reject: FilterInstruction = [RETURN, 0, 0, 0];
  const head: FilterInstruction[] = [
    [LOAD_HALF, 0, 0, AT_ETHERTYPE],
    [JUMP_IF_EQUAL, 1, 0, ETHERTYPE_AOE],
    reject,
    [LOAD_BYTE, 0, 0, AT_VERSION_FLAGS],
    [JUMP_IF_SET, 0, 1, FLAG_RESPONSE],
    reject,
  ];
  if (targets.length > MOST_TARGETS) return [...head, accept];
  const body: FilterInstruction[] = [];
  const slotsOf = new Map<number, Set<number>>();
  for (const { shelf, slot } of targets) slotsOf.set(shelf, (slotsOf.get(shelf) ?? new Set()).add(slot));
  const everySlot = new Set(targets.map((target) => target.slot));
  // Per shelf: load it, compare it, and where it is this one compare the slot with those of the shelf and the wildcard.
  for (const [shelf, slots] of [...slotsOf, [SHELF_BROADCAST, everySlot] as const]) {
    const block: FilterInstruction[] = [[LOAD_BYTE, 0, 0, AT_SLOT]];
    for (const slot of [...slots, SLOT_BROADCAST]) block.push([JUMP_IF_EQUAL, 0, 1, slot], accept);
    block.push(reject);
    body.push([LOAD_HALF, 0, 0, AT_SHELF], [JUMP_IF_EQUAL, 0, block.length, shelf], ...block);
  }
  return [...head, ...body, reject];
}
