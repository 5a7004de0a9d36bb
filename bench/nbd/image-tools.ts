/** What images are brought in and out with beside each other: nbdcopy and an archive of voe, borg, restic, and cp. */
import { join } from "node:path";
import { blobsIn, launchArchive, SHELF, snapshotMs } from "../archive/archive-server.ts";
import {
  borgTool,
  bytesUnder,
  cpTool,
  run,
  type Tool,
  type ToolOpener,
  type ToolPlace,
} from "../archive/image-tools.ts";
import { dropPageCache } from "../archive/page-cache.ts";
import { ALL_CPUS, startServer, type Server } from "../testbed/server.ts";
import { voeName } from "../testbed/voe.ts";

const ADDRESS = "127.0.0.1:10809";

async function nbdcopyTool({ directory, network, sizeBytes, signal }: ToolPlace): Promise<Tool> {
  const launch = launchArchive({ directory, nbd: ADDRESS, volumes: 2, sizeBytes, sync: "1s" });
  const start = (): Promise<Server> => startServer("voe", launch, network.serverNamespace, ALL_CPUS);
  const nbdcopy = (...args: string[]): Promise<void> =>
    run(["ip", "netns", "exec", network.serverNamespace, "nbdcopy", ...args], signal, directory);
  const uriOf = (slot: number): string => `nbd://${ADDRESS}/e${SHELF}.${slot}`;
  let server = await start();
  let last: 0 | 1 = 0;
  return {
    description: `nbdcopy --flush, to and from volumes of one store of ${voeName()} with the defaults, sync = "1s"`,
    bringIn(image, copy) {
      last = copy;
      return nbdcopy("--flush", image, uriOf(copy));
    },
    settle: async () => void (await snapshotMs(directory, last)),
    async coolDown() {
      await server[Symbol.asyncDispose]();
      await dropPageCache();
      server = await start();
    },
    async bringOut(file) {
      await nbdcopy(uriOf(0), file);
      await run(["sync", file], signal, directory);
    },
    storedBytes: () => bytesUnder(blobsIn(directory)),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

async function resticTool({ directory, signal }: ToolPlace): Promise<Tool> {
  const repository = join(directory, "repository");
  const env = { ...process.env, RESTIC_PASSWORD: "bench", RESTIC_CACHE_DIR: join(directory, "cache") };
  const restic = (...args: string[]): Promise<void> =>
    run(["restic", "--quiet", "--repo", repository, ...args], signal, directory, env);
  await restic("init");
  return {
    description: "restic backup --force, restic dump latest",
    // Without --force it would not look at the same file again.
    bringIn: (image) => restic("backup", "--force", image),
    coolDown: dropPageCache,
    async bringOut(file) {
      const words = ["sh", "-c", 'restic --quiet --repo "$1" dump latest "$2" > "$3" && sync "$3"', "sh"];
      await run([...words, repository, join(directory, "..", "image"), file], signal, directory, env);
    },
    storedBytes: () => bytesUnder(repository),
    async [Symbol.asyncDispose]() {},
  };
}

/** Those that are installed, in the order of the columns. The server comes first, as the table has it. */
export const nbdTools = (): ReadonlyMap<string, ToolOpener> =>
  new Map(
    Object.entries({ voe: nbdcopyTool, borg: borgTool, restic: resticTool, cp: cpTool }).filter(
      ([name]) => name === "voe" || Bun.which(name) !== null,
    ),
  );
