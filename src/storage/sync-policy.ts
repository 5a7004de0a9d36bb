import { eventLoop } from "../base/event-loop.ts";
import { MEDIUM_ERROR, OK, type Completion } from "./block-storage.ts";

/** When a write may be answered, from the configuration. */
export type SyncMode =
  { readonly kind: "always" } | { readonly kind: "interval"; readonly intervalMs: number } | { readonly kind: "none" };

/**
 * Brings writes to the medium: one sync for all that arrived before it began (group commit), at once, after an
 * interval, or only when asked. A sync that failed is final: the kernel has marked the pages it could not write as
 * clean, so nothing after it can be trusted to arrive (ATC 2020, "Can Applications Recover from fsync Failures?").
 */
export class SyncPolicy {
  /** Why nothing is written any more, where a sync failed. */
  failure: Error | undefined;
  #waiting: Completion[] = [];
  #syncing: Completion[] = [];
  #running = false;
  #scheduled = false;
  #dirty = false;
  #closing = false;
  #stopTimer: (() => void) | undefined;
  #idle: (() => void) | undefined;

  constructor(
    readonly mode: SyncMode,
    /** Makes everything written so far durable, off the event loop. */
    readonly sync: () => Promise<void>,
    readonly onFailure: (error: Error) => void,
  ) {}

  /** Whether a write's answer has to wait for a sync. */
  get waits(): boolean {
    return this.mode.kind === "always";
  }

  /** A write went to the medium's cache, and its answer goes out without waiting. */
  wrote(): void {
    if (this.#dirty) return;
    this.#dirty = true;
    if (this.mode.kind === "interval" && this.#stopTimer === undefined && !this.#running)
      this.#startTimer(this.mode.intervalMs);
  }

  /** Tells the completion when everything written up to now is durable. */
  commit(completion: Completion): void {
    this.#waiting.push(completion);
    this.#schedule();
  }

  /** Makes everything durable, and nothing after that. Rejects where that fails, or has failed. */
  async close(): Promise<void> {
    this.#closing = true;
    this.#stopTimer?.();
    this.#stopTimer = undefined;
    if (this.#dirty) this.#schedule();
    while (this.#running || this.#scheduled) {
      await new Promise<void>((resolve) => {
        this.#idle = resolve;
      });
    }
    if (this.failure) throw this.failure;
    this.failure = new Error("it is closed");
  }

  #startTimer(intervalMs: number): void {
    this.#stopTimer = eventLoop.after(intervalMs, () => {
      this.#stopTimer = undefined;
      this.#schedule();
    });
  }

  // A sync starts after the batch of requests that is being taken, so that it covers all of them.
  #schedule(): void {
    if (this.#running || this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#start();
    });
  }

  #start(): void {
    this.#running = true;
    this.#dirty = false;
    const batch = this.#waiting;
    this.#waiting = this.#syncing;
    this.#syncing = batch;
    if (this.failure) {
      this.#end(MEDIUM_ERROR);
      return;
    }
    this.sync().then(
      () => this.#end(OK),
      (error: unknown) => {
        this.failure = error instanceof Error ? error : new Error(String(error));
        this.onFailure(this.failure);
        this.#end(MEDIUM_ERROR);
      },
    );
  }

  #end(status: typeof OK | typeof MEDIUM_ERROR): void {
    const batch = this.#syncing;
    for (const completion of batch) completion.complete(status);
    batch.length = 0;
    this.#running = false;
    if (this.#waiting.length > 0) this.#schedule();
    else if (this.#dirty && this.#closing) this.#schedule();
    else if (this.#dirty && this.mode.kind === "interval") this.#startTimer(this.mode.intervalMs);
    if (!this.#running && !this.#scheduled) {
      const idle = this.#idle;
      this.#idle = undefined;
      idle?.();
    }
  }
}
