/** An AoE target's address: shelf (major, 0-65534) and slot (minor, 0-254). The highest of each are wildcards. */
export interface TargetAddress {
  readonly shelf: number;
  readonly slot: number;
}

const SHELF_MOST = 0xfffe;
const SLOT_MOST = 0xfe;

/** `e1.0` for shelf 1, slot 0: the name of the disk under /dev/etherd. */
export const formatAddress = (address: TargetAddress): string => `e${address.shelf}.${address.slot}`;

/** Reads `eX.Y`. Throws with the reason where the text is no address of a target. */
export function parseAddress(text: string): TargetAddress {
  const parts = /^e(\d{1,5})\.(\d{1,3})$/.exec(text);
  if (!parts) throw new Error(`"${text}" is no target address, which looks like e1.0 (shelf 1, slot 0)`);
  const shelf = Number(parts[1]);
  const slot = Number(parts[2]);
  if (shelf > SHELF_MOST) throw new Error(`"${text}": a shelf is 0 to ${SHELF_MOST}`);
  if (slot > SLOT_MOST) throw new Error(`"${text}": a slot is 0 to ${SLOT_MOST}`);
  return { shelf, slot };
}
