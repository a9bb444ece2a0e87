/**
 * Few helpers to build a tree without markup as text, which strict policies forbid, and to write only what changed.
 *
 * @module
 */

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, string>} [attributes]
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** @param {Node} node @param {string} text */
export function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** @param {Element} element @param {boolean} shown */
export function show(element, shown) {
  element.toggleAttribute("hidden", !shown);
}

const FORMAT = new Intl.NumberFormat("en"); // kept: to make one costs more than to use it

/** @param {number | null} value @param {string} [unit] @returns {string} */
export function number(value, unit = "") {
  if (value === null || Number.isNaN(value)) return "–";
  const text = FORMAT.format(value >= 100 ? Math.round(value) : Math.round(value * 10) / 10);
  return unit ? `${text} ${unit}` : text;
}

/** @param {number | null} bytes @returns {string} */
export function size(bytes) {
  if (bytes === null) return "–";
  if (bytes < 1000) return `${Math.round(bytes)} B`;
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/** The beginning of a long identity. @param {string | null | undefined} text @returns {string} */
export const short = (text) => (text ? `${text.slice(0, 6)}…` : "–");
