/** The real file system, which writes down what is asked of it and fails where a test wants it to. */
import { realFileSystem, type FileSystem } from "../../src/blob/file-system.ts";

export interface TracedFileSystem extends FileSystem {
  /** Name and first path of each call, since the test last emptied the list. */
  readonly calls: string[];
  /** Is asked before each call; what it returns is thrown instead of the call. */
  failWith: (call: string) => Error | undefined;
}

/** An error as node:fs makes it. */
export const systemError = (code: string): Error => Object.assign(new Error(`${code}: injected`), { code });

/** Paths are written relative to `root`. */
export function traceFileSystem(root: string): TracedFileSystem {
  const calls: string[] = [];
  const traced: TracedFileSystem = { ...realFileSystem, calls, failWith: () => undefined };
  const step = (name: string, path: string): void => {
    const call = `${name} ${path.replace(root, "").replace(/^\//, "") || "."}`;
    calls.push(call);
    const failure = traced.failWith(call);
    if (failure !== undefined) throw failure;
  };
  traced.makeDirectory = async (path) => (step("makeDirectory", path), realFileSystem.makeDirectory(path));
  traced.list = async (path) => (step("list", path), realFileSystem.list(path));
  traced.sizeBytes = async (path) => (step("sizeBytes", path), realFileSystem.sizeBytes(path));
  traced.readFile = async (path, most) => (step("readFile", path), realFileSystem.readFile(path, most));
  traced.createFile = async (path, bytes) => (step("createFile", path), realFileSystem.createFile(path, bytes));
  traced.rename = async (from, to) => (step("rename to", to), realFileSystem.rename(from, to));
  traced.link = async (from, to) => (step("link to", to), realFileSystem.link(from, to));
  traced.remove = async (path) => (step("remove", path), realFileSystem.remove(path));
  traced.syncDirectory = async (path) => (step("syncDirectory", path), realFileSystem.syncDirectory(path));
  return traced;
}
