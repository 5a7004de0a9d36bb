import { TomlDate, type TomlTable, type TomlValue } from "smol-toml";
import type { Problem } from "./config-error.ts";
import type { LineOf, Path } from "./key-lines.ts";
import { nearestName } from "./nearest-name.ts";

/** One document that is being read; what is wrong is gathered in `problems`, so that all of it is reported. */
interface Document {
  readonly file: string;
  readonly lineOf: LineOf;
  readonly problems: Problem[];
  /** Names of the keys of every table, by the table's dotted name. */
  readonly knownKeys: ReadonlyMap<string, readonly string[]>;
}

/** A value's place in its document, present or not. */
export interface Place {
  readonly document: Document;
  readonly path: Path;
}

/** Reads one value. Where it is wrong, reports that and returns undefined. */
export type Reader<T> = (value: TomlValue, place: Place) => T | undefined;

export type Schema = Readonly<Record<string, Reader<unknown>>>;

/** A table that was read: the values that are there and right. */
export interface Table<S extends Schema> {
  readonly place: Place;
  readonly values: { readonly [K in keyof S]?: (S[K] extends Reader<infer T> ? T : never) | undefined };
  /** Whether a key is there, right or wrong. */
  has(key: keyof S): boolean;
}

export const inside = ({ document, path }: Place, key: string | number): Place => ({ document, path: [...path, key] });

export const lineAt = ({ document, path }: Place): number => document.lineOf(path);

/** Dotted name of a place. Positions in lists are left out: the line tells them apart. */
const nameOf = ({ path }: Place): string =>
  path
    .filter((part) => typeof part === "string")
    .map((part) => (/^[\w-]+$/.test(part) ? part : quote(part)))
    .join(".");

/** Reports a problem. `reason` says what is wrong, then what to do. */
export const fail = (place: Place, reason: string): undefined => {
  const { file, problems } = place.document;
  problems.push({ file, line: lineAt(place), key: nameOf(place), reason });
};

/** A text from the document within a message: on one line, and not without end. */
export const quote = (text: string): string => JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}...` : text);

/** "a, b or c" */
export const choice = (words: readonly string[]): string =>
  words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`;

const isTable = (value: TomlValue): value is TomlTable =>
  typeof value === "object" && !Array.isArray(value) && !(value instanceof TomlDate);

/** The type of a value, never the value: that may be a secret in the wrong place. */
const typeName = (value: TomlValue): string => {
  if (Array.isArray(value)) return "a list";
  if (isTable(value)) return "a table";
  const names: Record<string, string> = { string: "a string", bigint: "an integer", number: "a float" };
  return names[typeof value] ?? (typeof value === "boolean" ? "a boolean" : "a date");
};

/** Reports a value of the wrong type. `wanted` says what to write. */
export const failType = (place: Place, value: TomlValue, wanted: string): undefined =>
  fail(place, `is ${typeName(value)}; write ${wanted}`);

export const asText: Reader<string> = (value, place) =>
  typeof value === "string" ? value : failType(place, value, "a string in quotes");

export const asFlag: Reader<boolean> = (value, place) =>
  typeof value === "boolean" ? value : failType(place, value, "true or false");

/** `because` explains the bounds. */
export const asInteger =
  (least: number, most: number, because = ""): Reader<number> =>
  (value, place) => {
    const wanted = `an integer from ${least} to ${most}${because}`;
    if (typeof value !== "bigint") return failType(place, value, wanted);
    if (value < least || value > most) return fail(place, `${value} is out of range; write ${wanted}`);
    return Number(value);
  };

export const asOneOf = <const T extends string>(names: readonly T[]): Reader<T> => {
  const wanted = choice(names.map(quote));
  return (value, place) => {
    if (typeof value !== "string") return failType(place, value, wanted);
    return names.find((name) => name === value) ?? fail(place, `${quote(value)} is not known; write ${wanted}`);
  };
};

/** A string that `parse` turns into something else, or throws a RangeError that tells why it does not. */
export const asParsed =
  <T>(wanted: string, parse: (text: string) => T): Reader<T> =>
  (value, place) => {
    if (typeof value !== "string") return failType(place, value, wanted);
    try {
      return parse(value);
    } catch (error) {
      if (error instanceof RangeError) return fail(place, `${quote(value)} ${error.message}`);
      throw error;
    }
  };

/** A list. Every element that is wrong is reported. */
export const asListOf =
  <T>(read: Reader<T>): Reader<readonly T[]> =>
  (value, place) => {
    if (!Array.isArray(value)) return failType(place, value, "a list in brackets, [ ... ]");
    const elements = value.map((element, index) => read(element, inside(place, index)));
    return elements.every((element) => element !== undefined) ? elements : undefined;
  };

const failUnknown = (place: Place, key: string, known: readonly string[]): undefined => {
  const elsewhere = [...place.document.knownKeys].find(([, keys]) => keys.includes(key))?.[0];
  const advice =
    elsewhere === undefined
      ? `"${nearestName(key, known)}"; correct or remove it`
      : `"${key}" ${elsewhere === "" ? "at the top" : `in [${elsewhere}]`}; move or remove it`;
  return fail(inside(place, key), `unknown key; the nearest known key is ${advice}`);
};

export const asTable =
  <S extends Schema>(schema: S): Reader<Table<S>> =>
  (value, place) => {
    if (!isTable(value)) return failType(place, value, `a table, [${nameOf(place)}]`);
    const values: Record<string, unknown> = {};
    for (const [key, element] of Object.entries(value)) {
      const read = Object.hasOwn(schema, key) ? schema[key] : undefined;
      if (read === undefined) failUnknown(place, key, Object.keys(schema));
      else values[key] = read(element, inside(place, key));
    }
    return { place, values: values as Table<S>["values"], has: (key) => Object.hasOwn(values, key) };
  };

/** Whether a key is there with a value that has been reported as wrong. */
export const isWrong = <S extends Schema>(table: Table<S>, key: keyof S & string): boolean =>
  table.has(key) && table.values[key] === undefined;

/** The value of a key that must be there. `advice` says what to write where it is not. */
export const requireKey = <S extends Schema, K extends keyof S & string>(
  table: Table<S>,
  key: K,
  advice: string,
): Table<S>["values"][K] => {
  if (!table.has(key)) fail(inside(table.place, key), `is missing; ${advice}`);
  return table.values[key];
};
