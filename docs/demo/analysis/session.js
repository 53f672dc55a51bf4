/** ONNX graphs, run by ONNX Runtime Web on one thread. */

/** @import { InferenceSession } from "onnxruntime-web/wasm" */

/** @type {typeof import("onnxruntime-web/wasm")} */
const ort = await import(new URL("../vendor/ort.js", import.meta.url).href);

/**
 * Set the WebAssembly program that runs the graphs, once, before the first one is opened.
 *
 * @param {Uint8Array<ArrayBuffer>} program
 */
export function useRuntime(program) {
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary = program.buffer;
}

/** An opened graph. */
export class Graph {
  /** @param {InferenceSession} session */
  constructor(session) {
    this.session = session;
  }

  /**
   * Open a graph.
   *
   * @param {Uint8Array} model
   * @param {{ path: string, data: Uint8Array }[]} externalData files that the model names
   */
  static async open(model, externalData = []) {
    const session = await ort.InferenceSession.create(model, {
      executionProviders: ["wasm"],
      graphOptimizationLevel: "all",
      enableMemPattern: false,
      externalData,
    });
    return new Graph(session);
  }

  /**
   * Run one image.
   *
   * @param {Uint8Array} data
   * @param {number[]} dims
   * @param {string[]} outputs
   * @returns {Promise<Record<string, Float32Array>>}
   */
  async run(data, dims, outputs) {
    const images = new ort.Tensor("uint8", data, dims);
    const found = await this.session.run({ images }, outputs);
    return Object.fromEntries(
      outputs.map((name) => [name, /** @type {Float32Array} */ (found[name].data)]),
    );
  }
}
