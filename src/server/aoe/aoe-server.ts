/**
 * AoE on any number of interfaces: takes requests off their rings while there are any, sleeps when there are none, and
 * follows the interfaces as they come, go and change.
 */
import { readInterface, type InterfaceInfo } from "../../../ffi/interface.ts";
import { ENODEV, libc, SystemError } from "../../../ffi/libc.ts";
import { openLinkWatch, takeLinkChanges } from "../../../ffi/link-watch.ts";
import { armSignals, ownSignals } from "../../../ffi/signal-io.ts";
import { advertisedSectors } from "../../protocol/aoe/config.ts";
import type { AoeTarget } from "../../protocol/aoe/target.ts";
import type { Client } from "./clients.ts";
import { PacketLink, type LinkCounters } from "./packet-link.ts";
import { TargetTable } from "./target-table.ts";

/** How long the loop looks for another request before it sleeps: being woken costs a lone request about 8 us. */
const SPIN_MS = 0.03;
/** How long requests are taken before timers, other sockets and finished syncs get their turn. */
const TURN_MS = 0.25;
/** How often the loop looks whether it slept through something. */
const HEARTBEAT_MS = 100;
/** How long replies wait that a full socket refused, where no signal says that there is room. */
const BLOCKED_RETRY_MS = 2;

export interface InterfaceState {
  readonly name: string;
  /** What it is now; undefined while it does not exist. */
  readonly info: InterfaceInfo | undefined;
  readonly sectorsPerFrame: number;
  readonly counters: LinkCounters;
}

interface Watched {
  readonly name: string;
  readonly counters: LinkCounters;
  info: InterfaceInfo | undefined;
  link: PacketLink | undefined;
  /** It could not be looked at, so what is known of it may be old. */
  stale: boolean;
}

export interface AoeServer {
  /** Makes a target known and announces it. */
  addTarget(target: AoeTarget): void;
  removeTarget(target: AoeTarget): void;
  /** Announces a target that has changed. */
  announce(target: AoeTarget): void;
  interfaces(): InterfaceState[];
  clients(): Client[];
  /** Answers no more requests, lets those under way end for at most `timeoutMs`, and closes the interfaces. */
  close(timeoutMs: number): Promise<void>;
}

/**
 * Opens AoE on interfaces, which must exist now and may come and go later. Throws `SystemError`: no such interface, or
 * CAP_NET_RAW missing, with what to do.
 */
