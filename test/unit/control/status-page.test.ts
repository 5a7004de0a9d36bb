import { expect, test } from "bun:test";
import { join } from "node:path";
import { formatBytes, formatCount, formatDuration } from "../../../src/base/human.ts";
import { statusPage } from "../../../src/control/status-page.ts";
import format from "../../../src/control/page/format.js" with { type: "text" };

const root = join(import.meta.dir, "../../..");

test("the page's scripts have no type errors against the status report", async () => {
  const check = Bun.spawn([process.execPath, "check", "-p", "src/control/page"], { cwd: root, stdout: "pipe" });
  expect([await check.stdout.text(), await check.exited]).toEqual([expect.any(String), 0]);
});

test("the page's numbers read as those of voe status", () => {
  // oxlint-disable-next-line typescript/no-implied-eval
  const browser = new Function(`${format}; return { formatBytes, formatCount, formatDuration };`)() as {
    formatBytes: typeof formatBytes;
    formatCount: typeof formatCount;
    formatDuration: typeof formatDuration;
  };
  for (let power = 0; power < 17; power += 0.1) {
    const number = Math.round(10 ** power);
    expect([number, browser.formatBytes(number)]).toEqual([number, formatBytes(number)]);
    expect([number, browser.formatCount(number)]).toEqual([number, formatCount(number)]);
    expect([number, browser.formatDuration(number)]).toEqual([number, formatDuration(number)]);
  }
});

test("the elements that the script looks for are in the page", () => {
  const page = statusPage();
  const wanted = [...page.matchAll(/\belement\("([a-z-]+)"/g)].map(([, id = ""]) => id);
  expect(wanted.length).toBeGreaterThan(5);
  for (const id of wanted) expect(page).toContain(`id="${id}"`);
});

test("the style's and the script's place are filled and nothing ends them early", () => {
  const page = statusPage();
  expect(page).not.toContain("/* style.css */");
  expect(page).not.toContain("/* script.js */");
  expect(page.split("</script>").length - 1).toBe(1);
  expect(page.split("</style>").length - 1).toBe(1);
});
