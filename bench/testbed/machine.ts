/** What a benchmark runs on: what has to be there, and what the table says of it. */
import { statfsSync } from "node:fs";
import { availableParallelism, cpus, loadavg, release } from "node:os";

const FILESYSTEMS: Record<number, string> = {
  0xef53: "ext4",
  0x58465342: "xfs",
  0x9123683e: "btrfs",
  0x01021994: "tmpfs",
};

/** Kernel, processor, and the filesystem of a directory, one sentence each. */
export function machine(directory: string): string[] {
  const type = statfsSync(directory).type;
  const filesystem = FILESYSTEMS[type] ?? `filesystem 0x${type.toString(16)}`;
  return [
    `Linux ${release()}, ${availableParallelism()} cores of ${cpus()[0]?.model ?? "an unknown processor"}.`,
    `Disks on ${filesystem}.`,
  ];
}

/** What the machine lacks for servers in network namespaces and these programs, in words. */
export const missing = (...programs: readonly string[]): string[] => [
  ...(process.getuid?.() === 0 ? [] : ["root (for network namespaces and raw sockets)"]),
  ...["ip", "taskset", "gcc", ...programs].filter((tool) => Bun.which(tool) === null),
  ...(availableParallelism() < 2 ? ["a second core (one for the server, one for the client)"] : []),
];

/** How busy the machine is, for people: figures of one that does something else mean little. */
export const busyness = (): string => `Load average at the start: ${loadavg()[0]!.toFixed(1)}.`;