export function openAoeServer(
  interfaceNames: readonly string[],
  initialTargets: readonly AoeTarget[],
  report: (key: string, message: string) => void,
): AoeServer {
  const targets = new TargetTable();
  for (const target of initialTargets) targets.add(target);
  const watched: Watched[] = interfaceNames.map((name) => ({
    name,
    counters: { framesReceived: 0, framesSent: 0, framesDropped: 0, framesIgnored: 0, sendFailures: 0 },
    info: undefined,
    link: undefined,
    stale: false,
  }));
  let links: PacketLink[] = [];
  let armed = false;
  let scheduled = false;
  let closing = false;
  let retry: Timer | undefined;

  const schedule = (): void => {
    if (scheduled || closing) return;
    scheduled = true;
    setImmediate(run);
  };

  const disarm = (): void => {
    if (!armed) return;
    armed = false;
    for (const link of links) link.arm(false);
  };

  /** Sleeps until a signal. What arrived before it was asked for is taken at once. */
  const sleep = (): void => {
    armed = true;
    let blocked = false;
    for (const link of links) {
      link.arm(true);
      blocked ||= link.isBlocked;
    }
    if (links.some((link) => link.isReady)) {
      disarm();
      schedule();
    } else if (blocked && retry === undefined) {
      retry = setTimeout(() => {
        retry = undefined;
        wake();
      }, BLOCKED_RETRY_MS);
    }
  };

  const run = (): void => {
    scheduled = false;
    if (closing) return;
    disarm();
    const startMs = performance.now();
    let lastMs = startMs;
    for (let rounds = 1; ; rounds++) {
      let taken = 0;
      let waiting = false;
      for (const link of links) {
        taken += link.drain(lastMs);
        waiting ||= link.isWaiting;
      }
      if (taken > 0) {
        lastMs = performance.now();
        // A storage's answers come through the event loop, so it gets its turn at once where one is awaited.
        if (waiting || lastMs - startMs > TURN_MS) {
          schedule();
          return;
        }
      } else if (waiting || ((rounds & 15) === 0 && performance.now() - lastMs > SPIN_MS)) {
        break;
      }
    }
    sleep();
  };

  const wake = (): void => {
    if (!closing && !scheduled) run();
  };

  const openLink = (entry: Watched, info: InterfaceInfo): void => {
    entry.link = new PacketLink(info, { targets, counters: entry.counters, report, onAnswered: schedule });
    links = [...links, entry.link];
    entry.link.arm(armed);
    if (info.running) for (const target of targets.list) entry.link.announce(target);
  };

  const closeLink = (entry: Watched): void => {
    const { link } = entry;
    if (link === undefined) return;
    entry.link = undefined;
    links = links.filter((other) => other !== link);
    link.close();
  };

  /** Brings a link into line with what its interface is now. */
  const review = (entry: Watched): void => {
    const before = entry.info;
    let now: InterfaceInfo | undefined;
    try {
      now = readWhereExists(entry.name);
      entry.stale = false;
    } catch (error) {
      entry.stale = true;
      report(`${entry.name}:read`, (error as Error).message);
      return;
    }
    entry.info = now;
    if (now === undefined) {
      if (before !== undefined)
        report(`${entry.name}:gone`, `interface ${entry.name} is gone; AoE resumes when it returns`);
      closeLink(entry);
      return;
    }
    const same = before?.index === now.index && before.mtuBytes === now.mtuBytes && isSameMac(before.mac, now.mac);
    if (entry.link === undefined || !same) {
      closeLink(entry);
      try {
        openLink(entry, now);
      } catch (error) {
        report(`${entry.name}:open`, `interface ${entry.name}: ${(error as Error).message}`);
        entry.info = undefined;
      }
    } else if (now.running && !before.running) {
      for (const target of targets.list) entry.link.announce(target);
    }
  };

  const watch = openLinkWatch();
  const lookAtInterfaces = (): void => {
    if (!takeLinkChanges(watch)) return;
    for (const entry of watched) review(entry);
    schedule();
  };
  const onSignal = (): void => {
    if (closing) return;
    lookAtInterfaces();
    wake();
  };
  process.on("SIGIO", onSignal);
  try {
    ownSignals(watch);
    armSignals(watch, true);
    for (const entry of watched) {
      entry.info = readInterface(entry.name);
      openLink(entry, entry.info);
    }
  } catch (error) {
    for (const entry of watched) closeLink(entry);
    libc.close(watch);
    process.off("SIGIO", onSignal);
    throw error;
  }
  const heartbeat = setInterval(() => {
    lookAtInterfaces();
    for (const entry of watched) {
      // An interface that could not be opened, or looked at, is tried again.
      if (entry.link === undefined || entry.stale) review(entry);
    }
    if (links.some((link) => link.isReady || link.isBlocked)) wake();
  }, HEARTBEAT_MS);
  sleep();

  const announce = (target: AoeTarget): void => {
    for (const link of links) link.announce(target);
  };

  return {
    addTarget(target) {
      targets.add(target);
      for (const link of links) link.filterTargets();
      announce(target);
    },
    removeTarget(target) {
      targets.remove(target);
      for (const link of links) link.filterTargets();
    },
    announce,
    interfaces: () =>
      watched.map((entry) => {
        entry.link?.countDropped();
        const { name, info, counters } = entry;
        return { name, info, counters, sectorsPerFrame: info === undefined ? 0 : advertisedSectors(info.mtuBytes) };
      }),
    clients: () => links.flatMap((link) => link.clients.list()),
    async close(timeoutMs) {
      closing = true;
      clearInterval(heartbeat);
      clearTimeout(retry);
      armSignals(watch, false);
      for (const link of links) link.arm(false);
      const endMs = performance.now() + timeoutMs;
      // Requests that were taken are answered; those still in the ring are asked again of the next server.
      while (links.some((link) => link.isWaiting || link.isBlocked) && performance.now() < endMs) {
        for (const link of links) link.flush();
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      for (const entry of watched) closeLink(entry);
      libc.close(watch);
    },
  };
}

const isSameMac = (a: Uint8Array, b: Uint8Array): boolean => a.every((byte, i) => byte === b[i]);

function readWhereExists(name: string): InterfaceInfo | undefined {
  try {
    return readInterface(name);
  } catch (error) {
    if (error instanceof SystemError && error.errno === ENODEV) return undefined;
    throw error;
  }
}
