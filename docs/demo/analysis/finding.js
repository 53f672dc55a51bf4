/** The cells of a field, with what is measured once per image (`fields.finding`). */

import { findCircle, visiblePart } from "./aperture.js";
import { f32, median, percentile, sortedBytes } from "./numbers.js";
import { thumbnail } from "./resample.js";
import { diameters, findScale } from "./scale.js";
import { measureStain } from "./stain.js";
import { detect, FieldImage } from "./tiles.js";

/** @import { Box, Colour, Pixels, Size } from "./pixels.js" */
/** @import { Detection } from "./detections.js" */
/** @import { Detector } from "./detector.js" */
/** @import { Scale, Sighting } from "./scale.js" */
/** @import { Stain } from "./stain.js" */
/** @import { Progress } from "./analyzer.js" */

const REDONE = 0.08; // relative difference of red cells and scale above which it is redone
const COPY = 512; // pixels of the longer side of the copy in which the background is measured
const BACKGROUND = 97; // percentile

/** Fields with more pixels at the detector's scale are rejected, as by the web app. */
export const MOST_PIXELS = 25_000_000;

/**
 * @typedef {object} Found
 * @property {FieldImage} field
 * @property {Detection[]} cells with boxes in pixels of the scaled field
 * @property {Size} size of the scaled field
 * @property {Scale} scale
 * @property {Stain | null} stain
 */

/** A field that cannot be analysed. */
export class FieldError extends Error {}

/**
 * Find the cells of a field, and measure its scale and stain.
 *
 * @param {Detector} detector
 * @param {Pixels} pixels
 * @param {Progress} progress
 * @returns {Promise<Found>}
 */
export async function findCells(detector, pixels, progress) {
  progress("Measuring the red cells");
  const circle = findCircle(pixels);
  const white = whitePoint(visiblePart(pixels, circle));
  const field = new FieldImage(pixels, white, circle);
  const [scale, sighting] = await findScale(detector, field);
  const found = await rescaled(detector, field, scale, sighting, progress);
  const reds = found.cells.filter((cell) => cell.label === detector.red);
  const boxes = reds.map((cell) => placed(cell.box, field, found.size));
  return { field, ...found, stain: measureStain(pixels, white, boxes) };
}

/** The background's value in each channel. @param {Pixels} pixels */
export function whitePoint(pixels) {
  const { data } = thumbnail(pixels, COPY);
  const channels = [0, 1, 2].map((channel) => {
    return f32(percentile(sortedBytes(data, channel, 3), BACKGROUND));
  });
  return /** @type {Colour} */ (channels);
}

/**
 * A box in pixels of the field that was scaled to `size`.
 *
 * @param {Box} box
 * @param {FieldImage} field
 * @param {Size} size
 */
export function placed([x0, y0, x1, y1], field, size) {
  const [across, down] = [field.width / size[0], field.height / size[1]];
  /** @type {Box} */
  const box = [f32(x0 * across), f32(y0 * down), f32(x1 * across), f32(y1 * down)];
  return box;
}

/**
 * @param {Detector} detector
 * @param {FieldImage} field
 * @param {Scale} scale
 * @param {Sighting | null} sighting
 * @param {Progress} progress
 * @returns {Promise<{ cells: Detection[], size: Size, scale: Scale }>}
 */
async function rescaled(detector, field, scale, sighting, progress) {
  /** @param {Size} size */
  const detected = (size) => {
    return detect(detector, field, size, (done, total) => {
      progress("Finding cells", done / total);
    });
  };
  let size = sighting?.isWhole ? sighting.size : scaledSize(detector, field, scale.diameter);
  let cells = sighting?.isWhole ? sighting.found : await detected(size);
  if (scale.source !== "red cells") return { cells, size, scale };
  let measured = diameter(detector, field, cells, size);
  const isOff = (/** @type {number} */ width) => {
    return Math.abs((width * size[0]) / field.width / detector.redCellPx - 1) > REDONE;
  };
  if (measured && isOff(measured)) {
    size = scaledSize(detector, field, measured);
    cells = await detected(size);
    measured = diameter(detector, field, cells, size);
  }
  if (measured !== null) return { cells, size, scale: { ...scale, diameter: measured } };
  const hasReds = cells.some((cell) => cell.label === detector.red);
  return { cells, size, scale: hasReds ? scale : { ...scale, source: "none" } };
}

/** @param {Detector} detector @param {FieldImage} field @param {number} width of a red cell */
function scaledSize(detector, field, width) {
  const size = field.size(detector.redCellPx / width);
  if (size[0] * size[1] <= MOST_PIXELS) return size;
  throw new FieldError(
    `Its red cells are ${width.toFixed(0)} pixels wide, so its ${field.width} x ${field.height} ` +
      `pixels become ${size[0]} x ${size[1]} at the detector's scale; the limit is ` +
      `${MOST_PIXELS / 1e6} million. Crop it, or use hematovision analyze.`,
  );
}

/**
 * The median diameter of the red cells whose size is visible, in pixels, or null.
 *
 * @param {Detector} detector
 * @param {FieldImage} field
 * @param {Detection[]} cells
 * @param {Size} size
 */
function diameter(detector, field, cells, size) {
  const reds = cells.filter((cell) => cell.label === detector.red).map((cell) => cell.box);
  const measured = diameters(field, reds, size, [0, 0, ...size]);
  return measured.length ? (median(measured, true) * field.width) / size[0] : null;
}
