/** The edge rule: which of the cells at the border of a field count (`fields.edges`). */

import { f32 } from "./numbers.js";

/** @import { Box, Size } from "./pixels.js" */

/** The part of a field that a round eyepiece shows, in pixels. */
export class Circle {
  /** @param {number} x @param {number} y @param {number} radius */
  constructor(x, y, radius) {
    this.x = x;
    this.y = y;
    this.radius = radius;
  }

  /** How far from the centre a box reaches, as if its cell were an ellipse. @param {Box} box */
  distance(box) {
    const [across, down] = this.away(box);
    const half = [f32(f32(box[2] - box[0]) / 2), f32(f32(box[3] - box[1]) / 2)];
    const far = Math.max(f32(Math.hypot(across, down)), f32(1e-6));
    const reach = f32(
      Math.hypot(f32(f32(half[0] * across) / far), f32(f32(half[1] * down) / far)),
    );
    return f32(far + reach);
  }

  /** From the centre to the middle of a box. @param {Box} box */
  away(box) {
    const [across, down] = middleOf(box);
    return [f32(across - f32(this.x)), f32(down - f32(this.y))];
  }
}

/** The middle of a box, in float32. @param {Box} box */
export function middleOf(box) {
  return [f32(f32(box[0] + box[2]) / 2), f32(f32(box[1] + box[3]) / 2)];
}

/**
 * Whether the border cuts a cell, and whether it counts: by the rule `two`, a cell that touches the
 * right or the lower border does not.
 *
 * @param {Box} box
 * @param {Size} size of the field
 * @param {number} tolerance a box this close to the border, in pixels, touches it
 * @param {Circle | null} circle
 */
export function edgeRule(box, [width, height], tolerance, circle) {
  const near = f32(tolerance);
  let isLow = box[0] <= near || box[1] <= near;
  let isHigh = box[2] >= f32(width - tolerance) || box[3] >= f32(height - tolerance);
  if (circle && circle.distance(box) >= f32(circle.radius - tolerance)) {
    const [across, down] = circle.away(box);
    const isLowerRight = f32(across + down) > 0;
    isLow ||= !isLowerRight;
    isHigh ||= isLowerRight;
  }
  return { onEdge: isLow || isHigh, counted: !isHigh };
}
