import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { readInterface } from "../../../ffi/interface.ts";
import { EPERM, libc, SystemError } from "../../../ffi/libc.ts";
import { allocateMemory } from "../../../ffi/memory.ts";
import {
  attachFilter,
  bindPacketSocket,
  openPacketSocket,
  receiveFrame,
  sendFrame,
  setBufferBytes,
  waitForFrame,
  writeLinkAddress,
} from "../../../ffi/packet.ts";
import { missingForWire } from "../../support/wire.ts";

/** IEEE 802 Local Experimental EtherType 1: nobody else's. */
const ETHERTYPE_EXPERIMENT = 0x88b5;
const missing = missingForWire();
const title = (text: string): string => (missing === undefined ? text : `${text} [skipped: ${missing}]`);

test("a link address has the EtherType big-endian and the interface in the host's order", () => {
  const bytes = new Uint8Array(24).fill(0xff);
  writeLinkAddress(new DataView(bytes.buffer), 2, 0x0102, 0x88a2);
  expect(Buffer.from(bytes).toString("hex")).toBe(`ffff110088a202010000${"00".repeat(12)}ffff`);
});

const CAP_NET_RAW = 13n;
const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0";
const capable = ((BigInt(`0x${effective}`) >> CAP_NET_RAW) & 1n) === 1n;
const cannotDrop = capable && (process.getuid?.() !== 0 || Bun.which("setpriv") === null);
const cannotDropTitle = cannotDrop ? " [skipped: root and setpriv are needed to give the capability up]" : "";

test.skipIf(cannotDrop)(`without the capability the error names what grants it${cannotDropTitle}`, () => {
  const code = `import { openPacketSocket } from "${import.meta.dir}/../../../ffi/packet.ts";
    try { openPacketSocket(); } catch (error) { console.log(error.errno, error.message); }`;
  const bun = [process.execPath, "-e", code];
  const { stdout } = Bun.spawnSync(
    capable ? ["setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw", ...bun] : bun,
  );
  expect(stdout.toString()).toStartWith(`${EPERM} raw Ethernet needs the capability CAP_NET_RAW`);
  expect(stdout.toString()).toContain(`sudo setcap cap_net_raw+ep ${process.execPath}`);
});

test.skipIf(missing !== undefined)(title("only frames that the filter lets in are received"), () => {
  const fd = openPacketSocket();
  try {
    setBufferBytes(fd, 1 << 20, 1 << 20);
    // Byte 14 must be 7.
    attachFilter(fd, [
      [0x30, 0, 0, 14],
      [0x15, 0, 1, 7],
      [0x06, 0, 0, 0x40000],
      [0x06, 0, 0, 0],
    ]);
    bindPacketSocket(fd, readInterface("lo").index, ETHERTYPE_EXPERIMENT);
    const outgoing = allocateMemory(64);
    const incoming = allocateMemory(64);
    outgoing.view.setUint16(12, ETHERTYPE_EXPERIMENT);
    for (const value of [6, 7, 8]) {
      outgoing.bytes[14] = value;
      expect(sendFrame(fd, outgoing, 20)).toBe(true);
    }
    waitForFrame(fd, 1000);
    expect(receiveFrame(fd, incoming)).toBe(20);
    expect(incoming.bytes[14]).toBe(7);
    expect(receiveFrame(fd, incoming)).toBe(-1);
  } finally {
    libc.close(fd);
  }
});

test.skipIf(missing !== undefined)(title("a frame that is shorter than an Ethernet header is refused"), () => {
  const fd = openPacketSocket();
  try {
    bindPacketSocket(fd, readInterface("lo").index, ETHERTYPE_EXPERIMENT);
    expect(() => sendFrame(fd, allocateMemory(64), 10)).toThrow(SystemError);
  } finally {
    libc.close(fd);
  }
});
