import { setTimeout as sleep } from "node:timers/promises";
import type { TargetAddress } from "../base/address.ts";
import { CONFIG_READ, sectorsPerFrame } from "../protocol/aoe/frame.ts";
import { MAC_BROADCAST, readMac } from "../protocol/aoe/mac.ts";
import type { Identity } from "./identify.ts";
import type { Initiator } from "./initiator.ts";
import { parseConfigReply, type ConfigReply } from "./replies.ts";
import { RequestError } from "./request-error.ts";
import { configRequest, EVERY_TARGET } from "./requests.ts";
import { openTarget, type Target } from "./target.ts";

/** One way to one target: what answered at one MAC through one interface. */
export interface Path {
  readonly initiator: Initiator;
  readonly target: Target;
  readonly config: ConfigReply;
  /** What can be used here: the target's figure, or what the interface's MTU carries where that is less. */
  readonly sectorsPerFrame: number;
}

export interface IdentifiedPath extends Path {
  /** Absent where the target did not identify itself, for which `refusal` gives the reason. */
  readonly identity: Identity | undefined;
  readonly refusal: string;
}

const ROUNDS = 3;

/**
 * Asks by broadcast, three times over since frames get lost, who is there, and returns every path that answered within
 * the time: sorted by address, interface and MAC.
 */
export async function findPaths(
  initiators: readonly Initiator[],
  windowMs: number,
  address: TargetAddress = EVERY_TARGET,
): Promise<Path[]> {
  const found = new Map<string, Path>();
  const accept = (initiator: Initiator, reply: Uint8Array): void => {
    const config = parseConfigReply(reply);
    if (!config) return;
    const { shelf, slot } = config.address;
    if (address !== EVERY_TARGET && (shelf !== address.shelf || slot !== address.slot)) return;
    const key = `${shelf}.${slot} ${initiator.interface.name} ${config.mac}`;
    if (found.has(key)) return;
    found.set(key, {
      initiator,
      target: openTarget(initiator, config.address, config.mac),
      config,
      sectorsPerFrame: Math.min(config.sectorsPerFrame, sectorsPerFrame(initiator.interface.mtuBytes)),
    });
  };
  const rounds = initiators.flatMap((initiator) =>
    Array.from({ length: ROUNDS }, async (_, round) => {
      const delayMs = (windowMs / ROUNDS) * round;
      await sleep(delayMs);
      const route = { destination: MAC_BROADCAST, source: readMac(initiator.interface.mac, 0), address };
      await initiator.collect(configRequest(route, CONFIG_READ), windowMs - delayMs, (reply) =>
        accept(initiator, reply),
      );
    }),
  );
  await Promise.all(rounds);
  return [...found.values()].sort(byAddress);
}

function byAddress(a: Path, b: Path): number {
  return (
    a.config.address.shelf - b.config.address.shelf ||
    a.config.address.slot - b.config.address.slot ||
    a.initiator.interface.index - b.initiator.interface.index ||
    a.config.mac - b.config.mac
  );
}

/** `findPaths`, and then the identity of each target over each path. */
export async function discover(
  initiators: readonly Initiator[],
  windowMs: number,
  address?: TargetAddress,
): Promise<IdentifiedPath[]> {
  const paths = await findPaths(initiators, windowMs, address);
  return Promise.all(
    paths.map(async (path) => {
      try {
        return { ...path, identity: await path.target.identify({ timeoutMs: 1000 }), refusal: "" };
      } catch (error) {
        if (!(error instanceof RequestError)) throw error;
        return { ...path, identity: undefined, refusal: error.message };
      }
    }),
  );
}
