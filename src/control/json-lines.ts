/** Long answers of the control socket: a line of JSON each, sent as fast as the client takes them. */

/** What is gathered before it is sent, in characters, unless asked for otherwise. */
const CHUNK_LENGTH = 16 * 1024;

const CONTENT_TYPE = "application/x-ndjson";

/**
 * Answers with a line for each value. Stops, and closes the generator, when the client goes away or `closing` is aborted.
 * Where the generator throws, the last line is `{"error": "..."}`. With a `chunkLength` of 1 each value is sent at once.
 */
export function jsonLines(
  values: AsyncGenerator<unknown, void, undefined>,
  closing: AbortSignal,
  chunkLength = CHUNK_LENGTH,
): Response {
  const encoder = new TextEncoder();
  let ended = false;
  let stop: (() => void) | undefined;
  const end = (): void => {
    ended = true;
    if (stop !== undefined) closing.removeEventListener("abort", stop);
  };
  const next = async (): Promise<IteratorResult<unknown, void>> => {
    try {
      return await values.next();
    } catch (error) {
      return { done: false, value: { error: error instanceof Error ? error.message : String(error) } };
    }
  };
  const stream = new ReadableStream<Uint8Array>(
    {
      start(controller) {
        stop = () => {
          end();
          controller.enqueue(encoder.encode(`${JSON.stringify({ error: "the server was stopped" })}\n`));
          controller.close();
          // It may be in the middle of a value, and ends after that.
          values.return().catch(() => {});
        };
        closing.addEventListener("abort", stop);
      },
      async pull(controller) {
        let text = "";
        let done = false;
        while (text.length < chunkLength && !done) {
          const result = await next();
          if (ended) return;
          if (result.done === true) done = true;
          else text += `${JSON.stringify(result.value)}\n`;
        }
        if (text !== "") controller.enqueue(encoder.encode(text));
        if (!done) return;
        end();
        controller.close();
      },
      async cancel() {
        end();
        await values.return();
      },
    },
    // Nothing is made before it is wanted.
    { highWaterMark: 0 },
  );
  return new Response(stream, { headers: { "content-type": CONTENT_TYPE } });
}

/** The values of such an answer as they arrive. Throws what the server said in an `error` line, or that it broke off. */
export async function* readJsonLines(response: Response): AsyncGenerator<unknown, void, undefined> {
  let rest = "";
  for await (const text of textOf(response)) {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      const value: unknown = JSON.parse(line);
      if (typeof value === "object" && value !== null && "error" in value) throw new Error(String(value.error));
      yield value;
    }
  }
  if (rest !== "") throw new Error(BROKE_OFF);
}

const BROKE_OFF = "the server's answer broke off: is it still running?";

async function* textOf(response: Response): AsyncGenerator<string, void, undefined> {
  const decoder = new TextDecoder();
  try {
    for await (const chunk of response.body ?? []) yield decoder.decode(chunk, { stream: true });
  } catch (error) {
    throw new Error(BROKE_OFF, { cause: error });
  }
}
