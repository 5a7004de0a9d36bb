/** The configurations that the documentation shows are good ones. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseConfig } from "../../../src/config/parse.ts";

const repository = join(import.meta.dir, "../../..");
/** What comes before a part of a configuration that is shown alone. */
const ARCHIVE = '[[target]]\nshelf = 1\nslot = 0\nbackend = "cas"\n[target.cas]\nsize = "1GiB"\n';

for (const page of ["README.md", "docs/operations.md", "docs/cas-server.md"]) {
  const text = readFileSync(join(repository, page), "utf8");
  const blocks = [...text.matchAll(/^```toml\n(.*?)^```/gms)].map(([, block]) => block!);
  test(`${page} shows good configurations`, () => {
    expect(blocks.length).toBeGreaterThan(0);
    for (const block of blocks) {
      const whole = block.startsWith("[target.cas.blob_store]") ? ARCHIVE + block : block;
      expect(parseConfig(whole, page).targets.length).toBeGreaterThan(0);
    }
  });
}
