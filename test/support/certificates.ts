/** Certificates for tests of TLS, made by openssl. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";

/** Why no certificates can be made here, or undefined where they can. */
export const missingForCertificates = (): string | undefined =>
  Bun.which("openssl") === null ? "openssl is not installed" : undefined;

function openssl(directory: string, ...words: readonly string[]): void {
  const { success, stderr } = Bun.spawnSync(["openssl", ...words], { cwd: directory });
  if (!success) throw new Error(`openssl ${words.join(" ")}: ${stderr.toString()}`);
}

const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

/** Makes an authority: NAME-cert.pem and NAME-key.pem. */
export function makeAuthority(directory: string, name: string): void {
  const files = ["-keyout", `${name}-key.pem`, "-out", `${name}-cert.pem`];
  openssl(directory, "req", "-x509", ...newKey, ...files, "-days", "3", "-subj", `/CN=${name}`);
}

/** Makes a certificate for a common name: NAME-cert.pem and NAME-key.pem. */
export function makeCertificate(directory: string, name: string, commonName: string, authority: string): void {
  openssl(
    directory,
    "req",
    ...newKey,
    "-keyout",
    `${name}-key.pem`,
    "-out",
    `${name}.csr`,
    "-subj",
    `/CN=${commonName}`,
  );
  writeFileSync(join(directory, `${name}.ext`), "subjectAltName=DNS:localhost,IP:127.0.0.1\n");
  const by = ["-CA", `${authority}-cert.pem`, "-CAkey", `${authority}-key.pem`, "-CAcreateserial"];
  const files = ["-in", `${name}.csr`, "-out", `${name}-cert.pem`, "-extfile", `${name}.ext`];
  openssl(directory, "x509", "-req", ...files, ...by, "-days", "3");
}
