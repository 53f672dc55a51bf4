/** The counts, the field and its cells on the page. */

import { counted, FEWEST_WHITE } from "../analysis/counts.js";
import { byId, element } from "./elements.js";
import { cellImage, drawField } from "./overlay.js";
import { interval, percent, short } from "./wording.js";

/** @import { Analysis, CellRow } from "../analysis/analyzer.js" */
/** @import { Counts } from "../analysis/counts.js" */

/** @typedef {{ name: string, file: Blob, analysis: Analysis, seconds: number }} Field */

const NAMES = { RBC: "Red cells", WBC: "White cells", Platelets: "Platelets" };
const IMAGE = 134; // pixels of a cell's image, twice its size on the page
const MOST_SHOWN = 60; // cells in a list

/** @param {Counts} counts @param {number} fields */
export function showCounts(counts, fields) {
  const entries = Object.entries(NAMES).map(([label, name]) => {
    const { n, interval: ends } = counts.cells[label];
    return metric(name, n, `95% limits ${short(ends[0])} to ${short(ends[1])}`);
  });
  const review = Object.values(counts.cells).reduce((sum, one) => sum + one.review, 0);
  entries.push(metric("For review", review, "by a person"));
  if (fields > 1) entries.unshift(metric("Fields", fields, "summed"));
  byId("metrics").replaceChildren(...entries);
  const { notCounted } = counts;
  const edge = `${counted(notCounted, "cell")} at the right or lower edge: not counted.`;
  const notes = [...plateletNotes(counts), ...counts.notes, ...(notCounted ? [edge] : [])];
  byId("notes").replaceChildren(...notes.map((note) => element("li", "", note)));
  byId("kinds").replaceChildren(...kindRows(counts));
}

/** @param {string} name @param {number} value @param {string} note */
function metric(name, value, note) {
  const shown = element("dd", "value", value.toLocaleString("en"));
  return element("div", "", element("dt", "", name), shown, element("dd", "note", note));
}

/** @param {Counts} counts */
function plateletNotes({ platelets, plateletsInterval }) {
  if (platelets === null || !plateletsInterval) return [];
  const [low, high] = plateletsInterval.map((value) => value.toFixed(1));
  return [`Platelets per 1,000 red cells: ${platelets.toFixed(1)} (95% limits ${low} to ${high}).`];
}

/** The differential, as rows of a table. @param {Counts} counts */
function kindRows({ classes, white, nucleated }) {
  if (!white && !nucleated) return [];
  const hasShares = white >= FEWEST_WHITE;
  const titles = ["Kind", "Cells", ...(hasShares ? ["Share", "95% limits"] : [])];
  const head = element("tr", "", ...titles.map((title) => {
    const cell = element("th", "", title);
    cell.scope = "col";
    return cell;
  }));
  const rows = Object.entries(classes).map(([name, one]) => {
    const shares = hasShares ? [percent(one.fraction), interval(one.interval)] : [];
    return tableRow([name, one.n.toLocaleString("en"), ...shares]);
  });
  const empty = hasShares ? ["", ""] : [];
  const red = nucleated ? [tableRow(["nucleated red cells", String(nucleated), ...empty])] : [];
  const caption = element("caption", "note", "Differential of the counted white cells");
  return [caption, element("thead", "", head), element("tbody", "", ...rows, ...red)];
}

/** @param {string[]} texts */
function tableRow([name, ...texts]) {
  const head = element("th", "", name);
  head.scope = "row";
  return element("tr", "", head, ...texts.map((text) => element("td", "", text)));
}

/**
 * Show a field with its cells.
 *
 * @param {Field} field
 * @param {ImageBitmap} bitmap
 * @param {boolean} shows whether outlines are shown
 * @param {CellRow | null} chosen
 * @param {(cell: CellRow) => void} choose
 */
export function showField({ name, analysis, seconds }, bitmap, shows, chosen, choose) {
  const { field, cells } = analysis;
  const canvas = /** @type {HTMLCanvasElement} */ (byId("canvas"));
  drawField(canvas, bitmap, analysis, shows, chosen);
  const own = cells.filter((cell) => cell.counted);
  const n = (/** @type {string} */ label) => own.filter((cell) => cell.label === label).length;
  const counts = `${n("RBC")} red, ${n("WBC")} white, ${counted(n("Platelets"), "platelet")}`;
  canvas.setAttribute("aria-label", `${name} with its cells: ${counts}`);
  const width = field.rbc_diameter_px;
  const scale = width ? `red cells ${width.toFixed(1)} pixels wide; ` : "";
  const text = `${name}: ${counts}; ${scale}analysed in ${seconds.toFixed(1)} s`;
  const flags = element("div", "flags", `Check: ${field.flags.join("; ")}`);
  byId("caption").replaceChildren(text, ...(field.flags.length ? [flags] : []));
  byId("legend").replaceChildren(...legend(cells));
  const review = cells.filter((cell) => cell.decision === "review");
  const whites = cells.filter((cell) => cell.label === "WBC" && cell.decision !== "review");
  byId("review-note").textContent = review.length
    ? `For a person to check: ${counted(review.length, "cell")}, with a dashed outline.`
    : "No cells in this field need review.";
  showCells("review", review, bitmap, chosen, choose);
  showCells("whites", whites, bitmap, chosen, choose);
}

/** @param {CellRow[]} cells */
function legend(cells) {
  const entries = Object.entries(NAMES).map(([label, name]) => {
    return element("li", "", element("span", `swatch ${label}`), name);
  });
  const has = (/** @type {(cell: CellRow) => boolean} */ test) => cells.some(test);
  if (has((cell) => cell.decision === "review")) {
    entries.push(element("li", "", element("span", "swatch review"), "for review"));
  }
  if (has((cell) => !cell.counted)) {
    entries.push(element("li", "", element("span", "swatch faint"), "at the edge, not counted"));
  }
  return entries;
}

/**
 * @param {string} id
 * @param {CellRow[]} cells
 * @param {ImageBitmap} bitmap
 * @param {CellRow | null} chosen
 * @param {(cell: CellRow) => void} choose
 */
function showCells(id, cells, bitmap, chosen, choose) {
  const items = cells.slice(0, MOST_SHOWN).map((cell) => {
    const button = element("button", "cell", cellImage(bitmap, cell, IMAGE), description(cell));
    button.type = "button";
    button.setAttribute("aria-pressed", String(cell === chosen));
    button.addEventListener("click", () => choose(cell));
    return element("li", "", button);
  });
  const rest = cells.length - items.length;
  if (rest > 0) items.push(element("li", "note", `${counted(rest, "more cell")}: see cells.csv`));
  byId(id).replaceChildren(...items);
}

/** @param {CellRow} cell */
function description(cell) {
  const title = cell.subtype ? `${cell.label}: ${cell.subtype}` : cell.label;
  const sure = percent(cell.subtype_confidence ?? cell.confidence);
  const [sign, word] = cell.decision === "review" ? ["?", "review"] : ["✓", "accepted"];
  const chip = element("span", `chip ${word}`, `${sign} ${word}`);
  const edge = cell.counted ? "" : "at the edge, not counted";
  const why = [cell.reason, edge].filter(Boolean).join("; ");
  const note = why ? [element("span", "note", element("br"), why)] : [];
  return element("span", "", element("b", "", title), `${sure} `, chip, ...note);
}
