/** The stain of a field, measured on its background, red cells and nuclei (`images.stain`). */

import { clamp, f32, median, percentile, roundEven } from "./numbers.js";
import { mapped } from "./pixels.js";

/** @import { Box, Colour, Pixels } from "./pixels.js" */
/** @typedef {{ background: Colour, red_cell: Colour }} Stain */
/** @typedef {number[][]} Matrix three rows of three */

const FEW = 3; // red cells that show the stain
const [GRID, REACH] = [9, 0.8]; // points across each red cell, and the share of its box
const SHARE = 0.5; // exponent of the gains
const GAINS = [0.5, 2];
const LEAST_DENSITY = 0.02;
const DARKEST = 0.3; // share of the pixels around the middle whose median is the nucleus
const SAMPLED = 24; // pixels from the middle to the end, at least
const LEAST_ANGLE = (6 * Math.PI) / 180;
const TINY = 1e-6;
const CHANNELS = /** @type {const} */ ([0, 1, 2]);

/**
 * Measure the stain of a field; null with fewer than three red cells.
 *
 * @param {Pixels} pixels the field as recorded
 * @param {Colour} background
 * @param {Box[]} redCells
 * @returns {Stain | null}
 */
export function measureStain(pixels, background, redCells) {
  if (redCells.length < FEW) return null;
  const points = gridPoints();
  const each = redCells.map((box) => medianColour(pixels, box, points));
  const red = CHANNELS.map((channel) => median(each.map((colour) => colour[channel])));
  return { background, red_cell: /** @type {Colour} */ (red) };
}

function gridPoints() {
  const steps = Array.from({ length: GRID }, (_, i) => -1 + (i * 2) / (GRID - 1));
  const points = steps.flatMap((y) => steps.map((x) => [x, y]));
  return points.filter(([x, y]) => x ** 2 + y ** 2 <= 1);
}

/** @param {Pixels} pixels @param {Box} box @param {number[][]} points */
function medianColour({ data, width, height }, box, points) {
  const [middle, reach] = [0, 1].reduce(
    (/** @type {number[][]} */ [centre, half], axis) => [
      [...centre, f32(f32(box[axis] + box[axis + 2]) / 2)],
      [...half, f32(f32(f32(REACH) * f32(box[axis + 2] - box[axis])) / 2)],
    ],
    [[], []],
  );
  const places = points.map(([x, y]) => {
    const column = clamp(Math.trunc(middle[0] + reach[0] * x), 0, width - 1);
    const row = clamp(Math.trunc(middle[1] + reach[1] * y), 0, height - 1);
    return 3 * (row * width + column);
  });
  return CHANNELS.map((channel) => median(places.map((place) => data[place + channel])));
}

/**
 * Change the stain of an image from `stain` towards `target`: in each channel the optical density,
 * relative to the background, is multiplied.
 *
 * @param {Pixels} pixels
 * @param {Stain} stain
 * @param {Stain} target
 */
export function recoloured(pixels, stain, target) {
  const tables = CHANNELS.map((c) => {
    return table(stain.background[c], stain.red_cell[c], target.background[c], target.red_cell[c]);
  });
  return mapped(pixels, tables);
}

/** @param {number} from @param {number} red @param {number} to @param {number} goal */
function table(from, red, to, goal) {
  const [begin, end] = [Math.max(from, 1), Math.max(to, 1)];
  const [own, wanted] = [Math.log(begin / Math.max(red, 1)), Math.log(end / Math.max(goal, 1))];
  const isUsable = Math.min(own, wanted) >= LEAST_DENSITY;
  const gain = isUsable ? clamp((wanted / own) ** SHARE, GAINS[0], GAINS[1]) : 1;
  return Uint8Array.from({ length: 256 }, (_, level) => {
    return roundEven(clamp(end * (level / begin) ** gain, 0, 255));
  });
}

/**
 * Change the stain of a white cell as `recoloured` does, then turn the dye of its nucleus half-way
 * towards that of `nucleus`.
 *
 * @param {Pixels} cell a white cell in the middle
 * @param {Stain} stain
 * @param {Stain} target
 * @param {Colour} nucleus the nuclear colour that belongs to `target`
 * @param {number} radius how near to the middle the nucleus is measured, in pixels
 * @returns {Pixels}
 */
export function redyed(cell, stain, target, nucleus, radius) {
  const changed = recoloured(cell, stain, target);
  const tables = densities(target);
  const red = densityOf(recoloured(pixel(stain.red_cell), stain, target), tables);
  const goal = densityOf(pixel(nucleus), tables);
  const map = between(red, nuclear(changed, tables, radius), goal, 0.5);
  return map ? remapped(changed, tables, map, target) : changed;
}

