/** Quality of a field: what limits its use (`fields.quality`). */

import { middleOf } from "./edges.js";
import { clamp, f32, median, percentile, sortedBytes } from "./numbers.js";
import { overlapping } from "./suppression.js";
import { WHITE } from "./tiles.js";

/** @import { Box, Pixels } from "./pixels.js" */

/** Red cells below which a field has too few. */
export const FEW_CELLS = 5;

const MIN_FOCUS = 0.105;
const MAX_OVERLAP = 0.75;
const MAX_SATURATION = 0.25;
const [PALE, OVERSTAINED] = [0.13, 1.2]; // optical density of red cells in green
const TOUCHING = f32(0.8); // distance of overlapping red cells in units of their mean width
const [BLACK, FULL] = [16, 254];

/**
 * @typedef {object} Quality
 * @property {number | null} focus gradient at the edges of cells; null if blank
 * @property {number | null} overlap share of red cells that overlap others
 * @property {number} saturation share of black or white pixels
 * @property {number | null} stain median optical density of red cells
 */

/**
 * @param {Pixels} view the field at the detector's scale, or a large window of it
 * @param {Pixels} raw the same, as recorded, subsampled
 * @param {Box[]} reds
 * @param {Box[]} seen those in `view`, in its pixels
 * @returns {Quality}
 */
export function measure(view, raw, reds, seen) {
  return {
    focus: focusOf(view),
    overlap: overlapShare(reds),
    saturation: saturationOf(raw),
    stain: stainOf(view, seen),
  };
}

/** @param {Pixels} raw */
function saturationOf({ data }) {
  let count = 0;
  for (let i = 0; i < data.length; i += 3) {
    const isBlack = Math.max(data[i], data[i + 1], data[i + 2]) < BLACK;
    count += Number(isBlack || Math.min(data[i], data[i + 1], data[i + 2]) >= FULL);
  }
  return count / (data.length / 3);
}

/** The steepest gradients of green in units of its contrast. @param {Pixels} view */
function focusOf({ data, width, height }) {
  if (Math.min(width, height) < 8) return null;
  const sorted = sortedBytes(data, 1, 3);
  const [low, high] = [percentile(sorted, 2), percentile(sorted, 98)];
  if (high - low < 8) return null;
  const slopes = new Float32Array((width - 2) * (height - 2));
  let to = 0;
  for (let y = 1; y < height - 1; y++) {
    for (let x = 1; x < width - 1; x++) {
      const at = 3 * (y * width + x) + 1;
      const across = data[at + 3] - data[at - 3];
      const down = data[at + 3 * width] - data[at - 3 * width];
      slopes[to++] = across * across + down * down;
    }
  }
  const steep = f32(f32(Math.sqrt(percentile(slopes.sort(), 99, true))) / 2);
  return steep / (high - low);
}

/** @param {Pixels} view @param {Box[]} seen */
function stainOf({ data, width, height }, seen) {
  if (!seen.length) return null;
  const densities = seen.map((box) => {
    const middle = middleOf(box);
    const part = [f32(f32(0.3) * f32(box[2] - box[0])), f32(f32(0.3) * f32(box[3] - box[1]))];
    let sum = 0;
    for (const [x, y] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      const column = clamp(Math.trunc(middle[0] + part[0] * x), 0, width - 1);
      const row = clamp(Math.trunc(middle[1] + part[1] * y), 0, height - 1);
      sum += data[3 * (row * width + column) + 1];
    }
    return -Math.log((sum / 4 + 1) / (WHITE + 1));
  });
  return median(densities);
}

/** @param {Box[]} reds */
function overlapShare(reds) {
  if (!reds.length) return null;
  const middles = reds.map(middleOf);
  const widths = reds.map((box) => f32(f32(f32(box[2] - box[0]) + f32(box[3] - box[1])) / 2));
  /** @type {Set<number>} */ const touching = new Set();
  for (const { first, second } of overlapping(reds)) {
    const [a, b] = [middles[first], middles[second]];
    const distance = f32(Math.hypot(f32(a[0] - b[0]), f32(a[1] - b[1])));
    const near = f32(f32(TOUCHING * f32(widths[first] + widths[second])) / 2);
    if (distance < near) touching.add(first).add(second);
  }
  return touching.size / reds.length;
}

/**
 * What limits the use of a field, most important first.
 *
 * @param {Quality} quality
 * @param {number} reds
 * @param {boolean} isScaleKnown
 */
export function flagsOf({ focus, overlap, saturation, stain }, reds, isScaleKnown) {
  /** @type {[string, boolean][]} */
  const found = [
    ["no red cells found", reds === 0],
    ["scale unknown", reds > 0 && !isScaleKnown],
    ["too few cells", reds > 0 && reds < FEW_CELLS],
    ["too dense", (overlap ?? 0) > MAX_OVERLAP],
    ["blurred", focus !== null && focus < MIN_FOCUS],
    ["pale", stain !== null && stain < PALE],
    ["overstained", stain !== null && stain > OVERSTAINED],
    ["saturated", saturation > MAX_SATURATION],
  ];
  return found.filter(([, applies]) => applies).map(([text]) => text);
}
