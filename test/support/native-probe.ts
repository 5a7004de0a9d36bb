/** Prints which libraries hash and compress, for a test that compiles it into a binary. */
import { createCompression } from "../../src/base/compression.ts";
import { createHasher } from "../../src/base/hash.ts";

const attempt = (make: () => object): object => {
  try {
    return make();
  } catch (error) {
    return { error: (error as Error).message };
  }
};
const digest = new Uint8Array(32);
const hasher = createHasher("blake3");
hasher.hash(new Uint8Array(4096), 0, 4096, digest, 0);
const said = {
  hasher,
  digest: digest.toHex(),
  compression: attempt(() => createCompression()),
  addon: attempt(() => createCompression({ portable: true })),
};
process.stdout.write(JSON.stringify(said));