/** @param {Colour} colour @returns {Pixels} */
function pixel(colour) {
  return { data: Uint8Array.from(colour, roundEven), width: 1, height: 1 };
}

/** The density of each value of each channel. @param {Stain} stain */
function densities(stain) {
  return stain.background.map((background) => {
    return Float32Array.from({ length: 256 }, (_, i) => Math.log(f32(background + 1) / (i + 1)));
  });
}

/** @param {Pixels} pixel @param {Float32Array[]} tables */
const densityOf = ({ data }, tables) => CHANNELS.map((c) => tables[c][data[c]]);

/**
 * The median density of the darkest pixels near the middle.
 *
 * @param {Pixels} cell
 * @param {Float32Array[]} tables
 * @param {number} radius
 */
function nuclear({ data, width, height }, tables, radius) {
  const step = Math.max(1, Math.trunc(radius / SAMPLED));
  const values = [];
  for (let y = 0; y < height; y += step) {
    for (let x = 0; x < width; x += step) {
      const square = (y - (height - 1) / 2) ** 2 + (x - (width - 1) / 2) ** 2;
      const at = 3 * (y * width + x);
      if (square >= Math.max(radius, 1) ** 2) continue;
      values.push(CHANNELS.map((c) => tables[c][data[at + c]]));
    }
  }
  const totals = values.map(([red, green, blue]) => f32(f32(red + green) + blue));
  const least = percentile(Float32Array.from(totals).sort(), 100 * (1 - DARKEST), true);
  const dark = values.filter((_, i) => totals[i] >= least);
  return CHANNELS.map((c) => median(dark.map((value) => value[c]), true));
}

/**
 * The map that keeps `red` and turns `own` towards `goal`; null without one.
 *
 * @param {number[]} red
 * @param {number[]} own
 * @param {number[]} goal
 * @param {number} turn
 */
function between(red, own, goal, turn) {
  const lengths = [red, own, goal].map(norm);
  if (Math.min(...lengths) < LEAST_DENSITY) return null;
  const [eosin, hue, wanted] = [red, own, goal].map((one, i) => one.map((v) => v / lengths[i]));
  const turned = unit(hue.map((value, i) => (1 - turn) * value + turn * wanted[i]));
  const across = [cross(eosin, hue), cross(eosin, turned)];
  if (Math.min(...across.map(norm)) < Math.sin(LEAST_ANGLE)) return null;
  const amount = (lengths[2] / lengths[1]) ** SHARE;
  const begin = columns(eosin, hue, unit(across[0]));
  const end = columns(eosin, turned.map((value) => amount * value), unit(across[1]));
  return product(end, inverse(begin));
}

/**
 * @param {Pixels} changed
 * @param {Float32Array[]} tables
 * @param {Matrix} map
 * @param {Stain} target
 * @returns {Pixels}
 */
function remapped(changed, tables, map, target) {
  const data = new Uint8Array(changed.data.length);
  const lit = target.background.map((value) => value + 1);
  for (let i = 0; i < data.length; i += 3) {
    const red = tables[0][changed.data[i]];
    const green = tables[1][changed.data[i + 1]];
    const blue = tables[2][changed.data[i + 2]];
    for (const c of CHANNELS) {
      const density = map[c][0] * red + map[c][1] * green + map[c][2] * blue;
      const value = f32(f32(f32(Math.exp(-f32(density))) * lit[c]) - 0.5);
      data[i + c] = clamp(value, 0, 255);
    }
  }
  return { ...changed, data };
}

/** @param {number[]} vector */
const norm = (vector) => Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0));

/** @param {number[]} vector */
function unit(vector) {
  const length = Math.max(norm(vector), TINY);
  return vector.map((value) => value / length);
}

/** @param {number[]} a @param {number[]} b */
function cross([a0, a1, a2], [b0, b1, b2]) {
  return [a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0];
}

/** @param {number[]} a @param {number[]} b @param {number[]} c @returns {Matrix} */
const columns = (a, b, c) => CHANNELS.map((i) => [a[i], b[i], c[i]]);

/** @param {Matrix} a @param {Matrix} b @returns {Matrix} */
function product(a, b) {
  return a.map((row) => {
    return CHANNELS.map((j) => row.reduce((sum, value, k) => sum + value * b[k][j], 0));
  });
}

/** @param {Matrix} matrix @returns {Matrix} */
function inverse([a, b, c]) {
  const rows = [cross(b, c), cross(c, a), cross(a, b)]; // columns of the adjugate
  const determinant = a.reduce((sum, value, i) => sum + value * rows[0][i], 0);
  return CHANNELS.map((i) => CHANNELS.map((j) => rows[j][i] / determinant));
}
