import { printable } from "../base/printable.ts";

/**
 * Rows as aligned columns, two spaces apart; the first row is the head. Columns named in `right` end flush. Text in
 * them may come from the wire: what cannot be printed is escaped.
 */
export function formatTable(rows: readonly (readonly string[])[], right: ReadonlySet<number> = new Set()): string {
  const cells = rows.map((row) => row.map(printable));
  const widths: number[] = [];
  for (const row of cells) row.forEach((cell, i) => (widths[i] = Math.max(widths[i] ?? 0, cell.length)));
  return cells
    .map((row) =>
      row
        .map((cell, i) => (right.has(i) ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0)))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** What a table says of its rows, under a title. */
export interface Column<Row> {
  readonly title: string;
  readonly right?: boolean;
  readonly cell: (row: Row) => string;
}

/** A column of text, and one of figures, which end flush. */
export const text = <Row>(title: string, cell: (row: Row) => string): Column<Row> => ({ title, cell });
export const count = <Row>(title: string, cell: (row: Row) => string): Column<Row> => ({ title, right: true, cell });

/** Rows under the titles of their columns, as lines. */
export function tableLines<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): readonly string[] {
  const grid = [columns.map(({ title }) => title), ...rows.map((row) => columns.map(({ cell }) => cell(row)))];
  const right = new Set(columns.flatMap((column, index) => (column.right === true ? [index] : [])));
  return formatTable(grid, right).split("\n");
}
