/** Blobs on their way in and out of a CAS server, piece by piece. */
import { allocateMemory, freeMemory } from "../../../ffi/memory.ts";
import { DIGEST_BYTES, type Hasher } from "../../base/hash.ts";
import { BlobStoreError, type BlobStore } from "../../blob/blob-store.ts";

/** Answers of at most this size are read whole; of larger ones, pieces of it. */
const PIECE_BYTES = 512 * 1024;

/** A body that is no good, and with which status it is refused. */
export class BodyRefusal extends BlobStoreError {
  constructor(
    readonly status: number,
    message: string,
    cause?: unknown,
  ) {
    // What is not what was announced has changed on the way, and may arrive when it is sent again.
    super(status === 422 ? "unavailable" : "denied", message, cause);
    this.name = "BodyRefusal";
  }
}

/**
 * The pieces of a body of at most `mostBytes`. Throws BodyRefusal where it has more, or breaks off, and the signal's reason
 * where that is aborted while the next piece does not come.
 */
export async function* boundedPieces(
  body: ReadableStream<Uint8Array> | null,
  mostBytes: number,
  signal: AbortSignal,
  received: (bytes: number) => void,
): AsyncGenerator<Uint8Array, void, undefined> {
  if (body === null) return;
  const reader = body.getReader();
  const giveUp = (): void => void reader.cancel().catch(() => {});
  signal.addEventListener("abort", giveUp, { once: true });
  let lengthBytes = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((error: unknown) => {
        throw new BodyRefusal(400, "the body broke off", error);
      });
      // A reader that was cancelled says that the body has ended.
      signal.throwIfAborted();
      if (done) return;
      lengthBytes += value.length;
      if (lengthBytes > mostBytes) throw new BodyRefusal(413, `the body has over ${mostBytes} bytes`);
      received(value.length);
      yield value;
    }
  } finally {
    signal.removeEventListener("abort", giveUp);
  }
}

/** The pieces as they are. Throws BodyRefusal at the end where no hash of all of them is `name`. */
export async function* namedPieces(
  name: string,
  pieces: AsyncIterable<Uint8Array>,
  hashers: readonly Hasher[],
): AsyncGenerator<Uint8Array, void, undefined> {
  const running = hashers.map((hasher) => hasher.begin());
  for await (const piece of pieces) {
    for (const hash of running) hash.update(piece, 0, piece.length);
    yield piece;
  }
  const digest = new Uint8Array(DIGEST_BYTES);
  const isNamed = running.some((hash) => {
    hash.end(digest, 0);
    return digest.toHex() === name;
  });
  if (isNamed) return;
  throw new BodyRefusal(
    422,
    `the body is not that of blob ${name}: ${hashers.map(({ algorithm }) => algorithm).join(" and ")} of what arrived give ` +
      `other names. Nothing was stored; send it again`,
  );
}

/** A whole small body. Throws BodyRefusal. */
export async function smallBody(pieces: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const piece of pieces) parts.push(piece);
  return Buffer.concat(parts);
}

/**
 * A part of a blob as the body of an answer; `ended` is called once nothing more is read for it. Rejects where its
 * beginning cannot be read.
 */
export async function blobBody(
  store: BlobStore,
  name: string,
  offsetBytes: number,
  lengthBytes: number,
  ended: () => void,
): Promise<Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array>> {
  const memory = allocateMemory(Math.max(1, Math.min(lengthBytes, PIECE_BYTES)));
  let isOver = false;
  const end = (): void => {
    if (isOver) return;
    isOver = true;
    freeMemory(memory);
    ended();
  };
  let at = offsetBytes;
  let restBytes = lengthBytes;
  const next = async (): Promise<Uint8Array<ArrayBuffer>> => {
    const bytes = Math.min(restBytes, PIECE_BYTES);
    if (bytes > 0) await store.get(name, at, bytes, memory, 0);
    at += bytes;
    restBytes -= bytes;
    return memory.bytes.slice(0, bytes);
  };
  let piece: Uint8Array<ArrayBuffer> | undefined;
  try {
    piece = await next();
  } catch (error) {
    end();
    throw error;
  }
  if (restBytes === 0) {
    end();
    return piece;
  }
  let reading = Promise.resolve();
  const pull = async (controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> => {
    try {
      controller.enqueue(piece ?? (await next()));
      piece = undefined;
      if (restBytes > 0) return;
      controller.close();
      end();
    } catch (error) {
      end();
      throw error;
    }
  };
  return new ReadableStream<Uint8Array>(
    {
      pull: (controller) => (reading = pull(controller)),
      async cancel() {
        // What is being read into goes only when that is done.
        await reading.catch(() => {});
        end();
      },
    },
    { highWaterMark: 0 },
  );
}
