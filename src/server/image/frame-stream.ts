import { failureFrame } from "../../protocol/image/frame.ts";

/**
 * Frames as a stream that asks for the next one when there is room. Where nobody reads them any more (`gone`, or the
 * stream is cancelled) they are ended; when the server stops, FAILURE takes the place of those that are left. `done`
 * resolves when the frames have ended, whichever way.
 */
export function frameStream(
  frames: AsyncGenerator<Uint8Array>,
  gone: AbortSignal,
  stopping: AbortSignal,
): { readonly stream: ReadableStream<Uint8Array>; readonly done: Promise<void> } {
  const ended = Promise.withResolvers<void>();
  let finished = false;
  const finish = async (): Promise<void> => {
    if (finished) return;
    finished = true;
    gone.removeEventListener("abort", leave);
    stopping.removeEventListener("abort", stop);
    try {
      await frames.return(undefined);
    } finally {
      ended.resolve();
    }
  };
  const leave = (): void => void finish();
  let stop = leave;

  const stream = new ReadableStream<Uint8Array>({
    start(controller) {
      stop = () => {
        controller.enqueue(failureFrame("the server is stopping"));
        controller.close();
        leave();
      };
      gone.addEventListener("abort", leave);
      stopping.addEventListener("abort", stop);
      if (gone.aborted) leave();
    },
    async pull(controller) {
      const { done, value } = await frames.next();
      if (finished) return;
      if (!done) {
        controller.enqueue(value);
        return;
      }
      controller.close();
      await finish();
    },
    cancel: finish,
  });
  return { stream, done: ended.promise };
}
