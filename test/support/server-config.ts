/** Configuration files for servers under test. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";

/** One `[[target]]` on a file or a device. */
export interface FileTarget {
  shelf: number;
  slot: number;
  path: string;
  /** By default "file". */
  backend?: "file" | "device";
  /** Of a device: past the page cache. */
  direct?: boolean;
  /** As in the configuration: "64MiB"; absent: the size of the file. */
  size?: string;
  readOnly?: boolean;
  /** By default "1s". */
  sync?: string;
  configString?: string;
  allowMacs?: readonly string[];
}

/** Writes DIRECTORY/voe.toml, with state and control socket beside it, and returns its path. */
export async function writeServerConfig(
  directory: string,
  config: { interfaces: readonly string[]; targets: readonly FileTarget[] },
): Promise<string> {
  const lines = [
    "[server]",
    `interfaces = ${JSON.stringify(config.interfaces)}`,
    `state_dir = ${JSON.stringify(join(directory, "state"))}`,
    `control_socket = ${JSON.stringify(join(directory, "voe.sock"))}`,
  ];
  for (const target of config.targets) {
    lines.push("", "[[target]]", `shelf = ${target.shelf}`, `slot = ${target.slot}`);
    lines.push(`backend = "${target.backend ?? "file"}"`);
    lines.push(`path = ${JSON.stringify(target.path)}`, `sync = ${JSON.stringify(target.sync ?? "1s")}`);
    if (target.size !== undefined) lines.push(`size = ${JSON.stringify(target.size)}`);
    if (target.configString !== undefined) lines.push(`config_string = ${JSON.stringify(target.configString)}`);
    if (target.allowMacs !== undefined) lines.push(`allow_macs = ${JSON.stringify(target.allowMacs)}`);
    if (target.direct === true) lines.push("direct = true");
    if (target.readOnly === true) lines.push("read_only = true");
  }
  const path = join(directory, "voe.toml");
  await writeFile(path, `${lines.join("\n")}\n`);
  return path;
}
