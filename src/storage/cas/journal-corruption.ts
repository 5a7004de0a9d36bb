/** Where the intact part of a journal ends, and whether it ought to. */
export interface Damage {
  readonly path: string;
  /** Where in that file the next record ought to be. */
  readonly offsetBytes: number;
  /** Sequence number that the next record ought to have. */
  readonly sequence: number;
  /** What is wrong, for a message. */
  readonly what: string;
}

/** What says that records were durable which are not there. */
export interface Claim {
  readonly path: string;
  readonly offsetBytes: number;
  /** Every record before this was durable. */
  readonly durableSequence: number;
}

/**
 * Records are damaged or missing that had been durable: the medium lost them, or somebody did. It is no torn tail, and
 * to go on as if it were one would lose writes silently. Nothing has been changed.
 */
export class JournalCorruption extends Error {
  constructor(
    readonly damage: Damage,
    readonly claim: Claim | undefined,
    advice: string,
  ) {
    const witness =
      claim === undefined
        ? ""
        : ` It was durable: ${claim.path} says at byte ${claim.offsetBytes} that everything before record ${claim.durableSequence} is.`;
    super(
      `${damage.path}: ${damage.what} at byte ${damage.offsetBytes}, where record ${damage.sequence} ought to be.` +
        `${witness} Nothing was changed. ${advice}`,
    );
    this.name = "JournalCorruption";
  }
}

export const DAMAGED_ADVICE =
  "Check the medium and look for the files of the journal; writes since the last checkpoint are in it and nowhere " +
  "else. To give them up and go back to the last checkpoint, move the journal's directory away and run `voe recover`";

/** The directory holds no journal, or not the one that is looked for. */
export class WrongJournal extends Error {
  constructor(message: string) {
    super(message);
    this.name = "WrongJournal";
  }
}
