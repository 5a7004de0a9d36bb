import { expect, test } from "bun:test";
import { sharedKeyAuthorization, stringToSign } from "../../../../src/blob/azure/shared-key.ts";
import vectors from "../../../vectors/azure-shared-key.json";

for (const { method, url, headers, bodyBytes, authorization } of vectors.requests) {
  test(`${method} ${url} is signed as Azure's own library signs it`, () => {
    const parts = { method, url: new URL(url), headers: headers as Record<string, string>, bodyBytes };
    expect(sharedKeyAuthorization(vectors.account, vectors.accountKey, parts)).toBe(authorization);
  });
}

// From "Authorize with Shared Key" of Azure's REST reference.
test("the text that is signed is that of the reference", () => {
  const headers = { "x-ms-date": "Fri, 26 Jun 2015 23:39:12 GMT", "x-ms-version": "2015-02-21" };
  const url = new URL("https://myaccount.blob.core.windows.net/mycontainer?restype=container&comp=metadata&timeout=20");
  expect(stringToSign("myaccount", { method: "GET", url, headers, bodyBytes: 0 })).toBe(
    "GET\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\nx-ms-version:2015-02-21\n/myaccount/mycontainer\n" +
      "comp:metadata\nrestype:container\ntimeout:20",
  );
});
