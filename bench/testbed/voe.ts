import { existsSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";

const root = resolve(import.meta.dir, "../..");

/** The voe to measure: `VOE_BINARY`, otherwise dist/voe, otherwise src/main.ts. */
export function voeCommand(): string[] {
  const binary = process.env["VOE_BINARY"];
  if (binary) return [resolve(binary)];
  const built = join(root, "dist/voe");
  return existsSync(built) ? [built] : [process.execPath, join(root, "src/main.ts")];
}

/** The same for the table. */
export const voeName = (): string => voeCommand().join(" ").replaceAll(`${root}/`, "");

export const controlSocketIn = (directory: string): string => join(directory, "voe.sock");

/**
 * Writes a configuration into a directory, whose state and control socket are there too, and returns its path. `server`
 * has more lines of [server], `targets` the tables of the targets. Without an interface AoE is off.
 */
export function writeVoeConfig(
  directory: string,
  interfaceName: string | undefined,
  targets: string,
  server = "",
): string {
  const config = join(directory, "voe.toml");
  writeFileSync(
    config,
    `[server]
${interfaceName === undefined ? "" : `interface = ${JSON.stringify(interfaceName)}`}
state_dir = ${JSON.stringify(join(directory, "state"))}
control_socket = ${JSON.stringify(controlSocketIn(directory))}
${server}
${targets}`,
  );
  return config;
}

/** The table of a configuration that has NBD served there. */
export const nbdTable = (bind: string): string => `[nbd]\nbind = ${JSON.stringify(bind)}\n`;
