/** Analyses fields away from the page, so that it stays responsive. */

import { openAnalyzer } from "./bundles.js";
import { decoded } from "./decoding.js";
import { FieldError } from "./finding.js";
import { useRuntime } from "./session.js";
import { storedReader } from "./storage.js";

/** @import { Analysis, FieldAnalyzer } from "./analyzer.js" */
/** @import { Assets } from "./storage.js" */
/** @import { Taxonomy } from "./taxonomy.js" */

/**
 * @typedef {{ kind: "open", assets: Assets } |
 *   { kind: "analyze", id: number, file: Blob, name: string }} Request
 * @typedef {{ subtypes: string[], taxonomy: Taxonomy }} Models
 * @typedef {{ kind: "started" } |
 *   { kind: "progress", text: string, share: number | null } |
 *   { kind: "ready", models: Models } |
 *   { kind: "result", id: number, analysis: Analysis, seconds: number } |
 *   { kind: "failed", id: number | null, message: string }} Reply
 */

/** @type {Promise<FieldAnalyzer> | null} */
let opening = null;

/** @param {Reply} reply */
const send = (reply) => self.postMessage(reply);

/** @param {string} text @param {number | null} [share] */
const progress = (text, share = null) => send({ kind: "progress", text, share });

/** @param {Assets} assets */
async function open(assets) {
  const read = storedReader(assets, (done, total) => {
    progress(`Loading the models: ${megabytes(done)} of ${megabytes(total)} MB`, done / total);
  });
  useRuntime(await read("vendor/ort-wasm-simd-threaded.wasm"));
  const analyzer = await openAnalyzer((name) => read(`models/${name}`));
  const { subtypes, crops } = analyzer.cells;
  send({ kind: "ready", models: { subtypes: subtypes.classes, taxonomy: crops.taxonomy } });
  return analyzer;
}

/** @param {number} bytes */
const megabytes = (bytes) => Math.round(bytes / 1e6);

/** @param {Extract<Request, { kind: "analyze" }>} request */
async function analyze({ id, file, name }) {
  if (!opening) throw new Error("The models are not open.");
  const analyzer = await opening;
  progress("Reading the image");
  const pixels = await decoded(file);
  const begin = performance.now();
  const analysis = await analyzer.analyze(pixels, name, progress);
  send({ kind: "result", id, analysis, seconds: (performance.now() - begin) / 1000 });
}

/** @param {unknown} error */
function messageOf(error) {
  if (error instanceof FieldError) return error.message;
  const text = error instanceof Error ? error.message : String(error);
  return `The analysis failed: ${text}. Reload the page and try again.`;
}

self.addEventListener("message", async ({ data }) => {
  const request = /** @type {Request} */ (data);
  try {
    if (request.kind === "open") await (opening ??= open(request.assets));
    else await analyze(request);
  } catch (error) {
    if (request.kind === "open") opening = null;
    const id = request.kind === "open" ? null : request.id;
    send({ kind: "failed", id, message: messageOf(error) });
  }
});

send({ kind: "started" }); // messages sent before this one are lost
