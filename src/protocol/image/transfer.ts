/** What can be asked of a server about images, and what it says. */

export interface ImportRequest {
  /** Name of the target, as in `e1.0`. */
  readonly target: string;
  /** Size of the image; absent where it comes from a pipe, and its end shows it. */
  readonly sizeBytes?: number;
  /** Although a client used the target a moment ago. */
  readonly force: boolean;
  /** Discards what lies beyond the end of the image, instead of leaving it as it is. */
  readonly trimRest: boolean;
}

export interface ImportResult {
  /** Size of the image. */
  readonly sizeBytes: number;
  readonly dataBytes: number;
  readonly holeBytes: number;
  /** What was discarded beyond the end of the image. */
  readonly trimmedBytes: number;
}

export interface ExportRequest {
  /** Name of the target, as in `e1.0`. */
  readonly target: string;
  /** Id of a snapshot, or a prefix of it that no other has; absent: the present. */
  readonly snapshot?: string;
}

export interface ExportInfo {
  readonly sizeBytes: number;
  /** Id of the snapshot that is sent; null: the present. */
  readonly snapshot: string | null;
  /** Whether all of it is of one moment. Of a file or device that clients write to meanwhile it is not. */
  readonly oneMoment: boolean;
}

/** Header of the answer to an export that carries its ExportInfo, as JSON. */
export const EXPORT_INFO_HEADER = "voe-image";

export interface ImageOperations {
  /**
   * Writes an image, as frames, onto a target, and makes it durable. Rejects with ImageRefusal where nothing was
   * written; with another error, which says how far it came, where it broke off.
   */
  importImage(request: ImportRequest, body: ReadableStream<Uint8Array>): Promise<ImportResult>;
  /**
   * A target's content as frames. Rejects with ImageRefusal where it cannot be had; what goes wrong later is the stream's
   * last frame, FAILURE. `gone` is aborted when nobody waits for them any more.
   */
  exportImage(
    request: ExportRequest,
    gone: AbortSignal,
  ): Promise<{ info: ExportInfo; body: ReadableStream<Uint8Array> }>;
}

/** Why a request about an image was not begun, with the HTTP status that says so. */
export class ImageRefusal extends Error {
  override readonly name = "ImageRefusal";
  constructor(
    readonly httpStatus: 400 | 404 | 409 | 503,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
