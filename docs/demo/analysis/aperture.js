/** The circle of an eyepiece: photographs by phone show the field in a dark surround. */

import { Circle } from "./edges.js";
import { clamp, f32, median, percentile, sortedBytes } from "./numbers.js";
import { cropped } from "./pixels.js";
import { thumbnail } from "./resample.js";

/** @import { Pixels } from "./pixels.js" */
/** @typedef {[number, number]} Point */
/** @typedef {[number, number, number]} Fitted x, y and radius */
/** @typedef {{ is: Uint8Array, width: number, height: number }} Mask */

const COPY = 256; // pixels of the longer side of the copy that is searched
const DARK = 0.3; // the surround is darker than this share of the brightest tenth
const LEAST_SURROUND = 0.04;
const MOST_SURROUND = 0.92;
const SMALLEST = 0.2; // radius in units of the shorter side
const ROUGHNESS = 0.02; // median distance of the rim from its circle, in radii
const RIM = 0.985; // of the radius that is used
const FEWEST = 24; // points of the rim

/**
 * The circle of an eyepiece, in pixels; null if the image is not dark around one.
 *
 * @param {Pixels} image
 */
export function findCircle(image) {
  const copy = thumbnail(image, COPY);
  const dark = darkPart(copy);
  if (!isSurround(dark)) return null;
  const rim = rimOf(dark);
  if (rim.length < FEWEST) return null;
  const rough = fitted(rim);
  const near = rim.filter((point) => offset(point, rough) < 3 * ROUGHNESS * rough[2]);
  if (near.length < Math.max(FEWEST, 0.6 * rim.length)) return null;
  const [x, y, radius] = fitted(near);
  const error = median(near.map((point) => offset(point, [x, y, radius])));
  const isSmall = radius < SMALLEST * Math.min(copy.width, copy.height);
  if (error > ROUGHNESS * radius || isSmall) return null;
  const factor = image.width / copy.width;
  return new Circle(x * factor, y * factor, radius * factor * RIM);
}

/**
 * The square inside the circle, or all pixels.
 *
 * @param {Pixels} image
 * @param {Circle | null} circle
 */
export function visiblePart(image, circle) {
  if (!circle) return image;
  const half = circle.radius * 0.7;
  const { width, height } = image;
  const [x0, x1] = [circle.x - half, circle.x + half].map((v) => Math.trunc(clamp(v, 0, width)));
  const [y0, y1] = [circle.y - half, circle.y + half].map((v) => Math.trunc(clamp(v, 0, height)));
  return x1 > x0 && y1 > y0 ? cropped(image, x0, y0, x1 - x0, y1 - y0) : image;
}

/** @param {Pixels} copy @returns {Mask} */
function darkPart({ data, width, height }) {
  const grey = new Uint8Array(width * height);
  for (let i = 0; i < grey.length; i++) {
    const [red, green, blue] = [data[3 * i], data[3 * i + 1], data[3 * i + 2]];
    grey[i] = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16;
  }
  const limit = f32(f32(DARK) * percentile(sortedBytes(grey), 90, true));
  return { is: grey.map((value) => Number(value < limit)), width, height };
}

/** @param {Mask} dark */
function isSurround({ is, width, height }) {
  const corners = [0, width - 1, width * (height - 1), width * height - 1];
  const share = is.reduce((sum, value) => sum + value, 0) / is.length;
  const darkCorners = corners.filter((corner) => is[corner]).length;
  return darkCorners >= 2 && LEAST_SURROUND < share && share < MOST_SURROUND;
}

/** Where the surround ends, seen from each side. @param {Mask} dark */
function rimOf({ is, width, height }) {
  /** @type {Point[]} */ const points = [];
  /** @param {number} length @param {(i: number) => number} at */
  const first = (length, at) => {
    for (let i = 0; i < length; i++) if (!is[at(i)]) return i;
    return 0;
  };
  for (const isBack of [false, true]) {
    for (let y = 0; y < height; y++) {
      const end = first(width, (i) => y * width + (isBack ? width - 1 - i : i));
      if (end) points.push([isBack ? width - end : end, y + 0.5]);
    }
  }
  for (const isBack of [false, true]) {
    for (let x = 0; x < width; x++) {
      const end = first(height, (i) => (isBack ? height - 1 - i : i) * width + x);
      if (end) points.push([x + 0.5, isBack ? height - end : end]);
    }
  }
  return points;
}

/** @param {Point} point @param {Fitted} circle */
function offset([x, y], [cx, cy, radius]) {
  return Math.abs(Math.hypot(x - cx, y - cy) - radius);
}

/**
 * The circle nearest to points in Kåsa's sense: least squares of the squared distances.
 *
 * @param {Point[]} points
 * @returns {Fitted}
 */
function fitted(points) {
  const n = points.length;
  const mx = points.reduce((sum, point) => sum + point[0], 0) / n;
  const my = points.reduce((sum, point) => sum + point[1], 0) / n;
  let [xx, xy, yy, xz, yz, zz] = [0, 0, 0, 0, 0, 0];
  for (const [px, py] of points) {
    const [x, y] = [px - mx, py - my];
    const z = x * x + y * y;
    xx += x * x;
    xy += x * y;
    yy += y * y;
    xz += x * z;
    yz += y * z;
    zz += z;
  }
  const determinant = 2 * (xx * yy - xy * xy);
  const x = (xz * yy - yz * xy) / determinant;
  const y = (yz * xx - xz * xy) / determinant;
  return [x + mx, y + my, Math.sqrt(Math.max(zz / n + x * x + y * y, 0))];
}
