/** Azurite, Microsoft's emulator of Azure Storage: one for all tests of a run, with its blobs in memory. */
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { azureExchange, type AzureContainer } from "../../../src/blob/azure/azure-request.ts";
import { createHttpClient } from "../../../src/blob/http/http-client.ts";

/** Where `.ci/run` installs it, outside of the project's own packages. */
const directory = process.env["VOE_AZURITE"] ?? join(homedir(), ".cache/voe-ci/azurite-3.37.0");
const program = join(directory, "node_modules/.bin/azurite-blob");
const READY_TIMEOUT_MS = 20_000;

export const ACCOUNT = "voetest";
export const ACCOUNT_KEY = Buffer.from("the key of the account that the tests of voe use").toString("base64");

/** Why Azurite cannot be started here, or undefined where it can. */
export function missingForAzurite(): string | undefined {
  if (process.env["VOE_TEST_FULL"] !== "1") return "VOE_TEST_FULL=1 is not set";
  if (!existsSync(program)) {
    return `Azurite is not in ${directory} (npm install --ignore-scripts --prefix ${directory} azurite@3.37.0)`;
  }
  if (Bun.which("node") === null) return "node is not installed";
  return Bun.which("setpriv") === null ? "setpriv is not installed (package util-linux)" : undefined;
}

let started: Promise<string> | undefined;

/** The endpoint of the account ACCOUNT. Azurite ends with the process of the tests. */
export const azuriteEndpoint = (): Promise<string> => (started ??= start());

async function start(): Promise<string> {
  const options = ["--blobHost", "127.0.0.1", "--blobPort", "0", "--inMemoryPersistence", "--disableTelemetry"];
  const child = Bun.spawn(["setpriv", "--pdeathsig", "KILL", "node", program, ...options], {
    env: { ...process.env, AZURITE_ACCOUNTS: `${ACCOUNT}:${ACCOUNT_KEY}` },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  child.unref();
  const timer = setTimeout(() => child.kill("SIGKILL"), READY_TIMEOUT_MS);
  let log = "";
  const reader = child.stdout.getReader();
  const decoder = new TextDecoder();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) throw new Error(`Azurite did not start: ${log}${await new Response(child.stderr).text()}`);
    log += decoder.decode(value, { stream: true });
    const url = /successfully listens on (http:\S+)/.exec(log)?.[1];
    if (url === undefined) continue;
    clearTimeout(timer);
    // It writes a line for each request, which nobody may leave in the pipe.
    void (async () => {
      while (!(await reader.read()).done);
    })();
    return `${url}/${ACCOUNT}`;
  }
}

let containerCount = 0;

/** Makes a container with nothing in it. */
export async function makeContainer(): Promise<AzureContainer> {
  const container: AzureContainer = {
    endpoint: await azuriteEndpoint(),
    account: ACCOUNT,
    container: `tests-${++containerCount}`,
    credential: () => ({ accountKey: ACCOUNT_KEY }),
  };
  const query = { restype: "container" };
  const what = `the container ${container.container} could not be made`;
  await azureExchange(container, createHttpClient())(
    { method: "PUT", query, what, signal: undefined },
    async (answer) => {
      if (answer.status !== 201) throw (await answer.refusal()).error;
    },
  );
  return container;
}

/**
 * A shared access signature for a container (a service SAS), with these permissions and of this age: "Create a service
 * SAS" of Azure's REST reference, version 2020-12-06 and later.
 */
export function containerSas({ container }: AzureContainer, permissions: string, expiry: Date): string {
  const parameters = {
    sp: permissions,
    se: `${expiry.toISOString().slice(0, 19)}Z`,
    spr: "https,http",
    sv: "2021-12-02",
    sr: "c",
  };
  const { sp, se, spr, sv, sr } = parameters;
  const signed = [sp, "", se, `/blob/${ACCOUNT}/${container}`, "", "", spr, sv, sr, "", "", "", "", "", "", ""];
  const hasher = new Bun.CryptoHasher("sha256", Buffer.from(ACCOUNT_KEY, "base64"));
  return `?${new URLSearchParams({ ...parameters, sig: hasher.update(signed.join("\n")).digest("base64") }).toString()}`;
}
