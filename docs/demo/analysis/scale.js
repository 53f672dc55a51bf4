/** The scale of a field, measured with its red cells (`fields.scale`). */

import { PADDING } from "./detector.js";
import { confidenceOf } from "./detections.js";
import { clamp, f32, median, roundEven, sum32 } from "./numbers.js";

/** @import { Box, Pixels, Size } from "./pixels.js" */
/** @import { Detection } from "./detections.js" */
/** @import { Detector } from "./detector.js" */
/** @import { FieldImage } from "./tiles.js" */

/**
 * @typedef {object} Scale
 * @property {number} diameter of the median red cell, in pixels; a guess if the source is "none"
 * @property {"red cells" | "none"} source
 */

const [SMALLEST, LARGEST] = [10, 700]; // diameters of red cells in pixels
const BORDER = 1.5; // pixels at the detector's scale
const FEW = 3; // whole cells from which on cut ones are not measured
const CENTRE = f32(0.55); // of a cell's length that its other, cut side has
const [PROBE, WINDOW] = [224, 320]; // sides of the windows
const [SOME, ENOUGH] = [3, 12]; // red cells after which no further window is tried, or measured
const SURE = 0.5; // confidence of the cells that are measured
const STEP = 2; // between scales that are tried
const USUAL = 0.2; // a red cell in units of the field's shorter side
const WIDEST = 0.6; // in the same units
const SETTLED = 0.06; // relative change of the diameter below which the search ends
const ROUNDS = 4;
const CERTAIN = { reds: 2, cover: 0.25 };
const CERTAIN_IN_SPARSE = { reds: 8, confidence: 0.85, cover: 0.06 };

/** What the detector finds in a field, or in windows of it, at one scale. */
export class Sighting {
  /**
   * @param {number} diameter the scale: of red cells in pixels, if they are as expected
   * @param {Detection[]} found in the scaled field, or in the last window of it
   * @param {Size} size of the scaled field
   * @param {boolean} isWhole whether the window was the whole field
   * @param {number} reds confident red cells whose size is visible
   * @param {number} measured their median diameter in pixels of the field
   * @param {number} confidence mean of all confident red cells
   * @param {number} cover share of the windows covered by confident cells
   */
  constructor(diameter, found, size, isWhole, reds, measured, confidence, cover) {
    this.diameter = diameter;
    this.found = found;
    this.size = size;
    this.isWhole = isWhole;
    this.reds = reds;
    this.measured = measured;
    this.confidence = confidence;
    this.cover = cover;
  }

  /** How much speaks for this scale. */
  get evidence() {
    return this.cover * this.confidence ** 2;
  }

  /** Whether no other scale needs to be tried. */
  get isCertain() {
    const { reds, confidence, cover } = CERTAIN_IN_SPARSE;
    if (this.reds >= reds && this.confidence >= confidence && this.cover >= cover) return true;
    return this.reds >= CERTAIN.reds && this.cover >= CERTAIN.cover;
  }
}

/**
 * The diameters of the cells whose size is visible, in pixels: of whole cells, or, with fewer than
 * three, also those of cells that one side cuts.
 *
 * @param {FieldImage} field
 * @param {Box[]} boxes in pixels of the field scaled to `size`, from the window's corner
 * @param {Size} size
 * @param {Box} window part of the scaled field that the boxes are from
 */
export function diameters(field, boxes, size, window) {
  const extent = [window[2] - window[0], window[3] - window[1]];
  const free = boxes.map((box) => {
    const isInside = isInCircle(field, box, size, window);
    return [0, 1].map((axis) => {
      return isInside && box[axis] > BORDER && box[axis + 2] < extent[axis] - BORDER;
    });
  });
  const sides = boxes.map((box) => [f32(box[2] - box[0]), f32(box[3] - box[1])]);
  const isClear = free.map(([across, down]) => across && down);
  const whole = sides
    .filter((_, i) => isClear[i])
    .map(([width, height]) => f32(f32(width + height) / 2));
  if (whole.length >= FEW) return whole;
  const cut = sides.flatMap((pair, i) => {
    if (isClear[i]) return [];
    return pair.filter((side, axis) => free[i][axis] && pair[1 - axis] > f32(CENTRE * side));
  });
  return [...whole, ...cut];
}

/** @param {FieldImage} field @param {Box} box @param {Size} size @param {Box} window */
function isInCircle({ circle, width }, box, size, window) {
  if (!circle) return true;
  const factor = width / size[0];
  const placed = box.map((value, i) => f32(f32(value + window[i % 2]) * f32(factor)));
  return circle.distance(/** @type {Box} */ (placed)) < f32(circle.radius - BORDER * factor);
}

/**
 * Measure the diameter of the red cells of a field: scales are tried in a small window, and
 * corrected by the width of the red cells found until they settle.
 *
 * @param {Detector} detector
 * @param {FieldImage} field
 * @returns {Promise<[Scale, Sighting | null]>}
 */
