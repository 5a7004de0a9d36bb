import {
  EXPORT_INFO_HEADER,
  type ExportInfo,
  type ExportRequest,
  type ImportRequest,
  type ImportResult,
} from "../protocol/image/transfer.ts";
import { request } from "./client.ts";
import { exportLocation, importLocation } from "./image-routes.ts";

/**
 * Sends an image, as frames, to the server on a control socket. Rejects with the server's reason where it refuses or
 * breaks off, or as `body` where that fails.
 */
export async function sendImage(
  socketPath: string,
  asked: ImportRequest,
  body: ReadableStream<Uint8Array>,
  signal: AbortSignal,
): Promise<ImportResult> {
  const response = await request([socketPath], importLocation(asked), { method: "POST", body, signal });
  return (await response.json()) as ImportResult;
}

/** Asks for a target's content as frames. Rejects with the server's reason where it refuses. */
export async function requestImage(
  socketPath: string,
  asked: ExportRequest,
  signal: AbortSignal,
): Promise<{ info: ExportInfo; body: ReadableStream<Uint8Array> }> {
  const response = await request([socketPath], exportLocation(asked), { signal });
  const info = response.headers.get(EXPORT_INFO_HEADER);
  if (info === null || response.body === null) throw new Error(`what listens on ${socketPath} is no voe`);
  return { info: JSON.parse(info) as ExportInfo, body: response.body };
}
