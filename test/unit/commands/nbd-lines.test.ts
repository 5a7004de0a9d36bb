import { expect, test } from "bun:test";
import { hostname } from "node:os";
import { nbdLines } from "../../../src/commands/nbd-lines.ts";

const address = { host: "127.0.0.1", port: 10809 };

test("the commands for a disk name the address, the port and the export", () => {
  const [line, ...others] = nbdLines({ address, socketPath: undefined, tls: "off" }, "e1.0");
  expect(line).toStartWith("  NBD on 127.0.0.1:10809: modprobe nbd; nbd-client 127.0.0.1 10809 -N e1.0 /dev/nbd0;");
  expect(line).toEndWith("-drive file=nbd://127.0.0.1:10809/e1.0,format=raw");
  expect(others).toEqual([]);
});

test("where every address is listened on, clients are told the name of this host", () => {
  for (const host of ["0.0.0.0", "::"]) {
    const [line] = nbdLines({ address: { host, port: 1 }, socketPath: undefined, tls: "off" }, "e1.0");
    expect(line).toContain(`nbd-client ${hostname()} 1 `);
  }
  const [line] = nbdLines({ address: { host: "fd00::1", port: 1 }, socketPath: undefined, tls: "off" }, "e1.0");
  expect(line).toContain("nbd://[fd00::1]:1/e1.0");
});

test("with TLS the certificate is asked for, and on the unix socket it is not", () => {
  const [tcp, unix] = nbdLines({ address, socketPath: "/run/voe/nbd.sock", tls: "required" }, "e2.0");
  expect(tcp).toBe(
    "  NBD on 127.0.0.1:10809, TLS required: with the client's certificate in DIR, " +
      "nbdinfo 'nbds://127.0.0.1:10809/e2.0?tls-certificates=DIR'",
  );
  expect(unix).toContain("nbd-client -unix /run/voe/nbd.sock -N e2.0 /dev/nbd0");
});
