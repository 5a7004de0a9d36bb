/** Targets as NBD exports: what they are called, and who may have them. */
import type { ExportTable, NbdExport } from "../../protocol/nbd/export.ts";
import { openByteStorage } from "../../storage/byte-storage.ts";
import type { ServedTarget } from "../served-target.ts";

/** Who asks for an export. */
export interface ExportClient {
  /** The name in its certificate; undefined: it has shown none. */
  readonly name: string | undefined;
  /** It came through the unix socket, which only this user and root can open: no certificate is asked of it. */
  readonly isLocal: boolean;
}

/** A target and its export. */
export interface NbdTarget {
  readonly target: ServedTarget;
  readonly nbdExport: NbdExport;
}

/** Gives a target its face on NBD. */
export function nbdTarget(target: ServedTarget): NbdTarget {
  const { name, aoe } = target;
  return {
    target,
    nbdExport: {
      name,
      // What the configuration calls it, never what initiators on the wire have made of it.
      get description() {
        return target.config.configString;
      },
      disk: openByteStorage(aoe.storage),
      counters: aoe.counters,
    },
  };
}

const mayHave = ({ target }: NbdTarget, { name, isLocal }: ExportClient): boolean => {
  const { allowClients } = target.config;
  return isLocal || allowClients.length === 0 || (name !== undefined && allowClients.includes(name));
};

/**
 * What one client may have. The others are neither listed nor found, nor do their config strings make those of this
 * client's exports ambiguous: it cannot learn that they are there.
 */
export function exportTable(targets: readonly NbdTarget[], client: ExportClient): ExportTable {
  const list = targets.filter((target) => mayHave(target, client)).map(({ nbdExport }) => nbdExport);
  return {
    list,
    find(name) {
      if (name === "") return list.length === 1 ? list[0] : undefined;
      const named = list.find((each) => each.name === name);
      if (named !== undefined) return named;
      const described = list.filter((each) => each.description === name);
      return described.length === 1 ? described[0] : undefined;
    },
  };
}
