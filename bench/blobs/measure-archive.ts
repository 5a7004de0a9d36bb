/** An archive whose packs are in a bucket: an image in, until all of it is there, and out again with nothing cached. */
import { $ } from "bun";
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { request } from "../../src/control/client.ts";
import type { StatusReport } from "../../src/control/status.ts";
import { dropPageCache } from "../archive/page-cache.ts";
import { ALL_CPUS, startServer, type Launch } from "../testbed/server.ts";
import { controlSocketIn, voeCommand, writeVoeConfig } from "../testbed/voe.ts";
import type { Bucket } from "./plain-clients.ts";

export interface ArchiveFigures {
  /** Until the image was durable, in the journal for the most part. */
  readonly inSeconds: number;
  /** Until all of it was in the bucket, with a snapshot that says so. */
  readonly uploadedSeconds: number;
  /** Out again, with no pack cached and nothing in memory. */
  readonly outSeconds: number;
  /** CPU time of the server up to then, of both directions. */
  readonly cpuSeconds: number;
  /** Requests that put something into the store, and that read blobs from it. */
  readonly puts: number;
  readonly gets: number;
}

const TARGET = "e1.0";

function launch(directory: string, bucket: Bucket, sizeBytes: number): Launch {
  const { endpoint, region, credentials } = bucket;
  const target = `[[target]]
shelf = 1
slot = 0
backend = "cas"
sync = "1s"

[target.cas]
size = ${sizeBytes}

[target.cas.blob_store]
type = "s3"
endpoint = ${JSON.stringify(endpoint)}
region = ${JSON.stringify(region)}
bucket = ${JSON.stringify(bucket.bucket)}
prefix = "archive/"
access_key_id = ${JSON.stringify(credentials.accessKeyId)}
secret_access_key = ${JSON.stringify(credentials.secretAccessKey)}
cache_path = ${JSON.stringify(join(directory, "cache"))}
`;
  return {
    command: [...voeCommand(), "serve", writeVoeConfig(directory, undefined, target)],
    readyLine: "voe ready",
  };
}

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return (performance.now() - began) / 1000;
}

async function requests(directory: string): Promise<{ puts: number; gets: number }> {
  const report = (await (await request([controlSocketIn(directory)], "/status")).json()) as StatusReport;
  const { put, ref, get } = report.archives[0]!.remote!.requests;
  return { puts: put.requests + ref.requests, gets: get.requests };
}

/** Everything that it makes on this host is gone when it is done; `directory` does not exist before. */
export async function measureArchive(
  directory: string,
  image: string,
  sizeBytes: number,
  bucket: Bucket,
  signal: AbortSignal,
): Promise<ArchiveFigures> {
  mkdirSync(directory);
  const started = launch(directory, bucket, sizeBytes);
  const voe = async (...args: string[]): Promise<void> => {
    const command = [...voeCommand(), ...args, "--control", controlSocketIn(directory)];
    const child = Bun.spawn(command, { stdout: "ignore", stderr: "pipe", signal });
    const [complaints, status] = await Promise.all([child.stderr.text(), child.exited]);
    signal.throwIfAborted();
    if (status !== 0) throw new Error(`${command.join(" ")} ended with status ${status}: ${complaints.trim()}`);
  };
  try {
    let cpuSeconds: number;
    let inSeconds: number;
    let uploadedSeconds: number;
    let puts: number;
    {
      await using server = await startServer("voe", started, undefined, ALL_CPUS);
      inSeconds = await seconds(() => voe("import", image, TARGET));
      uploadedSeconds = inSeconds + (await seconds(() => voe("snapshot", "create", TARGET)));
      ({ puts } = await requests(directory));
      cpuSeconds = server.cpuSeconds();
    }
    rmSync(join(directory, "cache"), { recursive: true });
    await dropPageCache();
    await using server = await startServer("voe", started, undefined, ALL_CPUS);
    const out = join(directory, "out");
    const outSeconds = await seconds(() => voe("export", TARGET, out));
    const { gets } = await requests(directory);
    cpuSeconds += server.cpuSeconds();
    // A figure of wrong data is none.
    const { exitCode } = await $`cmp ${image} ${out}`.nothrow().quiet();
    if (exitCode !== 0) throw new Error("another image came out than went in");
    return { inSeconds, uploadedSeconds, outSeconds, cpuSeconds, puts, gets };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
