/**
 * The service manager's notification protocol (sd_notify(3)): datagrams of `NAME=value` lines to the socket that
 * NOTIFY_SOCKET names. Where there is no such socket, or it takes nothing, everything here does nothing: a disk is
 * served all the same.
 */
import { allocateMemory, freeMemory } from "./memory.ts";
import { libc } from "./libc.ts";

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const CLOCK_MONOTONIC = 1;
const NOTIFY_SOCKET = "NOTIFY_SOCKET";

/** Offset of `sun_path` in `struct sockaddr_un`, and the room it has. */
const SUN_PATH = 2;
const SUN_PATH_BYTES = 108;

type Environment = Readonly<Record<string, string | undefined>>;

/** Every listener is open; also the end of a reload. `status` is what `systemctl status` shows. */
export const notifyReady = (status: string, environment: Environment = process.env): boolean =>
  send(["READY=1", statusLine(status)], environment);

/** The configuration is being read again. `notifyReady` must follow, whatever comes of it. */
export const notifyReloading = (environment: Environment = process.env): boolean =>
  environment[NOTIFY_SOCKET] !== undefined &&
  send(["RELOADING=1", `MONOTONIC_USEC=${monotonicMicroseconds()}`], environment);

/** The server has begun to stop. */
export const notifyStopping = (environment: Environment = process.env): boolean => send(["STOPPING=1"], environment);

/** The event loop still turns. */
export const notifyWatchdog = (environment: Environment = process.env): boolean => send(["WATCHDOG=1"], environment);

/**
 * How often `notifyWatchdog` is due, in milliseconds: half of what the service manager waits for; undefined where it
 * does not watch this process.
 */
export function watchdogIntervalMs(environment: Environment = process.env): number | undefined {
  const { WATCHDOG_USEC: microseconds, WATCHDOG_PID: pid } = environment;
  if (microseconds === undefined || !/^[1-9]\d*$/.test(microseconds)) return undefined;
  if (pid !== undefined && pid !== String(process.pid)) return undefined;
  return Number(microseconds) / 2000;
}

const statusLine = (status: string): string => `STATUS=${status.replaceAll("\n", " ")}`;

/** What CLOCK_MONOTONIC says. `process.hrtime` will not do: in Bun it counts from the start of the process. */
function monotonicMicroseconds(): bigint {
  const time = allocateMemory(16);
  libc.clock_gettime(CLOCK_MONOTONIC, time.address);
  const now = time.view.getBigInt64(0, true) * 1_000_000n + time.view.getBigInt64(8, true) / 1000n;
  freeMemory(time);
  return now;
}

/** Sends one datagram and says whether the service manager has it. */
function send(lines: readonly string[], environment: Environment): boolean {
  const path = environment[NOTIFY_SOCKET] ?? "";
  const name = new TextEncoder().encode(path);
  // A name that begins with @ is in the abstract namespace. Other spellings (vsock:) are no unix sockets.
  if (!(path.startsWith("/") || path.startsWith("@")) || name.length >= SUN_PATH_BYTES) return false;
  const fd = libc.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  const message = new TextEncoder().encode(lines.join("\n"));
  const memory = allocateMemory(SUN_PATH + SUN_PATH_BYTES + message.length);
  memory.view.setUint16(0, AF_UNIX, true);
  memory.bytes.set(name, SUN_PATH);
  if (path.startsWith("@")) memory.bytes[SUN_PATH] = 0;
  const messageAt = SUN_PATH + SUN_PATH_BYTES;
  memory.bytes.set(message, messageAt);
  const sent = libc.sendto(
    fd,
    memory.address + messageAt,
    message.length,
    // A service manager that does not keep up must not hold the event loop.
    MSG_DONTWAIT | MSG_NOSIGNAL,
    memory.address,
    // An abstract name has no NUL at its end: the length says where it ends.
    SUN_PATH + name.length,
  );
  libc.close(fd);
  freeMemory(memory);
  return Number(sent) === message.length;
}
