import { BlockList, isIP } from "node:net";

/** Where a TCP listener opens. */
export interface ListenAddress {
  /** An IP address without brackets, or a host name. */
  readonly host: string;
  /** 0 lets the kernel choose. */
  readonly port: number;
}

/** Reads "127.0.0.1:9464", "[::1]:9464" or "name:9464". Throws RangeError with what is wrong and what to write. */
export const parseListenAddress = (text: string): ListenAddress => {
  const [, bracketed, plain, digits] = /^(?:\[([^\]]*)\]|([^:[\]]*)):(\d{1,5})$/.exec(text) ?? [];
  const port = Number(digits);
  const host = bracketed ?? plain;
  if (host === undefined || port > 65535 || (bracketed !== undefined && isIP(bracketed) !== 6)) {
    throw new RangeError('is not HOST:PORT; write for example "127.0.0.1:10809" or "[::1]:10809"');
  }
  if (host === "" || host === "*") throw new RangeError(`names no host; for every address write "0.0.0.0:${port}"`);
  // Four numbers that are no address (127.0.0.256) would otherwise be looked up as a name.
  if (!/^[a-z0-9._-]+$/i.test(plain ?? "x") || (/^[\d.]+$/.test(host) && isIP(host) === 0)) {
    throw new RangeError("does not begin with an IP address or a host name; write for example 127.0.0.1:10809");
  }
  return { host, port };
};

export const formatListenAddress = ({ host, port }: ListenAddress): string =>
  host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;

const loopback = new BlockList();
loopback.addSubnet("127.0.0.0", 8, "ipv4");
loopback.addAddress("::1", "ipv6");

/** Whether only this machine can connect. A name other than `localhost` may resolve to anything, so it is public. */
export const isLoopback = ({ host }: ListenAddress): boolean =>
  host === "localhost" || (isIP(host) !== 0 && loopback.check(host, isIP(host) === 6 ? "ipv6" : "ipv4"));
