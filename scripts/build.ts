/**
 * Builds dist/voe, the single binary. `.env` and `bunfig.toml` of the directory it is run in must not change a
 * storage server, so their automatic loading is off.
 */
import { $ } from "bun";

const commit = (await $`git rev-parse --short=12 HEAD`.nothrow().quiet().text()).trim() || "unknown";
await $`bun build src/main.ts src/storage/cas/pack-worker.ts --compile --minify-syntax --no-compile-autoload-dotenv --no-compile-autoload-bunfig --define VOE_COMMIT=${JSON.stringify(commit)} --outfile dist/voe`;
