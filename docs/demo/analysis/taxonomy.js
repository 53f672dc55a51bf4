/** The spellings of classes: `taxonomy.Taxonomy.find`. */

/** @typedef {{ classes: string[], aliases: Record<string, string[]> }} Taxonomy */

/**
 * The class that a spelling means, or null.
 *
 * @param {Taxonomy} taxonomy
 * @param {string} spelling
 */
export function findClass({ classes, aliases }, spelling) {
  const wanted = normalised(spelling);
  for (const suffix of ["", "s"]) {
    const isMeant = (/** @type {string} */ one) => normalised(one) + suffix === wanted;
    const found = classes.find((label) => [label, ...(aliases[label] ?? [])].some(isMeant));
    if (found) return found;
  }
  return null;
}

/** @param {string} spelling */
function normalised(spelling) {
  return spelling.normalize("NFKD").toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "");
}
