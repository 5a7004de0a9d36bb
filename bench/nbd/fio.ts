/** Runs fio against an NBD server, and what came out of it. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { median } from "../testbed/median.ts";
import { CLIENT_CPU, type Server } from "../testbed/server.ts";
import type { FioRow } from "./rows.ts";

export interface FioTarget {
  readonly server: Server;
  readonly namespace: string;
  readonly uri: string;
  readonly sizeBytes: number;
  /** For fio's report. */
  readonly directory: string;
  readonly signal: AbortSignal;
}

export interface Measurement {
  readonly iops: number;
  readonly p50Us: number;
  readonly p99Us: number;
  /** CPU of the server per request, in microseconds. */
  readonly cpuUs: number;
  /** Part of the time that the client's processor had nothing to do for fio, 0 to 1. */
  readonly clientIdle: number;
}

/** What this reads of fio's report. */
interface FioReport {
  readonly jobs: readonly {
    readonly error: number;
    readonly usr_cpu: number;
    readonly sys_cpu: number;
    readonly read: FioDirection;
    readonly write: FioDirection;
  }[];
}

interface FioDirection {
  readonly iops: number;
  readonly total_ios: number;
  readonly clat_ns: { readonly percentile?: Readonly<Record<string, number>> };
}

/** Rejects with what fio said where a request failed. */
export async function measureFio(target: FioTarget, row: FioRow, seconds: number): Promise<Measurement> {
  const { server, namespace, uri, sizeBytes, directory, signal } = target;
  const output = join(directory, "fio.json");
  const fio = ["fio", "--name=bench", "--ioengine=nbd", `--uri=${uri}`, "--thread", "--group_reporting"];
  fio.push(`--rw=${row.mode}`, `--bs=${row.kib}k`, `--iodepth=${row.depth}`, `--numjobs=${row.connections}`);
  fio.push(`--size=${sizeBytes}`, "--norandommap", "--randrepeat=0", "--time_based", `--runtime=${seconds * 1000}ms`);
  fio.push("--output-format=json", `--output=${output}`);
  const command = ["ip", "netns", "exec", namespace, "taskset", "-c", String(CLIENT_CPU), ...fio];
  const before = server.cpuSeconds();
  const child = Bun.spawn(command, { stdout: "ignore", stderr: "pipe", signal });
  const [complaints, status] = await Promise.all([child.stderr.text(), child.exited]);
  const cpuSeconds = server.cpuSeconds() - before;
  signal.throwIfAborted();
  if (status !== 0) throw new Error(`fio on ${server.name} ended with status ${status}: ${complaints.trim()}`);
  const report = readFileSync(output, "utf8");
  // The engine's words come before it.
  const [job] = (JSON.parse(report.slice(report.indexOf("{"))) as FioReport).jobs;
  if (job === undefined || job.error !== 0) throw new Error(`fio on ${server.name} failed: error ${job?.error}`);
  const { iops, total_ios: count, clat_ns: latency } = row.mode.endsWith("read") ? job.read : job.write;
  if (count === 0) throw new Error(`fio on ${server.name} had no request answered within ${seconds} s`);
  return {
    iops,
    p50Us: (latency.percentile?.["50.000000"] ?? 0) / 1000,
    p99Us: (latency.percentile?.["99.000000"] ?? 0) / 1000,
    cpuUs: (cpuSeconds * 1e6) / count,
    clientIdle: Math.max(0, 1 - ((job.usr_cpu + job.sys_cpu) * row.connections) / 100),
  };
}

export function summarise(rounds: readonly Measurement[]): Measurement {
  const of = (key: keyof Measurement): number => median(rounds.map((round) => round[key]));
  return { iops: of("iops"), p50Us: of("p50Us"), p99Us: of("p99Us"), cpuUs: of("cpuUs"), clientIdle: of("clientIdle") };
}
