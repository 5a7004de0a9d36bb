/** What `voe verify` prints for people. */
import { formatBytes, formatCount, formatDuration } from "../base/human.ts";
import { printable } from "../base/printable.ts";
import { SECTOR_BYTES } from "../storage/block-storage.ts";
import type { Affected, Damage, VerifyEnd } from "../storage/cas/verify/verify-events.ts";

/** Blocks of a pack and ranges of a volume that are shown: all that were told are in the JSON. */
const SHOWN = 20;

const more = (count: number, what: string): string[] =>
  count > 0 ? [`  and ${formatCount(count)} more ${what}: --json lists them`] : [];

/** Some damage, as it is found: a line, and one for each block of a pack. */
export function renderDamage(store: string, damage: Damage): string {
  switch (damage.kind) {
    case "pack":
      return [
        `DAMAGE in ${printable(store)}: pack ${damage.pack}: ${printable(damage.reason)}`,
        ...damage.blocks
          .slice(0, SHOWN)
          .map(
            ({ hash, offsetBytes, storedBytes, reason }) =>
              `  block ${hash} at byte ${offsetBytes}, ${storedBytes} bytes: ${printable(reason)}`,
          ),
        ...more(damage.blockCount - SHOWN, "blocks"),
      ].join("\n");
    case "block": {
      const what = damage.isNode ? "tree node" : "block";
      return `DAMAGE in ${printable(store)}: ${what} ${damage.hash} is referred to, but ${printable(damage.reason)}`;
    }
    default:
      return `DAMAGE in ${printable(store)}: root record ${printable(damage.name)} ${printable(damage.reason)}`;
  }
}

const plural = (count: number, one: string): string => `${formatCount(count)} ${one}${count === 1 ? "" : "s"}`;

function renderAffected({ volume, snapshot, sectorCount, ranges, rangeCount }: Affected): string[] {
  const whose =
    snapshot === undefined
      ? `${printable(volume)} as it is`
      : `${printable(volume)}, snapshot ${snapshot.id} of ${new Date(snapshot.createdMs).toISOString()}` +
        (snapshot.description === "" ? "" : ` (${printable(snapshot.description)})`);
  return [
    `  ${whose}: ${formatBytes(sectorCount * SECTOR_BYTES)} cannot be read`,
    ...ranges.slice(0, SHOWN).map(({ sector, sectorCount: count }) => `    sectors ${sector} to ${sector + count - 1}`),
    ...more(rangeCount - SHOWN, "ranges"),
  ];
}

/** How the verification of a store has ended. */
export function renderEnd(end: VerifyEnd): string {
  const { outcome, packsDone, packsTotal, bytesDone, elapsedMs, treePartsDone, treePartsTotal } = end;
  const store = printable(end.store);
  const seconds = elapsedMs / 1000;
  const rate = seconds > 0 ? `, ${formatBytes(bytesDone / seconds)}/s` : "";
  const effort = `${formatBytes(bytesDone)} in ${formatDuration(seconds)}${rate}`;
  switch (outcome) {
    case "good":
      return `${store}: good. ${plural(packsDone, "pack")} and everything that volumes and snapshots refer to: ${effort}`;
    case "stopped":
      return [
        `${store}: stopped at --max-duration, ${formatCount(packsDone)} of ${plural(packsTotal, "pack")} and ` +
          `${formatCount(treePartsDone)} of ${plural(treePartsTotal, "part")} of the trees verified, all good: ${effort}`,
        `  ${coverage(end)}. The next run goes on from here`,
      ].join("\n");
    default:
      return [
        `${store}: DAMAGED in ${plural(end.damageCount, "place")}, listed above; ${formatCount(packsDone)} of ` +
          `${plural(packsTotal, "pack")} verified: ${effort}`,
        ...(end.affected.length === 0
          ? ["  Nothing that a volume or snapshot refers to is affected"]
          : end.affected.flatMap(renderAffected)),
        "  Put packs that are named back from a copy of the store, and verify again. docs/operations.md, " +
          '"When damage is found", says what else can be done',
      ].join("\n");
  }
}

const coverage = ({ packsNeverVerified, oldestVerifiedMs }: VerifyEnd): string =>
  packsNeverVerified > 0
    ? `${plural(packsNeverVerified, "pack")} ${packsNeverVerified === 1 ? "was" : "were"} never verified yet`
    : `All packs were verified since ${new Date(oldestVerifiedMs ?? 0).toISOString()}`;
