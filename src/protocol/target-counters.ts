/** What clients of every protocol have asked of a target since the server started. */
export interface TargetCounters {
  reads: number;
  writes: number;
  flushes: number;
  readBytes: number;
  writtenBytes: number;
  errors: number;
  /** Requests taken and not answered yet. */
  inFlight: number;
}

export const newTargetCounters = (): TargetCounters => ({
  reads: 0,
  writes: 0,
  flushes: 0,
  readBytes: 0,
  writtenBytes: 0,
  errors: 0,
  inFlight: 0,
});
