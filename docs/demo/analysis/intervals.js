/** Exact 95% limits of proportions and counts (`intervals`). */

/** @typedef {[number, number]} Interval */

const HALF = 0.025;
const Z_SQUARED = 1.959963984540054 ** 2;
const TINY = 1e-300;
const HALVINGS = 60;

/**
 * The exact interval of a proportion (Clopper & Pearson 1934); null if `n` is 0.
 *
 * @param {number} successes
 * @param {number} n
 * @returns {Interval | null}
 */
export function clopperPearson(successes, n) {
  if (n === 0) return null;
  const factorials = logFactorials(n);
  /** @param {number} p @param {number} from @param {number} to */
  const chance = (p, from, to) => {
    const [yes, no] = [Math.log(Math.max(p, TINY)), Math.log(Math.max(1 - p, TINY))];
    let sum = 0;
    for (let j = from; j <= to; j++) {
      const ways = factorials[n] - factorials[j] - factorials[n - j];
      sum += Math.exp(ways + j * yes + (n - j) * no);
    }
    return sum;
  };
  const estimate = successes / n;
  const low = successes ? bisect(estimate, 0, (p) => chance(p, successes, n) < HALF) : 0;
  const high = successes < n ? bisect(estimate, 1, (p) => chance(p, 0, successes) < HALF) : 1;
  return [low, high];
}

/**
 * The exact interval of the mean of a Poisson count (Garwood 1936).
 *
 * @param {number} count
 * @returns {Interval}
 */
export function garwood(count) {
  const width = 2 * Math.sqrt(Z_SQUARED * (count + 1)) + 2 * Z_SQUARED;
  const factorials = logFactorials(count);
  /** @param {number} mean @param {number} terms */
  const upTo = (mean, terms) => {
    let sum = 0;
    for (let j = 0; j < terms; j++) {
      sum += Math.exp(j * Math.log(Math.max(mean, TINY)) - mean - factorials[j]);
    }
    return sum;
  };
  const lowest = Math.max(0, count - width);
  const low = count ? bisect(count, lowest, (mean) => 1 - upTo(mean, count) < HALF) : 0;
  const high = bisect(count, count + 1 + width, (mean) => upTo(mean, count + 1) < HALF);
  return [low, high];
}

/** The logarithms of the factorials of 0 to `most`. @param {number} most */
function logFactorials(most) {
  const found = new Float64Array(most + 1);
  for (let i = 1; i <= most; i++) found[i] = found[i - 1] + Math.log(i);
  return found;
}

/**
 * The point between `inside` and `outside` at which `isRejected` becomes true.
 *
 * @param {number} inside
 * @param {number} outside
 * @param {(value: number) => boolean} isRejected
 */
function bisect(inside, outside, isRejected) {
  if (!isRejected(outside)) return outside;
  for (let i = 0; i < HALVINGS; i++) {
    const middle = (inside + outside) / 2;
    if (isRejected(middle)) outside = middle;
    else inside = middle;
  }
  return inside;
}
