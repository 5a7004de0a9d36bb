import { OK, OUT_OF_RANGE, READ_ONLY, type StorageStatus } from "../../storage/block-storage.ts";
import {
  AT_ATA_COMMAND_STATUS,
  AT_ATA_ERROR_FEATURE,
  ATA_ERROR_ABRT,
  ATA_ERROR_IDNF,
  ATA_ERROR_UNC,
  ATA_STATUS_DRDY,
  ATA_STATUS_ERR,
} from "./frame.ts";
import type { AoeTarget } from "./target.ts";

/**
 * Writes how a command ended into the ATA registers of the reply at `at`, and says whether it ended well. Failures are
 * ATA status and never an AoE error: the Linux initiator drops those, and asks again for three minutes.
 */
export function ataStatus(target: AoeTarget, bytes: Uint8Array, at: number, status: StorageStatus): boolean {
  if (status === OK) {
    bytes[at + AT_ATA_ERROR_FEATURE] = 0;
    bytes[at + AT_ATA_COMMAND_STATUS] = ATA_STATUS_DRDY;
    return true;
  }
  target.counters.errors++;
  bytes[at + AT_ATA_ERROR_FEATURE] =
    status === OUT_OF_RANGE ? ATA_ERROR_IDNF : status === READ_ONLY ? ATA_ERROR_ABRT : ATA_ERROR_UNC;
  bytes[at + AT_ATA_COMMAND_STATUS] = ATA_STATUS_DRDY | ATA_STATUS_ERR;
  return false;
}
