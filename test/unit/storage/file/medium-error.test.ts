import { expect, test } from "bun:test";
import { MEDIUM_ERROR, NO_SPACE } from "../../../../src/storage/block-storage.ts";
import { mediumError } from "../../../../src/storage/file/medium-error.ts";

const ENOSPC = 28;
const EDQUOT = 122;
const EFBIG = 27;
const EIO = 5;

/** Status, key and message of a failure. */
function failure(verb: "read" | "write" | "zero", errno: number): [number, string, string] {
  let said: [string, string] = ["", ""];
  const status = mediumError("/data/disk.img", verb, 7, 16, errno, (key, message) => {
    said = [key, message];
  });
  return [status, ...said];
}

test.each([ENOSPC, EDQUOT, EFBIG])("error %d is a full medium", (errno) => {
  const [status, key, message] = failure("write", errno);
  expect(status).toBe(NO_SPACE);
  expect(key).toBe("/data/disk.img:write:full");
  expect(message).toContain("write of 16 sectors at sector 7 (byte 3584) failed: E");
});

test.each([EIO, 1234])("error %d is a medium that failed", (errno) => {
  expect(failure("read", errno)[0]).toBe(MEDIUM_ERROR);
});

test("full and failed media, and what was asked of them, are counted apart", () => {
  const keys = [failure("write", ENOSPC), failure("write", EIO), failure("read", EIO), failure("zero", EIO)];
  expect(new Set(keys.map(([, key]) => key)).size).toBe(4);
});

test("a file that ends too early is said to have been cut", () => {
  const [status, , message] = failure("read", 0);
  expect(status).toBe(MEDIUM_ERROR);
  expect(message).toContain("was it cut?");
});

test("the message names the error", () => {
  expect(failure("read", EIO)[2]).toContain("EIO: input/output error");
});
