/** Pillow's `resize` with its filters BOX and BICUBIC, to the last bit (Resample.c). */

import { f32 } from "./numbers.js";
import { blank, cropped } from "./pixels.js";

/** @import { Box, Pixels, Size } from "./pixels.js" */
/** @typedef {"box" | "bicubic"} Filter */
/** @typedef {{ start: Int32Array, count: Int32Array, weights: Int32Array, most: number }} Taps */

const PRECISION = 22; // bits after the point

/** @type {Record<Filter, { support: number, weight: (x: number) => number }>} */
const FILTERS = {
  box: { support: 0.5, weight: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  bicubic: { support: 2, weight: bicubic },
};

/** @param {number} signed */
function bicubic(signed) {
  const a = -0.5;
  const x = Math.abs(signed);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

/**
 * Resize a part of an image.
 *
 * @param {Pixels} image
 * @param {Size} size
 * @param {Filter} filter
 * @param {Box} [box] the part, in pixels; by default all
 * @returns {Pixels}
 */
export function resized(image, size, filter, box = [0, 0, image.width, image.height]) {
  const [x0, y0, x1, y1] = box.map(f32);
  const isWhole = Number.isInteger(x0) && Number.isInteger(y0);
  if (isWhole && x1 - x0 === size[0] && y1 - y0 === size[1]) {
    return cropped(image, x0, y0, ...size);
  }
  const down = taps(image.height, y0, y1, size[1], filter);
  const across = taps(image.width, x0, x1, size[0], filter);
  if (isDownFirst(image, size)) {
    return resizedAcross(resizedDown(image, down, 0), across, 0, size[1]);
  }
  const first = down.start[0];
  const last = down.start[size[1] - 1] + down.count[size[1] - 1];
  return resizedDown(resizedAcross(image, across, first, last), down, first);
}

/**
 * Whether columns are resized before rows, as Pillow does with tall images: both orders round.
 *
 * @param {Pixels} image
 * @param {Size} size
 */
function isDownFirst(image, [width, height]) {
  return height < image.height && image.height - height > 2 * (image.width - width);
}

/**
 * The largest size of at most `longest` pixels with the same proportions, as `Image.thumbnail`.
 *
 * @param {Pixels} image
 * @param {number} longest
 * @returns {Pixels}
 */
export function thumbnail(image, longest) {
  const { width, height } = image;
  if (longest >= width && longest >= height) return image;
  const aspect = width / height;
  /** @param {number} value @param {(n: number) => number} error */
  const nearest = (value, error) => {
    const [low, high] = [Math.floor(value), Math.ceil(value)];
    return Math.max(error(high) < error(low) ? high : low, 1);
  };
  if (aspect <= 1) {
    const across = nearest(longest * aspect, (n) => Math.abs(aspect - n / longest));
    return resized(image, [across, longest], "box");
  }
  const down = nearest(longest / aspect, (n) => (n ? Math.abs(aspect - longest / n) : 0));
  return resized(image, [longest, down], "box");
}

/**
 * The first old pixel of each new one, their number, and their weights as integers.
 *
 * @param {number} length of the old side
 * @param {number} low
 * @param {number} high
 * @param {number} size of the new side
 * @param {Filter} filter
 * @returns {Taps}
 */
function taps(length, low, high, size, filter) {
  const scale = f32(high - low) / size;
  const stretch = Math.max(scale, 1);
  const support = FILTERS[filter].support * stretch;
  const most = Math.ceil(support) * 2 + 1;
  const [start, count] = [new Int32Array(size), new Int32Array(size)];
  const weights = new Int32Array(size * most);
  for (let i = 0; i < size; i++) {
    const centre = low + (i + 0.5) * scale;
    start[i] = Math.max(0, Math.trunc(centre - support + 0.5));
    count[i] = Math.min(length, Math.trunc(centre + support + 0.5)) - start[i];
    const exact = weighed(start[i], count[i], centre, 1 / stretch, filter);
    for (let k = 0; k < count[i]; k++) {
      const value = exact[k] * 2 ** PRECISION;
      weights[i * most + k] = Math.trunc(value < 0 ? value - 0.5 : value + 0.5);
    }
  }
  return { start, count, weights, most };
}

/**
 * @param {number} start
 * @param {number} count
 * @param {number} centre
 * @param {number} shrink
 * @param {Filter} filter
 */
function weighed(start, count, centre, shrink, filter) {
  const { weight } = FILTERS[filter];
  const found = new Float64Array(count);
  let total = 0;
  for (let k = 0; k < count; k++) {
    found[k] = weight((k + start - centre + 0.5) * shrink);
    total += found[k];
  }
  return total === 0 ? found : found.map((value) => value / total);
}

/** @param {Pixels} image @param {Taps} across @param {number} first @param {number} last */
function resizedAcross(image, across, first, last) {
  const { start, count, weights, most } = across;
  const result = blank(start.length, last - first);
  let to = 0;
  for (let y = first; y < last; y++) {
    for (let x = 0; x < start.length; x++, to += 3) {
      const from = 3 * (y * image.width + start[x]);
      sumInto(result.data, to, image.data, from, 3, weights, x * most, count[x]);
    }
  }
  return result;
}

/** @param {Pixels} image @param {Taps} down @param {number} first */
function resizedDown(image, down, first) {
  const { start, count, weights, most } = down;
  const result = blank(image.width, start.length);
  const row = 3 * image.width;
  let to = 0;
  for (let y = 0; y < start.length; y++) {
    for (let x = 0; x < image.width; x++, to += 3) {
      const from = row * (start[y] - first) + 3 * x;
      sumInto(result.data, to, image.data, from, row, weights, y * most, count[y]);
    }
  }
  return result;
}

/**
 * Write the weighted sum of three channels.
 *
 * @param {Uint8Array} result
 * @param {number} to
 * @param {Uint8Array} data
 * @param {number} from
 * @param {number} step from one pixel to the next
 * @param {Int32Array} weights
 * @param {number} first
 * @param {number} count
 */
function sumInto(result, to, data, from, step, weights, first, count) {
  let red = HALF;
  let green = HALF;
  let blue = HALF;
  for (let k = 0; k < count; k++, from += step) {
    const weight = weights[first + k];
    red += data[from] * weight;
    green += data[from + 1] * weight;
    blue += data[from + 2] * weight;
  }
  result[to] = limited(red);
  result[to + 1] = limited(green);
  result[to + 2] = limited(blue);
}

const HALF = 2 ** (PRECISION - 1);

/** @param {number} sum */
function limited(sum) {
  const value = sum >> PRECISION;
  return value < 0 ? 0 : value > 255 ? 255 : value;
}
