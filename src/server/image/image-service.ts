/** Images in and out of the targets that are served. */
import { log } from "../../base/log.ts";
import { formatSize } from "../../base/size.ts";
import type { ClientStatus, NbdConnectionStatus } from "../../control/status.ts";
import { frameReader } from "../../protocol/image/frame.ts";
import {
  ImageRefusal,
  type ExportInfo,
  type ImageOperations,
  type ImportRequest,
  type ImportResult,
} from "../../protocol/image/transfer.ts";
import { SECTOR_BYTES, type BlockStorage } from "../../storage/block-storage.ts";
import { resolvePrefix } from "../../storage/cas/snapshot-id.ts";
import type { ArchiveVolume } from "../served-target.ts";
import { exportImage, type ReadableDisk } from "./export-image.ts";
import { frameStream } from "./frame-stream.ts";
import { importImage } from "./import-image.ts";

/** A client that asked for something so short a time ago is taken to have the disk in use. */
const RECENT_SECONDS = 60;

/** A target, and what keeps it. */
export interface ImageTarget {
  readonly storage: BlockStorage;
  /** Why it no longer writes, where it does not. */
  readonly failure: string | undefined;
  /** Of an archive: where its snapshots are. */
  readonly archive?: ArchiveVolume | undefined;
}

export interface ImageServiceOptions {
  /** A target by its name, `e1.0`. */
  readonly find: (name: string) => ImageTarget | undefined;
  readonly clients: () => readonly ClientStatus[];
  readonly connections: () => readonly NbdConnectionStatus[];
}

export interface ImageService extends ImageOperations {
  /** Begins nothing any more, breaks off what is under way, and waits for the end of it. */
  close(): Promise<void>;
}

/** What a transfer does to a disk: an import has it for itself, exports of its present share it. */
type Use = "import" | "export";

export function imageService({ find, clients, connections }: ImageServiceOptions): ImageService {
  const stopping = new AbortController();
  const uses = new Map<string, Use[]>();
  const running = new Set<Promise<unknown>>();

  const targetOf = (name: string): ImageTarget => {
    if (stopping.signal.aborted) throw new ImageRefusal(503, "the server is stopping");
    const target = find(name);
    if (target === undefined) throw new ImageRefusal(404, `there is no target ${name}: voe status lists them`);
    return target;
  };

  /** Notes a use for as long as it lasts; refuses one that does not go with those that there are. */
  const use = (name: string, kind: Use): Disposable => {
    const others = uses.get(name) ?? [];
    if (others.length > 0 && (kind === "import" || others.includes("import"))) {
      throw new ImageRefusal(409, `an ${others[0]} of ${name} is under way: wait for its end, or stop it`);
    }
    uses.set(name, [...others, kind]);
    return {
      [Symbol.dispose]() {
        const rest = [...uses.get(name)!];
        rest.splice(rest.indexOf(kind), 1);
        if (rest.length === 0) uses.delete(name);
        else uses.set(name, rest);
      },
    };
  };

  const track = async <T>(work: Promise<T>): Promise<T> => {
    running.add(work);
    try {
      return await work;
    } finally {
      running.delete(work);
    }
  };

  const runImport = async (request: ImportRequest, body: ReadableStream<Uint8Array>): Promise<ImportResult> => {
    const { target: name } = request;
    const target = targetOf(name);
    checkImport(request, target, clients(), connections());
    using _ = use(name, "import");
    const reader = body.getReader();
    const stop = (): void => void reader.cancel().catch(() => {});
    stopping.signal.addEventListener("abort", stop);
    const frames = frameReader(reader);
    let importedSectors = 0;
    log.info(
      `import into ${name} begins: ${request.sizeBytes === undefined ? "of unknown size" : formatSize(request.sizeBytes)}`,
    );
    try {
      const result = await importImage(
        target.storage,
        {
          async next() {
            const header = await frames.next();
            importedSectors = header.sector;
            return header;
          },
          take: (to) => frames.take(to),
        },
        request,
      );
      log.info(
        `import into ${name} is done: ${formatSize(result.sizeBytes)}, ${formatSize(result.dataBytes)} of it data`,
      );
      return result;
    } catch (error) {
      stop();
      const why = stopping.signal.aborted ? "the server is stopping" : (error as Error).message;
      const message =
        `the import into ${name} broke off at ${formatSize(importedSectors * SECTOR_BYTES)}: ${why}. ` +
        "The disk holds a part of the image, and what it held before from there on: import it again";
      log.warn(message);
      throw new Error(message, { cause: error });
    } finally {
      stopping.signal.removeEventListener("abort", stop);
    }
  };

  /** A disk's frames as a stream; `end` follows the last of them, or the end of whoever reads them. */
  const send = (
    name: string,
    disk: ReadableDisk,
    gone: AbortSignal,
    end: () => Promise<void>,
  ): ReadableStream<Uint8Array> => {
    log.info(`export of ${name} begins: ${formatSize(disk.info.sectorCount * SECTOR_BYTES)}`);
    const { stream, done } = frameStream(exportImage(disk), gone, stopping.signal);
    void track(done.then(end)).catch((error: Error) => log.warn(`export of ${name}: ${error.message}`));
    return stream;
  };

  return {
    importImage: (request, body) => track(runImport(request, body)),
    async exportImage({ target: name, snapshot }, gone) {
      const { storage, archive } = targetOf(name);
      if (archive === undefined) {
        if (snapshot !== undefined) throw new ImageRefusal(409, `${name} is no archive and has no snapshots`);
        const lasting = use(name, "export");
        const body = send(name, storage, gone, () => Promise.resolve(lasting[Symbol.dispose]()));
        return { info: infoOf(storage, null, storage.info.readOnly), body };
      }
      const id = snapshot === undefined ? archive.snapshotId : findSnapshot(name, archive, snapshot);
      const root = await archive.archive.openRoot(archive.volume, id);
      return { info: infoOf(root, id ?? null, true), body: send(name, root, gone, () => root.close()) };
    },
    async close() {
      stopping.abort();
      await Promise.allSettled(running);
    },
  };
}

