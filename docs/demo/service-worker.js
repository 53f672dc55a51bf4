/** Keeps the page, so that it works without a network; the models are kept by the page itself. */

/** @type {any} */ (self).importScripts("assets.js");

/** @type {{ version: string, models: string, files: Record<string, number> }} */
const kept = /** @type {any} */ (self).ASSETS;
const PREFIX = "hematovision-demo-";
const CACHE = `${PREFIX}page-${kept.version}`;
const MODELS = `${PREFIX}models-${kept.models}`; // see `analysis/storage.js`

/** @param {string} path */
const isOfPage = (path) => !path.startsWith("models/") && !path.endsWith(".wasm");

async function install() {
  const cache = await caches.open(CACHE);
  const requests = ["./", ...Object.keys(kept.files).filter(isOfPage)].map((path) => {
    return new Request(path, { cache: "reload" });
  });
  await cache.addAll(requests);
  await /** @type {any} */ (self).skipWaiting();
}

async function activate() {
  const names = (await caches.keys()).filter((name) => {
    return name.startsWith(PREFIX) && name !== CACHE && name !== MODELS;
  });
  await Promise.all(names.map((name) => caches.delete(name)));
  await /** @type {any} */ (self).clients.claim();
}

/** @param {Request} request */
async function respond(request) {
  const cache = await caches.open(CACHE);
  const known = await cache.match(request, { ignoreSearch: request.mode === "navigate" });
  return known ?? fetch(request);
}

self.addEventListener("install", (/** @type {any} */ event) => event.waitUntil(install()));
self.addEventListener("activate", (/** @type {any} */ event) => event.waitUntil(activate()));
self.addEventListener("fetch", (/** @type {any} */ event) => {
  const isOwn = event.request.url.startsWith(new URL("./", self.location.href).href);
  if (event.request.method === "GET" && isOwn) event.respondWith(respond(event.request));
});
