/** Elements of HTML and SVG. Refuses to know: what they show. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * @typedef {string | number | boolean | null | undefined} Value
 * @typedef {Node | string | null | undefined | false} Child
 */

/** @param {Element} made @param {Record<string, Value | ((event: any) => void)>} attributes @param {Child[]} children */
function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, String(value));
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/** An element of HTML; functions among the attributes are listeners. */
export function html(/** @type {string} */ tag, attributes = {}, /** @type {Child[]} */ ...children) {
  return /** @type {HTMLElement} */ (filled(document.createElement(tag), attributes, children));
}

/** An element of SVG. */
export function svg(/** @type {string} */ tag, attributes = {}, /** @type {Child[]} */ ...children) {
  return /** @type {SVGElement} */ (filled(document.createElementNS(SVG, tag), attributes, children));
}

/** The element with this id. */
export function byId(/** @type {string} */ id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found;
}
