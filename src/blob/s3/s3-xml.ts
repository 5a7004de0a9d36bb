/**
 * The two answers of S3 that have to be read: lists and errors. Both are flat XML without attributes, comments or CDATA
 * where it matters, and what is looked for are elements that hold text: a search for them is all it takes. An answer
 * that is not whole, or something else altogether, is told by its root element and by what is left over.
 */
import { unescapeXml } from "../http/xml-text.ts";
import type { ObjectInfo } from "../objects/object-service.ts";

export interface ListedPage {
  readonly objects: readonly ObjectInfo[];
  /** What asks for the next page; undefined: there is none. */
  readonly next: string | undefined;
}

/** The text of the first element of this name, or undefined. */
export function textOf(xml: string, name: string): string | undefined {
  const open = xml.indexOf(`<${name}>`);
  if (open < 0) return undefined;
  const from = open + name.length + 2;
  const to = xml.indexOf(`</${name}>`, from);
  return to < 0 ? undefined : unescapeXml(xml.slice(from, to));
}

/** A page of ListObjectsV2, or undefined where the text is not the whole of one. */
export function parseList(xml: string): ListedPage | undefined {
  if (!/<ListBucketResult[\s>]/.test(xml) || !xml.trimEnd().endsWith("</ListBucketResult>")) return undefined;
  const objects: ObjectInfo[] = [];
  let isWhole = true;
  const rest = xml.replace(/<Contents>(.*?)<\/Contents>/gs, (_, part: string) => {
    const key = textOf(part, "Key");
    const size = textOf(part, "Size");
    if (key === undefined || !/^[0-9]{1,15}$/.test(size ?? "") || part.includes("<Contents>")) isWhole = false;
    else objects.push({ key, sizeBytes: Number(size) });
    return "";
  });
  // An object that is left out because its element was damaged on the way would be taken for lost.
  if (!isWhole || /<\/?(Contents|Key|Size)>/.test(rest)) return undefined;
  const count = textOf(xml, "KeyCount");
  if (count !== undefined && Number(count) !== objects.length) return undefined;
  const isTruncated = textOf(xml, "IsTruncated");
  if (isTruncated === "false") return { objects, next: undefined };
  if (isTruncated !== "true") return undefined;
  const next = textOf(xml, "NextContinuationToken");
  return next === undefined || next === "" ? undefined : { objects, next };
}
