/** Decodes image files with the browser, to upright RGB on white, without colour management. */

import { FieldError } from "./finding.js";
import { blank } from "./pixels.js";

/** @import { Pixels } from "./pixels.js" */

/** The limits of the web app. */
export const MOST_PIXELS = 25_000_000;
const MOST_BYTES = 2 ** 28;
const MOST_ASPECT = 100;

/**
 * Decode an image file.
 *
 * @param {Blob} file
 * @returns {Promise<Pixels>}
 * @throws {FieldError} if it is no image, or too large
 */
export async function decoded(file) {
  if (!file.size) throw new FieldError("The file is empty (0 bytes). Copy it again.");
  if (file.size > MOST_BYTES) {
    throw new FieldError(`The file has ${megabytes(file.size)} MB; the limit is 256 MB.`);
  }
  const bitmap = await opened(file);
  const { width, height } = bitmap;
  try {
    checkSize(width, height);
    return read(bitmap);
  } finally {
    bitmap.close();
  }
}

/** @param {Blob} file */
async function opened(file) {
  try {
    return await createImageBitmap(file, {
      colorSpaceConversion: "none",
      imageOrientation: "from-image",
      premultiplyAlpha: "none",
    });
  } catch {
    throw new FieldError(
      "This is not an image that the browser can read, or it is damaged. Choose a PNG, JPEG, " +
        "WebP, BMP or GIF file. For TIFF, DICOM and slides, use hematovision analyze.",
    );
  }
}

/** @param {number} width @param {number} height */
function checkSize(width, height) {
  if (width * height > MOST_PIXELS) {
    throw new FieldError(
      `The image has ${width} x ${height} pixels; the limit is ${MOST_PIXELS / 1e6} million. ` +
        "Crop it, or use hematovision analyze.",
    );
  }
  if (Math.max(width, height) > MOST_ASPECT * Math.min(width, height)) {
    throw new FieldError(
      `The image has ${width} x ${height} pixels; one side may be at most ${MOST_ASPECT} times ` +
        "the other. Crop it to regions that show whole cells.",
    );
  }
}

/** @param {ImageBitmap} bitmap @returns {Pixels} */
function read(bitmap) {
  const { width, height } = bitmap;
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  if (!context) throw new FieldError("The browser has too little memory for this image.");
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  const pixels = blank(width, height);
  for (let from = 0, to = 0; from < data.length; from += 4) {
    pixels.data[to++] = data[from];
    pixels.data[to++] = data[from + 1];
    pixels.data[to++] = data[from + 2];
  }
  return pixels;
}

/** @param {number} bytes */
const megabytes = (bytes) => Math.round(bytes / 2 ** 20);
