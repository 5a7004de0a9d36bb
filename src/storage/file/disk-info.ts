import { createHash } from "node:crypto";
import { resolve } from "node:path";
import { VERSION } from "../../base/version.ts";
import { SECTOR_BYTES, type DeviceInfo } from "../block-storage.ts";
import type { Medium } from "./medium.ts";

/** What a disk in a file or on a device says of itself. Its serial number follows from its path, so it stays. */
export function diskInfo(medium: Medium): DeviceInfo & { sectorCount: number } {
  return {
    sectorCount: medium.sizeBytes / SECTOR_BYTES,
    readOnly: medium.readOnly,
    model: `voe ${medium.kind}`,
    serial: createHash("sha256").update(resolve(medium.path)).digest("hex").slice(0, 20),
    firmware: VERSION,
  };
}
