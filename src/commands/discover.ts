import { defineCommand } from "citty";
import { formatAddress } from "../base/address.ts";
import { formatMac } from "../protocol/aoe/mac.ts";
import { discover, type IdentifiedPath } from "../initiator/discover.ts";
import type { Identity } from "../initiator/identify.ts";
import { SECTOR_BYTES } from "../storage/block-storage.ts";
import { INITIATOR_ARGS, openInitiators, parseInitiatorArguments } from "./aoe-interfaces.ts";
import { formatTable } from "./table.ts";
import { UsageError } from "./usage-error.ts";

const HEAD = ["TARGET", "INTERFACE", "MAC", "SIZE", "SECTORS", "BUFFERS", "FIRMWARE", "MODEL", "CONFIG"];
const RIGHT = new Set([3, 4, 5]);

/** A disk's size as aoe-stat prints it: thousandths of 10^9 bytes, rounded down. */
export function formatSize(identity: Identity | undefined): string {
  if (!identity) return "?";
  const megabytes = Math.floor((identity.sectorCount * SECTOR_BYTES) / 1e6);
  return `${(megabytes / 1000).toFixed(3)}GB`;
}

const formatRow = ({ config, initiator, identity, refusal, sectorsPerFrame }: IdentifiedPath): string[] => [
  formatAddress(config.address),
  initiator.interface.name,
  formatMac(config.mac),
  formatSize(identity),
  String(sectorsPerFrame),
  String(config.bufferCount),
  identity?.firmware || `0x${config.firmware.toString(16)}`,
  identity?.model ?? `(${refusal})`,
  config.configString,
];

/** What identifies a path and its target in the JSON of `discover` and `probe`. */
export const describePath = ({ config, initiator, identity, refusal, sectorsPerFrame }: IdentifiedPath) => ({
  target: formatAddress(config.address),
  interface: initiator.interface.name,
  mac: formatMac(config.mac),
  sizeBytes: identity ? identity.sectorCount * SECTOR_BYTES : null,
  sectorsPerFrame,
  targetSectorsPerFrame: config.sectorsPerFrame,
  bufferCount: config.bufferCount,
  firmwareVersion: config.firmware,
  firmware: identity?.firmware ?? null,
  model: identity?.model ?? null,
  serial: identity?.serial ?? null,
  configString: config.configString,
  error: refusal || null,
});

/** `voe discover`: a line for every path to every target in reach. */
export const discoverCommand = defineCommand({
  meta: { name: "discover", description: "List the AoE targets in reach; no kernel module needed" },
  args: INITIATOR_ARGS,
  async run({ rawArgs }) {
    const { interfaces, timeoutMs, json, positionals } = parseInitiatorArguments(rawArgs);
    if (positionals[0] !== undefined) throw new UsageError(`unexpected argument "${positionals[0]}"`);
    const initiators = openInitiators(interfaces);
    try {
      const paths = await discover(initiators, timeoutMs);
      if (json) {
        console.log(JSON.stringify(paths.map(describePath), null, 2));
      } else if (paths.length > 0) {
        console.log(formatTable([HEAD, ...paths.map(formatRow)], RIGHT));
      } else {
        const names = initiators.map((initiator) => initiator.interface.name).join(", ");
        console.error(`no AoE target answered within ${timeoutMs} ms on ${names}`);
      }
    } finally {
      for (const initiator of initiators) initiator.close();
    }
  },
});
