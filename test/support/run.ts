/** Runs a program to its end and returns what it printed. Throws where it failed. */
export function run(...command: string[]): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync(command);
  if (exitCode !== 0) throw new Error(`${command.join(" ")}: status ${exitCode}: ${stderr.toString().trim()}`);
  return stdout.toString().trim();
}
