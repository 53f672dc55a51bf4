/** Non-maximum suppression within and across classes: `model.suppression`. */

import { by, confidenceOf } from "./detections.js";
import { f32 } from "./numbers.js";

/** @import { Box } from "./pixels.js" */
/** @import { Detection } from "./detections.js" */

const SAME = 0.5; // intersection over union
const INSIDE = f32(0.7); // covered share of the smaller box
const ON_TOP = f32(0.35); // area of a platelet on a red cell, in areas of the red cell
const DOUBTFUL = 0.5; // of the inner cell's confidence

/** @typedef {{ first: number, second: number, area: number }} Overlap */

/**
 * The pairs of boxes that overlap, each once, with the area of their intersection.
 *
 * @param {Box[]} boxes
 * @returns {Generator<Overlap>}
 */
export function* overlapping(boxes) {
  const order = [...boxes.keys()].sort(by((i) => boxes[i][0]));
  for (let at = 0; at < order.length; at++) {
    const first = order[at];
    for (let next = at + 1; next < order.length; next++) {
      const second = order[next];
      if (boxes[second][0] >= boxes[first][2]) break;
      const area = shared(boxes[first], boxes[second]);
      if (area !== null) yield { first, second, area };
    }
  }
}

/** @param {Box} a @param {Box} b */
function shared(a, b) {
  const width = f32(Math.min(a[2], b[2]) - Math.max(a[0], b[0]));
  const height = f32(Math.min(a[3], b[3]) - Math.max(a[1], b[1]));
  return Math.min(width, height) > 0 ? f32(width * height) : null;
}

/**
 * Which detections repeat a better one.
 *
 * @param {Detection[]} cells
 * @param {string[]} classes
 * @returns {Set<number>} their indices
 */
export function suppressed(cells, classes) {
  const boxes = cells.map((cell) => cell.box);
  const areas = boxes.map(areaOf);
  /** @type {number[][]} */ const partners = cells.map(() => []);
  /** @type {[number, number][]} */ const nested = []; // the outer one first
  for (const { first, second, area } of overlapping(boxes)) {
    const union = f32(f32(areas[first] + areas[second]) - area);
    const isInside = f32(area / Math.min(areas[first], areas[second])) > INSIDE;
    const isOneClass = cells[first].label === cells[second].label;
    if (f32(area / union) > SAME || (isInside && isOneClass)) {
      partners[first].push(second);
      partners[second].push(first);
    } else if (isInside) {
      nested.push(areas[first] < areas[second] ? [second, first] : [first, second]);
    }
  }
  const gone = greedy(cells, partners);
  const open = nested.filter((pair) => !pair.some((index) => gone.has(index)));
  for (const pair of open) {
    const index = misplaced(cells, areas, pair, classes);
    if (index !== null) gone.add(index);
  }
  return gone;
}

/** @param {Box} box */
function areaOf(box) {
  return Math.max(f32(f32(box[2] - box[0]) * f32(box[3] - box[1])), f32(1e-6));
}

/**
 * Remove every box that pairs with a better one which stays.
 *
 * @param {Detection[]} cells
 * @param {number[][]} partners
 */
function greedy(cells, partners) {
  const better = by(
    (/** @type {number} */ i) => -confidenceOf(cells[i]),
    (i) => cells[i].box[0],
    (i) => cells[i].box[1],
  );
  /** @type {Set<number>} */ const gone = new Set();
  /** @type {Set<number>} */ const stays = new Set();
  for (const index of [...cells.keys()].sort(better)) {
    if (partners[index].some((other) => stays.has(other))) gone.add(index);
    else stays.add(index);
  }
  return gone;
}

/**
 * Which of a cell and one of another class inside its box does not belong there; null if both do.
 *
 * @param {Detection[]} cells
 * @param {number[]} areas
 * @param {[number, number]} pair
 * @param {string[]} classes
 */
function misplaced(cells, areas, [outer, inner], classes) {
  const [outside, within] = [classes[cells[outer].label], classes[cells[inner].label]];
  if (!covers(cells[outer].box, cells[inner].box)) return null;
  const isSmall = areas[inner] < f32(ON_TOP * areas[outer]);
  if (outside === "RBC" && within === "Platelets" && isSmall) return null;
  const least = (within === "WBC" ? 1 : DOUBTFUL) * confidenceOf(cells[inner]);
  return confidenceOf(cells[outer]) < least ? outer : inner;
}

/** Whether the middle of a box is in the ellipse of another. @param {Box} a @param {Box} b */
function covers(a, b) {
  const [across, down] = [0, 1].map((axis) => {
    const middle = f32(f32(f32(f32(b[axis] + b[axis + 2]) - a[axis]) - a[axis + 2]) / 2);
    const half = Math.max(f32(f32(a[axis + 2] - a[axis]) / 2), f32(1e-6));
    const place = f32(middle / half);
    return f32(place * place);
  });
  return f32(across + down) < 1;
}
