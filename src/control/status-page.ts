/** The status page: one document without external resources, put together once from the files in page/. */
import archive from "./page/archive.js" with { type: "text" };
import archiveStyle from "./page/archive.css" with { type: "text" };
import chart from "./page/chart.js" with { type: "text" };
import format from "./page/format.js" with { type: "text" };
import template from "./page/index.html" with { type: "text" };
import rates from "./page/rates.js" with { type: "text" };
import script from "./page/script.js" with { type: "text" };
import store from "./page/store.js" with { type: "text" };
import style from "./page/style.css" with { type: "text" };
import table from "./page/table.js" with { type: "text" };
import theme from "./page/theme.css" with { type: "text" };

const inline = (place: string, text: string) => (page: string) => page.replace(place, () => text);

// bun-types knows an .html only as the bundle that Bun.serve takes; with type "text" it is its text.
const page = inline(
  "/* script.js */",
  format + chart + rates + table + store + archive + script,
)(inline("/* style.css */", theme + style + archiveStyle)(template as unknown as string));

/** The source of an inline element as the browser hashes it. */
function inlineHash(tag: "script" | "style"): string {
  const open = `<${tag}>`;
  const from = page.indexOf(open) + open.length;
  const text = page.slice(from, page.indexOf(`</${tag}>`, from));
  return `'sha256-${new Bun.CryptoHasher("sha256").update(text).digest("base64")}'`;
}

/** What goes with the page: above all that nothing but its own style and script may act, and only on this server. */
export const STATUS_PAGE_HEADERS: Readonly<Record<string, string>> = {
  "content-type": "text/html; charset=utf-8",
  "content-security-policy": [
    "default-src 'none'",
    `script-src ${inlineHash("script")}`,
    `style-src ${inlineHash("style")}`,
    "connect-src 'self'",
    "img-src data:",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join("; "),
  "referrer-policy": "no-referrer",
};

/** The whole page. */
export const statusPage = (): string => page;
