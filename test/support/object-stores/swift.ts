/** OpenStack Swift with its S3 API, which has no conditional writes: as Backblaze B2. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { createBucket } from "./s3-requests.ts";
import { serverDirectory, type S3TestServer } from "./server-directory.ts";

/** Why Swift cannot be started here, or undefined where it can. */
export function missingForSwift(): string | undefined {
  if (process.env["VOE_TEST_FULL"] !== "1") return "VOE_TEST_FULL=1 is not set";
  for (const server of ["proxy", "account", "container", "object"]) {
    if (!existsSync(`/usr/bin/swift-${server}-server`)) return `package swift-${server} is not installed`;
  }
  return undefined;
}

/** The bucket that it has. */
export const SWIFT_BUCKET = "bucket";

let started: Promise<S3TestServer> | undefined;

/** The Swift of this process, which is started by the first who asks (1.5 s) and ends with the process. */
export function sharedSwift(): Promise<S3TestServer> {
  started ??= startSwift();
  return started;
}

async function startSwift(): Promise<S3TestServer> {
  const directory = await serverDirectory("swift");
  // Debian's own Python has Swift's modules; another one that is found first may not.
  const child = Bun.spawn(["/usr/bin/python3", join(import.meta.dir, "serve-swift.py"), join(directory, "swift")], {
    stdin: "pipe",
    stdout: "pipe",
    stderr: Bun.file(join(directory, "stderr.log")),
    env: { ...process.env, EVENTLET_NO_GREENDNS: "yes" },
  });
  child.unref();
  let output = "";
  for await (const piece of child.stdout) {
    output += new TextDecoder().decode(piece);
    if (output.includes("\n")) break;
  }
  const port = /^ready (\d+)\n/.exec(output)?.[1];
  if (port === undefined) {
    throw new Error(`Swift did not start: ${output}${await Bun.file(join(directory, "stderr.log")).text()}`);
  }
  const server = {
    endpoint: `http://127.0.0.1:${port}`,
    region: "us-east-1",
    credentials: { accessKeyId: "test:tester", secretAccessKey: "testing" },
  };
  await createBucket(server, SWIFT_BUCKET);
  return server;
}
