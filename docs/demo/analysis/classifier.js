/** Classifiers of cell images (`model.classifier`). */

/** @import { Pixels } from "./pixels.js" */
/** @import { Framing } from "./framing.js" */
/** @import { Graph } from "./session.js" */
/** @import { Taxonomy } from "./taxonomy.js" */

/**
 * @typedef {object} ClassifierManifest what `bundle.json` states
 * @property {Taxonomy} taxonomy
 * @property {{ size: number }} input
 * @property {{ min_confidence: number, max_novelty: number | null }} thresholds
 * @property {Framing} [framing]
 */

export class Classifier {
  /** @param {Graph} graph @param {ClassifierManifest} manifest */
  constructor(graph, manifest) {
    this.graph = graph;
    this.taxonomy = manifest.taxonomy;
    this.classes = manifest.taxonomy.classes;
    this.size = manifest.input.size;
    this.framing = manifest.framing ?? null;
    this.minConfidence = manifest.thresholds.min_confidence;
    this.maxNovelty = manifest.thresholds.max_novelty ?? Infinity;
  }

  /**
   * The probability of each class, and the novelty score.
   *
   * @param {Pixels} image of the input's size
   */
  async predict({ data }) {
    const dims = [1, this.size, this.size, 3];
    const found = await this.graph.run(data, dims, ["probabilities", "novelty"]);
    return { probabilities: Array.from(found.probabilities), novelty: found.novelty[0] };
  }

  /** Whether a prediction needs no review. @param {number} confidence @param {number} novelty */
  accepts(confidence, novelty) {
    return confidence >= this.minConfidence && novelty <= this.maxNovelty;
  }
}
