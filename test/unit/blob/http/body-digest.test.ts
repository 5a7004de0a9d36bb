import { expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { bodyDigest } from "../../../../src/blob/http/body-digest.ts";
import { makeNamedBlob } from "../../../support/named-blob.ts";
import { reasonOf } from "../../../support/reason-of.ts";

test("the digest of a body is that of all its slices, and others have their turn meanwhile", async () => {
  for (const lengthBytes of [0, 1, 512 * 1024, 3 * 2 ** 20 + 5]) {
    const { bytes } = makeNamedBlob(lengthBytes, 7);
    for (const algorithm of ["sha256", "md5"] as const) {
      let turns = 0;
      let ended = false;
      const count = (): void => {
        turns++;
        if (!ended) setImmediate(count);
      };
      setImmediate(count);
      const digest = await bodyDigest(algorithm, bytes);
      ended = true;
      expect(digest.toHex()).toBe(createHash(algorithm).update(bytes).digest("hex"));
      expect(turns).toBeGreaterThanOrEqual(lengthBytes > 2 ** 20 ? 5 : 0);
    }
  }
});

test("a digest that is no longer wanted is not finished", async () => {
  const controller = new AbortController();
  const digest = bodyDigest("sha256", new Uint8Array(2 ** 20), controller.signal);
  controller.abort(new Error("enough"));
  expect(await reasonOf(digest)).toBe("enough");
});
