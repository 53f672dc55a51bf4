/** Reads the demo's own files, from the browser's cache if they are there. */

import { FieldError } from "./finding.js";

/**
 * @typedef {object} Assets what `assets.js` lists
 * @property {string} version of the page's files together
 * @property {string} models version of the large files together
 * @property {Record<string, number>} files path to size in bytes
 */

/** The demo's folder. */
const ROOT = new URL("../", import.meta.url);

/** The cache of the large files; see `service-worker.js`. @param {Assets} assets */
const cacheName = ({ models }) => `hematovision-demo-models-${models}`;

/**
 * Return a function that reads a file, and keeps it for use without a network.
 *
 * @param {Assets} assets
 * @param {(done: number, total: number) => void} progress bytes of all large files
 */
export function storedReader(assets, progress) {
  const large = Object.entries(assets.files).filter(([path]) => isLarge(path));
  const total = large.reduce((sum, [, bytes]) => sum + bytes, 0);
  let done = 0;
  /** @param {string} path */
  return async (path) => {
    const response = await stored(path, cacheName(assets));
    const bytes = new Uint8Array(assets.files[path]);
    let at = 0;
    for await (const piece of chunks(response)) {
      if (at + piece.length > bytes.length) throw changed(path);
      bytes.set(piece, at);
      at += piece.length;
      progress((done += isLarge(path) ? piece.length : 0), total);
    }
    if (at < bytes.length) throw changed(path);
    return bytes;
  };
}

/** Whether a file is loaded with the models, not with the page. @param {string} path */
export const isLarge = (path) => path.startsWith("models/") || path.endsWith(".wasm");

/** @param {string} path @param {string} name */
async function stored(path, name) {
  const address = new URL(path, ROOT);
  const cache = "caches" in self ? await caches.open(name) : null;
  const known = await cache?.match(address);
  if (known) return known;
  let response;
  try {
    response = await fetch(address);
  } catch {
    throw new FieldError(`There is no connection, and ${path} was not loaded before.`);
  }
  if (!response.ok) throw new FieldError(`${path} could not be loaded (${response.status}).`);
  await cache?.put(address, response.clone());
  return response;
}

/** @param {Response} response */
async function* chunks(response) {
  const reader = response.body?.getReader();
  for (;;) {
    const step = await reader?.read();
    if (!step?.value) return;
    yield step.value;
  }
}

/** @param {string} path */
const changed = (path) => new FieldError(`${path} has changed. Reload the page and try again.`);
