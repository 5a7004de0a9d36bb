import { inspect } from "node:util";

const SHOWN = "[secret]";

/**
 * A credential, which no log, status, error or JSON document shows: only `reveal` gives it. A class, because a private
 * field is what keeps it from inspection.
 */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  reveal(): string {
    return this.#value;
  }

  toString(): string {
    return SHOWN;
  }

  toJSON(): string {
    return SHOWN;
  }

  [inspect.custom](): string {
    return SHOWN;
  }
}

/** Whether there is a secret anywhere in a value. */
export const holdsSecret = (value: unknown): boolean =>
  value instanceof Secret || (typeof value === "object" && value !== null && Object.values(value).some(holdsSecret));