const infoOf = ({ info }: Pick<BlockStorage, "info">, snapshot: string | null, oneMoment: boolean): ExportInfo => ({
  sizeBytes: info.sectorCount * SECTOR_BYTES,
  snapshot,
  oneMoment,
});

function checkImport(
  request: ImportRequest,
  { storage, failure }: ImageTarget,
  clients: readonly ClientStatus[],
  connections: readonly NbdConnectionStatus[],
): void {
  const { target: name, sizeBytes = 0, force } = request;
  const diskBytes = storage.info.sectorCount * SECTOR_BYTES;
  if (storage.info.readOnly) {
    throw new ImageRefusal(409, `${name} is read-only: an image cannot be imported into it`);
  }
  if (failure !== undefined) throw new ImageRefusal(409, `${name} has failed and does not write: ${failure}`);
  if (sizeBytes > diskBytes) {
    throw new ImageRefusal(
      409,
      `the image has ${sizeBytes} bytes, and ${name} only ${diskBytes}: give the target a larger size, and reload`,
    );
  }
  const recent = clients.find((client) => client.target === name && client.lastSeenSecondsAgo < RECENT_SECONDS);
  if (recent !== undefined && !force) {
    throw new ImageRefusal(
      409,
      `${recent.mac} on ${recent.interface} used ${name} ${Math.round(recent.lastSeenSecondsAgo)} s ago: unmount it ` +
        "there first. A minute after the last request, or with --force, it is imported",
    );
  }
  const open = connections.find((connection) => connection.export === name);
  if (open !== undefined && !force) {
    throw new ImageRefusal(
      409,
      `${open.client} has ${name} open over NBD: disconnect it first, or import with --force`,
    );
  }
}

function findSnapshot(name: string, { archive, volume }: ArchiveVolume, prefix: string): string {
  const ids = archive.snapshots(volume).map(({ id }) => id);
  try {
    return resolvePrefix(ids, prefix);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new ImageRefusal(404, `${name}: ${error.message}`, { cause: error });
  }
}
