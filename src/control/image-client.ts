import {
  EXPORT_INFO_HEADER,
  type ExportInfo,
  type ExportRequest,
  type ImportRequest,
  type ImportResult,
} from "../protocol/image/transfer.ts";
import { exportLocation, importLocation } from "./image-routes.ts";

/**
 * Sends an image, as frames, to the server on a control socket. Rejects with the server's reason where it refuses or
 * breaks off, or as `body` where that fails.
 */
export async function sendImage(
  socketPath: string,
  request: ImportRequest,
  body: ReadableStream<Uint8Array>,
  signal: AbortSignal,
): Promise<ImportResult> {
  const response = await ask(socketPath, importLocation(request), { method: "POST", body, signal });
  return (await response.json()) as ImportResult;
}

/** Asks for a target's content as frames. Rejects with the server's reason where it refuses. */
export async function requestImage(
  socketPath: string,
  request: ExportRequest,
  signal: AbortSignal,
): Promise<{ info: ExportInfo; body: ReadableStream<Uint8Array> }> {
  const response = await ask(socketPath, exportLocation(request), { signal });
  const info = response.headers.get(EXPORT_INFO_HEADER);
  if (info === null || response.body === null) throw new Error(`what listens on ${socketPath} is no voe`);
  return { info: JSON.parse(info) as ExportInfo, body: response.body };
}

async function ask(socketPath: string, location: string, init: RequestInit): Promise<Response> {
  // Without a timeout: each side may wait for the other's disk for as long as that takes.
  const options = { ...init, unix: socketPath, timeout: false, keepalive: false };
  const response = await fetch(`http://voe${location}`, options);
  if (response.ok) return response;
  const text = await response.text();
  throw new Error(reasonIn(text) ?? `the server answered ${response.status}: ${text.slice(0, 200)}`);
}

function reasonIn(text: string): string | undefined {
  try {
    const { error } = JSON.parse(text) as { error?: unknown };
    return typeof error === "string" ? error : undefined;
  } catch {
    return undefined;
  }
}
