/** A number with at least two digits that matter, three from 10 on. */
export const figure = (value: number): string =>
  value >= 100 ? value.toFixed(0) : value.toPrecision(value >= 10 ? 3 : 2);

/** Bold where it is not what was asked for. */
export const verdict = (text: string, isReached: boolean): string => (isReached ? text : `**${text}**`);

/** A table whose first column is text, and the others figures. Ends with a line feed. */
export function table(header: readonly string[], lines: readonly (readonly string[])[]): string {
  const rule = header.map((_, i) => (i === 0 ? "---" : "---:"));
  return `${[header, rule, ...lines].map((cells) => `| ${cells.join(" | ")} |`).join("\n")}\n`;
}
