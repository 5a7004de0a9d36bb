import type { ByteStorage } from "../../storage/byte-storage.ts";
import type { TargetCounters } from "../target-counters.ts";

/** A disk as NBD clients see it. */
export interface NbdExport {
  /** Its canonical name: `e1.0`. */
  readonly name: string;
  /** For people, in what LIST and INFO answer. */
  readonly description: string;
  readonly disk: ByteStorage;
  readonly counters: TargetCounters;
}

/** The exports that one client may have. */
export interface ExportTable {
  readonly list: readonly NbdExport[];
  /** The export that a client means by a name: the empty one is that of the only export, where there is just one. */
  find(name: string): NbdExport | undefined;
}
