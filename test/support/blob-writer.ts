/** Puts blobs into the store at argv[2] until it is killed, and prints the name of each that is durable. */
import { openFileStore } from "../../src/blob/file-store.ts";
import { makeNamedBlob } from "./named-blob.ts";

const store = await openFileStore(process.argv[2]!, { create: true });
process.stdout.write("open\n");
for (let seed = 0; ; seed++) {
  const { name, bytes } = makeNamedBlob(100_000 + (seed % 7), seed);
  await store.put(name, bytes);
  await store.createRef(`roots/v1/${String(seed).padStart(8, "0")}`, bytes.subarray(0, 100));
  process.stdout.write(`${name}\n`);
}
