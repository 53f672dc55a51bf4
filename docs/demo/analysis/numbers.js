/** Rounding and statistics as Python and NumPy compute them, with float32 where they do. */

export const f32 = Math.fround;

/** Python's `round(value)`: halves become even. @param {number} value */
export function roundEven(value) {
  const below = Math.floor(value);
  const rest = value - below;
  if (rest !== 0.5) return rest < 0.5 ? below : below + 1;
  return below % 2 === 0 ? below : below + 1;
}

/**
 * Python's `round(value, digits)`: the nearest decimal number, and of two the even one.
 *
 * Two are equally near only if `value * 2 ** (digits + 1)` is an odd integer.
 *
 * @param {number} value
 * @param {number} digits
 */
export function roundDecimals(value, digits) {
  const doubled = value * 2 ** (digits + 1);
  const isTie = Number.isInteger(doubled) && Math.abs(doubled % 2) === 1;
  if (isTie) return roundEven(value * 10 ** digits) / 10 ** digits;
  return Number(value.toFixed(digits));
}

/** Round half up, as `images.crops` does. @param {number} value */
export const roundHalfUp = (value) => Math.floor(value + 0.5);

/** @param {number} value @param {number} low @param {number} high */
export const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/**
 * NumPy's linear percentile of sorted values. `narrow` computes in float32, as NumPy does for
 * float32 values and one percentile; several at once are float64.
 *
 * @param {ArrayLike<number>} sorted
 * @param {number} percent
 * @param {boolean} [narrow]
 */
export function percentile(sorted, percent, narrow = false) {
  const round = narrow ? f32 : identity;
  const index = (sorted.length - 1) * (percent / 100);
  const before = Math.floor(index);
  const a = sorted[before];
  const b = sorted[Math.min(before + 1, sorted.length - 1)];
  const t = index - before;
  const gap = round(b - a);
  if (t >= 0.5) return round(b - round(gap * round(1 - t)));
  return round(a + round(gap * round(t)));
}

/**
 * Sort bytes by counting them.
 *
 * @param {Uint8Array} values
 * @param {number} [first] of those that are wanted
 * @param {number} [step] from one to the next
 */
export function sortedBytes(values, first = 0, step = 1) {
  const counts = new Uint32Array(256);
  for (let i = first; i < values.length; i += step) counts[values[i]]++;
  const sorted = new Uint8Array(counts.reduce((sum, n) => sum + n, 0));
  let to = 0;
  counts.forEach((n, value) => sorted.fill(value, to, (to += n)));
  return sorted;
}

/**
 * The median of numbers, in float64 or, with `narrow`, float32; NaN if there are none.
 *
 * @param {Iterable<number>} values
 * @param {boolean} [narrow]
 */
export function median(values, narrow = false) {
  const sorted = Float64Array.from(values).sort();
  const half = sorted.length >> 1;
  if (!sorted.length) return NaN;
  if (sorted.length % 2) return sorted[half];
  const sum = sorted[half - 1] + sorted[half];
  return narrow ? f32(f32(sum) / 2) : sum / 2;
}

/**
 * NumPy's sum of float32 numbers: in pairs of blocks, so that rounding errors stay small.
 *
 * @param {ArrayLike<number>} values
 * @param {number} [start]
 * @param {number} [count]
 * @returns {number}
 */
export function sum32(values, start = 0, count = values.length) {
  if (count < 8) {
    let total = 0;
    for (let i = 0; i < count; i++) total = f32(total + values[start + i]);
    return total;
  }
  if (count <= 128) return blockSum(values, start, count);
  const half = (count >> 1) - ((count >> 1) % 8);
  return f32(sum32(values, start, half) + sum32(values, start + half, count - half));
}

/** @param {ArrayLike<number>} values @param {number} start @param {number} count */
function blockSum(values, start, count) {
  const sums = Array.from({ length: 8 }, (_, lane) => values[start + lane]);
  let i = 8;
  for (; i < count - (count % 8); i += 8) {
    for (let lane = 0; lane < 8; lane++) sums[lane] = f32(sums[lane] + values[start + i + lane]);
  }
  const [a, b, c, d, e, f, g, h] = sums;
  let total = f32(f32(f32(a + b) + f32(c + d)) + f32(f32(e + f) + f32(g + h)));
  for (; i < count; i++) total = f32(total + values[start + i]);
  return total;
}

/** Index of the largest value, the first of equal ones. @param {ArrayLike<number>} values */
export function argmax(values) {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
}

/** @param {number} value */
const identity = (value) => value;
