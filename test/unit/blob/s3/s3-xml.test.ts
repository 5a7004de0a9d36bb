import { expect, test } from "bun:test";
import { parseList, textOf } from "../../../../src/blob/s3/s3-xml.ts";

const entry = (key: string, size: string): string =>
  `<Contents><Key>${key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>&quot;0&quot;</ETag>` +
  `<Size>${size}</Size><StorageClass>STANDARD</StorageClass></Contents>`;
const last = "<IsTruncated>false</IsTruncated>";
const page = (...inside: string[]): string =>
  `<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">` +
  `<Name>b</Name><Prefix>p/</Prefix>${inside.join("")}</ListBucketResult>\n`;

test("a page lists its objects, and asks for the next one", () => {
  const more =
    "<IsTruncated>true</IsTruncated><NextContinuationToken>a+/=</NextContinuationToken><KeyCount>2</KeyCount>";
  expect(parseList(page(more, entry("p/a", "17"), entry("p/b", "0")))).toEqual({
    objects: [
      { key: "p/a", sizeBytes: 17 },
      { key: "p/b", sizeBytes: 0 },
    ],
    next: "a+/=",
  });
  expect(parseList(page(last, entry("p/c", "1")))).toEqual({
    objects: [{ key: "p/c", sizeBytes: 1 }],
    next: undefined,
  });
  expect(parseList(page(last, "<KeyCount>0</KeyCount>"))).toEqual({ objects: [], next: undefined });
});

test("what XML escapes is decoded", () => {
  const key = "p/&lt;&amp;&gt;&quot;&apos;&#228;&#xE4;&amp;lt;&constructor;&#x7fffffff;";
  expect(parseList(page(last, entry(key, "1")))?.objects[0]?.key).toBe("p/<&>\"'ää&lt;&constructor;&#x7fffffff;");
});

test("what is no whole list is none, rather than an empty one", () => {
  const whole = page(last, "<KeyCount>1</KeyCount>", entry("p/a", "17"));
  expect(parseList(whole)).toBeDefined();
  for (let length = 0; length < whole.trimEnd().length; length++) {
    expect([length, parseList(whole.slice(0, length))]).toEqual([length, undefined]);
  }
  const others = [
    "",
    "<html><body>Welcome</body></html>",
    "<Error><Code>AccessDenied</Code></Error>",
    page(last, "<KeyCount>2</KeyCount>", entry("p/a", "17")),
    page(last, entry("p/a", "-1")),
    page(last, entry("p/a", "9".repeat(20))),
    page(last, "<Contents><Key>p/a</Key></Contents>"),
    page(last, entry("p/a", "17").replace("<Contents>", "<Consents>")),
    page(last, entry("p/a", "17").replace("</Contents>", "</Consents>")),
    page(last, entry("p/a", "17").replace("</Contents>", "</Consents>"), entry("p/b", "18")),
    page(entry("p/a", "17")),
    page("<IsTruncated>yes</IsTruncated>", entry("p/a", "17")),
    page("<IsTruncated>true</IsTruncated>"),
    page("<IsTruncated>true</IsTruncated><NextContinuationToken></NextContinuationToken>"),
  ];
  for (const text of others) expect([text, parseList(text)]).toEqual([text, undefined]);
});

test("the text of an element is found, and of one that is not there or not closed it is not", () => {
  expect(textOf("<Error><Code>No&amp;</Code></Error>", "Code")).toBe("No&");
  expect(textOf("<Error><Code>No", "Code")).toBeUndefined();
  expect(textOf("<Error></Error>", "Code")).toBeUndefined();
});
