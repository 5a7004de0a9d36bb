/** Loop devices: block devices for tests, kept in a file that the test can do things to. */
import { accessSync, constants, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "./run.ts";

/** Why loop devices cannot be had here, or undefined where they can. */
export function missingForLoops(): string | undefined {
  if (process.env["VOE_TEST_FULL"] !== "1") return "VOE_TEST_FULL=1 is not set";
  if (process.getuid?.() !== 0) return "root is needed";
  if (Bun.which("losetup") === null) return "losetup is not installed (package mount)";
  try {
    accessSync("/dev/loop-control", constants.R_OK | constants.W_OK);
  } catch {
    return "/dev/loop-control is not usable";
  }
  return undefined;
}

export interface LoopDevice extends AsyncDisposable {
  /** `/dev/loopN` */
  readonly device: string;
  /** The file it is kept in. */
  readonly file: string;
  /** Gives the file and the device another size. */
  resize(sizeBytes: number): void;
}

/** Attaches a loop device that holds `content`, in a file of its own in `directory`, by default a new one. */
export function attachLoop(content: Uint8Array, directory?: string): LoopDevice {
  const own = directory ?? mkdtempSync(join(tmpdir(), "voe-loop-"));
  const file = join(own, "loop.img");
  writeFileSync(file, content);
  const device = run("losetup", "--show", "-f", file);
  return {
    device,
    file,
    resize(sizeBytes) {
      truncateSync(file, sizeBytes);
      run("losetup", "-c", device);
    },
    [Symbol.asyncDispose]: async () => {
      run("losetup", "-d", device);
      if (directory === undefined) rmSync(own, { recursive: true });
      else rmSync(file);
    },
  };
}
