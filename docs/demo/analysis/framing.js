/** Cells cut out of their field: `images.crops` and `fields.framing`. */

import { blurred } from "./blur.js";
import { fit } from "./geometry.js";
import { roundEven, roundHalfUp } from "./numbers.js";
import { cropped } from "./pixels.js";
import { recoloured, redyed } from "./stain.js";

/** @import { Box, Colour, Pixels } from "./pixels.js" */
/** @import { Stain } from "./stain.js" */

const CONTEXT = 1.2; // side of a cell image in units of the box's longer side
const NUCLEUS = 0.6; // how near to the middle the nucleus is measured, in diameters of a red cell

/**
 * @typedef {object} Framing
 * @property {number} red_cell_diameters side of the square
 * @property {Stain | null} stain towards which cells are recoloured
 * @property {number} blur standard deviation, in the same diameters
 * @property {Colour | null} nucleus towards which nuclei are turned
 */

/**
 * A square around the box of a cell, with some of its surroundings.
 *
 * @param {Pixels} pixels
 * @param {Box} box with sides of at least 2 pixels within the field
 */
export function crop(pixels, box) {
  const [x0, y0] = [Math.max(box[0], 0), Math.max(box[1], 0)];
  const [x1, y1] = [Math.min(box[2], pixels.width), Math.min(box[3], pixels.height)];
  const side = Math.max(1, roundHalfUp(CONTEXT * Math.max(x1 - x0, y1 - y0)));
  const [left, top] = [roundHalfUp((x0 + x1 - side) / 2), roundHalfUp((y0 + y1 - side) / 2)];
  return cropped(pixels, left, top, side, side);
}

/**
 * A white cell as its classifier sees it: in units of the field's red cells, in one stain.
 *
 * @param {Pixels} pixels
 * @param {Box} box
 * @param {number} diameter of the field's red cells, in pixels
 * @param {Stain | null} stain of the field
 * @param {Framing} framing
 * @param {number} size of the result
 */
export function cutOut(pixels, box, diameter, stain, framing, size) {
  const length = Math.max(1, roundEven(framing.red_cell_diameters * diameter));
  const left = roundHalfUp((box[0] + box[2] - length) / 2);
  const top = roundHalfUp((box[1] + box[3] - length) / 2);
  const cell = fit(cropped(pixels, left, top, length, length), size);
  const radius = (framing.blur * size) / framing.red_cell_diameters;
  const coloured = stain ? stained(cell, stain, framing) : cell;
  return radius ? blurred(coloured, radius) : coloured;
}

/** @param {Pixels} cell @param {Stain} stain @param {Framing} framing */
function stained(cell, stain, framing) {
  if (!framing.stain) return cell;
  if (!framing.nucleus) return recoloured(cell, stain, framing.stain);
  const radius = (NUCLEUS * cell.height) / framing.red_cell_diameters;
  return redyed(cell, stain, framing.stain, framing.nucleus, radius);
}