export async function findScale(detector, field) {
  const widest = WIDEST * Math.min(field.width, field.height);
  /** @type {Sighting | null} */ let best = null;
  /** @type {Sighting | null} */ let other = null; // where cells are found, but no red cells
  /** @type {number[]} */ const tried = [];
  for (const start of starts(field)) {
    if (tried.some((near) => Math.abs(Math.log(start / near)) < Math.log(STEP) / 2)) continue;
    tried.push(start);
    const probe = await look(detector, field, start, PROBE, SOME);
    const sighting = probe.reds ? await settled(detector, field, probe, tried) : null;
    if (!other || probe.cover > other.cover) other = probe;
    if (sighting && sighting.measured > widest) continue;
    if (sighting && (!best || sighting.evidence > best.evidence)) best = sighting;
    if (best?.isCertain) break;
  }
  if (best) return [{ diameter: best.measured, source: "red cells" }, best];
  return [{ diameter: other ? other.diameter : USUAL * field.height, source: "none" }, null];
}

/** @param {FieldImage} field */
function starts(field) {
  let side = Math.min(field.width, field.height);
  if (field.circle) side = Math.min(side, roundEven(2 * field.circle.radius));
  const usual = clamp(USUAL * side, 2 * SMALLEST, LARGEST / 2);
  const steps = [0, ...[1, 2, 3, 4, 5, 6, 7, 8].flatMap((step) => [-step, step])];
  const most = Math.min(LARGEST * 1.2, WIDEST * side);
  return steps
    .map((step) => usual * STEP ** step)
    .filter((one) => SMALLEST / 1.2 <= one && one <= most);
}

/**
 * Follow the measured width from one scale to the next until it settles.
 *
 * @param {Detector} detector
 * @param {FieldImage} field
 * @param {Sighting} probe
 * @param {number[]} tried
 */
async function settled(detector, field, probe, tried) {
  let [best, sighting] = [probe, probe];
  for (let round = 0; round < ROUNDS; round++) {
    const settles = Math.abs(sighting.measured / sighting.diameter - 1) < SETTLED;
    if (settles && (sighting !== probe || probe.isWhole)) break;
    const diameter = clamp(sighting.measured, SMALLEST, LARGEST);
    sighting = await look(detector, field, diameter, WINDOW, ENOUGH);
    tried.push(diameter);
    if (!sighting.reds) break;
    if (best === probe || sighting.evidence >= best.evidence / 2) best = sighting;
  }
  return best;
}

/**
 * What the detector finds in windows if red cells are `diameter` pixels wide.
 *
 * @param {Detector} detector
 * @param {FieldImage} field
 * @param {number} diameter
 * @param {number} side of the windows
 * @param {number} enough red cells after which no further window is searched
 */
async function look(detector, field, diameter, side, enough) {
  const size = field.size(detector.redCellPx / diameter);
  /** @type {number[]} */ const widths = [];
  /** @type {number[]} */ const confidences = [];
  /** @type {Detection[]} */ let found = [];
  let [pixels, covered, isWhole] = [0, 0, false];
  for (const box of windows(size, detector.multiple, side)) {
    const view = field.window(size, box);
    found = detector.distinct(await detector.candidates(view));
    isWhole = box[2] - box[0] === size[0] && box[3] - box[1] === size[1];
    const sure = found.filter((cell) => confidenceOf(cell) >= SURE);
    const red = sure.filter((cell) => cell.label === detector.red);
    widths.push(...diameters(field, red.map((cell) => cell.box), size, box));
    confidences.push(...red.map(confidenceOf));
    pixels += field.circle ? visible(view) : view.width * view.height;
    covered += sum32(sure.map(({ box: [x0, y0, x1, y1] }) => f32(f32(x1 - x0) * f32(y1 - y0))));
    if (widths.length >= enough) break;
  }
  const factor = field.width / size[0];
  const measured = widths.length ? median(widths, true) * factor : 0;
  const mean = confidences.length ? f32(sum32(confidences) / confidences.length) : 0;
  const cover = Math.min(1, covered / Math.max(pixels, 1));
  return new Sighting(diameter, found, size, isWhole, widths.length, measured, mean, cover);
}

/** The number of pixels that are no padding. @param {Pixels} view */
function visible({ data }) {
  let count = 0;
  for (let i = 0; i < data.length; i += 3) {
    count += Number(data[i] !== PADDING || data[i + 1] !== PADDING || data[i + 2] !== PADDING);
  }
  return count;
}

/**
 * The windows to search: the whole field, or up to three in a diagonal.
 *
 * @param {Size} size
 * @param {number} multiple
 * @param {number} side
 * @returns {Box[]}
 */
function windows(size, multiple, side) {
  const isSmall = size[0] * size[1] <= side ** 2 && Math.max(...size) <= 2 * side;
  if (isSmall) return [[0, 0, ...size]];
  /** @type {Map<string, Box>} */ const boxes = new Map();
  for (const place of [0.5, 0.2, 0.8]) {
    const [[x0, x1], [y0, y1]] = size.map((whole) => {
      const length = Math.min(whole, side);
      const low = roundEven((place * (whole - length)) / multiple) * multiple;
      return [low, Math.min(low + length, whole)];
    });
    /** @type {Box} */ const box = [x0, y0, x1, y1];
    if (!boxes.has(String(box))) boxes.set(String(box), box);
  }
  return [...boxes.values()];
}
