/** `voe serve`: the composition root, where configuration, storages, protocols and control come together. */
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { defineCommand } from "citty";
import { EPERM, SystemError } from "../../ffi/libc.ts";
import { notifyReady, notifyReloading, notifyStopping, notifyWatchdog, watchdogIntervalMs } from "../../ffi/notify.ts";
import { formatListenAddress } from "../base/listen-address.ts";
import { log, rateLimited, setLogLevel } from "../base/log.ts";
import type { Config } from "../config/config.ts";
import { embeddedDefault } from "../config/embedded-default.ts";
import { loadConfig } from "../config/parse.ts";
import { holdsSecret } from "../config/secret.ts";
import { openControlServer } from "../control/control-server.ts";
import { imageRoutes } from "../control/image-routes.ts";
import { snapshotRoutes } from "../control/snapshot-routes.ts";
import { verifyRoutes } from "../control/verify-routes.ts";
import { openHttpServer } from "../control/http-server.ts";
import { imageService, type ImageTarget } from "../server/image/image-service.ts";
import { openAoeServer, type AoeServer } from "../server/aoe/aoe-server.ts";
import { archiveSet } from "../server/archive-set.ts";
import { openExposedTargets, type ExposedTargets } from "../server/exposed-targets.ts";
import { openSnapshotSchedule, scheduledVolumes } from "../server/snapshot-schedule.ts";
import { exposureOf } from "../server/secret-file.ts";
import { snapshotService } from "../server/snapshot-service.ts";
import { statusReporter } from "../server/status-report.ts";
import { openNbdServer, type NbdServer } from "../server/nbd/nbd-server.ts";
import { openTargets, type TargetFace, type TargetSet } from "../server/target-set.ts";
import { createTurns } from "../server/turns.ts";
import { verificationOf } from "../server/verify-archives.ts";
import { UsageError } from "./usage-error.ts";

/** How long requests that were taken may go on after SIGTERM. */
const DRAIN_MS = 10_000;

export const serveCommand = defineCommand({
  meta: {
    name: "serve",
    description: "Serve disks; without a configuration file an archive of 8 GiB under ./voe-data",
  },
  args: {
    config: { type: "positional", required: false, description: "Configuration file", valueHint: "CONFIG" },
    interface: {
      type: "string",
      alias: "i",
      valueHint: "IFACE",
      description: "Serve AoE on this network interface, instead of those of the configuration; may be repeated",
    },
    data: {
      type: "string",
      valueHint: "DIR",
      description: "Where the disk is kept without CONFIG, by default ./voe-data",
    },
  },
  run: ({ rawArgs }) => serve(rawArgs),
});

interface ServeArguments {
  readonly configPath: string | undefined;
  readonly interfaces: readonly string[];
  readonly dataDirectory: string;
}

function parseServeArguments(rawArgs: readonly string[]): ServeArguments {
  const { values, positionals } = parseArgs({
    args: [...rawArgs],
    options: { interface: { type: "string", short: "i", multiple: true }, data: { type: "string" } },
    allowPositionals: true,
  });
  const [configPath, unexpected] = positionals;
  if (unexpected !== undefined) throw new UsageError(`voe serve takes one CONFIG, not also "${unexpected}"`);
  if (configPath !== undefined && values.data !== undefined) {
    throw new UsageError("--data is for serving without CONFIG: a configuration file says where its targets are kept");
  }
  return { configPath, interfaces: [...new Set(values.interface)], dataDirectory: resolve(values.data ?? "voe-data") };
}

/** The configuration as the arguments have it; read anew for every SIGHUP. */
function readConfig({ configPath, interfaces, dataDirectory }: ServeArguments): Config {
  const config = configPath === undefined ? embeddedDefault(dataDirectory) : loadConfig(configPath);
  return interfaces.length === 0 ? config : { ...config, server: { ...config.server, interfaces } };
}

async function serve(rawArgs: readonly string[]): Promise<void> {
  const args = parseServeArguments(rawArgs);
  const { configPath } = args;
  const isDefault = configPath === undefined;
  await serveConfiguration({
    readConfig: () => readConfig(args),
    unasked: { aoe: isDefault && args.interfaces.length === 0, nbd: isDefault },
    warnings: (config) => {
      if (configPath !== undefined) return holdsSecret(config) ? [exposureOf(configPath)] : [];
      const oldDisk = join(args.dataDirectory, "e1.0.img");
      if (!existsSync(oldDisk)) return [];
      return [
        `${oldDisk} is the disk of an older voe and is not served: voe import ${oldDisk} e1.0 brings it into the archive`,
      ];
    },
  });
}

