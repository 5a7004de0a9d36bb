import { expect, test } from "bun:test";
import { failureOfStatus, networkError } from "../../../../src/blob/http/http-failure.ts";

test("a status is classified by whether the same request may be answered otherwise", () => {
  const statuses: [number, string][] = [
    [301, "denied"],
    [307, "denied"],
    [400, "denied"],
    [401, "denied"],
    [403, "denied"],
    [404, "missing"],
    [408, "unavailable"],
    [409, "unavailable"],
    [416, "truncated"],
    [429, "unavailable"],
    [500, "unavailable"],
    [501, "denied"],
    [502, "unavailable"],
    [503, "unavailable"],
    [504, "unavailable"],
    [507, "full"],
  ];
  for (const [status, failure] of statuses)
    expect([status, failureOfStatus(status)]).toEqual([status, failure as never]);
});

test("errors of the network say what to check", () => {
  const errors: [code: string, failure: string, text: string][] = [
    ["ENOTFOUND", "unavailable", "check the name of the host"],
    ["ECONNREFUSED", "unavailable", "check host and port"],
    ["ECONNRESET", "unavailable", "check the network"],
    ["DEPTH_ZERO_SELF_SIGNED_CERT", "denied", "as ca"],
    ["UNABLE_TO_VERIFY_LEAF_SIGNATURE", "denied", "as ca"],
    ["CERT_HAS_EXPIRED", "denied", "as ca"],
    ["ERR_TLS_CERT_ALTNAME_INVALID", "denied", "endpoint's name"],
  ];
  for (const [code, failure, text] of errors) {
    const thrown = Object.assign(new Error("it failed"), { code, path: "https://store:1/?sig=hunter2" });
    const error = networkError("blob 12 could not be read in the store", "store:1", thrown);
    expect([code, error.failure]).toEqual([code, failure as never]);
    expect(error.message).toStartWith("blob 12 could not be read in the store (");
    expect(error.message).toContain("store:1");
    expect(error.message).toContain(code);
    expect(error.message).toContain(text);
    expect(Bun.inspect(error)).not.toContain("hunter2");
  }
});
