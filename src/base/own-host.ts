import { isIP } from "node:net";
import { hostname as nameOfHost } from "node:os";

/**
 * Whether a Host header names this server. A page of a stranger whose own name was made to point here (DNS
 * rebinding) sends that name; addresses and our own names cannot be had that way.
 */
export function isOwnHost(header: string | null, configured: string): boolean {
  if (header === null) return false;
  const name = header
    .replace(/:\d*$/, "")
    .replace(/^\[(.*)\]$/, "$1")
    .toLowerCase();
  return (
    isIP(name) !== 0 || name === "localhost" || name === configured.toLowerCase() || name === nameOfHost().toLowerCase()
  );
}
