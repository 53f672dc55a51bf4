/** Pillow's `GaussianBlur`: three box blurs with fractional radii, in integers (BoxBlur.c). */

import { f32 } from "./numbers.js";

/** @import { Pixels } from "./pixels.js" */

const PASSES = 3;

/**
 * Blur an image; `radius` is the standard deviation in pixels, above 0.
 *
 * @param {Pixels} image
 * @param {number} radius
 * @returns {Pixels}
 */
export function blurred(image, radius) {
  const box = boxRadius(f32(radius));
  const { width, height } = image;
  const data = Uint8Array.from(image.data);
  const line = new Uint8Array(Math.max(width, height));
  for (let pass = 0; pass < PASSES; pass++) {
    eachLine(data, height, 3 * width, width, 3, box, line);
  }
  for (let pass = 0; pass < PASSES; pass++) {
    eachLine(data, width, 3, height, 3 * width, box, line);
  }
  return { data, width, height };
}

/**
 * The radius of the box whose repeated blur has the wanted standard deviation (Gwosdek et al. 2011,
 * "Theoretical foundations of Gaussian convolution by extended box filtering").
 *
 * @param {number} radius
 */
function boxRadius(radius) {
  const variance = f32(f32(radius * radius) / PASSES);
  const length = f32(Math.sqrt(12 * variance + 1));
  const whole = f32(Math.floor((length - 1) / 2));
  const above = (2 * whole + 1) * (whole * (whole + 1) - f32(3 * variance));
  const below = 6 * (variance - (whole + 1) * (whole + 1));
  return f32(whole + f32(f32(above) / f32(below)));
}

/**
 * Blur lines in place.
 *
 * @param {Uint8Array} data
 * @param {number} lines
 * @param {number} stride from one line to the next
 * @param {number} length
 * @param {number} step from one pixel of a line to the next
 * @param {number} box
 * @param {Uint8Array} line a buffer
 */
function eachLine(data, lines, stride, length, step, box, line) {
  for (let i = 0; i < lines; i++) {
    for (let channel = 0; channel < 3; channel++) {
      const start = i * stride + channel;
      for (let x = 0; x < length; x++) line[x] = data[start + x * step];
      blurLine(line, length, box, (x, value) => (data[start + x * step] = value));
    }
  }
}

/**
 * @param {Uint8Array} line
 * @param {number} length
 * @param {number} box
 * @param {(x: number, value: number) => void} save
 */
function blurLine(line, length, box, save) {
  const radius = Math.trunc(box);
  const inner = Math.trunc(f32(2 ** 24 / f32(f32(box * 2) + 1)));
  const outer = Math.trunc((2 ** 24 - (2 * radius + 1) * inner) / 2);
  const last = length - 1;
  let sum = line[0] * (radius + 1);
  for (let x = 0; x < radius; x++) sum += line[Math.min(x, last)];
  for (let x = 0; x < length; x++) {
    const left = Math.max(x - radius - 1, 0);
    sum += line[Math.min(x + radius, last)] - line[left];
    const far = line[left] + line[Math.min(x + radius + 1, last)];
    save(x, Math.floor((sum * inner + far * outer + 2 ** 23) / 2 ** 24));
  }
}
