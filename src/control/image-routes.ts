/**
 * Images over the control socket, as frames (src/protocol/image/frame.ts):
 *
 *     POST /images/import?target=e1.0[&size=BYTES][&force=1][&trim=1]    frames, answered with an ImportResult
 *     GET  /images/export?target=e1.0[&snapshot=ID]                      frames, and an ExportInfo as a header
 *
 * What is refused is `{"error": "..."}`. Both end when the client hangs up.
 */
import {
  EXPORT_INFO_HEADER,
  ImageRefusal,
  type ExportRequest,
  type ImageOperations,
  type ImportRequest,
} from "../protocol/image/transfer.ts";
import type { ControlRoute } from "./control-server.ts";

const IMPORT_PATH = "/images/import";
const EXPORT_PATH = "/images/export";

/** The routes of images. */
export function imageRoutes(images: ImageOperations): ControlRoute {
  return (request, { pathname, searchParams }) => {
    switch (`${request.method} ${pathname}`) {
      case `POST ${IMPORT_PATH}`:
        return orError(() => answerImport(request, searchParams, images));
      case `GET ${EXPORT_PATH}`:
        return orError(() => answerExport(request, searchParams, images));
      default:
        return undefined;
    }
  };
}

/** The URL's part for an import, without the host. */
export function importLocation({ target, sizeBytes, force, trimRest }: ImportRequest): string {
  const query = new URLSearchParams({ target });
  if (sizeBytes !== undefined) query.set("size", String(sizeBytes));
  if (force) query.set("force", "1");
  if (trimRest) query.set("trim", "1");
  return `${IMPORT_PATH}?${query.toString()}`;
}

/** The URL's part for an export, without the host. */
export function exportLocation({ target, snapshot }: ExportRequest): string {
  const query = new URLSearchParams({ target });
  if (snapshot !== undefined) query.set("snapshot", snapshot);
  return `${EXPORT_PATH}?${query.toString()}`;
}

async function answerImport(request: Request, query: URLSearchParams, images: ImageOperations): Promise<Response> {
  if (request.body === null) throw new ImageRefusal(400, "an import has a body");
  const size = query.get("size");
  if (size !== null && !/^\d{1,15}$/.test(size))
    throw new ImageRefusal(400, `the size "${size}" is no number of bytes`);
  const result = await images.importImage(
    {
      target: targetIn(query),
      force: query.get("force") === "1",
      trimRest: query.get("trim") === "1",
      ...(size === null ? {} : { sizeBytes: Number(size) }),
    },
    request.body,
  );
  return Response.json(result);
}

async function answerExport(request: Request, query: URLSearchParams, images: ImageOperations): Promise<Response> {
  const snapshot = query.get("snapshot");
  const { info, body } = await images.exportImage(
    { target: targetIn(query), ...(snapshot === null ? {} : { snapshot }) },
    request.signal,
  );
  const headers = { "content-type": "application/octet-stream", [EXPORT_INFO_HEADER]: JSON.stringify(info) };
  return new Response(body, { headers });
}

function targetIn(query: URLSearchParams): string {
  const target = query.get("target");
  if (target === null) throw new ImageRefusal(400, "no target is named");
  return target;
}

async function orError(answer: () => Promise<Response>): Promise<Response> {
  try {
    return await answer();
  } catch (error) {
    const status = error instanceof ImageRefusal ? error.httpStatus : 500;
    return Response.json({ error: (error as Error).message }, { status });
  }
}
