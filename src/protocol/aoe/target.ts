import type { BlockStorage } from "../../storage/block-storage.ts";
import { newTargetCounters } from "../target-counters.ts";
import { identifyDevice } from "./identify.ts";
import type { Mac } from "./mac.ts";

/** What initiators may change about a target, and what outlives a restart. */
export interface TargetState {
  readonly configString: Uint8Array;
  /** MACs that may use the target; empty: all may. */
  readonly mask: readonly Mac[];
  /** MACs that hold the target reserved; empty: nobody does. */
  readonly reservations: readonly Mac[];
}

/** Most entries of a mask list and of a reservation, since their counts travel in one byte. */
export const LIST_MOST_ENTRIES = 255;

/** A disk as AoE initiators see it: an address, a storage, and the state they may change. */
export class AoeTarget {
  readonly counters = newTargetCounters();
  /** The answer to IDENTIFY DEVICE. */
  identify: Uint8Array;
  /** While a change is being made durable, further changes are dropped: initiators ask again. */
  saving = false;
  maskSet: ReadonlySet<Mac> = new Set();
  reservationSet: ReadonlySet<Mac> = new Set();
  #state: TargetState;

  constructor(
    readonly shelf: number,
    readonly slot: number,
    readonly storage: BlockStorage,
    state: TargetState,
    /** MACs that the configuration allows: always on the mask, beyond the reach of the wire. */
    readonly maskFloor: readonly Mac[],
    /** Makes a new state durable, before it is answered. */
    readonly save: (state: TargetState) => Promise<void>,
  ) {
    this.identify = identifyDevice(storage.info);
    this.#state = state;
    this.state = state;
    storage.onResize(() => {
      this.identify = identifyDevice(storage.info);
    });
  }

  get state(): TargetState {
    return this.#state;
  }

  set state(state: TargetState) {
    this.#state = state;
    this.maskSet = new Set(state.mask);
    this.reservationSet = new Set(state.reservations);
  }
}
