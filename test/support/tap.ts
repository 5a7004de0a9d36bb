/** An Ethernet interface whose wire ends in this process: it sends what the test writes, and keeps what it should send. */
import { accessSync, closeSync, constants, openSync, readSync, writeSync } from "node:fs";
import { libc } from "../../ffi/libc.ts";
import { allocateMemory } from "../../ffi/memory.ts";
import { ifreq } from "../../ffi/structs.ts";
import { missingForNetworks } from "./requirements.ts";
import { run } from "./run.ts";

/** <linux/if_tun.h> */
const TUNSETIFF = 0x400454ca;
const IFF_TAP = 2;
const IFF_NO_PI = 0x1000;

/** Why there cannot be a tap here, or undefined where there can. */
export function missingForTaps(): string | undefined {
  const missing = missingForNetworks();
  if (missing !== undefined) return missing;
  if (Bun.which("tc") === null) return "tc is not installed (package iproute2)";
  try {
    accessSync("/dev/net/tun", constants.R_OK | constants.W_OK);
  } catch {
    return "/dev/net/tun is not usable";
  }
  return undefined;
}

export interface Tap extends Disposable {
  readonly name: string;
  /** Makes a frame arrive at the interface. */
  send(frame: Uint8Array): void;
  /** The oldest frame that the interface has sent and that was not taken yet, or undefined. */
  receive(): Uint8Array | undefined;
  /** Lets the wire carry hardly anything: frames wait in the interface, at the cost of the socket that sent them. */
  hold(): void;
  /** Lets it carry again. */
  release(): void;
}

let tapCount = 0;

/** Creates a tap of `mtu`, up. It is gone when it is disposed of. Needs root. */
export function createTap(mtu: number): Tap {
  const name = `vs${process.pid}t${tapCount++}`;
  const fd = openSync("/dev/net/tun", constants.O_RDWR | constants.O_NONBLOCK);
  try {
    const request = allocateMemory(ifreq.bytes);
    new TextEncoder().encodeInto(name, request.bytes);
    request.view.setInt16(ifreq.ifr_flags, IFF_TAP | IFF_NO_PI, true);
    if (libc.ioctl(fd, TUNSETIFF, request.address) !== 0) throw new Error(`no tap ${name} can be made`);
    run("sysctl", "-qw", `net.ipv6.conf.${name}.disable_ipv6=1`);
    run("ip", "link", "set", name, "mtu", String(mtu), "txqueuelen", "10000", "up");
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  const frame = new Uint8Array(mtu + 64);
  const setRate = (verb: string, rate: string): void =>
    void run("tc", "qdisc", verb, "dev", name, "root", "tbf", "rate", rate, "burst", "20kb", "limit", "256mb");
  return {
    name,
    send: (bytes) => void writeSync(fd, bytes),
    receive() {
      try {
        return frame.slice(0, readSync(fd, frame));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === "EAGAIN") return undefined;
        throw error;
      }
    },
    hold: () => setRate("replace", "1mbit"),
    release: () => setRate("change", "10gbit"),
    [Symbol.dispose]: () => closeSync(fd),
  };
}
