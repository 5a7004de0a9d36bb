import { createHash } from "node:crypto";
import { volumeNumber } from "./kept-volume.ts";

/**
 * The id of a new volume: 128 bits of the SHA-256 of store, name and the first number from 0 that makes an id whose
 * number in the journal no other volume has. So two who make a volume of one name at a time, or one who does not know
 * that it has made it, meet at its first record, and there never are two.
 */
export function newVolumeId(storeId: string, name: string, numbers: readonly number[]): string {
  for (let attempt = 0; ; attempt++) {
    const digest = createHash("sha256").update(`voe volume\n${storeId}\n${attempt}\n${name}`).digest("hex");
    const volumeId = digest.slice(0, 32);
    if (!numbers.includes(volumeNumber(volumeId))) return volumeId;
  }
}
