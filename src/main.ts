/** argv -> command. */
import { defineCommand, renderUsage, runCommand, type CommandDef, type SubCommandsDef } from "citty";
import { log } from "./base/log.ts";
import { COMMIT, VERSION } from "./base/version.ts";
import { casServerCommand } from "./commands/cas-server.ts";
import { check } from "./commands/check.ts";
import { copyCommand } from "./commands/copy.ts";
import { discoverCommand } from "./commands/discover.ts";
import { exportCommand } from "./commands/export.ts";
import { importCommand } from "./commands/import.ts";
import { nbdServerCommand } from "./commands/nbd-server.ts";
import { probeCommand } from "./commands/probe.ts";
import { recoverCommand } from "./commands/recover.ts";
import { serveCommand } from "./commands/serve.ts";
import { snapshotCommand } from "./commands/snapshot.ts";
import { statusCommand } from "./commands/status.ts";
import { verifyCommand } from "./commands/verify.ts";
import { UsageError } from "./commands/usage-error.ts";
import { ConfigError } from "./config/config-error.ts";

const EXIT_FAILED = 1;
const EXIT_BAD_USAGE = 2;

const commands: SubCommandsDef = {
  serve: serveCommand,
  check: check,
  discover: discoverCommand,
  probe: probeCommand,
  status: statusCommand,
  verify: verifyCommand,
  recover: recoverCommand,
  snapshot: snapshotCommand,
  import: importCommand,
  export: exportCommand,
  copy: copyCommand,
  "cas-server": casServerCommand,
  "nbd-server": nbdServerCommand,
};

const main = defineCommand({
  meta: { name: "voe", version: VERSION, description: "Archival block-storage server: disks over raw Ethernet" },
  subCommands: commands,
});

async function run(argv: string[]): Promise<void> {
  const [name, ...rest] = argv;
  if (name === "--version" || name === "-v") {
    console.log(`voe ${VERSION} (${COMMIT})`);
    return;
  }
  if (name === undefined || name === "--help" || name === "-h") {
    printUsage(await renderUsage(main));
    if (name === undefined) process.exitCode = EXIT_BAD_USAGE;
    return;
  }
  const command = commands[name] as CommandDef | undefined;
  if (command === undefined) {
    throw new UsageError(`there is no command "${name}": voe --help lists them`);
  }
  const [first = ""] = rest;
  const inner = command.subCommands as SubCommandsDef | undefined;
  const subcommand = inner === undefined || !Object.hasOwn(inner, first) ? undefined : (inner[first] as CommandDef);
  if (rest.includes("--help") || rest.includes("-h")) {
    const parent = subcommand === undefined ? main : { meta: { name: `voe ${name}` } };
    printUsage(await renderUsage(subcommand ?? command, parent));
    return;
  }
  if (inner !== undefined && subcommand === undefined) {
    const what = first === "" ? "needs a word after it" : `has no "${first}"`;
    throw new UsageError(
      `voe ${name} ${what}: write one of ${Object.keys(inner).join(", ")}; voe ${name} --help says more`,
    );
  }
  await runCommand(subcommand ?? command, { rawArgs: subcommand === undefined ? rest : rest.slice(1) });
}

try {
  await run(process.argv.slice(2));
} catch (error) {
  if (error instanceof ConfigError) console.error(error.message);
  else log.error(error instanceof Error ? error.message : String(error));
  process.exit(isUsage(error) ? EXIT_BAD_USAGE : EXIT_FAILED);
}

function printUsage(text: string): void {
  console.log(process.stdout.isTTY ? text : Bun.stripANSI(text));
}

/** Whether the command line or the configuration is wrong, rather than the world. */
function isUsage(error: unknown): boolean {
  if (error instanceof UsageError || error instanceof ConfigError) return true;
  const { name, code } = error as { name?: unknown; code?: unknown };
  // citty's own checks, and those of node:util's parseArgs.
  return name === "CLIError" || (typeof code === "string" && code.startsWith("ERR_PARSE_ARGS"));
}
