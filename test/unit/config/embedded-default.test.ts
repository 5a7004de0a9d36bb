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
[[target]]
shelf = 1
slot = 0
backend = "file"
path = "/srv/voe-data/e1.0.img"
size = "8GiB"
config_string = "archive"
`;
  expect(embeddedDefault("/srv/voe-data")).toEqual(parseConfig(written, "default.toml"));
});
