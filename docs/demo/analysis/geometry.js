/** Resizing to a classifier's input, in integers, rounded once: `images.fit`. */

import { blank } from "./pixels.js";

/** @import { Pixels } from "./pixels.js" */
/** @typedef {{ pixels: Int32Array, weights: Int32Array, most: number, total: number }} Steps */

/**
 * Stretch an image to a square, each axis by itself: a shrinking one is averaged by area, a growing
 * one interpolated linearly.
 *
 * @param {Pixels} image
 * @param {number} size
 * @returns {Pixels}
 */
export function fit(image, size) {
  const [down, across] = [steps(image.height, size), steps(image.width, size)];
  const row = 3 * image.width;
  const narrow = new Float64Array(size * row);
  for (let y = 0; y < size; y++) {
    for (let k = 0; k < down.most; k++) {
      const weight = down.weights[y * down.most + k];
      const from = down.pixels[y * down.most + k] * row;
      if (!weight) continue;
      for (let x = 0; x < row; x++) narrow[y * row + x] += weight * image.data[from + x];
    }
  }
  return acrossRows(narrow, row, size, across, down.total * across.total);
}

/**
 * @param {Float64Array} narrow
 * @param {number} row
 * @param {number} size
 * @param {Steps} across
 * @param {number} total
 */
function acrossRows(narrow, row, size, across, total) {
  const result = blank(size, size);
  const half = Math.floor(total / 2);
  let to = 0;
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      for (let channel = 0; channel < 3; channel++) {
        let sum = half;
        for (let at = x * across.most; at < (x + 1) * across.most; at++) {
          sum += across.weights[at] * narrow[y * row + 3 * across.pixels[at] + channel];
        }
        result.data[to++] = Math.floor(sum / total);
      }
    }
  }
  return result;
}

/**
 * The old pixels of each new one, and their weights.
 *
 * @param {number} length
 * @param {number} size
 * @returns {Steps}
 */
function steps(length, size) {
  const shrinks = size < length;
  const most = shrinks ? Math.ceil(length / size) + 1 : 2;
  const common = shrinks ? gcd(length, size) : gcd(gcd(2 * size, 2 * length), length - size);
  const [pixels, weights] = [new Int32Array(size * most), new Int32Array(size * most)];
  for (let i = 0; i < size; i++) {
    for (let k = 0; k < most; k++) {
      const [pixel, weight] = (shrinks ? area : linear)(i, k, length, size);
      pixels[i * most + k] = Math.min(Math.max(pixel, 0), length - 1);
      weights[i * most + k] = Math.floor(weight / common);
    }
  }
  return { pixels, weights, most, total: (shrinks ? length : 2 * size) / common };
}

/** @param {number} a @param {number} b */
function gcd(a, b) {
  [a, b] = [Math.abs(a), Math.abs(b)];
  while (b) [a, b] = [b, a % b];
  return a;
}

/** @param {number} at @param {number} index @param {number} length @param {number} size */
function area(at, index, length, size) {
  const start = at * length;
  const pixel = Math.floor(start / size) + index;
  const covered = Math.min(start + length, (pixel + 1) * size) - Math.max(start, pixel * size);
  return [pixel, Math.max(covered, 0)];
}

/** @param {number} at @param {number} index @param {number} length @param {number} size */
function linear(at, index, length, size) {
  const place = (2 * at + 1) * length - size;
  const before = Math.floor(place / (2 * size));
  const beyond = place - before * 2 * size;
  return [before + index, index ? beyond : 2 * size - beyond];
}
