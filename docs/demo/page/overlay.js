/** Draws a field with the outlines of its cells, as the program's overlays (`fields.overlay`). */

/** @import { Analysis, CellRow } from "../analysis/analyzer.js" */

/** @type {Record<string, string>} */
const COLOURS = { RBC: "#0072b2", WBC: "#00805a", Platelets: "#e67800" };

const SMALLEST_CELL = 24; // pixels to which red cells are enlarged
const [MIN_SIDE, MAX_SIDE] = [1024, 4096];
const DASHES = 8;
const FAINT = 0.45;
const LAYERS = ["RBC", "Platelets", "WBC"];

/**
 * @typedef {object} Style sizes in pixels of the canvas
 * @property {number} scale
 * @property {number} line
 * @property {number} text
 */

/**
 * Draw a field and, if `shows`, its cells; the chosen one has a frame.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {ImageBitmap} bitmap
 * @param {Analysis} analysis
 * @param {boolean} shows
 * @param {CellRow | null} chosen
 */
export function drawField(canvas, bitmap, analysis, shows, chosen) {
  const style = styleOf(bitmap, analysis.field.rbc_diameter_px);
  canvas.width = Math.round(bitmap.width * style.scale);
  canvas.height = Math.round(bitmap.height * style.scale);
  const context = contextOf(canvas);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  const layer = (/** @type {CellRow} */ cell) => {
    return Number(cell.decision === "review") * LAYERS.length + LAYERS.indexOf(cell.label);
  };
  const cells = shows ? analysis.cells.toSorted((a, b) => layer(a) - layer(b)) : [];
  for (const cell of cells) outline(context, cell, style);
  if (chosen) frame(context, chosen, style);
  for (const cell of cells) label(context, cell, style, canvas);
}

/**
 * Draw a cell with its surroundings on a small square canvas.
 *
 * @param {ImageBitmap} bitmap
 * @param {CellRow} cell
 * @param {number} size
 */
export function cellImage(bitmap, cell, size) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = size;
  const [width, height] = [cell.x_max - cell.x_min, cell.y_max - cell.y_min];
  const side = 1.5 * Math.max(width, height);
  const left = (cell.x_min + cell.x_max - side) / 2;
  const top = (cell.y_min + cell.y_max - side) / 2;
  const context = contextOf(canvas);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, left, top, side, side, 0, 0, size, size);
  return canvas;
}

/** @param {HTMLCanvasElement} canvas */
function contextOf(canvas) {
  const context = canvas.getContext("2d");
  if (!context) throw new Error("The browser cannot draw images.");
  return context;
}

/** @param {{ width: number, height: number }} field @param {number | null} known */
function styleOf({ width, height }, known) {
  const longer = Math.max(width, height);
  const diameter = known ?? longer / 10;
  const wanted = Math.max(1, MIN_SIDE / longer, SMALLEST_CELL / diameter);
  const scale = Math.min(wanted, MAX_SIDE / longer);
  const [side, cell] = [longer * scale, diameter * scale];
  const line = Math.min(Math.max(side / 900, 0.045 * cell), side / 200, 0.12 * cell);
  const text = Math.min(Math.max(0.32 * cell, side / 90), side / 32);
  return { scale, line: Math.max(1.2, line), text: Math.max(11, Math.round(text)) };
}

/** @param {CanvasRenderingContext2D} context @param {CellRow} cell @param {Style} style */
function outline(context, cell, { scale, line }) {
  const a = ((cell.x_max - cell.x_min) * scale) / 2;
  const b = ((cell.y_max - cell.y_min) * scale) / 2;
  const [x, y] = [cell.x_min * scale + a, cell.y_min * scale + b];
  context.save();
  context.globalAlpha = cell.counted ? 1 : FAINT;
  if (cell.decision === "review") {
    const dash = (Math.PI * (a + b)) / DASHES;
    context.setLineDash([0.6 * dash, 0.4 * dash]);
  }
  for (const [colour, width] of halo(COLOURS[cell.label], line)) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.beginPath();
    context.ellipse(x, y, Math.max(a, 0.5), Math.max(b, 0.5), 0, 0, 2 * Math.PI);
    context.stroke();
  }
  context.restore();
}

/** @param {string} colour @param {number} line @returns {[string, number][]} */
function halo(colour, line) {
  return [["#ffffff", line + Math.max(1.5, line / 2)], [colour, line]];
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {CellRow} cell
 * @param {Style} style
 * @param {HTMLCanvasElement} canvas
 */
function label(context, cell, { scale, line, text }, canvas) {
  const words = wordsOf(cell);
  if (!words) return;
  context.font = `600 ${text}px system-ui, sans-serif`;
  context.textBaseline = "top";
  context.lineJoin = "round";
  const width = context.measureText(words).width;
  const middle = ((cell.x_min + cell.x_max) / 2) * scale - width / 2;
  const x = Math.min(Math.max(middle, 2), Math.max(2, canvas.width - width - 2));
  const above = cell.y_min * scale - (words === "?" ? 0.6 * text : line + 1.15 * text);
  const y = above >= 0 ? above : Math.min(cell.y_max * scale + line, canvas.height - 1.3 * text);
  context.lineWidth = Math.max(2, text / 4);
  context.strokeStyle = "#ffffff";
  context.strokeText(words, x, y);
  context.fillStyle = COLOURS[cell.label];
  context.fillText(words, x, y);
}

/** The words next to a cell. @param {CellRow} cell */
function wordsOf(cell) {
  const mark = cell.decision === "review" ? "?" : "";
  if (cell.label !== "WBC") return mark;
  const sure = cell.subtype_confidence ?? cell.confidence;
  return `${cell.subtype || cell.label}${mark} ${Math.round(100 * sure)}%`;
}

/** @param {CanvasRenderingContext2D} context @param {CellRow} cell @param {Style} style */
function frame(context, cell, { scale, line }) {
  const margin = 3 * line;
  const [x, y] = [cell.x_min * scale - margin, cell.y_min * scale - margin];
  const width = (cell.x_max - cell.x_min) * scale + 2 * margin;
  const height = (cell.y_max - cell.y_min) * scale + 2 * margin;
  for (const [colour, thickness] of halo("#7b2d8b", 2 * line)) {
    context.strokeStyle = colour;
    context.lineWidth = thickness;
    context.strokeRect(x, y, width, height);
  }
}
