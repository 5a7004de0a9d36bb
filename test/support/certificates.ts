import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "./run.ts";

/** Certificates of a throw-away authority, as `tls` directories of QEMU and libnbd have them. */
export interface TestCertificates {
  /** ca-cert.pem, server-cert.pem, server-key.pem */
  readonly server: string;
  /** The directory of a client of this name: ca-cert.pem, client-cert.pem, client-key.pem. */
  client(name: string): string;
}

/** Makes an authority and a server's certificate for 127.0.0.1 with certtool, in a new directory under `directory`. */
export function makeCertificates(directory: string, authority: string): TestCertificates {
  const home = join(directory, authority);
  mkdirSync(home);
  const path = (name: string): string => join(home, name);
  const key = (name: string): string => {
    run("certtool", "--generate-privkey", "--key-type=ecdsa", "--curve=secp256r1", "--outfile", path(name));
    return path(name);
  };
  const template = (name: string, ...lines: string[]): string => {
    writeFileSync(path(name), `${lines.join("\n")}\nexpiration_days = 2\n`);
    return path(name);
  };
  const caKey = key("ca-key.pem");
  const caTemplate = template("ca.info", `cn = "${authority}"`, "ca", "cert_signing_key");
  run(
    "certtool",
    "--generate-self-signed",
    "--load-privkey",
    caKey,
    "--template",
    caTemplate,
    "--outfile",
    path("ca-cert.pem"),
  );
  const sign = (to: string, keyPath: string, info: string): void => {
    const ca = ["--load-ca-certificate", path("ca-cert.pem"), "--load-ca-privkey", caKey];
    run("certtool", "--generate-certificate", ...ca, "--load-privkey", keyPath, "--template", info, "--outfile", to);
  };
  const names = ['cn = "localhost"', 'dns_name = "localhost"', 'ip_address = "127.0.0.1"', "tls_www_server"];
  sign(path("server-cert.pem"), key("server-key.pem"), template("server.info", ...names));
  return {
    server: home,
    client(name) {
      const of = join(home, name);
      mkdirSync(of);
      copyFileSync(path("ca-cert.pem"), join(of, "ca-cert.pem"));
      const info = template(`${name}.info`, `cn = "${name}"`, "tls_www_client");
      sign(join(of, "client-cert.pem"), key(join(name, "client-key.pem")), info);
      return of;
    },
  };
}
