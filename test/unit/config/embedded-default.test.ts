import { expect, test } from "bun:test";
import { embeddedDefault } from "../../../src/config/embedded-default.ts";
import { parseConfig } from "../../../src/config/parse.ts";

test("the embedded default is what this file says", () => {
  const written = `
[server]
interface = "lo"
state_dir = "/srv/voe-data/state"
control_socket = "/srv/voe-data/voe.sock"
http = "127.0.0.1:9464"
[nbd]
bind = "127.0.0.1:10809"
[[target]]
shelf = 1
slot = 0
backend = "cas"
config_string = "archive"
[target.cas]
size = "8GiB"
blob_store = "file"
path = "/srv/voe-data/blobs"
`;
  expect(embeddedDefault("/srv/voe-data")).toEqual(parseConfig(written, "default.toml"));
});
