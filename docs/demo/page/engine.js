/** The worker that analyses fields, as functions that return promises. */

/** @import { Analysis } from "../analysis/analyzer.js" */
/** @import { Assets } from "../analysis/storage.js" */
/** @import { Models, Reply, Request } from "../analysis/worker.js" */

/** @typedef {{ analysis: Analysis, seconds: number }} Result */
/** @typedef {{ resolve: (result: Result) => void, reject: (error: Error) => void }} Waiting */

const WORKER = new URL("../analysis/worker.js", import.meta.url).href;

export class Engine {
  /**
   * @param {Assets} assets
   * @param {(text: string, share: number | null) => void} progress
   */
  constructor(assets, progress) {
    this.assets = assets;
    this.progress = progress;
    this.worker = newWorker();
    /** @type {PromiseWithResolvers<void>} */ this.started = Promise.withResolvers();
    /** @type {Map<number, Waiting>} */ this.waiting = new Map();
    /** @type {Promise<Models> | null} */ this.models = null;
    /** @type {PromiseWithResolvers<Models> | null} */ this.opening = null;
    this.next = 0;
    this.worker.addEventListener("message", ({ data }) => this.#receive(data));
    this.worker.addEventListener("error", () => {
      this.#fail(null, "A part of this page could not be loaded. Reload the page.");
    });
  }

  /** Load the models, once. */
  open() {
    if (!this.models) {
      this.opening = Promise.withResolvers();
      this.models = this.opening.promise;
      this.#send({ kind: "open", assets: this.assets });
    }
    return this.models;
  }

  /** @param {Blob} file @param {string} name @returns {Promise<Result>} */
  async analyze(file, name) {
    await this.open();
    const id = this.next++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.#send({ kind: "analyze", id, file, name });
    });
  }

  /** @param {Request} request */
  async #send(request) {
    await this.started.promise;
    this.worker.postMessage(request);
  }

  /** @param {Reply} reply */
  #receive(reply) {
    if (reply.kind === "started") this.started.resolve();
    else if (reply.kind === "progress") this.progress(reply.text, reply.share);
    else if (reply.kind === "ready") this.opening?.resolve(reply.models);
    else if (reply.kind === "failed") this.#fail(reply.id, reply.message);
    else {
      this.waiting.get(reply.id)?.resolve(reply);
      this.waiting.delete(reply.id);
    }
  }

  /** @param {number | null} id @param {string} message */
  #fail(id, message) {
    if (id === null) {
      this.opening?.reject(new Error(message));
      this.models = null;
      return;
    }
    this.waiting.get(id)?.reject(new Error(message));
    this.waiting.delete(id);
  }
}

/**
 * Start the worker through an address of this page, so that the page's Content-Security-Policy
 * holds in the worker too: it can send nothing to another host.
 */
function newWorker() {
  const script = new Blob([`import ${JSON.stringify(WORKER)};`], { type: "text/javascript" });
  const address = URL.createObjectURL(script);
  return new Worker(address, { type: "module" });
}
