/**
 * Receiving through TPACKET_V2: the kernel writes frames into a ring of slots that this process has mapped, so that a
 * frame costs no system call. See packet_mmap.rst of the kernel's documentation.
 */
import type { Memory } from "../src/base/memory.ts";
import { errno, libc, SystemError } from "./libc.ts";
import { allocateMemory, mapShared, unmap } from "./memory.ts";
import { sockaddr_ll, tpacket2_hdr, tpacket_req } from "./structs.ts";

const SOL_PACKET = 263;
const PACKET_RX_RING = 5;
const PACKET_STATISTICS = 6;
const PACKET_VERSION = 10;
const TPACKET_V2 = 1;
const TPACKET_ALIGNMENT = 16;
const TP_STATUS_KERNEL = 0;
const TP_STATUS_USER = 1;
const TP_STATUS_VLAN_VALID = 1 << 4;
/** sll_pkttype of a frame whose destination is another host's. */
const PACKET_OTHERHOST = 3;
const PAGE_BYTES = 4096;
/** What the kernel puts before a frame: tpacket2_hdr, sockaddr_ll, alignment, a gap that aligns what follows Ethernet's header. */
const SLOT_HEADER_BYTES = 96;
const ETHERNET_HEADER_BYTES = 14;
/** A VLAN tag, should one ever be left in a frame. */
const SPARE_BYTES = 4;
const BLOCK_LEAST_BYTES = 65536;

const scratch = allocateMemory(PAGE_BYTES);

export interface PacketRing {
  /** The whole ring; frames are parts of it. */
  readonly memory: Memory;
  /** Where the current frame begins, and its length without the checksum. Valid after `next` said true. */
  frameAt: number;
  frameBytes: number;
  /**
   * Steps to the oldest unread frame that is meant for this host; false where there is none. Frames for other hosts
   * (a promiscuous interface) and of a VLAN that has no interface here are given back to the kernel unseen.
   */
  next(): boolean;
  /** Whether a frame waits, without taking it. */
  isReady(): boolean;
  /** Gives the current frame's slot back to the kernel: its bytes may change from now on. */
  release(): void;
  /** Frames that found no room in the ring since the last call. */
  takeDropped(): number;
  close(): void;
}

/** Geometry of a ring for frames of up to `mtuBytes` behind the Ethernet header, in whole blocks of whole slots. */
function ringGeometry(mtuBytes: number, leastSlots: number) {
  const frameBytes = SLOT_HEADER_BYTES + ETHERNET_HEADER_BYTES + SPARE_BYTES + mtuBytes;
  // A multiple of a cache line that is no power of two: at 16 KiB strides the headers of all slots would compete for
  // the same few lines of the processor's caches.
  const slotBytes = Math.ceil(frameBytes / 64) * 64;
  const blockBytes = Math.max(BLOCK_LEAST_BYTES, Math.ceil(slotBytes / PAGE_BYTES) * PAGE_BYTES);
  const slotsPerBlock = Math.floor(blockBytes / slotBytes);
  const blockCount = Math.ceil(leastSlots / slotsPerBlock);
  return { slotBytes, blockBytes, slotsPerBlock, blockCount, slotCount: slotsPerBlock * blockCount };
}

/** Makes a receive ring of at least `leastSlots` frames on a packet socket that is not bound yet. */
export function openPacketRing(fd: number, mtuBytes: number, leastSlots: number): PacketRing {
  const { slotBytes, blockBytes, slotsPerBlock, blockCount, slotCount } = ringGeometry(mtuBytes, leastSlots);
  scratch.view.setInt32(0, TPACKET_V2, true);
  if (libc.setsockopt(fd, SOL_PACKET, PACKET_VERSION, scratch.address, 4) !== 0) {
    throw new SystemError("cannot choose TPACKET_V2", errno());
  }
  scratch.view.setUint32(tpacket_req.tp_block_size, blockBytes, true);
  scratch.view.setUint32(tpacket_req.tp_block_nr, blockCount, true);
  scratch.view.setUint32(tpacket_req.tp_frame_size, slotBytes, true);
  scratch.view.setUint32(tpacket_req.tp_frame_nr, slotCount, true);
  if (slotBytes % TPACKET_ALIGNMENT !== 0) throw new Error(`ring slots of ${slotBytes} bytes are not aligned`);
  if (libc.setsockopt(fd, SOL_PACKET, PACKET_RX_RING, scratch.address, tpacket_req.bytes) !== 0) {
    throw new SystemError(`cannot make a receive ring of ${slotCount} slots of ${slotBytes} bytes`, errno());
  }
  const memory = mapShared(fd, blockCount * blockBytes);
  const slotAt = new Int32Array(slotCount);
  for (let i = 0; i < slotCount; i++) {
    slotAt[i] = Math.floor(i / slotsPerBlock) * blockBytes + (i % slotsPerBlock) * slotBytes;
  }
  return new Ring(fd, memory, slotAt);
}

class Ring implements PacketRing {
  frameAt = 0;
  frameBytes = 0;
  /** The ring in 32-bit words, for the status words that are shared with the kernel. */
  readonly #words: Int32Array;
  #slot = 0;

  constructor(
    readonly fd: number,
    readonly memory: Memory,
    readonly slotAt: Int32Array,
  ) {
    this.#words = new Int32Array(memory.bytes.buffer as ArrayBuffer, 0, memory.lengthBytes >> 2);
  }

  isReady(): boolean {
    return (Atomics.load(this.#words, this.slotAt[this.#slot]! >> 2) & TP_STATUS_USER) !== 0;
  }

  next(): boolean {
    for (;;) {
      const at = this.slotAt[this.#slot]!;
      // Atomic: what the kernel wrote before it set the status is seen after it.
      const status = Atomics.load(this.#words, at >> 2);
      if ((status & TP_STATUS_USER) === 0) return false;
      const { view } = this.memory;
      const length = view.getUint32(at + tpacket2_hdr.tp_len, true);
      const captured = view.getUint32(at + tpacket2_hdr.tp_snaplen, true);
      const packetType = this.memory.bytes[at + tpacket2_hdr.bytes + sockaddr_ll.sll_pkttype];
      const tagged =
        (status & TP_STATUS_VLAN_VALID) !== 0 && (view.getUint16(at + tpacket2_hdr.tp_vlan_tci, true) & 0x0fff) !== 0;
      if (packetType !== PACKET_OTHERHOST && !tagged && captured === length) {
        this.frameAt = at + view.getUint16(at + tpacket2_hdr.tp_mac, true);
        this.frameBytes = captured;
        return true;
      }
      this.release();
    }
  }

  release(): void {
    Atomics.store(this.#words, this.slotAt[this.#slot]! >> 2, TP_STATUS_KERNEL);
    this.#slot = this.#slot + 1 === this.slotAt.length ? 0 : this.#slot + 1;
  }

  takeDropped(): number {
    // struct tpacket_stats { packets, drops }, then the length that getsockopt wants.
    scratch.view.setInt32(8, 8, true);
    const failed = libc.getsockopt(this.fd, SOL_PACKET, PACKET_STATISTICS, scratch.address, scratch.address + 8);
    return failed ? 0 : scratch.view.getUint32(4, true);
  }

  close(): void {
    unmap(this.memory.address, this.memory.lengthBytes);
  }
}
