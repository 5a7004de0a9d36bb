/** `voe import`: a disk image onto a target of a running server. */
import { defineCommand } from "citty";
import { formatBytes } from "../base/human.ts";
import { log } from "../base/log.ts";
import { controlPaths, findServer } from "../control/client.ts";
import { sendImage } from "../control/image-client.ts";
import { frameWriter } from "../protocol/image/frame-writer.ts";
import { SECTOR_BYTES } from "../storage/block-storage.ts";
import { describeSummary, interruptible, parseImageArguments, summaryOf, targetName } from "./image-command.ts";
import { openImageSource, type ImageSource } from "./image-source.ts";
import { stderrProgress, type Progress } from "./transfer-progress.ts";

export const importCommand = defineCommand({
  meta: {
    name: "import",
    description: "Write a disk image onto a target of a running server. No client may have the target mounted",
  },
  args: {
    file: { type: "positional", description: "File, device or pipe with the image; - is stdin", valueHint: "FILE" },
    target: { type: "positional", description: "The target, such as e1.0", valueHint: "eX.Y" },
    force: { type: "boolean", description: "Also where a client used the target within the last minute" },
    "trim-rest": { type: "boolean", description: "Discard what the target holds beyond the end of the image" },
    json: { type: "boolean", description: "Print one JSON document on stdout" },
    control: { type: "string", valueHint: "PATH", description: "Control socket of the server" },
  },
  run: ({ rawArgs }) => runImport(rawArgs),
});

async function runImport(rawArgs: readonly string[]): Promise<void> {
  const { values, first, second } = parseImageArguments(
    rawArgs,
    {
      force: { type: "boolean" },
      "trim-rest": { type: "boolean" },
      json: { type: "boolean" },
      control: { type: "string" },
    },
    "voe import FILE eX.Y",
  );
  const target = targetName(second);
  const source = await openImageSource(first);
  const progress = stderrProgress(`import into ${target}`, source.sizeBytes);
  try {
    log.info(`${target} gets another content: no client may have it mounted, and none may keep what it has read of it`);
    const path = await findServer(controlPaths(values.control, process.env));
    const beganMs = performance.now();
    const result = await interruptible((signal) => {
      const request = {
        target,
        force: values.force === true,
        trimRest: values["trim-rest"] === true,
        ...(source.sizeBytes === undefined ? {} : { sizeBytes: source.sizeBytes }),
      };
      return sendFrames(path, request, source, progress, signal);
    });
    const summary = summaryOf(result.sizeBytes, result.dataBytes, (performance.now() - beganMs) / 1000);
    const { trimmedBytes } = result;
    progress.end();
    if (values.json === true) {
      console.log(JSON.stringify({ file: first, target, ...summary, trimmedBytes }, undefined, 2));
    } else {
      const trimmed = trimmedBytes > 0 ? `; ${formatBytes(trimmedBytes)} behind it discarded` : "";
      console.log(`imported ${first} into ${target}: ${describeSummary(summary)}${trimmed}`);
    }
  } finally {
    progress.end();
    await source.close();
  }
}

/** Sends the image as it is asked for; a source that fails is what the import fails with. */
async function sendFrames(
  path: string,
  request: Parameters<typeof sendImage>[1],
  source: ImageSource,
  progress: Progress,
  signal: AbortSignal,
): ReturnType<typeof sendImage> {
  const frames = framesOf(source, progress);
  let failure: unknown;
  let isWanted = true;
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { done, value } = await frames.next();
        // The server has answered already, and takes no more.
        if (!isWanted) return;
        if (done) controller.close();
        else controller.enqueue(value);
      } catch (error) {
        failure = error;
        controller.error(error);
      }
    },
    cancel() {
      isWanted = false;
    },
  });
  try {
    return await sendImage(path, request, body, signal);
  } catch (error) {
    throw failure ?? error;
  } finally {
    // Reads that are under way end before the file is closed, and one of a pipe that stays open would not.
    source.interrupt();
    await frames.return();
  }
}

async function* framesOf(source: ImageSource, progress: Progress): AsyncGenerator<Uint8Array, void, undefined> {
  const writer = frameWriter();
  for await (const piece of source.pieces()) {
    if ("bytes" in piece) yield* writer.data(piece.bytes);
    else writer.hole(piece.holeSectors);
    progress.update(writer.sectorCount * SECTOR_BYTES);
  }
  progress.say("making it durable");
  yield* writer.end();
}
