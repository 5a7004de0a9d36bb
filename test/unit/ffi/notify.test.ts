import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  notifyReady,
  notifyReloading,
  notifyStopping,
  notifyWatchdog,
  watchdogIntervalMs,
} from "../../../ffi/notify.ts";

const python = Bun.which("python3");
const why = python === null ? " (skipped: no python3 to receive datagrams)" : "";
const directory = mkdtempSync(join(tmpdir(), "voe-notify-"));
afterAll(() => rmSync(directory, { recursive: true }));

// Says when it is bound, then prints each datagram and the monotonic clock as one line of JSON.
const RECEIVER = `
import json, socket, sys, time
name = sys.argv[1]
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.settimeout(20)
s.bind("\\0" + name[1:] if name[0] == "@" else name)
print("bound", flush=True)
for _ in range(int(sys.argv[2])):
    text = s.recv(4096).decode()
    print(json.dumps({"text": text, "now": time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}), flush=True)
`;

interface Datagram {
  text: string;
  /** Microseconds of CLOCK_MONOTONIC. */
  now: number;
}

/** What a service manager at this name is told by `tell`, which sends `count` messages. */
async function received(name: string, count: number, tell: (environment: Record<string, string>) => void) {
  const child = Bun.spawn([python ?? "", "-c", RECEIVER, name, String(count)], { stdout: "pipe" });
  let text = "";
  for await (const part of child.stdout.pipeThrough(new TextDecoderStream())) {
    if (text === "") tell({ NOTIFY_SOCKET: name });
    text += part;
  }
  const [, ...lines] = text.trimEnd().split("\n");
  return lines.map((line) => JSON.parse(line) as Datagram);
}

for (const [kind, name] of [
  ["a socket in the file system", join(directory, "notify.sock")],
  ["an abstract socket", `@voe-notify-test-${process.pid}`],
] as const) {
  test.skipIf(python === null)(`${kind} is told readiness, watchdog and stop${why}`, async () => {
    const datagrams = await received(name, 3, (environment) => {
      expect(notifyReady("2\ntargets", environment)).toBe(true);
      expect(notifyWatchdog(environment)).toBe(true);
      expect(notifyStopping(environment)).toBe(true);
    });
    expect(datagrams.map(({ text }) => text)).toEqual(["READY=1\nSTATUS=2 targets", "WATCHDOG=1", "STOPPING=1"]);
  });
}

test.skipIf(python === null)(`a reload carries the time of the system's monotonic clock${why}`, async () => {
  const [datagram] = await received(join(directory, "reload.sock"), 1, (environment) => {
    expect(notifyReloading(environment)).toBe(true);
  });
  const [, microseconds] = /^RELOADING=1\nMONOTONIC_USEC=(\d+)$/.exec(datagram?.text ?? "") ?? [];
  const ageMicroseconds = (datagram?.now ?? 0) - Number(microseconds);
  expect(ageMicroseconds).toBeGreaterThanOrEqual(0);
  expect(ageMicroseconds).toBeLessThan(10_000_000);
});

test("without a service manager nothing happens", () => {
  for (const environment of [
    {},
    { NOTIFY_SOCKET: "" },
    { NOTIFY_SOCKET: "relative" },
    { NOTIFY_SOCKET: "vsock:2:1" },
    { NOTIFY_SOCKET: `/${"x".repeat(200)}` },
    { NOTIFY_SOCKET: join(directory, "absent.sock") },
  ]) {
    expect(notifyReady("ready", environment)).toBe(false);
    expect(notifyReloading(environment)).toBe(false);
    expect(notifyStopping(environment)).toBe(false);
  }
});

test("the watchdog is due at half of its time, in this process only", () => {
  expect(watchdogIntervalMs({ WATCHDOG_USEC: "30000000" })).toBe(15_000);
  expect(watchdogIntervalMs({ WATCHDOG_USEC: "30000000", WATCHDOG_PID: String(process.pid) })).toBe(15_000);
  expect(watchdogIntervalMs({ WATCHDOG_USEC: "30000000", WATCHDOG_PID: "1" })).toBeUndefined();
  expect(watchdogIntervalMs({ WATCHDOG_USEC: "soon" })).toBeUndefined();
  expect(watchdogIntervalMs({})).toBeUndefined();
});
