/** What images are brought in and out with: `voe import` and `voe export`, borg, and cp for what the medium allows. */
import { $ } from "bun";
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Network } from "../testbed/network.ts";
import { ALL_CPUS, startServer, type Server } from "../testbed/server.ts";
import { controlSocketIn, voeCommand, voeName } from "../testbed/voe.ts";
import { blobsIn, launchArchive, SHELF, snapshotMs } from "./archive-server.ts";
import { dropPageCache } from "./page-cache.ts";

export interface ToolPlace {
  /** An empty directory of the tool's own. */
  readonly directory: string;
  readonly network: Network;
  /** Size of the images, or more. */
  readonly sizeBytes: number;
  readonly signal: AbortSignal;
}

/** A tool with an empty store. Its methods are timed, except for `coolDown`. */
export interface Tool extends AsyncDisposable {
  readonly description: string;
  /** Brings an image in, durably. Of the second one the store has everything already. */
  bringIn(image: string, copy: 0 | 1): Promise<void>;
  /** After that: until it is where it is to stay, for a tool that answers before that. */
  readonly settle?: () => Promise<void>;
  /** Forgets all that is only in memory. */
  coolDown(): Promise<void>;
  /** Writes the first copy to a file, durably. */
  bringOut(file: string): Promise<void>;
  storedBytes(): Promise<number>;
}

/** Makes a tool with an empty store. */
export type ToolOpener = (place: ToolPlace) => Promise<Tool>;

/** Runs a program to its end, and rejects with what it said where that is not well. */
export async function run(
  command: readonly string[],
  signal: AbortSignal,
  cwd: string,
  env = process.env,
): Promise<void> {
  const child = Bun.spawn([...command], { cwd, env, stdout: "ignore", stderr: "pipe", signal });
  const [complaints, status] = await Promise.all([child.stderr.text(), child.exited]);
  signal.throwIfAborted();
  if (status !== 0) throw new Error(`${command.join(" ")} ended with status ${status}: ${complaints.trim()}`);
}

/** Bytes that a directory takes on its medium. */
export const bytesUnder = async (path: string): Promise<number> =>
  Number((await $`du -sB1 ${path}`.text()).split("\t")[0]);

async function voeTool({ directory, network, sizeBytes, signal }: ToolPlace): Promise<Tool> {
  const launch = launchArchive({
    directory,
    interface: network.interfaces[0]!,
    volumes: 2,
    sizeBytes,
    sync: "1s",
  });
  const start = (): Promise<Server> => startServer("voe", launch, network.serverNamespace, ALL_CPUS);
  const voe = (...args: string[]): Promise<void> =>
    run([...voeCommand(), ...args, "--control", controlSocketIn(directory)], signal, directory);
  let server = await start();
  let last: 0 | 1 = 0;
  return {
    description: `${voeName()} import, export; volumes of one store with the defaults, sync = "1s"`,
    bringIn(image, copy) {
      last = copy;
      return voe("import", image, `e${SHELF}.${copy}`);
    },
    settle: async () => void (await snapshotMs(directory, last)),
    async coolDown() {
      await server[Symbol.asyncDispose]();
      await dropPageCache();
      server = await start();
    },
    async bringOut(file) {
      await voe("export", `e${SHELF}.0`, file);
      await run(["sync", file], signal, directory);
    },
    storedBytes: () => bytesUnder(blobsIn(directory)),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

/** borg with LZ4. */
export async function borgTool({ directory, signal }: ToolPlace): Promise<Tool> {
  const repository = join(directory, "repository");
  const env = {
    ...process.env,
    BORG_BASE_DIR: join(directory, "base"),
    BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK: "yes",
  };
  const borg = (cwd: string, ...args: string[]): Promise<void> => run(["borg", ...args], signal, cwd, env);
  await borg(directory, "init", "--encryption", "none", repository);
  return {
    description: "borg create --compression lz4 --files-cache disabled, borg extract; no encryption",
    bringIn(image, copy) {
      // Without its cache of files it would not look at the same one again.
      const options = ["--compression", "lz4", "--files-cache", "disabled"];
      return borg(directory, "create", ...options, `${repository}::${copy}`, image);
    },
    coolDown: dropPageCache,
    async bringOut(file) {
      const child = ["sh", "-c", 'borg extract --stdout "$1::0" > "$2" && sync "$2"', "sh", repository, file];
      await run(child, signal, directory, env);
    },
    storedBytes: () => bytesUnder(repository),
    async [Symbol.asyncDispose]() {},
  };
}

/** cp, which shows what the medium allows. */
export async function cpTool({ directory, signal }: ToolPlace): Promise<Tool> {
  const copyOf = (copy: 0 | 1): string => join(directory, `copy-${copy}`);
  const copy = async (from: string, to: string): Promise<void> => {
    await run(["cp", "--reflink=never", from, to], signal, directory);
    await run(["sync", to], signal, directory);
  };
  return {
    description: "cp, sync FILE",
    bringIn: (image, number) => copy(image, copyOf(number)),
    coolDown: dropPageCache,
    bringOut: (file) => copy(copyOf(0), file),
    storedBytes: () => bytesUnder(directory),
    async [Symbol.asyncDispose]() {},
  };
}

/** Those of the archive's benchmark that are installed, in the order of the columns. */
export const archiveTools = (): ReadonlyMap<string, ToolOpener> =>
  new Map(
    Object.entries({ voe: voeTool, borg: borgTool, cp: cpTool }).filter(
      ([name]) => name === "voe" || Bun.which(name) !== null,
    ),
  );

/** A tool with an empty store, which is gone with it. */
export async function openTool(open: ToolOpener, place: ToolPlace): Promise<Tool> {
  mkdirSync(place.directory);
  const remove = (): void => rmSync(place.directory, { recursive: true, force: true });
  try {
    const tool = await open(place);
    return {
      ...tool,
      async [Symbol.asyncDispose]() {
        await tool[Symbol.asyncDispose]();
        remove();
      },
    };
  } catch (error) {
    remove();
    throw error;
  }
}
