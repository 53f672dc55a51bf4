/** The class of each detected cell, and whether to review it (`fields.deciding`). */

import { crop, cutOut } from "./framing.js";
import { fit } from "./geometry.js";
import { argmax, f32 } from "./numbers.js";
import { findClass } from "./taxonomy.js";

/** @import { Box, Pixels } from "./pixels.js" */
/** @import { Classifier } from "./classifier.js" */
/** @import { Scale } from "./scale.js" */
/** @import { Stain } from "./stain.js" */
/** @import { Progress } from "./analyzer.js" */

/** The classes of cells in a field, in the order of the columns. */
export const CELL_CLASSES = ["RBC", "WBC", "Platelets"];

const LOW_CONFIDENCE = "low confidence";
const SEVERAL = "several classes likely";
const DISAGREE = "detector and classifier disagree";
const UNCERTAIN_KIND = "kind of white cell uncertain";
const SECOND = 0.3; // a class this likely, next to the predicted one, makes a cell doubtful
const [RED, WHITE] = [0, 1];

/** @typedef {{ box: Box, scores: number[], label: number }} Seen scores by `CELL_CLASSES` */
/** @typedef {{ kind: string, certainty: number, accepted: boolean }} Kind */

/**
 * @typedef {object} ClassifiedCell
 * @property {number} label index in `CELL_CLASSES`
 * @property {number} confidence
 * @property {number[]} shares probability of each class, given that it is a cell
 * @property {string[]} reasons for review; empty if accepted
 * @property {string} subtype
 * @property {number | null} subtypeConfidence
 */

export class CellClassifier {
  /**
   * @param {Classifier} crops a second opinion on doubtful cells, white cells and platelets
   * @param {Classifier} subtypes classifies white cells
   * @param {number} minConfidence cells less confident need review
   */
  constructor(crops, subtypes, minConfidence) {
    this.crops = crops;
    this.subtypes = subtypes;
    this.minConfidence = minConfidence;
    this.order = CELL_CLASSES.map((name) => crops.classes.indexOf(name));
  }

  /**
   * @param {Pixels} pixels the field as recorded
   * @param {Seen[]} seen
   * @param {Scale} scale
   * @param {Stain | null} stain
   * @param {Progress} progress
   */
  async classify(pixels, seen, scale, stain, progress) {
    const cells = [];
    for (const [index, one] of seen.entries()) {
      progress("Classifying cells", index / seen.length);
      const opinion = await this.#opinion(pixels, one);
      const cell = this.#cell(one.scores, one.label, opinion);
      const isWhite = cell.label === WHITE || one.label === WHITE;
      const kind = isWhite ? await this.#kind(pixels, one.box, scale, stain) : null;
      cells.push(kind ? this.#withKind(cell, one, kind) : cell);
    }
    return cells;
  }

  /** @param {number[]} scores @param {number} label @param {number[] | null} opinion */
  #cell(scores, label, opinion) {
    const shares = combined(scores, opinion);
    const best = argmax(shares);
    const confidence = Math.max(...scores) * shares[best];
    const second = Math.max(...shares.filter((_, index) => index !== best));
    const reasons = [];
    if (confidence < this.minConfidence) reasons.push(LOW_CONFIDENCE);
    if (second > SECOND) reasons.push(SEVERAL);
    if (opinion && argmax(opinion) !== label) reasons.push(DISAGREE);
    /** @type {ClassifiedCell} */
    const cell = { label: best, confidence, shares, reasons, subtype: "", subtypeConfidence: null };
    return cell;
  }

  /** @param {Pixels} pixels @param {Seen} seen */
  async #opinion(pixels, { box, scores, label }) {
    const isLarge = Math.min(f32(box[2] - box[0]), f32(box[3] - box[1])) >= 2;
    if (!isLarge || !isDoubtful(scores, label)) return null;
    const image = fit(crop(pixels, box), this.crops.size);
    const { probabilities } = await this.crops.predict(image);
    return this.order.map((index) => probabilities[index]);
  }

  /**
   * @param {Pixels} pixels
   * @param {Box} box
   * @param {Scale} scale
   * @param {Stain | null} stain
   * @returns {Promise<Kind>}
   */
  async #kind(pixels, box, scale, stain) {
    const { framing, size, classes } = this.subtypes;
    if (!framing) throw new Error("The classifier of white cells has no framing.");
    const image = cutOut(pixels, box, scale.diameter, stain, framing, size);
    const { probabilities, novelty } = await this.subtypes.predict(image);
    const best = argmax(probabilities);
    const certainty = probabilities[best];
    return { kind: classes[best], certainty, accepted: this.subtypes.accepts(certainty, novelty) };
  }

  /**
   * A white cell with its kind, or for review if that is uncertain. To the detector a nucleated red
   * cell is a white cell, to the crop classifier a red one: an accepted kind settles it.
   *
   * @param {ClassifiedCell} given
   * @param {Seen} seen
   * @param {Kind} found
   */
  #withKind(given, { scores, label }, { kind, certainty, accepted }) {
    const lineage = findClass(this.crops.taxonomy, kind);
    const isRed = accepted && lineage === "RBC" && label === WHITE;
    const settles = isRed && (given.label === RED || given.label === WHITE);
    const cell = settles ? this.#cell(scores, WHITE, null) : given;
    if (cell.label !== WHITE) return cell;
    const isPlatelet = lineage === "Platelets";
    const reasons = accepted && !isPlatelet ? cell.reasons : [...cell.reasons, UNCERTAIN_KIND];
    if (isPlatelet) return { ...cell, reasons };
    return { ...cell, reasons, subtype: kind, subtypeConfidence: certainty };
  }
}

/**
 * Whether the crop classifier looks at a cell: at all but red cells without a rival.
 *
 * @param {number[]} scores
 * @param {number} label
 */
function isDoubtful(scores, label) {
  const sum = scores.reduce((total, score) => f32(total + score), 0);
  const own = f32(scores[label] / Math.max(sum, f32(1e-9)));
  return label !== RED || own < f32(1 - SECOND);
}

/**
 * The probability of each class given that there is a cell: the detector's score, times that of
 * the crop classifier if asked, under a square root.
 *
 * @param {number[]} scores
 * @param {number[] | null} opinion
 */
function combined(scores, opinion) {
  const own = normalised(scores.map((score) => Math.max(score, 1e-6)));
  if (!opinion) return own;
  return normalised(own.map((share, i) => Math.sqrt(share * Math.max(opinion[i], f32(1e-6)))));
}

/** @param {number[]} values */
function normalised(values) {
  const total = values.reduce((sum, value) => sum + value, 0);
  return values.map((value) => value / total);
}
