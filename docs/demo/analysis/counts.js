/** Counts of the cells in fields (`fields.counts`), and caveats about them (`fields.summary`). */

import { CELL_CLASSES } from "./deciding.js";
import { clopperPearson, garwood } from "./intervals.js";
import { findClass } from "./taxonomy.js";

/** @import { Analysis, CellRow } from "./analyzer.js" */
/** @import { Interval } from "./intervals.js" */
/** @import { Taxonomy } from "./taxonomy.js" */

/** The class of white cells in review, until a person decides. */
export const UNCLASSIFIED = "unclassified";

/** White cells below which a differential has only counts. */
export const FEWEST_WHITE = 50;

const FEWEST_RED = 1000; // red cells below which platelets per 1,000 are uncertain
const ERYTHROBLAST = "erythroblast";

/** @typedef {{ n: number, review: number, interval: Interval }} LabelCount */
/** @typedef {{ n: number, fraction: number | null, interval: Interval | null }} ClassCount */

/**
 * @typedef {object} Counts
 * @property {Record<string, LabelCount>} cells by label
 * @property {number} notCounted cells left out by the edge rule
 * @property {number} white white cells, without nucleated red cells
 * @property {Record<string, ClassCount>} classes of white cells, `UNCLASSIFIED` last
 * @property {number} nucleated nucleated red cells
 * @property {number | null} platelets per 1,000 red cells
 * @property {Interval | null} plateletsInterval
 * @property {string[]} notes caveats
 */

/**
 * Count the cells of fields.
 *
 * @param {Analysis[]} analyses
 * @param {string[]} subtypes the classes of the classifier of white cells
 * @param {Taxonomy} taxonomy to which kinds of cells belong
 * @returns {Counts}
 */
export function count(analyses, subtypes, taxonomy) {
  const rows = analyses.flatMap((one) => one.cells);
  const counted = rows.filter((row) => row.counted);
  const cells = Object.fromEntries(
    CELL_CLASSES.map((label) => [label, labelCount(counted, label)]),
  );
  const kinds = counted.map((row) => kindOf(row, taxonomy)).filter((kind) => kind !== "");
  const nucleated = kinds.filter((kind) => kind === ERYTHROBLAST).length;
  const white = kinds.length - nucleated;
  const names = [...subtypes.filter((name) => isWhite(taxonomy, name)), UNCLASSIFIED];
  const classes = Object.fromEntries(
    names.map((name) => [name, classCount(kinds.filter((kind) => kind === name).length, white)]),
  );
  const [red, platelets] = [cells.RBC.n, cells.Platelets.n];
  const per1000 = (/** @type {number} */ value) => (1000 * value) / red;
  const [low, high] = garwood(platelets).map(per1000);
  const found = {
    cells,
    notCounted: rows.length - counted.length,
    white,
    classes,
    nucleated,
    platelets: red ? per1000(platelets) : null,
    plateletsInterval: red ? /** @type {Interval} */ ([low, high]) : null,
  };
  return { ...found, notes: notesOf(found, analyses) };
}

/** @param {CellRow[]} counted @param {string} label @returns {LabelCount} */
function labelCount(counted, label) {
  const own = counted.filter((row) => row.label === label);
  const review = own.filter((row) => row.decision === "review").length;
  return { n: own.length, review, interval: garwood(own.length) };
}

/** @param {number} n @param {number} white @returns {ClassCount} */
function classCount(n, white) {
  if (white < FEWEST_WHITE) return { n, fraction: null, interval: null };
  return { n, fraction: n / white, interval: clopperPearson(n, white) };
}

/**
 * A cell's class in the differential; empty if it is not counted there.
 *
 * @param {CellRow} row
 * @param {Taxonomy} taxonomy
 */
function kindOf(row, taxonomy) {
  const isAccepted = row.decision === "accepted";
  if (isAccepted && row.subtype === ERYTHROBLAST) return ERYTHROBLAST;
  if (row.label !== "WBC") return "";
  return isAccepted && row.subtype && isWhite(taxonomy, row.subtype) ? row.subtype : UNCLASSIFIED;
}

/** @param {Taxonomy} taxonomy @param {string} kind */
function isWhite(taxonomy, kind) {
  const lineage = findClass(taxonomy, kind);
  return lineage === null || lineage === "WBC";
}

/** A number with its noun. @param {number} n @param {string} noun */
export const counted = (n, noun) => `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;

/**
 * @param {Omit<Counts, "notes">} counts
 * @param {Analysis[]} analyses
 */
function notesOf(counts, analyses) {
  const flagged = analyses.filter((one) => one.field.flags.length).length;
  const unscaled = analyses.filter((one) => one.field.scale_source === "none").length;
  const notes = [];
  if (flagged) {
    const share = `${counted(flagged, "field")} of ${analyses.length} flagged`;
    const effect = "Cells in flagged fields are counted, but some may be missed or misclassified.";
    notes.push(`Quality: ${share}. ${effect}`);
  }
  if (unscaled) {
    const where = counted(unscaled, "field");
    notes.push(`No scale was found in ${where}, so cells there may be missed.`);
  }
  const total = CELL_CLASSES.reduce((sum, label) => sum + counts.cells[label].n, 0);
  return total ? [...notes, ...cellNotes(counts)] : [...notes, "No cells were found."];
}

/** @param {Omit<Counts, "notes">} counts */
function cellNotes({ cells, classes, white, nucleated }) {
  const notes = [];
  if (!white) {
    const others = nucleated ? `, but ${counted(nucleated, "nucleated red cell")}` : "";
    notes.push(`No white cells were found${others}.`);
  } else if (white < FEWEST_WHITE) {
    notes.push(`Only ${counted(white, "white cell")}: percentages need at least ${FEWEST_WHITE}.`);
  }
  const open = classes[UNCLASSIFIED].n;
  if (open) {
    const until = "Until a person decides, the percentages of all other classes are too low.";
    const share = `${open.toLocaleString("en")} of ${white.toLocaleString("en")}`;
    const text = `Unclassified white cells: ${share}, for review.`;
    notes.push(white < FEWEST_WHITE ? text : `${text} ${until}`);
  }
  if (cells.RBC.n < FEWEST_RED) {
    const red = `${counted(cells.RBC.n, "red cell")} counted, fewer than 1,000`;
    notes.push(`Platelets per 1,000 red cells are uncertain: ${red}.`);
  }
  return notes;
}
