import { parse } from "smol-toml";

/** From the top of a document to a value: names of keys, and positions in lists. */
export type Path = readonly (string | number)[];

/** The line of a path, or of the nearest part of the document around it. */
export type LineOf = (path: Path) => number;

const idOf = (path: Path): string => JSON.stringify(path);

/** The names in a key as it is written: bare, quoted, dotted. */
const keyNames = (written: string): string[] => {
  const names: string[] = [];
  for (let table: unknown = parse(`${written} = 0`); typeof table === "object" && table !== null;) {
    const [name = ""] = Object.getOwnPropertyNames(table);
    names.push(name);
    table = (table as Record<string, unknown>)[name];
  }
  return names;
};

/**
 * Finds the line of every key and list element of a TOML document. The parser gives values without positions, so this
 * walks the text a second time. The text must be what the parser has accepted: this walk relies on it.
 */
export const findKeyLines = (text: string): LineOf => {
  const lines = new Map<string, number>();
  /** Index of the last element of every list of tables that has [[headers]]. */
  const lastIndex = new Map<string, number>();
  let at = 0;
  let line = 1;
  let countedTo = 0;

  const currentLine = (): number => {
    for (; countedTo < at; countedTo++) if (text[countedTo] === "\n") line++;
    return line;
  };

  const note = (path: Path): void => {
    if (!lines.has(idOf(path))) lines.set(idOf(path), currentLine());
  };

  /** Past everything up to the first match of `end`, which is not passed. */
  const skipTo = (end: RegExp): void => {
    end.lastIndex = at;
    at = end.exec(text)?.index ?? text.length;
  };

  const skipString = (): void => {
    const quote = text[at] ?? "";
    const fence = text.startsWith(quote.repeat(3), at) ? quote.repeat(3) : quote;
    at += fence.length;
    while (at < text.length && !text.startsWith(fence, at)) at += quote === '"' && text[at] === "\\" ? 2 : 1;
    at += fence.length;
    // Up to two more quotes before the closing three belong to the text.
    if (fence.length === 3) while (text[at] === quote) at++;
  };

  /** Past white space, line ends, comments and commas. */
  const skipVoid = (): void => {
    for (;;) {
      skipTo(/[^\s,]/g);
      if (text[at] !== "#") return;
      skipTo(/\n/g);
    }
  };

  /** Reads a key and passes the `=` or `]` after it. */
  const readKey = (): string[] => {
    const start = at;
    while (at < text.length && text[at] !== "=" && text[at] !== "]") {
      if (text[at] === '"' || text[at] === "'") skipString();
      else at++;
    }
    return keyNames(text.slice(start, at++));
  };

  const readPair = (table: Path): void => {
    skipVoid();
    const path = [...table];
    currentLine();
    for (const name of readKey()) {
      path.push(name);
      if (!lines.has(idOf(path))) lines.set(idOf(path), line);
    }
    readValue(path);
  };

  const readValue = (path: Path): void => {
    skipTo(/[^ \t]/g);
    const first = text[at];
    if (first === '"' || first === "'") return skipString();
    if (first !== "[" && first !== "{") return skipTo(/[,\]}#\n]/g);
    const end = first === "[" ? "]" : "}";
    at++;
    skipVoid();
    for (let index = 0; at < text.length && text[at] !== end; index++) {
      if (first === "{") readPair(path);
      else {
        note([...path, index]);
        readValue([...path, index]);
      }
      skipVoid();
    }
    at++;
  };

  /** Reads [a.b] or [[a.b]] and returns the path of the table that begins there. */
  const readHeader = (): Path => {
    const isList = text[at + 1] === "[";
    at += isList ? 2 : 1;
    const names = readKey();
    if (isList) at++;
    const path: (string | number)[] = [];
    for (const [depth, name] of names.entries()) {
      path.push(name);
      const id = idOf(path);
      const isLast = depth === names.length - 1;
      if (isList && isLast) lastIndex.set(id, (lastIndex.get(id) ?? -1) + 1);
      if (isLast && !isList) lines.delete(id);
      note(path);
      const index = lastIndex.get(id);
      if (index !== undefined) {
        path.push(index);
        note(path);
      }
    }
    return path;
  };

  let table: Path = [];
  for (skipVoid(); at < text.length; skipVoid()) {
    if (text[at] === "[") table = readHeader();
    else readPair(table);
  }

  return (path) => {
    for (let length = path.length; length > 0; length--) {
      const found = lines.get(idOf(path.slice(0, length)));
      if (found !== undefined) return found;
    }
    return 1;
  };
};
