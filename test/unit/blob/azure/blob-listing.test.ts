import { describe, expect, test } from "bun:test";
import { parseBlobListing } from "../../../../src/blob/azure/blob-listing.ts";

// As in "List Blobs" of Azure's REST reference.
const page = (blobs: string, marker = "<NextMarker/>"): string =>
  `\u{feff}<?xml version="1.0" encoding="utf-8"?><EnumerationResults ServiceEndpoint="https://a.blob.core.windows.net/" ` +
  `ContainerName="c"><Prefix>p</Prefix><MaxResults>3</MaxResults><Blobs>${blobs}</Blobs>${marker}</EnumerationResults>`;
const blob = (name: string, sizeBytes: number): string =>
  `<Blob><Name>${name}</Name><Properties><Last-Modified>Wed, 09 Sep 2009 09:20:02 GMT</Last-Modified>` +
  `<Etag>0x8CBFF45D8A29A19</Etag><Content-Length>${sizeBytes}</Content-Length><Content-MD5>abc=</Content-MD5>` +
  `<BlobType>BlockBlob</BlobType></Properties><OrMetadata/></Blob>`;

describe("a listing of blobs", () => {
  test("gives names, sizes and the marker of the next page", () => {
    expect(
      parseBlobListing(page(blob("host1/ab/cd", 17) + blob("b", 0), "<NextMarker>2!92!M&amp;D=</NextMarker>")),
    ).toEqual({
      objects: [
        { key: "host1/ab/cd", sizeBytes: 17 },
        { key: "b", sizeBytes: 0 },
      ],
      next: "2!92!M&D=",
    });
  });

  test("without blobs is one, and may have a next page all the same", () => {
    expect(parseBlobListing(page(""))).toEqual({ objects: [], next: undefined });
    expect(parseBlobListing(page("", "<NextMarker></NextMarker>"))).toEqual({ objects: [], next: undefined });
    expect(parseBlobListing(page("", "<NextMarker>more</NextMarker>"))).toEqual({ objects: [], next: "more" });
    const short =
      '<?xml version="1.0"?><EnumerationResults ContainerName="c"><Blobs/><NextMarker /></EnumerationResults>\n';
    expect(parseBlobListing(short)).toEqual({ objects: [], next: undefined });
  });

  test("has names as they are, whatever XML makes of them", () => {
    const listing = parseBlobListing(page(blob("a&amp;b&lt;c&gt;&quot;&apos;&#228;&#xe4;&#x1F600;&amp;lt;", 1)));
    expect(listing?.objects[0]?.key).toBe("a&b<c>\"'ää😀&lt;");
  });

  test("leaves out a name that XML cannot have, since none of a store is one", () => {
    const odd = blob("x", 1).replace("<Name>", '<Name Encoded="true">');
    expect(parseBlobListing(page(odd + blob("y", 2)))?.objects).toEqual([{ key: "y", sizeBytes: 2 }]);
  });

  test("that was cut is none, wherever", () => {
    const whole = page(blob("host1/ab/cd", 17) + blob("b", 0), "<NextMarker>more</NextMarker>");
    for (let length = 0; length < whole.length; length++)
      expect(parseBlobListing(whole.slice(0, length))).toBeUndefined();
  });

  test("is none where a bit of its elements is wrong, rather than one without that blob", () => {
    const whole = page(blob("host1/ab/cd", 17) + blob("host1/ab/ef", 18));
    const tags = [...whole.matchAll(/<\/?(?:Blobs?|Name|Content-Length|NextMarker)\b/g)];
    expect(tags.length).toBe(15);
    for (const { index, 0: tag } of tags) {
      for (let at = index; at < index + tag.length; at++) {
        const damaged = whole.slice(0, at) + String.fromCharCode(whole.charCodeAt(at) ^ 1) + whole.slice(at + 1);
        expect(parseBlobListing(damaged)).toBeUndefined();
      }
    }
  });

  test("that lacks what it must have is none", () => {
    expect(parseBlobListing(page(blob("a", 1), ""))).toBeUndefined();
    expect(parseBlobListing(page("<Blob><Name>a</Name></Blob>"))).toBeUndefined();
    expect(parseBlobListing(page("<Blob><Content-Length>1</Content-Length></Blob>"))).toBeUndefined();
    expect(parseBlobListing("<html><body>Welcome</body></html>")).toBeUndefined();
  });
});
