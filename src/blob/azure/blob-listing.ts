/**
 * Answers to List Blobs. Of the XML only names, sizes and the marker of the next page are needed, in elements that are
 * never nested in others of their kind: patterns find them, without a parser that knows all of XML.
 */
import type { ObjectInfo } from "../objects/object-service.ts";

export interface ObjectPage {
  readonly objects: readonly ObjectInfo[];
  /** What the request for the next page says; undefined: this was the last one. */
  readonly next: string | undefined;
}

const ENTITIES: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

const unescapeXml = (text: string): string =>
  text.replace(/&(?:#x([0-9a-f]+)|#([0-9]+)|([a-z]+));/gi, (whole, hex?: string, decimal?: string, name?: string) => {
    if (name !== undefined) return ENTITIES[name] ?? whole;
    return String.fromCodePoint(hex === undefined ? Number(decimal) : Number.parseInt(hex, 16));
  });

/** The objects on a page, and where the next one begins. Undefined where the text is no whole listing. */
export function parseBlobListing(xml: string): ObjectPage | undefined {
  if (!/<EnumerationResults[\s>]/.test(xml) || !/<\/EnumerationResults>\s*$/.test(xml)) return undefined;
  const objects: ObjectInfo[] = [];
  for (const [, blob] of xml.matchAll(/<Blob>(.*?)<\/Blob>/gs)) {
    const name = /<Name( Encoded="true")?>([^<]+)<\/Name>/.exec(blob!);
    const sizeBytes = /<Content-Length>([0-9]+)<\/Content-Length>/.exec(blob!)?.[1];
    if (name === null || sizeBytes === undefined) return undefined;
    // Names with characters that XML has not are percent-encoded. None of ours is.
    if (name[1] === undefined) objects.push({ key: unescapeXml(name[2]!), sizeBytes: Number(sizeBytes) });
  }
  const next = /<NextMarker>([^<]+)<\/NextMarker>/.exec(xml)?.[1];
  if (next === undefined && !/<NextMarker *\/>|<NextMarker><\/NextMarker>/.test(xml)) return undefined;
  return { objects, next: next === undefined ? undefined : unescapeXml(next) };
}
