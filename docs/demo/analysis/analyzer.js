/** Field analysis: from the pixels of a field to its rows (`fields.analyzer`). */

import { visiblePart } from "./aperture.js";
import { CELL_CLASSES, CellClassifier } from "./deciding.js";
import { by } from "./detections.js";
import { edgeRule, middleOf } from "./edges.js";
import { findCells, placed } from "./finding.js";
import { f32, roundDecimals } from "./numbers.js";
import { flagsOf, measure } from "./quality.js";

/** @import { Box, Pixels } from "./pixels.js" */
/** @import { Classifier } from "./classifier.js" */
/** @import { ClassifiedCell, Seen } from "./deciding.js" */
/** @import { Detector } from "./detector.js" */
/** @import { Circle } from "./edges.js" */
/** @import { Found } from "./finding.js" */

/** @typedef {(text: string, share?: number) => void} Progress `share` is 0 to 1 */

const EDGE = 1.4; // a box this close to the border, in pixels at the detector's scale, touches it
const VIEW = 1024; // pixels of the longer side of the window in which focus is measured
const SAMPLE = 512; // and of the copy in which saturation is

/**
 * @typedef {object} CellRow a row of `cells.csv`
 * @property {string} image
 * @property {number} x_min
 * @property {number} y_min
 * @property {number} x_max
 * @property {number} y_max
 * @property {string} label
 * @property {number} confidence
 * @property {"accepted" | "review"} decision
 * @property {string} reason
 * @property {string} subtype
 * @property {number | null} subtype_confidence
 * @property {number} p_RBC
 * @property {number} p_WBC
 * @property {number} p_Platelets
 * @property {boolean} on_edge
 * @property {boolean} counted
 * @property {"model"} source
 * @property {""} error
 */

/**
 * @typedef {object} FieldRow
 * @property {number} width
 * @property {number} height
 * @property {number | null} rbc_diameter_px
 * @property {string} scale_source
 * @property {number | null} focus
 * @property {number | null} overlap
 * @property {number} saturation
 * @property {string[]} flags
 */

/** @typedef {{ field: FieldRow, cells: CellRow[] }} Analysis */
/** @typedef {Seen & { scaled: Box }} Scaled a cell with its box in the scaled field */

export class FieldAnalyzer {
  /**
   * @param {Detector} detector
   * @param {Classifier} crops
   * @param {Classifier} subtypes
   */
  constructor(detector, crops, subtypes) {
    this.detector = detector;
    this.cells = new CellClassifier(crops, subtypes, detector.minConfidence);
    this.order = CELL_CLASSES.map((name) => detector.classes.indexOf(name));
  }

  /**
   * Find, classify and count the cells of a field.
   *
   * @param {Pixels} pixels
   * @param {string} name
   * @param {Progress} progress
   * @returns {Promise<Analysis>}
   */
  async analyze(pixels, name, progress) {
    const found = await findCells(this.detector, pixels, progress);
    const seen = this.#seen(found);
    const { scale, stain } = found;
    const classified = await this.cells.classify(pixels, seen, scale, stain, progress);
    const tolerance = Math.max(1, (EDGE * scale.diameter) / this.detector.redCellPx);
    const rows = classified.map((cell, index) => {
      const { box } = seen[index];
      const edge = edgeRule(box, [pixels.width, pixels.height], tolerance, found.field.circle);
      return cellRow(name, cell, box, edge);
    });
    return { field: this.#fieldRow(found, seen), cells: rows };
  }

  /** The cells inside the field, top to bottom. @param {Found} found @returns {Scaled[]} */
  #seen({ cells, field, size }) {
    return cells
      .map((cell) => ({
        box: placed(cell.box, field, size),
        scaled: cell.box,
        scores: this.order.map((index) => cell.scores[index]),
        label: this.order.indexOf(cell.label),
      }))
      .filter(({ box }) => isInside(box, field.width, field.height, field.circle))
      .sort(by(({ box }) => box[1], ({ box }) => box[0]));
  }

