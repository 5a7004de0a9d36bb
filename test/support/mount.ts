/** Filesystems that a test can fill and break. */
import { mkdirSync } from "node:fs";
import { run } from "./run.ts";

/** Mounts at a directory that is made for it, with the words of mount(8) that go before that. Unmounts on disposal. */
export function mount(directory: string, ...words: string[]): Disposable {
  mkdirSync(directory, { recursive: true });
  run("mount", ...words, directory);
  // Lazily: a server in a network namespace has a copy of the mount, which the kernel takes down a moment after its end.
  return { [Symbol.dispose]: () => void run("umount", "--lazy", directory) };
}