export interface Serving {
  /** Called at the start, and for every SIGHUP. */
  readonly readConfig: () => Config;
  /** What nobody has asked for: where it cannot be had, the rest is served without it. */
  readonly unasked: { readonly aoe: boolean; readonly nbd: boolean };
  /** What is to be said of a configuration, in log and status; undefined: nothing. */
  readonly warnings: (config: Config) => readonly (string | undefined)[];
}

/** Serves a configuration until a signal ends the process. Rejects where it cannot be served. */
export async function serveConfiguration(serving: Serving): Promise<void> {
  const config = serving.readConfig();
  setLogLevel(config.server.logLevel);
  const warnings: string[] = [];
  const warn = (message: string): void => {
    warnings.push(message);
    log.warn(message);
  };
  for (const warning of serving.warnings(config)) if (warning !== undefined) warn(warning);

  const report = rateLimited((message) => log.warn(message));
  const archives = archiveSet(config.server, report);
  const targets = await openTargets(config.targets, config.server.stateDir, archives, report);
  const { stateDir } = config.server;
  const exposed = await openExposedTargets({
    targets,
    configured: config.targets,
    stateDirectory: stateDir,
    warn: (message) => log.warn(message),
  });
  const aoe = openAoe(config, serving, targets, report, warn);
  if (aoe !== undefined) targets.attach(aoeFace(aoe));
  const nbd = await openNbd(config, serving, targets, report, warn);
  if (nbd !== undefined) targets.attach(nbd);
  const status = statusReporter(targets, archives, aoe, nbd, () => [...warnings, ...exposed.warnings]);
  const schedule = openSnapshotSchedule({ nowMs: Date.now, setTimer, tell, report });
  schedule.follow(scheduledVolumes(targets));

  const turns = createTurns();
  const reload = (): Promise<string[]> =>
    turns.do(async () => {
      notifyReloading();
      try {
        return await follow(serving.readConfig(), config, exposed);
      } finally {
        schedule.follow(scheduledVolumes(targets));
        notifyReady("serving");
      }
    });
  const images = imageService({
    find: (name) => imageTarget(targets, name),
    clients: () => status().clients,
    connections: () => nbd?.status().connections ?? [],
  });
  const control = await openControlServer({
    path: config.server.controlSocket,
    report: status,
    reload,
    routes: [
      snapshotRoutes(snapshotService({ targets, exposed, turns, tell })),
      verifyRoutes(verificationOf(targets, archives)),
      imageRoutes(images),
    ],
  });
  const { http: httpAddress } = config.server;
  const http = httpAddress === undefined ? undefined : openHttpServer({ ...httpAddress, report: status });

  process.on("SIGHUP", () => {
    reload().then(
      (changes) => log.info(`configuration read again: ${changes.join(", ") || "nothing has changed"}`),
      (error: unknown) => log.error(`the configuration stays as it was: ${(error as Error).message}`),
    );
  });
  const watchdogMs = watchdogIntervalMs();
  if (watchdogMs !== undefined) setInterval(() => notifyWatchdog(), watchdogMs);

  let stopping = false;
  const stop = async (signal: string): Promise<void> => {
    if (stopping) process.exit(1);
    stopping = true;
    log.info(`${signal}: finishing what is under way`);
    notifyStopping();
    try {
      await turns.end();
      await schedule.close();
      await Promise.all([aoe?.close(DRAIN_MS), nbd?.close(DRAIN_MS)]);
      await http?.close();
      await images.close();
      await control.close();
      await targets.close();
    } catch (error) {
      log.error(`not everything could be made durable: ${(error as Error).message}`);
      process.exit(1);
    }
    process.exit(0);
  };
  process.on("SIGTERM", () => void stop("SIGTERM"));
  process.on("SIGINT", () => void stop("SIGINT"));

  console.log(`voe ready: ${targets.list.length} target${targets.list.length === 1 ? "" : "s"}`);
  for (const line of mountLines(targets, aoe, nbd, http?.url)) console.log(line);
  notifyReady("serving");
}

/** A target as images are written to it and read from it. */
function imageTarget(targets: TargetSet, name: string): ImageTarget | undefined {
  const target = targets.list.find((each) => each.name === name);
  if (target === undefined) return undefined;
  const { state, reason } = target.status();
  return { storage: target.aoe.storage, failure: state === "failed" ? reason : undefined, archive: target.archive };
}

