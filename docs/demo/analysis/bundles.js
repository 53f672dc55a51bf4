/** Opens the models of the package. */

import { FieldAnalyzer } from "./analyzer.js";
import { Classifier } from "./classifier.js";
import { Detector } from "./detector.js";
import { Graph } from "./session.js";

/** @typedef {(name: string) => Promise<Uint8Array>} Read returns a file of the folder `models` */

const GRAPH = "hematovision_model.onnx";

/**
 * @param {Read} read
 * @returns {Promise<FieldAnalyzer>}
 */
export async function openAnalyzer(read) {
  const detector = await opened(read, "blood-fields");
  const crops = await opened(read, "rbc-wbc-platelets");
  const subtypes = await opened(read, "white-cells");
  return new FieldAnalyzer(
    new Detector(detector.graph, detector.manifest),
    new Classifier(crops.graph, crops.manifest),
    new Classifier(subtypes.graph, subtypes.manifest),
  );
}

/** @param {Read} read @param {string} name */
async function opened(read, name) {
  const manifest = JSON.parse(new TextDecoder().decode(await read(`${name}/bundle.json`)));
  const { file } = manifest.backbone;
  const external = file ? [{ path: file, data: await read(file) }] : [];
  return { manifest, graph: await Graph.open(await read(`${name}/${GRAPH}`), external) };
}
