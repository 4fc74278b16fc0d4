/**
 * Lines between places: bows in the band between the two rows of racks.
 *
 * Refuses to know: elements, the meaning of a line.
 *
 * @typedef {import("./layout.js").Layout} Layout
 * @typedef {import("./layout.js").Box} Box
 * @typedef {{x: number, y: number}} Point
 * @typedef {[Point, Point, Point, Point]} Curve  of Bézier
 */

import { centre } from "./layout.js";

/** @param {Point} a @param {Point} b @param {number} t */
function between(a, b, t) {
  return { x: a.x + (b.x - a.x) * t, y: a.y + (b.y - a.y) * t };
}

/** @param {Layout} layout @param {Box} box */
function isAbove(layout, box) {
  return centre(box).y < layout.middle - 1;
}

/** The point of a box from which lines to another one leave. @param {Layout} layout @param {Box} box @param {Box} far */
function anchor(layout, box, far) {
  const { x, y } = centre(box);
  const reach = Math.max(-box.w * 0.36, Math.min(box.w * 0.36, (centre(far).x - x) * 0.16));
  const isRouter = Math.abs(y - layout.middle) <= 1;
  const down = isRouter ? centre(far).y > y : isAbove(layout, box);
  return { x: x + reach, y: down ? box.y + box.h : box.y, down };
}

/** The line from one box to another, moved to the side by `shift`. @param {Layout} layout @param {Box} a @param {Box} b @returns {Curve} */
export function curve(layout, a, b, shift = 0) {
  const [p, q] = [anchor(layout, a, b), anchor(layout, b, a)];
  const aside = p.down === q.down;
  const dx = Math.abs(q.x - p.x);
  const deep = aside ? Math.min(34 + dx * 0.16, layout.band * 0.55) + shift : Math.max(24, Math.abs(q.y - p.y) * 0.45);
  const side = aside ? 0 : shift;
  const bow = (/** @type {{down: boolean}} */ end) => (end.down ? deep : -deep);
  return [
    { x: p.x + side, y: p.y },
    { x: p.x + side, y: p.y + bow(p) },
    { x: q.x + side, y: q.y + bow(q) },
    { x: q.x + side, y: q.y },
  ];
}

/** Both halves. @param {Curve} whole @returns {[Curve, Curve]} */
export function halves([a, b, c, d]) {
  const [ab, bc, cd] = [between(a, b, 0.5), between(b, c, 0.5), between(c, d, 0.5)];
  const [abc, bcd] = [between(ab, bc, 0.5), between(bc, cd, 0.5)];
  const middle = between(abc, bcd, 0.5);
  return [[a, ab, abc, middle], [middle, bcd, cd, d]];
}

/** @param {Curve} whole @param {number} t @returns {Point} */
export function pointOf([a, b, c, d], t) {
  const [ab, bc, cd] = [between(a, b, t), between(b, c, t), between(c, d, t)];
  return between(between(ab, bc, t), between(bc, cd, t), t);
}

const shown = (/** @type {Point} */ { x, y }) => `${x.toFixed(1)} ${y.toFixed(1)}`;

/** For the attribute `d`. @param {Curve} curve */
export function path([a, b, c, d]) {
  return `M ${shown(a)} C ${shown(b)} ${shown(c)} ${shown(d)}`;
}