/** Opens AoE where it is asked for. The embedded default does without where raw sockets are not permitted. */
function openAoe(
  config: Config,
  { unasked }: Serving,
  targets: TargetSet,
  report: (key: string, message: string) => void,
  warn: (message: string) => void,
): AoeServer | undefined {
  const { interfaces } = config.server;
  if (interfaces.length === 0) return undefined;
  try {
    return openAoeServer(
      interfaces,
      targets.list.map((target) => target.aoe),
      report,
    );
  } catch (error) {
    if (!unasked.aoe || !(error instanceof SystemError) || error.errno !== EPERM) throw error;
    warn(`AoE is off: ${error.message}`);
    return undefined;
  }
}

const aoeFace = (aoe: AoeServer): TargetFace => ({
  addTarget: (target) => aoe.addTarget(target.aoe),
  removeTarget: (target) => aoe.removeTarget(target.aoe),
  resized: (target) => aoe.announce(target.aoe),
});

/** Opens NBD where it is asked for. The embedded default does without where something else has its port. */
async function openNbd(
  config: Config,
  { unasked }: Serving,
  targets: TargetSet,
  report: (key: string, message: string) => void,
  warn: (message: string) => void,
): Promise<NbdServer | undefined> {
  if (config.nbd === undefined) return undefined;
  try {
    return await openNbdServer(config.nbd, targets.list, report);
  } catch (error) {
    if (!unasked.nbd) throw error;
    warn(`NBD is off: ${(error as Error).message}`);
    return undefined;
  }
}

/** Brings the running server to a new configuration, and says what has changed. */
async function follow(next: Config, before: Config, targets: ExposedTargets): Promise<string[]> {
  const restart = (["interfaces", "stateDir", "controlSocket", "cacheBytes", "journalBytes", "http"] as const).filter(
    (key) => !Bun.deepEquals(next.server[key], before.server[key]),
  );
  const changes = await targets.follow(next.targets);
  setLogLevel(next.server.logLevel);
  if (restart.length > 0) changes.push(`[server] ${restart.join(", ")} will be followed after a restart`);
  if (!Bun.deepEquals(next.nbd, before.nbd)) changes.push("[nbd] will be followed after a restart");
  return changes;
}

const tell = (message: string): void => log.info(message);

function setTimer(callback: () => void, afterMs: number): () => void {
  const timer = setTimeout(callback, afterMs);
  return () => clearTimeout(timer);
}

/** How the disks are mounted from where they can be reached. */
function mountLines(
  targets: TargetSet,
  aoe: AoeServer | undefined,
  nbd: NbdServer | undefined,
  httpUrl: string | undefined,
): string[] {
  const lines: string[] = [];
  const first = targets.list[0]?.name ?? "e1.0";
  for (const { name, info } of aoe?.interfaces() ?? []) {
    if (info?.loopback === true) {
      lines.push(`  AoE on ${name}, this machine only: voe discover -i ${name}; voe probe ${first} -i ${name}`);
    } else {
      lines.push(
        `  AoE on ${name}: on a Linux host of that segment, modprobe aoe; echo > /dev/etherd/discover; ` +
          `mkfs.ext4 /dev/etherd/${first}; mount /dev/etherd/${first} /mnt`,
      );
    }
  }
  if (aoe !== undefined && aoe.interfaces().every(({ info }) => info?.loopback === true)) {
    lines.push("  On a real wire, for everyone on it: voe serve --interface eth0 (or whatever it is called here)");
  }
  if (nbd !== undefined) lines.push(...nbdLines(nbd, first));
  if (aoe === undefined && nbd === undefined) lines.push("  No client can reach the disks: AoE and NBD are off");
  if (httpUrl !== undefined) lines.push(`  Status: ${httpUrl}`);
  return lines;
}

/** How a client of NBD reaches a disk. */
function nbdLines({ address, socketPath }: NbdServer, name: string): string[] {
  const lines: string[] = [];
  if (address !== undefined) {
    const { host, port } = address;
    const uri = `nbd://${formatListenAddress(address)}/${name}`;
    lines.push(
      `  NBD on ${formatListenAddress(address)}: modprobe nbd; nbd-client ${host} ${port} -N ${name} /dev/nbd0; ` +
        `mkfs.ext4 /dev/nbd0; mount /dev/nbd0 /mnt; or for QEMU: -drive file=${uri},format=raw`,
    );
  }
  if (socketPath !== undefined) {
    lines.push(
      `  NBD on ${socketPath}: nbd-client -unix ${socketPath} -N ${name} /dev/nbd0; nbdinfo 'nbd+unix:///${name}?socket=${socketPath}'`,
    );
  }
  return lines;
}
