/* Tables and facts that are made once and then kept up to date, so that what is selected stays selected. */
"use strict";
// The files of the page are one script in the browser: what is unused here is used in the next.
// oxlint-disable no-unused-vars

/**
 * `bar` is drawn under a cell, as a part of its width.
 * @template Row
 * @typedef {{
 *   title: string,
 *   cell: (row: Row) => string,
 *   style?: string,
 *   alarm?: (row: Row) => boolean,
 *   bar?: (row: Row) => number,
 * }} Column
 */

/**
 * @param {string} name
 * @param {string} [className]
 */
function makeFact(name, className) {
  const value = make("dd");
  const root = make("div", className, make("dt", "", name), value);
  return { root, value };
}

/**
 * @param {HTMLElement} fill
 * @param {number} part
 */
function setPart(fill, part) {
  const width = `${(Math.min(1, Math.max(0, part)) * 100).toFixed(2)}%`;
  if (fill.style.width !== width) fill.style.width = width;
}

/**
 * @template Row
 * @param {HTMLElement} place
 * @param {string} none
 * @param {Column<Row>[]} columns
 * @param {readonly Row[]} rows
 */
function showTable(place, none, columns, rows) {
  if (rows.length === 0) {
    if (place.querySelector(".none") === null) place.replaceChildren(make("p", "none", none));
    return;
  }
  let body = place.querySelector("tbody");
  if (body === null) {
    const titles = columns.map(({ title, style }) => {
      const made = make("th", style === "number" ? style : "", title);
      made.setAttribute("scope", "col");
      return made;
    });
    body = document.createElement("tbody");
    place.replaceChildren(make("table", "", make("thead", "", make("tr", "", ...titles)), body));
  }
  while (body.rows.length > rows.length) body.deleteRow(-1);
  while (body.rows.length < rows.length) body.append(make("tr", "", ...columns.map(makeCell)));
  rows.forEach((row, index) => {
    columns.forEach((column, at) => fillCell(body.rows[index]?.cells[at], column, row));
  });
}

/**
 * @param {Column<any>} column
 * @param {number} index
 */
function makeCell({ style = "", bar }, index) {
  const made = make(index === 0 ? "th" : "td", style, make("span"));
  if (index === 0) made.setAttribute("scope", "row");
  if (bar !== undefined) made.append(make("div", "cost", make("div")));
  return made;
}

/**
 * @template Row
 * @param {HTMLElement | undefined} made
 * @param {Column<Row>} column
 * @param {Row} row
 */
function fillCell(made, { cell, alarm, bar }, row) {
  const [value, cost] = made?.children ?? [];
  if (made === undefined || value === undefined) return;
  setText(value, cell(row));
  made.classList.toggle("alarm", alarm?.(row) ?? false);
  const fill = cost?.firstElementChild;
  if (bar !== undefined && fill instanceof HTMLElement) setPart(fill, bar(row));
}
