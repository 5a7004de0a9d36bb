/**
 * Answers to List Blobs. Of the XML only names, sizes and the marker of the next page are needed, in elements that are
 * never nested in others of their kind: patterns find them, without a parser that knows all of XML.
 */
import { unescapeXml } from "../http/xml-text.ts";
import type { ObjectInfo } from "../objects/object-service.ts";

export interface ObjectPage {
  readonly objects: readonly ObjectInfo[];
  /** What the request for the next page says; undefined: this was the last one. */
  readonly next: string | undefined;
}

/**
 * The objects on a page, and where the next one begins. Undefined where the text is no whole listing: a blob that is
 * left out because its element was damaged on the way would be taken for lost.
 */
export function parseBlobListing(xml: string): ObjectPage | undefined {
  const whole = /<EnumerationResults[\s>].*<Blobs(?: *\/>|>(.*)<\/Blobs>)(.*)<\/EnumerationResults>\s*$/s.exec(xml);
  if (whole === null) return undefined;
  const objects: ObjectInfo[] = [];
  let isWhole = true;
  const rest = (whole[1] ?? "").replace(/<Blob>(.*?)<\/Blob>/gs, (_, blob: string) => {
    const name = /<Name( Encoded="true")?>([^<]+)<\/Name>/.exec(blob);
    const sizeBytes = /<Content-Length>([0-9]+)<\/Content-Length>/.exec(blob)?.[1];
    if (name === null || sizeBytes === undefined || blob.includes("<Blob>")) isWhole = false;
    // Names with characters that XML has not are percent-encoded. None of ours is.
    else if (name[1] === undefined) objects.push({ key: unescapeXml(name[2]!), sizeBytes: Number(sizeBytes) });
    return "";
  });
  const marker = /^\s*<NextMarker(?: *\/>|>([^<]*)<\/NextMarker>)\s*$/.exec(whole[2]!);
  if (!isWhole || rest.trim() !== "" || marker === null) return undefined;
  return { objects, next: marker[1] === undefined || marker[1] === "" ? undefined : unescapeXml(marker[1]) };
}
