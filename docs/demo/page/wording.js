/** Number formats (`reporting.wording`). */

/** @import { Interval } from "../analysis/intervals.js" */

const MISSING = "\u2013";

/** A fraction as a percentage that never rounds to 0 or 100. @param {number | null} value */
export function percent(value) {
  if (value === null) return MISSING;
  if (value === 0 || value === 1) return `${100 * value}%`;
  let text = "";
  for (let digits = 1; digits < 10; digits++) {
    text = (100 * value).toFixed(digits);
    if (Number(text) > 0 && Number(text) < 100) break;
  }
  return `${text}%`;
}

/** An interval of fractions. @param {Interval | null} ends */
export function interval(ends) {
  if (!ends) return MISSING;
  return `${percent(ends[0]).replace("%", "")} to ${percent(ends[1])}`;
}

/** A number with few digits. @param {number} value */
export function short(value) {
  return value < 100 ? value.toFixed(1) : Math.round(value).toLocaleString("en");
}
