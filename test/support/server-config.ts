/** Configuration files for servers under test. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";

interface AnyTarget {
  shelf: number;
  slot: number;
  /** As in the configuration: "64MiB"; absent: the size of the file. */
  size?: string;
  readOnly?: boolean;
  /** By default "1s". */
  sync?: string;
  configString?: string;
  allowMacs?: readonly string[];
}

/** One `[[target]]` on a file or a device. */
export interface FileTarget extends AnyTarget {
  path: string;
  /** By default "file". */
  backend?: "file" | "device";
  /** Of a device: past the page cache. */
  direct?: boolean;
}

/** One `[[target]]` that is a volume of an archive in a directory. */
export interface ArchiveTarget extends AnyTarget {
  backend: "cas";
  /** Directory of the blob store. */
  store: string;
  size: string;
  /** Absent: the target's address. */
  volume?: string;
  blockSize?: number;
  compression?: "lz4" | "none";
}

/** What of `[server]` may differ from one server to another. */
export interface ServerSettings {
  /** Beside the configuration by default, as `state`. */
  stateDir?: string;
  /** As in the configuration, for all archives. */
  journalSize?: string;
  cacheSize?: string;
}

/** Writes DIRECTORY/voe.toml, with state and control socket beside it, and returns its path. */
export async function writeServerConfig(
  directory: string,
  config: { interfaces: readonly string[]; targets: readonly (FileTarget | ArchiveTarget)[] } & ServerSettings,
): Promise<string> {
  const lines = [
    "[server]",
    `interfaces = ${JSON.stringify(config.interfaces)}`,
    `state_dir = ${JSON.stringify(config.stateDir ?? join(directory, "state"))}`,
    `control_socket = ${JSON.stringify(join(directory, "voe.sock"))}`,
  ];
  if (config.journalSize !== undefined) lines.push(`journal_size = ${JSON.stringify(config.journalSize)}`);
  if (config.cacheSize !== undefined) lines.push(`cache_size = ${JSON.stringify(config.cacheSize)}`);
  for (const target of config.targets) {
    lines.push("", "[[target]]", `shelf = ${target.shelf}`, `slot = ${target.slot}`);
    lines.push(`backend = "${target.backend ?? "file"}"`, `sync = ${JSON.stringify(target.sync ?? "1s")}`);
    if (target.configString !== undefined) lines.push(`config_string = ${JSON.stringify(target.configString)}`);
    if (target.allowMacs !== undefined) lines.push(`allow_macs = ${JSON.stringify(target.allowMacs)}`);
    if (target.readOnly === true) lines.push("read_only = true");
    if (target.backend === "cas") lines.push(...archiveLines(target));
    else lines.push(...fileLines(target));
  }
  const path = join(directory, "voe.toml");
  await writeFile(path, `${lines.join("\n")}\n`);
  return path;
}

function fileLines(target: FileTarget): string[] {
  const lines = [`path = ${JSON.stringify(target.path)}`];
  if (target.size !== undefined) lines.push(`size = ${JSON.stringify(target.size)}`);
  if (target.direct === true) lines.push("direct = true");
  return lines;
}

function archiveLines(target: ArchiveTarget): string[] {
  const lines = ["[target.cas]", `size = ${JSON.stringify(target.size)}`];
  if (target.volume !== undefined) lines.push(`volume = ${JSON.stringify(target.volume)}`);
  if (target.blockSize !== undefined) lines.push(`block_size = ${target.blockSize}`);
  if (target.compression !== undefined) lines.push(`compression = "${target.compression}"`);
  lines.push("[target.cas.blob_store]", 'type = "file"', `path = ${JSON.stringify(target.store)}`);
  return lines;
}
