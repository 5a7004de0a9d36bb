import type { AoeTarget } from "../../protocol/aoe/target.ts";

/** Most slots a shelf can have: the slot is one byte. */
const SLOTS = 256;

/** The targets of a server by their AoE address. */
export class TargetTable {
  readonly #byAddress = new Map<number, AoeTarget>();
  #list: readonly AoeTarget[] = [];

  get list(): readonly AoeTarget[] {
    return this.#list;
  }

  find(shelf: number, slot: number): AoeTarget | undefined {
    return this.#byAddress.get(shelf * SLOTS + slot);
  }

  add(target: AoeTarget): void {
    this.#byAddress.set(target.shelf * SLOTS + target.slot, target);
    this.#list = [...this.#byAddress.values()];
  }

  remove(target: AoeTarget): void {
    this.#byAddress.delete(target.shelf * SLOTS + target.slot);
    this.#list = [...this.#byAddress.values()];
  }
}
