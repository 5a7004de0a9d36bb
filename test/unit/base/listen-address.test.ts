import { expect, test } from "bun:test";
import { formatListenAddress, isLoopback, parseListenAddress } from "../../../src/base/listen-address.ts";

test.each([
  ["127.0.0.1:9464", "127.0.0.1", 9464],
  ["[::1]:10809", "::1", 10809],
  ["storage-1.example.com:1", "storage-1.example.com", 1],
  ["localhost:0", "localhost", 0],
])("%s is read and formatted as the same text", (text, host, port) => {
  expect(parseListenAddress(text)).toEqual({ host, port });
  expect(formatListenAddress({ host, port })).toBe(text);
});

test.each([
  "",
  "127.0.0.1",
  ":10809",
  "*:10809",
  "127.0.0.1:65536",
  "127.0.0.1:x",
  "::1:10809",
  "[::1]",
  "[127.0.0.1]:1",
])("%s is refused as a listen address", (text) => {
  expect(() => parseListenAddress(text)).toThrow(RangeError);
});

test.each(["127.0.0.256:1", "1.2.3:1", "a b:1", "host/path:1", "user@host:1"])("%s has no valid host", (text) => {
  expect(() => parseListenAddress(text)).toThrow("IP address or a host name");
});

test("only loopback addresses and localhost count as loopback", () => {
  const loopback = ["127.0.0.1:1", "127.255.0.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "localhost:1"];
  for (const text of loopback) expect(isLoopback(parseListenAddress(text))).toBe(true);
  const open = ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "localhost.example.com:1", "[::ffff:10.0.0.1]:1"];
  for (const text of open) expect(isLoopback(parseListenAddress(text))).toBe(false);
});
