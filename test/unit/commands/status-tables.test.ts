import { expect, test } from "bun:test";
import { renderStatus } from "../../../src/commands/status-tables.ts";
import { someConnection, someInterface, someNbd, someReport, someTarget } from "../../support/status-report.ts";

test("totals are in aligned columns with sizes for people", () => {
  expect(renderStatus(someReport())).toEqual([
    "voe 0.1.0 (0123456789ab), pid 4711, up 1 min 40 s",
    "",
    "TARGET  STATE   SIZE   USED  SYNC        READ  WRITTEN  ERRORS  CONFIG STRING  ON",
    "e1.0    ok     8 GiB  2 GiB  always  7.81 MiB  500 KiB       0  archive        file /srv/disk.img",
    "",
    "INTERFACE  LINK  MAC                 MTU  SECTORS  RECEIVED  SENT  DROPPED  IGNORED  NOT SENT",
    "eth0       up    02:00:00:00:00:01  9000       16      12 k  12 k        7       10         0",
    "",
    "CLIENT             INTERFACE  TARGET  REQUESTS      READ  WRITTEN  LAST SEEN",
    "02:00:00:00:00:99  eth0       e1.0       1,503  7.81 MiB  500 KiB    4 s ago",
    "",
    "NBD is off.",
  ]);
});

test("beside an earlier report the columns are rates", () => {
  const later = someReport({
    uptimeSeconds: 102,
    targets: [someTarget({ reads: 1200, readBytes: 8_192_000 + 2 * 2 ** 20 }), someTarget({ name: "e1.1" })],
  });
  const [, , head, first, added] = renderStatus(later, someReport());
  expect(head?.split(/ {2,}/).slice(4)).toEqual(["READS/S", "READ", "WRITES/S", "WRITTEN", "IN FLIGHT", "ERRORS"]);
  expect(first?.split(/ {2,}/).slice(4)).toEqual(["100", "1 MiB/s", "0", "0 B/s", "2", "0"]);
  expect(added?.split(/ {2,}/).slice(4, 6)).toEqual(["0", "0 B/s"]);
});

test("a server that was started again is shown with totals", () => {
  const again = someReport({ startedAt: "2026-01-31T13:00:00.000Z", uptimeSeconds: 200 });
  expect(renderStatus(again, someReport())).toEqual(renderStatus(again));
});

test("failed targets stand out and warnings are told below", () => {
  const failed = someTarget({ state: "failed", reason: "EIO on fdatasync" });
  const lines = renderStatus(someReport({ targets: [failed], warnings: ["target e1.0: EIO on fdatasync"] }));
  expect(lines[3]).toContain("FAILED");
  expect(lines.slice(-2)).toEqual(["", "WARNING target e1.0: EIO on fdatasync"]);
});

test("an interface that has vanished has no address and no MTU", () => {
  const gone = someInterface({ mac: "", mtuBytes: 0, up: false, sectorsPerFrame: 0 });
  const line = renderStatus(someReport({ interfaces: [gone] })).find((text) => text.startsWith("eth0"));
  expect(line?.split(/ +/).slice(0, 5)).toEqual(["eth0", "DOWN", "-", "-", "-"]);
});

test("a server with nothing says so", () => {
  const text = renderStatus(someReport({ targets: [], interfaces: [], clients: [] })).join("\n");
  expect(text).toContain("No targets.");
  expect(text).toContain("AoE is off");
  expect(text).toContain("No clients yet.");
});

test("a config string from the wire cannot drive the terminal or fill it", () => {
  const hostile = renderStatus(someReport({ targets: [someTarget({ configString: `\u001b[2J${"x".repeat(1000)}` })] }));
  const text = hostile.join("\n");
  expect(text).not.toContain("\u001b");
  expect(Math.max(...hostile.map((line) => line.length))).toBeLessThan(160);
});

test("NBD's connections are listed with what their clients do, and the head says where it listens", () => {
  const nbd = someNbd({ connections: [someConnection(), someConnection({ client: "unix", name: "", tls: false })] });
  expect(renderStatus(someReport({ nbd })).slice(-5)).toEqual([
    "",
    "NBD on 192.168.1.2:10809 and /run/voe/nbd.sock, TLS required, 2 of 100 connections",
    "CLIENT             NAME   EXPORT  TLS  REQUESTS      READ  WRITTEN  IN FLIGHT  CONNECTED",
    "192.168.1.5:50312  alice  e1.0    yes     1,503  7.81 MiB  500 KiB          3  1 min 1 s",
    "unix               -      e1.0    no      1,503  7.81 MiB  500 KiB          3  1 min 1 s",
  ]);
  const none = someNbd({ address: "", connections: [], refusedConnections: 2 });
  expect(renderStatus(someReport({ nbd: none })).at(-1)).toBe(
    "NBD on /run/voe/nbd.sock, TLS required, 0 of 100 connections, 2 refused so far",
  );
});
