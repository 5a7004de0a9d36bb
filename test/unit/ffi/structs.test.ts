import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as structs from "../../../ffi/structs.ts";

const HEADERS = [
  "poll.h",
  "stddef.h",
  "stdio.h",
  "sys/socket.h",
  "sys/uio.h",
  "net/if.h",
  "linux/filter.h",
  "linux/if_packet.h",
  "linux/netlink.h",
  "linux/rtnetlink.h",
];

const compiler = Bun.which("gcc") ?? Bun.which("cc");

function program(): string {
  const lines = Object.entries(structs).flatMap(([name, layout]) =>
    Object.keys(layout).map((field) => {
      const value = field === "bytes" ? `sizeof(struct ${name})` : `offsetof(struct ${name}, ${field})`;
      return `printf("${name}.${field} %zu\\n", ${value});`;
    }),
  );
  const includes = HEADERS.map((header) => `#include <${header}>`).join("\n");
  return `#define _GNU_SOURCE\n${includes}\nint main(void) {\n${lines.join("\n")}\n}\n`;
}

test.skipIf(compiler === null)(
  `struct layouts are the C compiler's${compiler === null ? " (skipped: no gcc)" : ""}`,
  () => {
    const directory = mkdtempSync(join(tmpdir(), "voe-structs-"));
    try {
      const binary = join(directory, "layouts");
      const build = Bun.spawnSync([compiler ?? "", "-x", "c", "-", "-o", binary], { stdin: Buffer.from(program()) });
      expect(build.stderr.toString()).toBe("");
      const actual = Bun.spawnSync([binary]).stdout.toString().trim().split("\n");
      const declared = Object.entries(structs).flatMap(([name, layout]) =>
        Object.entries(layout).map(([field, value]) => `${name}.${field} ${value}`),
      );
      expect(declared.length).toBeGreaterThan(50);
      expect(declared).toEqual(actual);
    } finally {
      rmSync(directory, { recursive: true });
    }
  },
);
