/** The detector: from pixels at its scale to cells (`model.detector`). */

import { by, confidenceOf } from "./detections.js";
import { clamp, f32 } from "./numbers.js";
import { suppressed } from "./suppression.js";

/** @import { Box, Pixels } from "./pixels.js" */
/** @import { Detection } from "./detections.js" */
/** @import { Graph } from "./session.js" */

/** Grey of the pixels to the right of and below an image. */
export const PADDING = 128;

const LEAST = 1e-6; // heat, and 1 less it

/**
 * @typedef {object} DetectorManifest what `bundle.json` states
 * @property {{ classes: string[] }} taxonomy
 * @property {{ min_confidence: number }} thresholds
 * @property {{ red_cell_px: number, stride: number, multiple: number, box_scale?: number,
 *   thresholds: Record<string, number>,
 *   calibration: Record<string, { a: number, b: number }> }} detection
 */

/** @typedef {{ data: Float32Array, rows: number, columns: number }} Plane */

export class Detector {
  /** @param {Graph} graph @param {DetectorManifest} manifest */
  constructor(graph, manifest) {
    const { detection } = manifest;
    this.graph = graph;
    this.classes = manifest.taxonomy.classes;
    this.minConfidence = manifest.thresholds.min_confidence;
    this.redCellPx = detection.red_cell_px;
    this.stride = detection.stride;
    this.multiple = detection.multiple;
    this.boxScale = f32(detection.box_scale ?? 1);
    this.least = this.classes.map((name) => f32(detection.thresholds[name]));
    this.calibration = this.classes.map((name) => detection.calibration[name]);
    this.red = this.classes.indexOf("RBC");
  }

  /**
   * The peaks of heat as confident as their class's threshold, with duplicates.
   *
   * @param {Pixels} pixels
   * @returns {Promise<Detection[]>}
   */
  async candidates(pixels) {
    const input = padded(pixels, this.multiple);
    const dims = [1, input.height, input.width, 3];
    const { heat, distances } = await this.graph.run(input.data, dims, ["heat", "distances"]);
    const [rows, columns] = [input.height / this.stride, input.width / this.stride];
    if (heat.length !== rows * columns * this.classes.length) {
      throw new Error(`The detector returned ${heat.length} values for ${rows} x ${columns}.`);
    }
    const found = [];
    for (const [place, label] of peaks(heat, rows, columns, this.classes.length)) {
      const cell = this.#cell(heat, distances, place, label, rows, columns, pixels);
      if (cell) found.push(cell);
    }
    return found;
  }

  /**
   * The cells without duplicates, most confident first.
   *
   * @param {Detection[]} found
   */
  distinct(found) {
    const gone = suppressed(found, this.classes);
    return found
      .filter((_, index) => !gone.has(index))
      .sort(by((cell) => -confidenceOf(cell), (cell) => cell.box[1], (cell) => cell.box[0]));
  }

  /**
   * @param {Float32Array} heat
   * @param {Float32Array} distances
   * @param {number} place
   * @param {number} label
   * @param {number} rows
   * @param {number} columns
   * @param {Pixels} pixels
   * @returns {Detection | null}
   */
  #cell(heat, distances, place, label, rows, columns, pixels) {
    const classes = this.classes.length;
    const peak = (/** @type {number} */ c) => largestNear(heat, rows, columns, classes, place, c);
    const own = calibrated(peak(label), this.calibration[label]);
    if (own < this.least[label]) return null;
    const [row, column] = [Math.floor(place / columns), place % columns];
    const [x, y] = [(column + 0.5) * this.stride, (row + 0.5) * this.stride];
    const box = this.#box(distances.subarray(4 * place, 4 * place + 4), x, y, pixels);
    const isUsable = box[2] > box[0] && box[3] > box[1] && x < pixels.width && y < pixels.height;
    if (!isUsable) return null;
    const scores = this.calibration.map((values, c) => calibrated(peak(c), values));
    return { box, scores, label, point: [column, row] };
  }

  /** @param {Float32Array} distances @param {number} x @param {number} y @param {Pixels} pixels */
  #box(distances, x, y, { width, height }) {
    const [left, top, right, bottom] = Array.from(distances, (distance) => {
      return f32(this.boxScale * Math.max(distance, 0));
    });
    /** @type {Box} */
    const box = [
      f32(clamp(x - left, 0, width)),
      f32(clamp(y - top, 0, height)),
      f32(clamp(x + right, 0, width)),
      f32(clamp(y + bottom, 0, height)),
    ];
    return box;
  }
}

/** @param {Pixels} pixels @param {number} multiple @returns {Pixels} */
function padded(pixels, multiple) {
  const width = Math.ceil(pixels.width / multiple) * multiple;
  const height = Math.ceil(pixels.height / multiple) * multiple;
  const data = new Uint8Array(width * height * 3).fill(PADDING);
  const row = 3 * pixels.width;
  for (let y = 0; y < pixels.height; y++) {
    data.set(pixels.data.subarray(y * row, (y + 1) * row), 3 * width * y);
  }
  return { data, width, height };
}

/**
 * Places and classes with the largest heat among their neighbours, row by row.
 *
 * @param {Float32Array} heat
 * @param {number} rows
 * @param {number} columns
 * @param {number} classes
 * @returns {Generator<[number, number]>}
 */
function* peaks(heat, rows, columns, classes) {
  for (let place = 0; place < rows * columns; place++) {
    for (let label = 0; label < classes; label++) {
      const own = heat[place * classes + label];
      if (own === largestNear(heat, rows, columns, classes, place, label)) yield [place, label];
    }
  }
}

/**
 * The largest heat of a place and its eight neighbours.
 *
 * @param {Float32Array} heat
 * @param {number} rows
 * @param {number} columns
 * @param {number} classes
 * @param {number} place
 * @param {number} label
 */
function largestNear(heat, rows, columns, classes, place, label) {
  const [row, column] = [Math.floor(place / columns), place % columns];
  let largest = -1;
  for (let y = Math.max(row - 1, 0); y <= Math.min(row + 1, rows - 1); y++) {
    for (let x = Math.max(column - 1, 0); x <= Math.min(column + 1, columns - 1); x++) {
      largest = Math.max(largest, heat[(y * columns + x) * classes + label]);
    }
  }
  return largest;
}

/**
 * `sigmoid(a * logit(heat) + b)`, in float32.
 *
 * @param {number} heat
 * @param {{ a: number, b: number }} values
 */
function calibrated(heat, { a, b }) {
  const limited = clamp(heat, f32(LEAST), f32(1 - LEAST));
  const logit = f32(f32(Math.log(limited)) - f32(Math.log1p(-limited)));
  const score = clamp(f32(f32(f32(a) * logit) + f32(b)), -80, 80);
  return f32(1 / f32(1 + f32(Math.exp(-score))));
}
