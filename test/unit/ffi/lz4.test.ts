import { expect, test } from "bun:test";
import { openLz4 } from "../../../ffi/lz4.ts";

test("a library that the host does not have is an error that names it", () => {
  expect(() => openLz4("liblz4-of-another-host.so.7")).toThrow("liblz4-of-another-host.so.7");
});
