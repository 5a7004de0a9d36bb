/** A CAS server in this process, on a directory of its own. */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openCasServer, type CasServer, type CasServerOptions } from "../../src/server/cas/cas-server.ts";

export const CAS_TOKEN = "a-token-of-the-tests";
const IN_MEMORY = "/dev/shm";

export interface TestCasServer extends AsyncDisposable {
  readonly server: CasServer;
  /** Its store. */
  readonly storage: string;
}

/** In memory where that can be: what waits for a medium is the file store, which has tests of its own. */
export async function startCasServer(options: Partial<CasServerOptions> = {}): Promise<TestCasServer> {
  const directory = mkdtempSync(join(existsSync(IN_MEMORY) ? IN_MEMORY : tmpdir(), "voe-cas-"));
  const storage = join(directory, "store");
  const server = await openCasServer({
    storage,
    bind: { host: "127.0.0.1", port: 0 },
    token: CAS_TOKEN,
    tls: undefined,
    allowsDelete: true,
    ...options,
  });
  return {
    server,
    storage,
    [Symbol.asyncDispose]: async () => {
      await server.close(0);
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
