/** RGB images: rows of pixels of three bytes. */

/** @typedef {{ data: Uint8Array, width: number, height: number }} Pixels */
/** @typedef {[number, number, number]} Colour */
/** @typedef {[number, number, number, number]} Box x_min, y_min, x_max, y_max */
/** @typedef {[number, number]} Size width and height */

/** @param {number} width @param {number} height @returns {Pixels} */
export function blank(width, height) {
  return { data: new Uint8Array(width * height * 3), width, height };
}

/**
 * A part of an image; rows and columns beyond the border repeat it.
 *
 * @param {Pixels} image
 * @param {number} left
 * @param {number} top
 * @param {number} width
 * @param {number} height
 */
export function cropped(image, left, top, width, height) {
  const part = blank(width, height);
  const isInside = left >= 0 && left + width <= image.width;
  const columns = Array.from({ length: width }, (_, x) => {
    return 3 * Math.min(Math.max(left + x, 0), image.width - 1);
  });
  let to = 0;
  for (let y = 0; y < height; y++) {
    const row = 3 * image.width * Math.min(Math.max(top + y, 0), image.height - 1);
    if (isInside) {
      const from = row + 3 * left;
      part.data.set(image.data.subarray(from, from + 3 * width), 3 * width * y);
      continue;
    }
    for (const column of columns) {
      const from = row + column;
      part.data[to++] = image.data[from];
      part.data[to++] = image.data[from + 1];
      part.data[to++] = image.data[from + 2];
    }
  }
  return part;
}

/**
 * Replace each value by that of its channel's table.
 *
 * @param {Pixels} image
 * @param {ArrayLike<number>[]} tables three, of 256 values
 * @returns {Pixels}
 */
export function mapped(image, tables) {
  const [red, green, blue] = tables;
  const data = new Uint8Array(image.data.length);
  for (let i = 0; i < data.length; i += 3) {
    data[i] = red[image.data[i]];
    data[i + 1] = green[image.data[i + 1]];
    data[i + 2] = blue[image.data[i + 2]];
  }
  return { ...image, data };
}

/**
 * Images of one width, one below the other.
 *
 * @param {Pixels} upper
 * @param {Pixels} lower
 * @returns {Pixels}
 */
export function stacked(upper, lower) {
  const data = new Uint8Array(upper.data.length + lower.data.length);
  data.set(upper.data);
  data.set(lower.data, upper.data.length);
  return { data, width: upper.width, height: upper.height + lower.height };
}
