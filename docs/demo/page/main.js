/** The page: choose fields, follow their analysis, see the results. */

import { count } from "../analysis/counts.js";
import { isLarge } from "../analysis/storage.js";
import { csv } from "../analysis/table.js";
import { byId, element } from "./elements.js";
import { Engine } from "./engine.js";
import { showCounts, showField } from "./results.js";

/** @import { CellRow } from "../analysis/analyzer.js" */
/** @import { Assets } from "../analysis/storage.js" */
/** @import { Models } from "../analysis/worker.js" */
/** @import { Field } from "./results.js" */

const assets = await listed();

/** @type {{ fields: Field[], shown: number, chosen: CellRow | null, models: Models | null }} */
const state = { fields: [], shown: 0, chosen: null, models: null };
/** @type {{ file: Blob, name: string }[]} */
const queue = [];
/** @type {Engine | null} */
let engine = null;
let isBusy = false;

/** @param {string} text @param {number | null} share */
function showProgress(text, share) {
  const bar = /** @type {HTMLProgressElement} */ (byId("progress-bar"));
  const label = byId("progress-text");
  const rest = queue.length ? ` (${queue.length} more to do)` : "";
  byId("progress").hidden = false;
  if (share === null) bar.removeAttribute("value");
  else bar.value = share;
  if (label.textContent !== text + rest) label.textContent = text + rest;
}

/** @param {string} name @param {unknown} error */
function showError(name, error) {
  const text = error instanceof Error ? error.message : String(error);
  const title = name ? [element("b", "", `${name}: `)] : [];
  byId("errors").append(element("div", "error", element("span", "", ...title, text)));
}

/** @param {Iterable<{ file: Blob, name: string }>} items */
async function add(items) {
  queue.push(...items);
  if (isBusy) return;
  isBusy = true;
  byId("errors").replaceChildren();
  document.body.setAttribute("aria-busy", "true");
  for (let item = queue.shift(); item; item = queue.shift()) await analyze(item);
  isBusy = false;
  document.body.removeAttribute("aria-busy");
  byId("progress").hidden = true;
}

/** @param {{ file: Blob, name: string }} item */
async function analyze({ file, name }) {
  try {
    engine ??= new Engine(assets, showProgress);
    showProgress("Loading the models", 0);
    state.models = await engine.open();
    showOffline();
    const { analysis, seconds } = await engine.analyze(file, name);
    state.fields.push({ name, file, analysis, seconds });
    await show(state.fields.length - 1);
    if (state.fields.length === 1) byId("results-title").focus({ preventScroll: true });
  } catch (error) {
    showError(name, error);
  }
}

/** Show a field, and the counts of all. @param {number} index */
async function show(index) {
  const field = state.fields[index];
  byId("results").hidden = !field;
  if (!field || !state.models) return;
  if (index !== state.shown) state.chosen = null;
  state.shown = index;
  const { subtypes, taxonomy } = state.models;
  const analyses = state.fields.map((one) => one.analysis);
  showCounts(count(analyses, subtypes, taxonomy), analyses.length);
  byId("field-title").textContent = state.fields.length > 1 ? "Fields" : "Field";
  byId("fields").replaceChildren(...(state.fields.length > 1 ? state.fields.map(fieldButton) : []));
  const bitmap = await createImageBitmap(field.file, { colorSpaceConversion: "none" });
  const outlines = /** @type {HTMLInputElement} */ (byId("outlines")).checked;
  showField(field, bitmap, outlines, state.chosen, choose);
  bitmap.close();
}

/** @param {Field} field @param {number} index */
function fieldButton({ name }, index) {
  const button = element("button", "", name);
  button.type = "button";
  button.setAttribute("aria-pressed", String(index === state.shown));
  button.addEventListener("click", () => show(index));
  return button;
}

/** Mark a cell in the field, or unmark it. @param {CellRow} cell */
async function choose(cell) {
  const focused = /** @type {Element} */ (document.activeElement);
  const place = [...document.querySelectorAll(".cell")].indexOf(focused);
  state.chosen = state.chosen === cell ? null : cell;
  await show(state.shown);
  const button = document.querySelectorAll(".cell")[place];
  if (button instanceof HTMLElement) button.focus({ preventScroll: true });
  if (state.chosen) byId("canvas").scrollIntoView({ block: "nearest" });
}

function download() {
  const rows = state.fields.flatMap((one) => one.analysis.cells);
  const link = element("a");
  link.href = URL.createObjectURL(new Blob([csv(rows)], { type: "text/csv" }));
  link.download = "cells.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function clear() {
  Object.assign(state, { fields: [], shown: 0, chosen: null });
  byId("errors").replaceChildren();
  byId("results").hidden = true;
  byId("files").focus();
}

/** State what the first field costs, or that the page works without a network. */
function showOffline() {
  const large = Object.entries(assets.files).filter(([path]) => isLarge(path));
  const size = Math.round(large.reduce((sum, [, bytes]) => sum + bytes, 0) / 1e6);
  const isKept = "caches" in globalThis && navigator.serviceWorker?.controller;
  byId("offline").textContent = state.models
    ? isKept ? "The models are loaded. This page now works offline." : ""
    : `The first field downloads ${size} MB of models once. After that, this page works offline.`;
}

/** @param {DataTransfer | null} data */
const filesOf = (data) => [...(data?.files ?? [])].map((file) => ({ file, name: file.name }));

function listen() {
  const [drop, files] = [byId("drop"), /** @type {HTMLInputElement} */ (byId("files"))];
  files.addEventListener("change", () => {
    add([...(files.files ?? [])].map((file) => ({ file, name: file.name })));
    files.value = "";
  });
  for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", kind === "dragenter" || kind === "dragover");
    });
  }
  document.addEventListener("drop", (event) => add(filesOf(event.dataTransfer)));
  document.addEventListener("paste", (event) => add(filesOf(event.clipboardData)));
  byId("download").addEventListener("click", download);
  byId("clear").addEventListener("click", clear);
  byId("outlines").addEventListener("change", () => show(state.shown));
}

function offerSamples() {
  const buttons = assets.samples.map((path, index) => {
    const name = `synthetic field ${index + 1}.png`;
    const button = element("button", "", `Synthetic field ${index + 1}`);
    button.type = "button";
    button.addEventListener("click", async () => {
      try {
        const response = await fetch(path);
        add([{ file: await response.blob(), name }]);
      } catch {
        showError(name, new Error("There is no connection, and this field was not loaded before."));
      }
    });
    return button;
  });
  byId("samples").replaceChildren(...buttons);
}

/** Keep the page for use without a network. */
async function keep() {
  if (!("serviceWorker" in navigator)) return;
  navigator.serviceWorker.addEventListener("controllerchange", showOffline);
  try {
    await navigator.serviceWorker.register("service-worker.js");
  } catch (error) {
    console.warn("This page does not work without a network:", error);
  }
}

/** What the build added to the page. If it was not built, the page states that, and ends here. */
async function listed() {
  const address = new URL("../assets.js", import.meta.url).href; // a classic script, for workers
  await import(address).catch(() => {});
  const { ASSETS } = /** @type {{ ASSETS?: Assets & { samples: string[] } }} */ (globalThis);
  byId("not-started").remove();
  byId(ASSETS ? "choose" : "not-built").hidden = false;
  if (!ASSETS) throw new Error("The models are missing: run make browser-demo.");
  return ASSETS;
}

listen();
offerSamples();
showOffline();
keep();
