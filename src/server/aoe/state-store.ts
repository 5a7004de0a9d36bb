/**
 * What initiators changed about a target, in `state_dir/aoe/eX.Y.json`: written whole, synced, renamed over the old
 * one, and the directory synced, before the change is answered.
 */
import { mkdirSync, readFileSync } from "node:fs";
import { unlink } from "node:fs/promises";
import { join } from "node:path";
import { CONFIG_STRING_MOST_BYTES } from "../../protocol/aoe/frame.ts";
import { formatMac, parseMac, type Mac } from "../../protocol/aoe/mac.ts";
import { LIST_MOST_ENTRIES, type TargetState } from "../../protocol/aoe/target.ts";
import { replaceFile, syncDirectory } from "../replace-file.ts";

const FORMAT_VERSION = 1;

export interface StateStore {
  readonly initial: TargetState;
  save(state: TargetState): Promise<void>;
}

/**
 * Opens the state of the target `name` (`e1.0`). A config string that was changed in the configuration since it was last
 * saved wins over the one that an initiator has set. Throws where the file is damaged: an access list that cannot be
 * read must not become an open door.
 */
export function openStateStore(
  stateDirectory: string,
  name: string,
  configString: string,
  maskFloor: readonly Mac[],
  report: (key: string, message: string) => void,
): StateStore {
  const directory = join(stateDirectory, "aoe");
  mkdirSync(directory, { recursive: true });
  const path = join(directory, `${name}.json`);
  return {
    initial: load(path, configString, maskFloor),
    async save(state) {
      try {
        await replaceFile(path, encode(state, configString, maskFloor));
      } catch (error) {
        report(`${path}:save`, `${path} could not be written, so the change was refused: ${(error as Error).message}`);
        throw error;
      }
    },
  };
}

/** Forgets what initiators have set about a target that there will not be again, durably. */
export async function forgetState(stateDirectory: string, name: string): Promise<void> {
  const directory = join(stateDirectory, "aoe");
  try {
    await unlink(join(directory, `${name}.json`));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    throw error;
  }
  await syncDirectory(directory);
}

function encode(state: TargetState, configured: string, maskFloor: readonly Mac[]): string {
  const saved = {
    version: FORMAT_VERSION,
    configured,
    configString: Buffer.from(state.configString).toString("base64"),
    // Without what the configuration allows, which it alone gives, and takes away again.
    mask: state.mask.filter((mac) => !maskFloor.includes(mac)).map(formatMac),
    reservations: state.reservations.map(formatMac),
  };
  return `${JSON.stringify(saved, undefined, 2)}\n`;
}

function load(path: string, configured: string, maskFloor: readonly Mac[]): TargetState {
  const configuredBytes = new TextEncoder().encode(configured);
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    return { configString: configuredBytes, mask: maskFloor, reservations: [] };
  }
  const saved = decode(path, text);
  const mask = [...new Set([...maskFloor, ...saved.mask])];
  if (mask.length > LIST_MOST_ENTRIES) {
    throw new Error(
      `${path} has MAC addresses that with those of allow_macs make ${mask.length}, and a mask list has ` +
        `${LIST_MOST_ENTRIES} at most: shorten allow_macs, or take some out of the file`,
    );
  }
  return {
    configString: saved.configured === configured ? saved.configString : configuredBytes,
    mask,
    reservations: saved.reservations,
  };
}

function decode(path: string, text: string): TargetState & { configured: string } {
  const damaged = (what: string): Error =>
    new Error(
      `${path} is damaged (${what}). It holds the target's config string, mask list and reservations: restore it from a ` +
        `backup, or delete it to start with what the configuration says`,
    );
  let saved: Record<string, unknown> | null;
  try {
    saved = JSON.parse(text) as typeof saved;
  } catch {
    throw damaged("no JSON");
  }
  if (saved === null) throw damaged("it is empty");
  if (saved["version"] !== FORMAT_VERSION)
    throw damaged(`version ${String(saved["version"])}, known is ${FORMAT_VERSION}`);
  const { configured, configString } = saved;
  if (typeof configured !== "string" || typeof configString !== "string") throw damaged("no config string");
  const macs = (key: string): Mac[] => {
    const list = saved[key];
    if (!Array.isArray(list) || list.length > LIST_MOST_ENTRIES) throw damaged(`no list "${key}"`);
    return list.map((entry: unknown) => {
      const mac = typeof entry === "string" ? parseMac(entry) : undefined;
      if (mac === undefined) throw damaged(`"${key}" has an entry that is no MAC address`);
      return mac;
    });
  };
  const bytes = new Uint8Array(Buffer.from(configString, "base64"));
  // Buffer reads what it can and leaves out the rest.
  if (bytes.toBase64() !== configString || bytes.length > CONFIG_STRING_MOST_BYTES) throw damaged("no config string");
  return { configured, configString: bytes, mask: macs("mask"), reservations: macs("reservations") };
}
