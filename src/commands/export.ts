/** `voe export`: the content of a target of a running server, or of one of its snapshots, as a disk image. */
import { defineCommand } from "citty";
import { log } from "../base/log.ts";
import { controlPaths, findServer } from "../control/client.ts";
import { requestImage } from "../control/image-client.ts";
import { DATA, DATA_MOST_BYTES, END, frameReader, type FrameReader } from "../protocol/image/frame.ts";
import { SECTOR_BYTES } from "../storage/block-storage.ts";
import { describeSummary, interruptible, parseImageArguments, summaryOf, targetName } from "./image-command.ts";
import { prepareDestination, type ImageDestination } from "./image-destination.ts";
import { stderrProgress, type Progress } from "./transfer-progress.ts";
import { UsageError } from "./usage-error.ts";

export const exportCommand = defineCommand({
  meta: {
    name: "export",
    description: "Write the content of a target of a running server, or of its snapshot ID, as a disk image",
  },
  args: {
    target: { type: "positional", description: "The target, and a snapshot of it", valueHint: "eX.Y[@ID]" },
    file: { type: "positional", description: "File, device or pipe for the image; - is stdout", valueHint: "FILE" },
    force: { type: "boolean", description: "Overwrite a FILE that exists, or a device" },
    json: { type: "boolean", description: "Print one JSON document on stdout" },
    control: { type: "string", valueHint: "PATH", description: "Control socket of the server" },
  },
  run: ({ rawArgs }) => runExport(rawArgs),
});

/** `e1.0@3f2a` as target and snapshot. */
export function parseExported(text: string): { target: string; snapshot?: string } {
  const at = text.indexOf("@");
  if (at < 0) return { target: targetName(text) };
  const snapshot = text.slice(at + 1);
  if (snapshot === "") throw new UsageError(`"${text}" names no snapshot after the @`);
  return { target: targetName(text.slice(0, at)), snapshot };
}

async function runExport(rawArgs: readonly string[]): Promise<void> {
  const { values, first, second } = parseImageArguments(
    rawArgs,
    { force: { type: "boolean" }, json: { type: "boolean" }, control: { type: "string" } },
    "voe export eX.Y[@ID] FILE",
  );
  const exported = parseExported(first);
  const toStdout = second === "-";
  if (toStdout && values.json === true) throw new UsageError("--json and the image cannot both go to stdout");
  if (toStdout && process.stdout.isTTY) throw new UsageError("an image does not go to a terminal: name a FILE");
  const destination = await prepareDestination(second, values.force === true);
  const path = await findServer(controlPaths(values.control, process.env));
  const beganMs = performance.now();
  const { info, dataBytes } = await interruptible(async (signal) => {
    const { info, body } = await requestImage(path, exported, signal);
    if (!info.oneMoment) {
      log.warn(`${first} is no archive: what clients write during the export may be in the image in part`);
    }
    const progress = stderrProgress(`export of ${first}`, info.sizeBytes);
    const reader = body.getReader();
    try {
      const to = await destination.open(info.sizeBytes);
      try {
        const dataBytes = await receive(frameReader(reader), info.sizeBytes, to, progress);
        progress.say("making it durable");
        await to.finish();
        return { info, dataBytes };
      } catch (error) {
        await to.abandon();
        throw error;
      }
    } finally {
      progress.end();
      await reader.cancel().catch(() => {});
    }
  });
  const summary = summaryOf(info.sizeBytes, dataBytes, (performance.now() - beganMs) / 1000);
  const { snapshot, oneMoment } = info;
  if (values.json === true) {
    console.log(
      JSON.stringify({ target: exported.target, snapshot, file: second, oneMoment, ...summary }, undefined, 2),
    );
  } else {
    const what = snapshot === null ? first : `${exported.target}@${snapshot}`;
    const line = `exported ${what} to ${toStdout ? "stdout" : second}: ${describeSummary(summary)}`;
    if (toStdout) console.error(line);
    else console.log(line);
  }
}

/** Writes frames to the destination, one while the next is taken from the server. Returns the bytes of data. */
async function receive(
  frames: FrameReader,
  sizeBytes: number,
  to: ImageDestination,
  progress: Progress,
): Promise<number> {
  const buffers = [new Uint8Array(DATA_MOST_BYTES), new Uint8Array(DATA_MOST_BYTES)] as const;
  let turn = 0;
  let dataBytes = 0;
  let writing: Promise<void> = Promise.resolve();
  try {
    for (;;) {
      const { kind, sector, count } = await frames.next();
      const [offsetBytes, lengthBytes] = [sector * SECTOR_BYTES, count * SECTOR_BYTES];
      if (offsetBytes + lengthBytes > sizeBytes || (kind === END && offsetBytes !== sizeBytes)) {
        throw new Error(`the server sent an image of another size than the ${sizeBytes} bytes it announced`);
      }
      const buffer = buffers[(turn ^= 1) as 0 | 1];
      if (kind === DATA) await frames.take(buffer);
      await writing;
      if (kind === END) return dataBytes;
      progress.update(offsetBytes);
      if (kind === DATA) dataBytes += lengthBytes;
      writing =
        kind === DATA ? to.write(buffer.subarray(0, lengthBytes), offsetBytes) : to.zero(lengthBytes, offsetBytes);
      // It is waited for in its turn; until then its failure is nobody's.
      writing.catch(() => {});
    }
  } finally {
    await writing.catch(() => {});
  }
}
