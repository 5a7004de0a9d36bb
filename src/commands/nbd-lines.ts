/** What `voe serve` prints of NBD when it is ready: how a client reaches a disk. */
import { hostname } from "node:os";
import { formatListenAddress, type ListenAddress } from "../base/listen-address.ts";

/** Addresses that are listened on and that nobody can connect to by that name. */
const WILDCARDS = ["0.0.0.0", "::"];

export interface NbdPlaces {
  /** Undefined: TCP is not listened on. */
  readonly address: ListenAddress | undefined;
  readonly socketPath: string | undefined;
  readonly tls: "off" | "required";
}

/** A line for each place where NBD listens, with the commands to mount the disk of this name from there. */
export function nbdLines({ address, socketPath, tls }: NbdPlaces, name: string): string[] {
  const lines: string[] = [];
  if (address !== undefined) {
    const reached = { ...address, host: WILDCARDS.includes(address.host) ? hostname() : address.host };
    const to = `${formatListenAddress(reached)}/${name}`;
    const how =
      tls === "off"
        ? `modprobe nbd; nbd-client ${reached.host} ${reached.port} -N ${name} /dev/nbd0; mkfs.ext4 /dev/nbd0; ` +
          `mount /dev/nbd0 /mnt; or for QEMU: -drive file=nbd://${to},format=raw`
        : `with the client's certificate in DIR, nbdinfo 'nbds://${to}?tls-certificates=DIR'`;
    lines.push(`  NBD on ${formatListenAddress(address)}${tls === "off" ? "" : ", TLS required"}: ${how}`);
  }
  if (socketPath !== undefined) {
    lines.push(
      `  NBD on ${socketPath}, this user and root only: nbd-client -unix ${socketPath} -N ${name} /dev/nbd0; ` +
        `or for QEMU: -drive 'file=nbd+unix:///${name}?socket=${socketPath},format=raw'`,
    );
  }
  return lines;
}
