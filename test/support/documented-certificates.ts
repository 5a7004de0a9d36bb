/** Certificates for TLS, made by the commands of docs/nbd.md, to the letter but for names and addresses. */
import { mkdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";

/** Certificates of a throw-away authority. */
export interface TestCertificates {
  /** Where ca-cert.pem, server-cert.pem and server-key.pem are. */
  readonly directory: string;
  /** The directory of a client of this name, as QEMU and libnbd want it: ca-cert.pem, client-cert.pem, client-key.pem. */
  client(name: string): string;
}

const page = readFileSync(resolve(import.meta.dir, "../../docs/nbd.md"), "utf8");

/** The commands of the page that are marked with this word. */
function commands(word: string): string {
  const found = new RegExp(`<!-- test: ${word} -->\\n\`\`\`sh\\n(.*?)\`\`\``, "s").exec(page)?.[1];
  if (found === undefined) throw new Error(`docs/nbd.md has no commands that are marked "test: ${word}"`);
  return found;
}

function run(directory: string, script: string): void {
  const { exitCode, stderr } = Bun.spawnSync(["sh", "-ec", script], { cwd: directory });
  if (exitCode !== 0) throw new Error(`${script}: status ${exitCode}: ${stderr.toString().trim()}`);
}

/** Makes an authority of this name and a server's certificate for 127.0.0.1, in a new directory under `parent`. */
export function makeCertificates(parent: string, authority: string): TestCertificates {
  const directory = join(parent, authority);
  mkdirSync(directory);
  run(
    directory,
    commands("authority").replaceAll("voe.example.com", "localhost").replaceAll("192.0.2.10", "127.0.0.1"),
  );
  return {
    directory,
    client(name) {
      run(directory, commands("client").replaceAll("alice", name));
      return join(directory, name);
    },
  };
}
