/**
 * ATA over Ethernet on the wire: offsets from the start of the Ethernet frame, and the protocol's numbers. AoE's own
 * fields are big-endian; ATA's LBA is little-endian. Names follow AoEr11 and the ATA command set.
 */

export const ETHERTYPE_AOE = 0x88a2;
export const ETHERNET_HEADER_BYTES = 14;

// Ethernet and AoE header, 24 bytes (AoEr11, section 2)
export const AT_DESTINATION = 0;
export const AT_SOURCE = 6;
export const AT_ETHERTYPE = 12;
export const AT_VERSION_FLAGS = 14;
export const AT_ERROR = 15;
export const AT_SHELF = 16;
export const AT_SLOT = 18;
export const AT_COMMAND = 19;
export const AT_TAG = 20;
export const HEADER_BYTES = 24;

export const VERSION_1 = 0x10;
export const FLAG_RESPONSE = 0x08;
export const FLAG_ERROR = 0x04;
export const SHELF_BROADCAST = 0xffff;
export const SLOT_BROADCAST = 0xff;

export const COMMAND_ATA = 0;
export const COMMAND_CONFIG = 1;
export const COMMAND_MASK = 2;
export const COMMAND_RESERVE = 3;

export const ERROR_UNRECOGNISED_COMMAND = 1;
export const ERROR_BAD_ARGUMENT = 2;
export const ERROR_DEVICE_UNAVAILABLE = 3;
export const ERROR_CONFIG_PRESENT = 4;
export const ERROR_UNSUPPORTED_VERSION = 5;
export const ERROR_RESERVED = 6;

// Command 0, ATA: 12 bytes, then data (section 3.1)
export const AT_ATA_FLAGS = 24;
export const AT_ATA_ERROR_FEATURE = 25;
export const AT_ATA_SECTOR_COUNT = 26;
export const AT_ATA_COMMAND_STATUS = 27;
export const AT_ATA_LBA = 28;
export const AT_ATA_DATA = 36;

export const ATA_FLAG_LBA48 = 0x40;
export const ATA_FLAG_WRITE = 0x01;

export const ATA_READ_SECTORS = 0x20;
export const ATA_READ_SECTORS_EXT = 0x24;
export const ATA_WRITE_SECTORS = 0x30;
export const ATA_WRITE_SECTORS_EXT = 0x34;
export const ATA_CHECK_POWER_MODE = 0xe5;
export const ATA_FLUSH_CACHE = 0xe7;
export const ATA_FLUSH_CACHE_EXT = 0xea;
export const ATA_IDENTIFY_DEVICE = 0xec;
export const ATA_SET_FEATURES = 0xef;
export const ATA_SMART = 0xb0;

export const ATA_STATUS_DRDY = 0x40;
export const ATA_STATUS_ERR = 0x01;
export const ATA_ERROR_UNC = 0x40;
export const ATA_ERROR_IDNF = 0x10;
export const ATA_ERROR_ABRT = 0x04;

// Command 1, query config: 8 bytes, then the string (section 3.2)
export const AT_CONFIG_BUFFER_COUNT = 24;
export const AT_CONFIG_FIRMWARE = 26;
export const AT_CONFIG_SECTOR_COUNT = 28;
export const AT_CONFIG_VERSION_CCMD = 29;
export const AT_CONFIG_LENGTH = 30;
export const AT_CONFIG_STRING = 32;
export const CONFIG_STRING_MOST_BYTES = 1024;

export const CONFIG_READ = 0;
export const CONFIG_TEST = 1;
export const CONFIG_PREFIX = 2;
export const CONFIG_SET = 3;
export const CONFIG_FORCE_SET = 4;

// Command 2, MAC mask list: 4 bytes, then directives of 8 bytes (section 3.3)
export const AT_MASK_COMMAND = 25;
export const AT_MASK_ERROR = 26;
export const AT_MASK_COUNT = 27;
export const AT_MASK_DIRECTIVES = 28;
export const MASK_DIRECTIVE_BYTES = 8;

export const MASK_READ = 0;
export const MASK_EDIT = 1;
export const MASK_DIRECTIVE_NONE = 0;
export const MASK_DIRECTIVE_ADD = 1;
export const MASK_DIRECTIVE_DELETE = 2;
export const MASK_ERROR_UNSPECIFIED = 1;
export const MASK_ERROR_BAD_DIRECTIVE = 2;
export const MASK_ERROR_LIST_FULL = 3;

// Command 3, reserve/release: 2 bytes, then MACs (section 3.4)
export const AT_RESERVE_COMMAND = 24;
export const AT_RESERVE_COUNT = 25;
export const AT_RESERVE_MACS = 26;

export const RESERVE_READ = 0;
export const RESERVE_SET = 1;
export const RESERVE_FORCE_SET = 2;

const SECTOR_BYTES = 512;

/** Sectors whose data fits into one frame at this MTU, 0 where none does: 2 at 1500, 17 at 9000. */
export function sectorsPerFrame(mtuBytes: number): number {
  const overheadBytes = AT_ATA_DATA - ETHERNET_HEADER_BYTES;
  // The count travels in one byte.
  return Math.max(0, Math.min(255, Math.floor((mtuBytes - overheadBytes) / SECTOR_BYTES)));
}
