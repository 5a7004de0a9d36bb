/** Directories of packs that are kept in memory, verified, within a number of bytes. */
import type { Hasher } from "../../base/hash.ts";
import type { BlobStore } from "../../blob/blob-store.ts";
import type { PackDirectory } from "./pack-directory.ts";
import { packBlobName } from "./pack-format.ts";
import { readPackDirectory } from "./read-pack-directory.ts";

/** A pack whose directory is in memory. */
export interface KnownPack {
  readonly number: number;
  readonly blobName: string;
  readonly directory: PackDirectory;
  /** Asked for since it was last looked at for room. */
  recent: boolean;
}

export interface PackDirectoriesOptions {
  readonly blobs: BlobStore;
  readonly hasher: Hasher;
  /** Name of a pack by its number. */
  readonly packName: (number: number) => Uint8Array;
  /** Memory that directories may take. */
  readonly mostBytes: number;
  readonly report: (key: string, message: string) => void;
}

export interface PackDirectories {
  tryGet(number: number): KnownPack | undefined;
  /** Reads the directory, once for all who ask. Undefined where it is damaged, which was reported. */
  load(number: number): Promise<KnownPack | undefined>;
  /** Keeps a directory that is at hand. */
  remember(number: number, directory: PackDirectory): KnownPack;
  /**
   * Whether the directory of a pack that is not in memory should be read whole for the sake of one block: as long as
   * there is room; and then where others of its blocks or of the pack before it were asked for lately, so that more
   * are to come. Asking counts as asking for a block.
   */
  isWorthLoading(number: number): boolean;
}

/** Packs of which single blocks were asked for, that are remembered. */
const MOST_ASKED = 1024;
/** What the directory of a pack of 16 MiB in blocks of 4 KiB takes. */
const USUAL_BYTES = 200 * 1024;

export function createPackDirectories(options: PackDirectoriesOptions): PackDirectories {
  const { blobs, hasher, packName, mostBytes, report } = options;
  const known = new Map<number, KnownPack>();
  const loading = new Map<number, Promise<KnownPack | undefined>>();
  const asked = new Set<number>();
  let usedBytes = 0;

  /** Second chance: what was asked for since it was last looked at goes to the end of the line. */
  const makeRoom = (): void => {
    for (const [number, pack] of known) {
      if (usedBytes <= mostBytes || known.size === 1) return;
      known.delete(number);
      if (pack.recent) {
        pack.recent = false;
        known.set(number, pack);
      } else {
        usedBytes -= pack.directory.bytes.length;
      }
    }
  };

  const remember = (number: number, directory: PackDirectory): KnownPack => {
    const pack = { number, blobName: packBlobName(packName(number)), directory, recent: true };
    usedBytes += directory.bytes.length - (known.get(number)?.directory.bytes.length ?? 0);
    known.set(number, pack);
    makeRoom();
    return pack;
  };

  const read = async (number: number): Promise<KnownPack | undefined> => {
    const name = packName(number);
    const parsed = await readPackDirectory(blobs, name, hasher);
    if (!("reason" in parsed)) return remember(number, parsed.directory);
    const blobName = packBlobName(name);
    report(`pack:${blobName}`, `pack ${blobName} of ${blobs.description} is damaged: ${parsed.reason}`);
    return undefined;
  };

  return {
    tryGet(number) {
      const pack = known.get(number);
      if (pack !== undefined) pack.recent = true;
      return pack;
    },
    load(number) {
      let reading = loading.get(number);
      if (reading === undefined) {
        reading = read(number).finally(() => loading.delete(number));
        loading.set(number, reading);
      }
      return reading;
    },
    remember,
    isWorthLoading(number) {
      if (usedBytes + USUAL_BYTES <= mostBytes) return true;
      if (asked.has(number) || loading.has(number) || known.has(number - 1)) return true;
      asked.add(number);
      if (asked.size > MOST_ASKED) asked.delete(asked.keys().next().value!);
      return false;
    },
  };
}
