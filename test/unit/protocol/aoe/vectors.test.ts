/**
 * The exchanges of test/vectors/aoe: each file is one conversation with a target 1.0 whose config string is "archive",
 * behind an interface of MTU 1500, on a disk of 64 sectors that are each filled with their own number.
 */
import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { allocateMemory } from "../../../../ffi/memory.ts";
import { memoryStorage } from "../../../../src/storage/memory-storage.ts";
import { openExchange } from "../../../support/aoe-exchange.ts";

const directory = join(import.meta.dir, "../../../vectors/aoe");
const SECTORS = 64;

function numberedDisk() {
  const storage = memoryStorage(SECTORS);
  const memory = allocateMemory(512);
  for (let sector = 0; sector < SECTORS; sector++) {
    memory.bytes.fill(sector);
    storage.tryWrite(sector, 1, memory, 0);
  }
  return storage;
}

/** Hexadecimal with spaces anywhere; `00*28` is 28 times the byte, `identify` the target's IDENTIFY data. */
function hexOf(text: string, identify: Uint8Array): string {
  return text
    .trim()
    .split(/\s+/)
    .map((word) => {
      if (word === "identify") return Buffer.from(identify).toString("hex");
      const [byte, times = "1"] = word.split("*");
      if (!/^([0-9a-f]{2})+$/.test(byte!)) throw new Error(`"${word}" is no hexadecimal`);
      return byte!.repeat(Number(times));
    })
    .join("");
}

for (const file of readdirSync(directory)) {
  describe(file, () => {
    const exchange = openExchange({
      storage: numberedDisk(),
      state: { configString: new TextEncoder().encode("archive") },
    });
    let request: string | undefined;
    let lineNumber = 0;
    for (const line of readFileSync(join(directory, file), "utf8").split("\n")) {
      lineNumber++;
      if (line.startsWith("#") || line.trim() === "") continue;
      const [kind, rest] = [line.slice(0, 2), line.slice(2)];
      if (kind === "> " && request === undefined) {
        request = rest;
      } else if (kind === "< " && request !== undefined) {
        const asked = request;
        request = undefined;
        test(`the request before line ${lineNumber} is answered with that line`, async () => {
          const { identify } = exchange.target;
          const reply = await exchange.ask(Buffer.from(hexOf(asked, identify), "hex"));
          const said = reply === undefined ? "silence" : Buffer.from(reply).toString("hex");
          expect(said).toBe(rest.trim() === "silence" ? "silence" : hexOf(rest, identify));
        });
      } else {
        throw new Error(`${file}:${lineNumber}: neither a request nor the answer to one`);
      }
    }
    if (request !== undefined) throw new Error(`${file} ends with a request`);
  });
}
