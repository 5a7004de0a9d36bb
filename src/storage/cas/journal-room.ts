/** Room for writes that found none in the journal, or on the disk that it is on. */
import type { Journal } from "./journal.ts";

/**
 * Makes room by a checkpoint, once for all writes that wait: what is dropped for one of them is room for the others.
 * `onDisk`: it is the disk that is full, and not the journal. Rejects where no room was to be made.
 */
export function roomMaker(journal: Journal, checkpoint: () => Promise<void>): (onDisk: boolean) => Promise<void> {
  let making: Promise<void> | undefined;

  const make = async (onDisk: boolean): Promise<void> => {
    const before = journal.sizeBytes;
    const dropped = onDisk && journal.dropSpares();
    await checkpoint();
    // A write that did not fit keeps others out until what there is of it is gone for good.
    if (onDisk) await journal.sync();
    // Where a checkpoint frees nothing the next one will not either.
    if (!dropped && journal.sizeBytes >= before) throw new Error("a checkpoint has freed nothing of the journal");
  };

  return (onDisk) => {
    making ??= make(onDisk).finally(() => (making = undefined));
    return making;
  };
}
