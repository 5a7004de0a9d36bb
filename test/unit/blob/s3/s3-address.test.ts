import { expect, test } from "bun:test";
import { bucketUrl, objectUrl, queryUrl } from "../../../../src/blob/s3/s3-address.ts";

test("the bucket is part of the host's name at Amazon and Backblaze, and of the path elsewhere", () => {
  const urls: [endpoint: string, bucket: string, url: string][] = [
    ["https://s3.eu-central-1.amazonaws.com", "bkt", "https://bkt.s3.eu-central-1.amazonaws.com"],
    ["https://s3.cn-north-1.amazonaws.com.cn", "bkt", "https://bkt.s3.cn-north-1.amazonaws.com.cn"],
    ["https://s3.us-west-004.backblazeb2.com", "bkt", "https://bkt.s3.us-west-004.backblazeb2.com"],
    ["https://s3.example.com", "bkt", "https://s3.example.com/bkt"],
    ["http://127.0.0.1:7480", "bkt", "http://127.0.0.1:7480/bkt"],
    ["https://amazonaws.com.example.com", "bkt", "https://amazonaws.com.example.com/bkt"],
    // No certificate is for a name with a dot more, and no name of a host has an underscore.
    ["https://s3.eu-central-1.amazonaws.com", "my.bkt", "https://s3.eu-central-1.amazonaws.com/my.bkt"],
    ["https://s3.eu-central-1.amazonaws.com", "My_Bkt", "https://s3.eu-central-1.amazonaws.com/My_Bkt"],
  ];
  for (const [endpoint, bucket, url] of urls) expect(bucketUrl(endpoint, bucket, "auto")).toBe(url);
});

test("a style that is asked for is taken, and the endpoint's own path stays", () => {
  expect(bucketUrl("https://s3.amazonaws.com", "bkt", "path")).toBe("https://s3.amazonaws.com/bkt");
  expect(bucketUrl("https://store:1/s3", "bkt", "virtual-host")).toBe("https://bkt.store:1/s3");
  expect(bucketUrl("https://store:1/s3", "bkt", "path")).toBe("https://store:1/s3/bkt");
});

test("keys are encoded so that no URL parser changes them", () => {
  const url = objectUrl("https://store/bkt", "a b/ä+c&d=(e)'!*/~f-g_h.i%25");
  expect(url).toBe("https://store/bkt/a%20b/%C3%A4%2Bc%26d%3D%28e%29%27%21%2A/~f-g_h.i%2525");
  expect(new URL(url).href).toBe(url);
  expect(queryUrl("https://store/bkt", { "list-type": "2", prefix: "a/ +" })).toBe(
    "https://store/bkt/?list-type=2&prefix=a%2F%20%2B",
  );
});
