import { readFileSync } from "node:fs";
import { parse, TomlError, type TomlTable } from "smol-toml";
import { blobStoreKeys } from "./blob-store.ts";
import { casKeys } from "./cas.ts";
import type { Config, NbdConfig, TargetConfig } from "./config.ts";
import { ConfigError, type Problem } from "./config-error.ts";
import { deepFreeze } from "./deep-freeze.ts";
import { findKeyLines } from "./key-lines.ts";
import { asNbdTable, nbdKeys, readNbd } from "./nbd.ts";
import { asTable, fail, inside, type Place, type Reader } from "./reader.ts";
import { asServerTable, readServer, serverKeys } from "./server.ts";
import { deviceKeys, fileKeys, readTargets, targetKeys } from "./target.ts";

/** Deeper than any configuration; the parser and the readers recurse. */
const DEPTH_MAX = 32;

const documentKeys = {
  server: asServerTable,
  nbd: asNbdTable,
  // Read last, with what [server] says.
  target: ((value) => value) satisfies Reader<unknown>,
};

const asDocumentTable = asTable(documentKeys);

/** Every key there is, by the dotted name of its table; the top of the document is the empty name. */
export const KNOWN_KEYS: ReadonlyMap<string, readonly string[]> = new Map(
  Object.entries({
    "": documentKeys,
    server: serverKeys,
    nbd: nbdKeys,
    target: targetKeys,
    "target.file": fileKeys,
    "target.device": deviceKeys,
    "target.cas": casKeys,
    "target.cas.blob_store": blobStoreKeys,
  }).map(([table, keys]) => [table, Object.keys(keys)]),
);

const parseToml = (text: string, file: string): TomlTable => {
  try {
    // Integers as bigint, so that 1 and 1.0 differ and no integer is too large to be named in a message.
    return parse(text, { integersAsBigInt: true, maxDepth: DEPTH_MAX });
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    // What follows the first line shows the text of the document, in which there may be a secret.
    const what = error.message.split("\n")[0]?.replace("Invalid TOML document: ", "") ?? "";
    const reason = `is not TOML at column ${error.column}: ${what.replace(/\.$/, "")}; correct that line`;
    throw new ConfigError([{ file, line: error.line, key: "", reason }]);
  }
};

/** Names in certificates say nothing where no certificate is shown. */
const checkAllowClients = (targets: readonly TargetConfig[], nbd: NbdConfig | undefined, place: Place): void => {
  if (nbd?.bind === undefined || nbd.tls !== undefined) return;
  for (const [index, { allowClients }] of targets.entries()) {
    if (allowClients.length === 0) continue;
    fail(
      inside(inside(place, index), "allow_clients"),
      'names clients by their certificates, and no client shows one while TLS is off; set tls = "required" in [nbd], or remove it',
    );
  }
};

/**
 * The configuration in a TOML text. `file` is the name of it in messages. Throws ConfigError with everything that is
 * wrong; where the text is not TOML, that is the first mistake only.
 */
export const parseConfig = (text: string, file: string): Config => {
  const toml = parseToml(text, file);
  const problems: Problem[] = [];
  const top: Place = {
    document: { file, lineOf: findKeyLines(text), problems, knownKeys: KNOWN_KEYS },
    path: [],
  };
  const values = asDocumentTable(toml, top)?.values ?? {};
  const server = readServer(values.server);
  const nbd = readNbd(values.nbd);
  const targets = readTargets(values.target, inside(top, "target"), server.stateDir);
  checkAllowClients(targets, nbd, inside(top, "target"));
  if (problems.length > 0) throw new ConfigError(problems.sort((a, b) => a.line - b.line));
  return deepFreeze({ server, nbd, targets });
};

const READ_ADVICE: Record<string, string> = {
  ENOENT: "does not exist; check the path, or start from config.example.toml",
  EACCES: "may not be read by this user; change its owner or mode",
  EISDIR: "is a directory; name the file in it",
};

/** The configuration in a file. Throws ConfigError, also where the file cannot be read. */
export const loadConfig = (path: string): Config => {
  const failFile = (reason: string): never => {
    throw new ConfigError([{ file: path, line: 0, key: "", reason }]);
  };
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    const { code = "", message } = error as NodeJS.ErrnoException;
    return failFile(READ_ADVICE[code] ?? `cannot be read (${message}); check the path`);
  }
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return failFile("is not UTF-8 text; save it as UTF-8");
  }
  return parseConfig(text, path);
};
