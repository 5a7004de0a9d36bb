import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const analyze = Bun.which("systemd-analyze");
const why = analyze === null ? " (skipped: no systemd-analyze)" : "";
const unit = await Bun.file(join(import.meta.dir, "../../../packaging/voe.service")).text();

test.skipIf(analyze === null)(`systemd finds nothing wrong with the unit${why}`, async () => {
  const directory = mkdtempSync(join(tmpdir(), "voe-unit-"));
  const path = join(directory, "voe.service");
  // systemd checks that the program is there.
  await Bun.write(path, unit.replace("/usr/local/bin/voe", process.execPath));
  const verify = Bun.spawnSync([analyze ?? "", "verify", "--man=no", path]);
  rmSync(directory, { recursive: true });
  expect([verify.exitCode, verify.stderr.toString()]).toEqual([0, ""]);
});

test("the unit has the capability for raw Ethernet and no other", () => {
  expect(unit.match(/^(Ambient|Bounding)?Capabilit\w+=.*$/gm)).toEqual([
    "AmbientCapabilities=CAP_NET_RAW",
    "CapabilityBoundingSet=CAP_NET_RAW",
  ]);
});
