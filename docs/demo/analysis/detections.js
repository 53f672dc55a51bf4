/** Cells that the detector finds. */

/** @import { Box } from "./pixels.js" */

/**
 * @typedef {object} Detection
 * @property {Box} box in pixels, float32
 * @property {number[]} scores calibrated probability of each class, by itself, float32
 * @property {number} label index of the class
 * @property {[number, number]} point the place in the map of heat that found it
 */

/** The probability of a cell's own class. @param {Detection} cell */
export const confidenceOf = (cell) => cell.scores[cell.label];

/**
 * Compare by several keys, the most important first; `sort` with it is NumPy's `lexsort`.
 *
 * @template T
 * @param {((item: T) => number)[]} keys
 * @returns {(a: T, b: T) => number}
 */
export function by(...keys) {
  return (a, b) => {
    for (const key of keys) {
      const order = key(a) - key(b);
      if (order) return order;
    }
    return 0;
  };
}
