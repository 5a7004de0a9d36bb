/** A disk that a PC boots from: it reads and writes through the BIOS, reports on the serial port, and ends QEMU. */

const SECTOR_BYTES = 512;
const loadAddress = 0x7c00; // where a BIOS puts the boot sector
const bufferAddress = 0x7e00; // the 512 bytes after it

/** QEMU's words for the port that the boot sector ends it by. */
export const debugExitDevice = "isa-debug-exit,iobase=0xf4,iosize=0x04";
/** QEMU's exit statuses with that device: (value << 1) | 1. */
export const bootedStatus = 0x21;
const biosErrorStatus = 0x23;

/** INT 13h disk address packet: one sector between `bufferAddress` and the disk. */
function diskAddressPacket(sector: number): number[] {
  return [16, 0, 1, 0, bufferAddress & 0xff, bufferAddress >> 8, 0, 0, sector, 0, 0, 0, 0, 0, 0, 0];
}

/** iPXE boots no disk smaller than a cylinder of 255 heads and 63 sectors, which is 8 MB. */
export const bootDiskBytes = 64 << 20;

/**
 * The first three sectors of a disk of `bootDiskBytes` (zeros follow). Sector 0 holds the program: it reads sector 1, writes what it read to sector 2, and
 * prints it up to the first zero byte on COM1; then it ends QEMU with `bootedStatus`, or with `biosErrorStatus` where
 * the BIOS reported an error. Sector 1 holds `marker`.
 */
export function makeBootSectors(marker: string): Uint8Array {
  const packets = 0x100; // offset in the sector, behind the program
  const [readPacket, writePacket] = [loadAddress + packets, loadAddress + packets + 16];
  // prettier-ignore
  const program = [
    /* 00 */ 0x31, 0xc0, // xor ax, ax
    /* 02 */ 0x8e, 0xd8, // mov ds, ax
    /* 04 */ 0xbe, readPacket & 0xff, readPacket >> 8, // mov si, readPacket
    /* 07 */ 0xb4, 0x42, // mov ah, 42h: extended read; DL still is the boot drive
    /* 09 */ 0xcd, 0x13, // int 13h
    /* 0b */ 0x72, 0x20, // jc fail (2d)
    /* 0d */ 0xbe, writePacket & 0xff, writePacket >> 8, // mov si, writePacket
    /* 10 */ 0xb8, 0x00, 0x43, // mov ax, 4300h: extended write, no verification
    /* 13 */ 0xcd, 0x13, // int 13h
    /* 15 */ 0x72, 0x16, // jc fail (2d)
    /* 17 */ 0xbe, bufferAddress & 0xff, bufferAddress >> 8, // mov si, buffer
    /* 1a */ 0xba, 0xf8, 0x03, // mov dx, 3f8h: COM1
    /* 1d */ 0xac, // next: lodsb
    /* 1e */ 0x84, 0xc0, // test al, al
    /* 20 */ 0x74, 0x03, // jz done (25)
    /* 22 */ 0xee, // out dx, al
    /* 23 */ 0xeb, 0xf8, // jmp next (1d)
    /* 25 */ 0xb0, bootedStatus >> 1, // done: mov al, ...
    /* 27 */ 0xe6, 0xf4, // exit: out f4h, al
    /* 29 */ 0xf4, // hlt
    /* 2a */ 0xeb, 0xfd, // jmp hlt (29)
    /* 2c */ 0x90, // nop
    /* 2d */ 0xb0, biosErrorStatus >> 1, // fail: mov al, ...
    /* 2f */ 0xeb, 0xf6, // jmp exit (27)
  ];
  const sectors = new Uint8Array(3 * SECTOR_BYTES);
  sectors.set(program, 0);
  sectors.set(diskAddressPacket(1), packets);
  sectors.set(diskAddressPacket(2), packets + 16);
  sectors.set([0x55, 0xaa], SECTOR_BYTES - 2);
  sectors.set(new TextEncoder().encode(marker), SECTOR_BYTES);
  return sectors;
}
