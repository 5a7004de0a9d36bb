const NONE = -1;

/** Lines of slots, each slot in one of them at most, through an array that they share. */
export class SlotQueue {
  count = 0;
  #head = NONE;
  #tail = NONE;

  /** `next` has a place for every slot. */
  constructor(readonly next: Int32Array) {}

  push(slot: number): void {
    this.next[slot] = NONE;
    if (this.#tail === NONE) this.#head = slot;
    else this.next[this.#tail] = slot;
    this.#tail = slot;
    this.count++;
  }

  /** Takes the slot out that has been in line for longest. The queue must not be empty. */
  shift(): number {
    const slot = this.#head;
    this.#head = this.next[slot]!;
    if (this.#head === NONE) this.#tail = NONE;
    this.count--;
    return slot;
  }

  /** Takes out the slots that are not wanted any more; the order of the others stays. */
  retain(isWanted: (slot: number) => boolean): void {
    for (let left = this.count; left > 0; left--) {
      const slot = this.shift();
      if (isWanted(slot)) this.push(slot);
    }
  }
}
