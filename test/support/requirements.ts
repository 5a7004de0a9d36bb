/** What privileged tests need, and the reason that is shown where it is missing. */
import { accessSync, constants, existsSync } from "node:fs";

/** iPXE in the shape of a Linux kernel, which QEMU's -kernel boots. */
export const ipxeKernel = "/usr/lib/ipxe/ipxe.lkrn";

/** Why a test that takes long is not run, or undefined where it is. */
export const missingForLongTests = (): string | undefined =>
  process.env["VOE_TEST_FULL"] === "1" ? undefined : "VOE_TEST_FULL=1 is not set";

/** Why a test cannot make links and namespaces here, or undefined where it can. */
export function missingForNetworks(): string | undefined {
  const missing = missingForLongTests();
  if (missing !== undefined) return missing;
  if (process.getuid?.() !== 0) return "root is needed";
  if (Bun.which("ip") === null) return "ip is not installed (package iproute2)";
  return undefined;
}

/** Why a link cannot be made slow here (its kernel lacks the queue for it), or undefined where it can. */
export function missingForSlowLinks(): string | undefined {
  const missing = missingForNetworks();
  if (missing !== undefined) return missing;
  const queue = ["tbf", "rate", "1mbit", "burst", "10kb", "limit", "10kb"];
  const { success } = Bun.spawnSync(["unshare", "--net", "tc", "qdisc", "add", "dev", "lo", "root", ...queue]);
  return success ? undefined : "tc makes no tbf queue here";
}

/** Why guests cannot be booted here, or undefined where they can. */
export function missingForGuests(): string | undefined {
  const missing = missingForNetworks();
  if (missing !== undefined) return missing;
  if (Bun.which("qemu-system-x86_64") === null) return "QEMU is not installed (package qemu-system-x86)";
  try {
    accessSync("/dev/net/tun", constants.R_OK | constants.W_OK);
  } catch {
    return "/dev/net/tun is not usable";
  }
  return undefined;
}

/** Like missingForGuests, for booting with iPXE. */
export function missingForIpxe(): string | undefined {
  return missingForGuests() ?? (existsSync(ipxeKernel) ? undefined : `${ipxeKernel} is not installed (package ipxe)`);
}

/** The title of a test that may be skipped: with the reason, where it is. */
export function titleUnless(missing: string | undefined, title: string): string {
  return missing === undefined ? title : `${title} [skipped: ${missing}]`;
}
