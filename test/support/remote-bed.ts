/** A server whose archive is in a store far away, and the commands of a user beside it, without privileges. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ArchiveStatus, StatusReport } from "../../src/control/status.ts";
import { startServer, voeCommand, type ServerProcess } from "./server-process.ts";

export interface RemoteBed extends AsyncDisposable {
  readonly directory: string;
  /** Starts the server; it ends with the bed at the latest. */
  start(): Promise<ServerProcess>;
  /** The status of its only archive, and all warnings. */
  status(): Promise<{ archive: ArchiveStatus & { remote: NonNullable<ArchiveStatus["remote"]> }; warnings: string }>;
  /** Runs `voe WORDS --control SOCKET` to its end, and returns stdout. Throws with stderr where it fails. */
  voe(...words: string[]): Promise<string>;
  /** The same, under way: its exit status. */
  begin(...words: string[]): Promise<number>;
  /** Files of cached packs. */
  cachedPacks(): string[];
  removeCache(): void;
}

/**
 * @param store lines of [target.cas.blob_store] but those of the cache. @param settings lines of [server].
 * @param sizeText the size of the disk, which is e1.0.
 */
export function createRemoteBed(store: readonly string[], settings: readonly string[], sizeText: string): RemoteBed {
  const directory = mkdtempSync(join(tmpdir(), "voe-remote-"));
  const at = (name: string): string => join(directory, name);
  const cache = at("cache");
  const config = [
    "[server]",
    `state_dir = ${JSON.stringify(at("state"))}`,
    `control_socket = ${JSON.stringify(at("voe.sock"))}`,
    ...settings,
    "[[target]]",
    "shelf = 1",
    "slot = 0",
    'backend = "cas"',
    "[target.cas]",
    `size = "${sizeText}"`,
    "[target.cas.blob_store]",
    ...store,
    `cache_path = ${JSON.stringify(cache)}`,
  ];
  writeFileSync(at("voe.toml"), `${config.join("\n")}\n`);
  const servers: ServerProcess[] = [];
  const command = (words: readonly string[]): string[] => [...voeCommand(), ...words, "--control", at("voe.sock")];
  const voe = async (...words: string[]): Promise<string> => {
    const child = Bun.spawn(command(words), { cwd: directory, stdin: "ignore", stdout: "pipe", stderr: "pipe" });
    const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
    if ((await child.exited) !== 0) throw new Error(`voe ${words.join(" ")}: ${stderr.trim()}`);
    return stdout;
  };
  return {
    directory,
    async start() {
      const server = await startServer({ arguments: [at("voe.toml")], directory });
      servers.push(server);
      return server;
    },
    async status() {
      const report = JSON.parse(await voe("status", "--json")) as StatusReport;
      const [archive] = report.archives;
      if (archive?.remote == null) throw new Error("the archive is not in a store far away");
      return { archive: { ...archive, remote: archive.remote }, warnings: report.warnings.join("\n") };
    },
    voe,
    begin: (...words) => Bun.spawn(command(words), { cwd: directory, stdio: ["ignore", "ignore", "ignore"] }).exited,
    cachedPacks: () =>
      existsSync(cache)
        ? readdirSync(cache).flatMap((name) =>
            readdirSync(join(cache, name))
              .filter((file) => file.includes("."))
              .map((file) => join(cache, name, file)),
          )
        : [],
    removeCache: () => rmSync(cache, { recursive: true, force: true }),
    [Symbol.asyncDispose]: async () => {
      for (const server of servers) await server[Symbol.asyncDispose]();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** Whether two files have the same bytes. */
export const sameFile = (one: string, other: string): boolean =>
  Buffer.compare(readFileSync(one), readFileSync(other)) === 0;
