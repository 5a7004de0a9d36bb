import { expect, test } from "bun:test";
import { configurationOf, type NbdServerOptions } from "../../../src/commands/nbd-server.ts";
import { UsageError } from "../../../src/commands/usage-error.ts";

const options: NbdServerOptions = {
  "cas-server": "127.0.0.1:3000",
  size: "64",
  state: "/srv/disk",
  bind: "127.0.0.1:10809",
  allow: [],
  sync: "always",
};

test("the options become the configuration of one disk in a CAS server, over NBD alone", () => {
  const { server, nbd, targets } = configurationOf({ ...options, "token-file": "/etc/token", sync: "1s" });
  expect(server).toMatchObject({ interfaces: [], stateDir: "/srv/disk", controlSocket: "/srv/disk/voe.sock" });
  expect(nbd).toMatchObject({ bind: { host: "127.0.0.1", port: 10809 }, allow: [] });
  expect(targets).toHaveLength(1);
  const [{ backend, sync }] = targets as [(typeof targets)[number]];
  expect(sync).toEqual({ kind: "interval", intervalMs: 1000 });
  expect(backend).toMatchObject({
    kind: "cas",
    sizeBytes: 64 * 2 ** 20,
    blobStore: { type: "cas", endpoint: "http://127.0.0.1:3000", tokenFile: "/etc/token" },
  });
});

test("a size may have a unit, and the store a namespace and TLS", () => {
  const { targets } = configurationOf({ ...options, size: "8GiB", "cas-server": "https://store:3000/host7" });
  expect(targets[0]!.backend).toMatchObject({
    sizeBytes: 8 * 2 ** 30,
    blobStore: { endpoint: "https://store:3000/host7" },
  });
  const named = configurationOf({ ...options, "cas-server": "store:3000/host7" }).targets[0]!.backend;
  expect(named).toMatchObject({ blobStore: { endpoint: "http://store:3000/host7" } });
});

test.each([
  ["an address that everyone can reach", { bind: "0.0.0.0:10809" }, "--bind 0.0.0.0:10809 is open to everyone"],
  ["no address", { bind: "here" }, "--bind"],
  ["no size", { size: "large" }, "--size"],
  ["no mode", { sync: "never" }, "--sync"],
  ["no range", { allow: ["3"] }, "--allow"],
  ["no server", { "cas-server": "ftp://store" }, "--cas-server"],
])("%s is refused by the name of the option", (_, wrong, said) => {
  expect(() => configurationOf({ ...options, ...wrong })).toThrow(said);
  expect(() => configurationOf({ ...options, ...wrong })).toThrow(UsageError);
});

test("other hosts may connect where it is said which", () => {
  expect(configurationOf({ ...options, bind: "0.0.0.0:10809", allow: ["192.168.1.0/24"] }).nbd!.allow).toHaveLength(1);
});
