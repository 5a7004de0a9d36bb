/** TLS with certificates on both sides, begun on a connection that is open (proto.md, "TLS support"). */
import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { createSecureContext } from "node:tls";
import type { Socket, SocketHandler } from "bun";
import type { TlsConfig } from "../../config/config.ts";

/** What Bun needs of a server's TLS. */
export interface TlsSettings {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
  readonly requestCert: true;
  readonly rejectUnauthorized: true;
}

/** Reads the PEM files. Throws with the one that cannot be read. */
export function loadTls({ cert, key, clientCa }: TlsConfig): TlsSettings {
  const files = { cert: readPem(cert, "cert"), key: readPem(key, "key"), ca: readPem(clientCa, "client_ca") };
  try {
    // Otherwise the first client would find out, and be all who is told.
    createSecureContext(files);
    // An authority of no certificates passes there: it would let nobody in.
    void new X509Certificate(files.ca);
  } catch (error) {
    throw new Error(
      `[nbd] tls: ${(error as Error).message}. cert and client_ca have to be certificates, and key that of cert, in PEM`,
      { cause: error },
    );
  }
  return { ...files, requestCert: true, rejectUnauthorized: true };
}

function readPem(path: string, key: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new Error(`[nbd] ${key}: ${(error as Error).message}: name a PEM file that this user may read`, {
      cause: error,
    });
  }
}

/** What Bun's sockets have beyond what its types know. */
interface UpgradableSocket {
  upgradeTLS(options: {
    isServer: true;
    tls: TlsSettings;
    data: undefined;
    socket: SocketHandler<undefined>;
  }): readonly [raw: Socket, tls: Socket];
  getPeerCertificate(): { readonly subject?: { readonly CN?: unknown } } | undefined;
}

/** Makes an open socket one of TLS. What it receives goes to `handler` from now on, decrypted. */
export function upgrade(socket: Socket, tls: TlsSettings, handler: SocketHandler<undefined>): void {
  (socket as unknown as UpgradableSocket).upgradeTLS({ isServer: true, tls, data: undefined, socket: handler });
}

/** The common name (CN) in the certificate that a client has shown. */
export function clientNameOf(socket: Socket): string | undefined {
  const name = (socket as unknown as UpgradableSocket).getPeerCertificate()?.subject?.CN;
  return typeof name === "string" ? name : undefined;
}
