import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { $ } from "bun";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createWire, missingForWire, type Wire } from "../support/wire.ts";

const VOE = [process.execPath, join(import.meta.dir, "../../src/main.ts")];
const missing = missingForWire("ip");

/** Runs voe to its end. */
async function voe(...args: string[]) {
  const child = Bun.spawn([...VOE, ...args], { stdout: "pipe", stderr: "pipe" });
  const [stdout, stderr, status] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { stdout, stderr, status };
}

describe.skipIf(missing !== undefined)(
  `voe discover and voe probe beside voe serve on a wire${missing ? ` [skipped: ${missing}]` : ""}`,
  () => {
    const directory = mkdtempSync(join(tmpdir(), "voe-probe-"));
    const resources = new AsyncDisposableStack();
    let wire: Wire;

    beforeAll(async () => {
      resources.defer(() => rmSync(directory, { recursive: true }));
      wire = resources.use(await createWire({ mtu: 9000 }));
      const config = join(directory, "voe.toml");
      writeFileSync(
        config,
        `[server]
interfaces = ["${wire.far}"]
state_dir = "${directory}"
control_socket = "${directory}/voe.sock"
[[target]]
shelf = 4
slot = 2
backend = "file"
path = "${directory}/disk"
size = "16MiB"
config_string = "probed"
`,
      );
      const server = Bun.spawn(["ip", "netns", "exec", wire.namespace, ...VOE, "serve", config], {
        stdout: "pipe",
        stderr: "inherit",
      });
      resources.defer(async () => {
        server.kill("SIGTERM");
        await server.exited;
      });
      for await (const chunk of server.stdout) if (new TextDecoder().decode(chunk).includes("voe ready")) break;
    });
    afterAll(() => resources.disposeAsync());

    test("discover lists the target", async () => {
      const { stdout, status } = await voe("discover", "-i", wire.near, "--timeout", "150");
      expect(status).toBe(0);
      expect(stdout).toMatch(new RegExp(`^e4\\.2 +${wire.near} +\\S+ +0\\.016GB +16 +64 .* probed$`, "m"));
    });

    for (const mtu of [9000, 1500]) {
      test(`probe finds the path good at MTU ${mtu}`, async () => {
        await $`ip -n ${wire.namespace} link set ${wire.far} mtu ${mtu}`.quiet();
        await $`ip link set ${wire.near} mtu ${mtu}`.quiet();
        const { stdout, status } = await voe("probe", "e4.2", "-i", wire.near, "--requests", "500");
        const sectors = mtu === 9000 ? 16 : 2;
        expect(stdout).toEndWith(`good: ${sectors} sectors a frame come through both ways\n`);
        expect(stdout).toContain("0.00 % (0 of 1000 requests)");
        expect(status).toBe(0);
      });
    }

    test("probe of an absent target fails with status 1, and discover of nothing does not fail", async () => {
      expect(await voe("probe", "e4.3", "-i", wire.near, "--timeout", "60", "--json")).toMatchObject({
        status: 1,
        stdout: expect.stringContaining('"good": false'),
      });
      await using other = await createWire({ mtu: 1500 });
      const { stdout, stderr, status } = await voe("discover", "-i", other.near, "--timeout", "60");
      expect({ stdout, status }).toEqual({ stdout: "", status: 0 });
      expect(stderr).toContain(`no AoE target answered within 60 ms on ${other.near}`);
      expect(JSON.parse((await voe("discover", "-i", other.near, "--timeout", "60", "--json")).stdout)).toEqual([]);
    });

    test("an interface that is down is named together with how to switch it on", async () => {
      await using other = await createWire({ mtu: 1500 });
      await $`ip link set ${other.near} down`.quiet();
      const { stderr, status } = await voe("discover", "-i", other.near);
      expect(status).toBe(1);
      expect(stderr).toContain(`ip link set ${other.near} up`);
    });
  },
);

for (const [args, reason] of [
  [["probe"], "TARGET"],
  [["probe", "1.0"], "no target address"],
  [["probe", "e1.0", "e1.1"], 'unexpected argument "e1.1"'],
  [["probe", "e1.0", "--requests", "0"], "--requests 0"],
  [["discover", "e1.0"], 'unexpected argument "e1.0"'],
  [["discover", "-i", "nosuch0"], 'no network interface "nosuch0"'],
  [["discover", "--nosuch"], "--nosuch"],
] as const) {
  test(`"voe ${args.join(" ")}" is bad usage: status 2, with the reason`, async () => {
    const { stderr, status } = await voe(...args);
    expect(stderr).toContain(reason);
    expect(status).toBe(2);
  });
}
