/**
 * The way of a packet there and back, on the map: from node to node, and a mark where it breaks.
 *
 * Refuses to know: how a packet is followed (`bgpctl explain` does), the panel.
 *
 * @typedef {{node: string, step: string, text: string, why: string | null, place: string | null, suspect: string | null, next: string | null, declared: boolean}} Step
 * @typedef {{
 *   steps: Step[], outcome: "delivered" | "broken" | "unknown", at: string | null, because: string, next: string | null,
 *   missing: {text: string, place: string | null, next: string | null} | null,
 *   unasked: {node: string, reason: string}[], difference: string | null
 * }} Journey
 * @typedef {{outcome: string, there: Journey, back: Journey | null, differing?: string[]}} Explained
 * @typedef {import("./layout.js").Layout} Layout
 */

import { curve, path, pointOf } from "./curves.js";
import { svg } from "./dom.js";
import { titleOf } from "./model.js";

/** The nodes that a packet comes to, in order. @param {Journey} journey */
export function nodesOf(journey) {
  return journey.steps.map((step) => step.node).filter((name, number, all) => name !== all[number - 1]);
}

/** The command that mends it or shows more. @param {Journey} journey */
export function nextOf(journey) {
  return journey.next ?? journey.missing?.next ?? null;
}

/** The journey that fails first; null if both are well. @param {Explained} explained */
export function failing(explained) {
  if (explained.there.outcome !== "delivered") return explained.there;
  return explained.back && explained.back.outcome !== "delivered" ? explained.back : null;
}

/** @param {import("./model.js").MapDocument} map @param {Layout} layout @param {Explained} explained */
export function drawWay(map, layout, explained) {
  const [there, back] = [explained.there, explained.back].map((part) => (part ? hopsOf(map, layout, part) : []));
  const failed = failing(explained);
  return svg(
    "g",
    { class: "way", "data-outcome": explained.outcome, "aria-hidden": "true" },
    ...back.flatMap((hop) => drawHop(hop, "back")),
    ...there.flatMap((hop) => drawHop(hop, "there")),
    ...there.filter((hop) => hop.words).map((hop) => badge(pointOf(hop.there, 0.5), hop.words, layout.cards ? 1 : 1.7)),
    failed ? mark(layout, failed) : null,
  );
}

/**
 * From node to node: the line there, the line beside it for an answer, and the encapsulation in words.
 *
 * @typedef {{from: string, to: string, there: import("./curves.js").Curve, back: import("./curves.js").Curve, words: string}} Hop
 * @param {import("./model.js").MapDocument} map @param {Layout} layout @param {Journey} journey @returns {Hop[]}
 */
function hopsOf(map, layout, journey) {
  const nodes = nodesOf(journey);
  return nodes.slice(1).flatMap((to, number) => {
    const from = nodes[number];
    const [a, b] = [layout.boxes.get(from), layout.boxes.get(to)];
    if (!a || !b) return [];
    const tunnel = map.nodes.find((node) => node.name === from)?.tunnels.find((item) => item.to.includes(to));
    const words = tunnel ? titleOf(tunnel.encapsulation) : "";
    return [{ from, to, there: curve(layout, a, b), back: curve(layout, a, b, layout.cards ? -14 : -24), words }];
  });
}

/** @param {Hop} hop @param {"there" | "back"} kind */
function drawHop(hop, kind) {
  const d = path(hop[kind]);
  return [
    svg("path", { d, class: `${kind} under` }),
    svg("path", { d, class: kind, "data-from": hop.from, "data-to": hop.to }),
    arrow(hop[kind], kind),
  ];
}

/** @param {import("./curves.js").Curve} whole @param {string} kind */
function arrow(whole, kind) {
  const [tip, before] = [pointOf(whole, 1), pointOf(whole, 0.94)];
  const angle = (Math.atan2(tip.y - before.y, tip.x - before.x) * 180) / Math.PI;
  return svg("path", { class: `${kind} arrow`, d: "M 0 0 L -11 -6 L -11 6 Z", transform: `translate(${tip.x} ${tip.y}) rotate(${angle})` });
}

/** @param {{x: number, y: number}} point @param {string} words @param {number} scale */
function badge({ x, y }, words, scale) {
  const w = words.length * 7.2 + 16;
  return svg(
    "g",
    { class: "badge", transform: `translate(${x} ${y}) scale(${scale})` },
    svg("rect", { x: -w / 2, y: -11, width: w, height: 22, rx: 11 }),
    svg("text", { y: 4, "text-anchor": "middle" }, words),
  );
}

/** A cross at the node where it breaks, with the reason and the next command. @param {Layout} layout @param {Journey} journey */
function mark(layout, journey) {
  const box = layout.boxes.get(journey.at ?? "");
  if (!box) return null;
  const next = nextOf(journey);
  const broken = journey.outcome === "broken";
  const words = [...wrapped(`${broken ? "breaks here: " : ""}${journey.missing?.text ?? journey.because}`, 40), ...(next ? wrapped(`next: ${next}`, 40) : [])];
  const [w, h] = [Math.max(...words.map((line) => line.length)) * 6.7 + 24, words.length * 17 + 14];
  const x = Math.max(4, Math.min(box.x + box.w / 2 - w / 2, layout.w - w - 4));
  const above = box.y + box.h / 2 < layout.middle;
  const y = above ? box.y + box.h + 14 : box.y - h - 14;
  const [cx, cy] = [box.x + box.w / 2, above ? box.y + box.h : box.y];
  return svg(
    "g",
    { class: `mark ${journey.outcome}`, "data-at": journey.at },
    svg("rect", { class: "ring", x: box.x - 4, y: box.y - 4, width: box.w + 8, height: box.h + 8, rx: 11 }),
    svg("rect", { class: "note", x, y, width: w, height: h, rx: 8 }),
    ...words.map((line, number) => svg("text", { x: x + 12, y: y + 20 + number * 17 }, line)),
    svg("circle", { cx, cy, r: 11 }),
    broken ? svg("path", { class: "sign", d: `M ${cx - 4.5} ${cy - 4.5} l 9 9 m 0 -9 l -9 9` }) : svg("text", { class: "sign", x: cx, y: cy + 5, "text-anchor": "middle" }, "?"),
  );
}

/** @param {string} text @param {number} width */
function wrapped(text, width) {
  /** @type {string[]} */
  const lines = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line && line.length + word.length + 1 > width) {
      lines.push(line);
      line = word;
    } else line = line ? `${line} ${word}` : word;
  }
  return [...lines, line];
}
