/** Requests to blob stores as tests make them. */
import { allocateMemory, freeMemory } from "../../ffi/memory.ts";
import { BlobStoreError, type BlobInfo, type BlobStore } from "../../src/blob/blob-store.ts";

/** Reads a range by `get`. */
export async function getBytes(store: BlobStore, name: string, offset: number, length: number): Promise<Uint8Array> {
  const memory = allocateMemory(length + 2);
  try {
    memory.bytes.fill(0xee);
    await store.get(name, offset, length, memory, 1);
    if (memory.bytes[0] !== 0xee || memory.bytes[length + 1] !== 0xee) throw new Error("get wrote beside its target");
    return memory.bytes.slice(1, 1 + length);
  } finally {
    freeMemory(memory);
  }
}

export async function listAll(store: BlobStore): Promise<BlobInfo[]> {
  const found: BlobInfo[] = [];
  for await (const blob of store.list()) found.push(blob);
  return found.toSorted((one, other) => (one.name < other.name ? -1 : 1));
}

/** The class of the error that an operation ends with, or undefined. */
export const failureOf = (operation: Promise<unknown>): Promise<string | undefined> =>
  operation.then(
    () => undefined,
    (error: unknown) => (error instanceof BlobStoreError ? error.failure : String(error)),
  );