  /** @param {Found} found @param {Scaled[]} seen @returns {FieldRow} */
  #fieldRow({ field, size, scale }, seen) {
    const reds = seen.filter(({ label }) => CELL_CLASSES[label] === "RBC").map((one) => one.scaled);
    const [left, top] = size.map((side) => Math.max(0, Math.floor((side - VIEW) / 2)));
    const [right, bottom] = [Math.min(size[0], left + VIEW), Math.min(size[1], top + VIEW)];
    const view = field.window(size, [left, top, right, bottom]);
    const visible = reds.filter((box) => {
      const [x, y] = middleOf(box);
      return x >= left && y >= top && x < right && y < bottom;
    });
    const raw = sampled(visiblePart(field.pixels, field.circle));
    const measured = measure(view, raw, reds, visible.map((box) => moved(box, left, top)));
    const isKnown = scale.source !== "none";
    const rounded = (/** @type {number | null} */ value) => value && roundDecimals(value, 4);
    return {
      width: field.width,
      height: field.height,
      rbc_diameter_px: isKnown ? roundDecimals(scale.diameter, 3) : null,
      scale_source: scale.source,
      focus: rounded(measured.focus),
      overlap: rounded(measured.overlap),
      saturation: roundDecimals(measured.saturation, 4),
      flags: flagsOf(measured, reds.length, isKnown),
    };
  }
}

/**
 * @param {string} image
 * @param {ClassifiedCell} cell
 * @param {Box} box
 * @param {{ onEdge: boolean, counted: boolean }} edge
 * @returns {CellRow}
 */
function cellRow(image, cell, box, { onEdge, counted }) {
  const [x_min, y_min, x_max, y_max] = box.map((value) => roundDecimals(value, 2));
  const [p_RBC, p_WBC, p_Platelets] = cell.shares.map((value) => roundDecimals(value, 6));
  const { subtypeConfidence } = cell;
  return {
    image, x_min, y_min, x_max, y_max,
    label: CELL_CLASSES[cell.label],
    confidence: roundDecimals(cell.confidence, 6),
    decision: cell.reasons.length ? "review" : "accepted",
    reason: cell.reasons.join("; "),
    subtype: cell.subtype,
    subtype_confidence: subtypeConfidence === null ? null : roundDecimals(subtypeConfidence, 6),
    p_RBC, p_WBC, p_Platelets,
    on_edge: onEdge,
    counted,
    source: "model",
    error: "",
  };
}

/**
 * Whether a box has its centre in the field, and in the circle.
 *
 * @param {Box} box
 * @param {number} width
 * @param {number} height
 * @param {Circle | null} circle
 */
function isInside(box, width, height, circle) {
  const [x, y] = middleOf(box);
  if (x < 0 || y < 0 || x >= width || y >= height) return false;
  return !circle || f32(Math.hypot(...circle.away(box))) < f32(circle.radius);
}

/** @param {Box} box @param {number} left @param {number} top @returns {Box} */
function moved([x0, y0, x1, y1], left, top) {
  return [f32(x0 - left), f32(y0 - top), f32(x1 - left), f32(y1 - top)];
}

/** Every n-th pixel. @param {Pixels} pixels @returns {Pixels} */
function sampled({ data, width, height }) {
  const step = Math.max(1, Math.floor(Math.max(width, height) / SAMPLE));
  const [columns, rows] = [Math.ceil(width / step), Math.ceil(height / step)];
  const part = new Uint8Array(columns * rows * 3);
  let to = 0;
  for (let y = 0; y < height; y += step) {
    for (let x = 0; x < width; x += step) {
      const from = 3 * (y * width + x);
      part[to++] = data[from];
      part[to++] = data[from + 1];
      part[to++] = data[from + 2];
    }
  }
  return { data: part, width: columns, height: rows };
}
