/** The rows of an analysis as `cells.csv`. */

/** @import { CellRow } from "./analyzer.js" */

/** The columns of `cells.csv`. */
export const COLUMNS = /** @type {(keyof CellRow)[]} */ ([
  "image", "x_min", "y_min", "x_max", "y_max", "label", "confidence", "decision", "reason",
  "subtype", "subtype_confidence", "p_RBC", "p_WBC", "p_Platelets", "on_edge", "counted", "source",
  "error",
]);

const NUMBERS = new Set([
  "x_min", "y_min", "x_max", "y_max", "confidence", "subtype_confidence", "p_RBC", "p_WBC",
  "p_Platelets",
]);

/** Text that a spreadsheet would evaluate. */
const FORMULA = /^'*[=+\-@\t\r]/;

/** @param {CellRow[]} rows */
export function csv(rows) {
  const lines = rows.map((row) => COLUMNS.map((name) => cellText(name, row[name])).join(","));
  return [COLUMNS.join(","), ...lines, ""].join("\n");
}

/** @param {string} name @param {string | number | boolean | null} value */
function cellText(name, value) {
  if (value === null) return "";
  if (NUMBERS.has(name)) return decimal(Number(value));
  const text = String(value);
  const safe = FORMULA.test(text) ? `'${text}` : text;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** A number as Python writes it: `3.0`, `1e-06`. @param {number} value */
function decimal(value) {
  if (Number.isInteger(value)) return `${value}.0`;
  if (Math.abs(value) < 1e-4) return value.toExponential().replace(/e-(\d)$/, "e-0$1");
  return String(value);
}
