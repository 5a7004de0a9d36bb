/** MAC addresses as 48-bit numbers: comparable and usable as keys without an allocation. */
export type Mac = number;

export const MAC_BYTES = 6;
export const MAC_BROADCAST: Mac = 0xffffffffffff;

export const readMac = (bytes: Uint8Array, at: number): Mac =>
  ((bytes[at]! << 8) | bytes[at + 1]!) * 0x1_0000_0000 +
  (((bytes[at + 2]! << 24) | (bytes[at + 3]! << 16) | (bytes[at + 4]! << 8) | bytes[at + 5]!) >>> 0);

export function writeMac(bytes: Uint8Array, at: number, mac: Mac): void {
  const high = Math.floor(mac / 0x1_0000_0000);
  const low = (mac % 0x1_0000_0000) | 0;
  bytes[at] = high >>> 8;
  bytes[at + 1] = high;
  bytes[at + 2] = low >>> 24;
  bytes[at + 3] = low >>> 16;
  bytes[at + 4] = low >>> 8;
  bytes[at + 5] = low;
}

/** `aa:bb:cc:dd:ee:ff` */
export const formatMac = (mac: Mac): string => mac.toString(16).padStart(12, "0").match(/../g)!.join(":");

/** Reads `aa:bb:cc:dd:ee:ff` (or with dashes, either case); undefined where it is none. */
export function parseMac(text: string): Mac | undefined {
  return /^([0-9a-f]{2}[:-]){5}[0-9a-f]{2}$/i.test(text)
    ? Number.parseInt(text.replaceAll(/[:-]/g, ""), 16)
    : undefined;
}
