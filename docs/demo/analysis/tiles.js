/** A field at the detector's scale, and detection in tiles (`fields.tiles`). */

import { PADDING } from "./detector.js";
import { clamp, f32, roundEven } from "./numbers.js";
import { cropped, mapped, stacked } from "./pixels.js";
import { resized } from "./resample.js";

/** @import { Box, Colour, Pixels, Size } from "./pixels.js" */
/** @import { Circle } from "./edges.js" */
/** @import { Detection } from "./detections.js" */
/** @import { Detector } from "./detector.js" */
/** @typedef {{ core: Box, outer: Box }} Tile */

/** The brightest patch's value in each channel after balancing. */
export const WHITE = 235;

const DARKEST_WHITE = 60;
const CORE = 512; // side of a tile's core in pixels of the detector's input
const MARGIN = 192; // around a core
const WHOLE = CORE + 2 * MARGIN; // a field with at most this side is not cut into tiles
const AT_ONCE = 2 ** 22; // pixels of the field that are scaled together

/** A field, white-balanced, that can be scaled as a whole or in windows. */
export class FieldImage {
  /** @param {Pixels} pixels @param {Colour} white the background @param {Circle | null} circle */
  constructor(pixels, white, circle) {
    this.pixels = pixels;
    this.circle = circle;
    this.width = pixels.width;
    this.height = pixels.height;
    this.tables = white.map((value) => {
      const gain = f32(WHITE / Math.max(f32(value), DARKEST_WHITE));
      return Uint8Array.from({ length: 256 }, (_, i) => roundEven(Math.min(i * gain, 255)));
    });
  }

  /** Width and height when scaled by about `factor`. @param {number} factor @returns {Size} */
  size(factor) {
    const [width, height] = [this.width * factor, this.height * factor];
    return [Math.max(1, roundEven(width)), Math.max(1, roundEven(height))];
  }

  /**
   * A window of the field scaled to `size`.
   *
   * @param {Size} size
   * @param {Box} [box] in the scaled field; by default all
   * @returns {Pixels}
   */
  window(size, box = [0, 0, ...size]) {
    const [x0, y0, x1, y1] = box;
    const [across, down] = [this.width / size[0], this.height / size[1]];
    if ((x1 - x0) * (y1 - y0) * across * down > AT_ONCE && y1 - y0 > 1) {
      const middle = Math.floor((y0 + y1) / 2);
      const upper = this.window(size, [x0, y0, x1, middle]);
      return stacked(upper, this.window(size, [x0, middle, x1, y1]));
    }
    return this.#masked(this.#scaled(box, across, down), [x0, y0], across, down);
  }

  /** @param {Box} box @param {number} across @param {number} down */
  #scaled([x0, y0, x1, y1], across, down) {
    const grows = across < 1 || down < 1;
    const near = 3 + Math.ceil(Math.max(across, down));
    const left = Math.max(0, Math.trunc(x0 * across) - near);
    const top = Math.max(0, Math.trunc(y0 * down) - near);
    const right = Math.min(this.width, Math.ceil(x1 * across) + near);
    const bottom = Math.min(this.height, Math.ceil(y1 * down) + near);
    const part = cropped(this.pixels, left, top, right - left, bottom - top);
    /** @type {Box} */
    const edges = [
      clamp(x0 * across - left, 0, part.width),
      clamp(y0 * down - top, 0, part.height),
      clamp(x1 * across - left, 0, part.width),
      clamp(y1 * down - top, 0, part.height),
    ];
    /** @type {Size} */ const wanted = [x1 - x0, y1 - y0];
    if (grows) return resized(mapped(part, this.tables), wanted, "bicubic", edges);
    return mapped(resized(part, wanted, "box", edges), this.tables);
  }

  /** @param {Pixels} view @param {Size} origin @param {number} across @param {number} down */
  #masked(view, [left, top], across, down) {
    if (!this.circle) return view;
    const { x, y, radius } = this.circle;
    for (let row = 0; row < view.height; row++) {
      for (let column = 0; column < view.width; column++) {
        const dx = (column + left + 0.5) * across - x;
        const dy = (row + top + 0.5) * down - y;
        if (dy ** 2 + dx ** 2 <= radius ** 2) continue;
        const at = 3 * (row * view.width + column);
        view.data.fill(PADDING, at, at + 3);
      }
    }
    return view;
  }
}

/**
 * The tiles of a scaled field, row by row.
 *
 * @param {Size} size
 * @param {number} multiple
 * @returns {Generator<Tile>}
 */
export function* tiles([width, height], multiple) {
  if (Math.max(width, height) <= WHOLE) {
    yield { core: [0, 0, width, height], outer: [0, 0, width, height] };
    return;
  }
  const around = multiple * Math.ceil(MARGIN / multiple);
  for (let top = 0; top < height; top += CORE) {
    for (let left = 0; left < width; left += CORE) {
      const [right, bottom] = [Math.min(left + CORE, width), Math.min(top + CORE, height)];
      yield {
        core: [left, top, right, bottom],
        outer: [
          Math.max(0, left - around),
          Math.max(0, top - around),
          Math.min(width, right + around),
          Math.min(height, bottom + around),
        ],
      };
    }
  }
}

/**
 * The cells of a field scaled to `size`; boxes are in pixels of the scaled field.
 *
 * @param {Detector} detector
 * @param {FieldImage} field
 * @param {Size} size
 * @param {(done: number, total: number) => void} progress called after each tile
 */
export async function detect(detector, field, size, progress) {
  const all = [...tiles(size, detector.multiple)];
  const whole = field.window(size);
  const found = [];
  for (const [index, tile] of all.entries()) {
    const [x0, y0, x1, y1] = tile.outer;
    const view = all.length > 1 ? cropped(whole, x0, y0, x1 - x0, y1 - y0) : whole;
    found.push(...own(await detector.candidates(view), tile, detector.stride));
    progress(index + 1, all.length);
  }
  return detector.distinct(found);
}

/**
 * The candidates in the core of a tile, in the coordinates of the scaled field.
 *
 * @param {Detection[]} cells
 * @param {Tile} tile
 * @param {number} stride
 * @returns {Detection[]}
 */
function own(cells, { core, outer }, stride) {
  const [left, top] = outer;
  const found = [];
  for (const cell of cells) {
    const [column, row] = [cell.point[0] + left / stride, cell.point[1] + top / stride];
    const [x, y] = [(column + 0.5) * stride, (row + 0.5) * stride];
    if (x < core[0] || y < core[1] || x >= core[2] || y >= core[3]) continue;
    const [x0, y0, x1, y1] = cell.box;
    /** @type {Box} */
    const box = [f32(x0 + left), f32(y0 + top), f32(x1 + left), f32(y1 + top)];
    found.push({ ...cell, box, point: /** @type {[number, number]} */ ([column, row]) });
  }
  return found;
}
