/**
 * The map as elements of SVG: racks, lines, places, and above them the way of a packet.
 *
 * Encapsulations differ by the form of their line, health by a sign and a word: colours only repeat it. Each half of a
 * line is the direction that begins there.
 *
 * Refuses to know: where the document comes from, what a choice leads to.
 *
 * @typedef {import("./model.js").MapDocument} MapDocument
 * @typedef {import("./model.js").Place} Place
 * @typedef {import("./model.js").Pair} Pair
 * @typedef {import("./model.js").Facts} Facts
 * @typedef {import("./layout.js").Layout} Layout
 * @typedef {import("./layout.js").Box} Box
 * @typedef {{
 *   chosen: string | null, ends: string[], sessions: boolean, changed: Set<string>, marked: Set<string>,
 *   explained: import("./explained.js").Explained | null
 * }} View
 */

import { curve, halves, path, pointOf } from "./curves.js";
import { svg } from "./dom.js";
import { drawWay } from "./explained.js";
import { CHIP, MOST_CHIPS } from "./layout.js";
import { DIRECT, pairWords, titleOf, wordsOf } from "./model.js";

const MOST_LABELS = 12;
/** Between the lines of two encapsulations, as of two IP versions. */
const BESIDE = 9;
export const SIGNS = new Map([["good", "✓"], ["changing", "…"], ["bad", "!"], ["unknown", "?"]]);

/** @param {MapDocument} map @param {Layout} layout @param {Facts} facts @param {View} view @returns {SVGElement[]} */
export function drawn(map, layout, facts, view) {
  return [
    svg("g", { class: "racks" }, ...layout.racks.map(rack)),
    svg("g", { class: "uplinks" }, ...uplinks(map, layout)),
    svg("g", { class: "lines" }, ...lines(layout, facts, view)),
    svg("g", { class: "places" }, ...map.nodes.map((place) => drawPlace(place, layout, view))),
    ...(view.explained ? [drawWay(map, layout, view.explained)] : []),
  ];
}

/** @param {import("./layout.js").RackBox} item */
function rack({ name, subnet, box, top }) {
  const room = Math.floor((box.w - 40 - name.length * 8) / 6.7);
  const words = name === subnet ? [name] : [name, room > 6 ? cut(subnet, room) : ""];
  return svg(
    "g",
    { class: "rack", "data-rack": name },
    svg("rect", { x: box.x, y: box.y, width: box.w, height: box.h, rx: 12 }),
    svg(
      "text",
      { x: box.x + 14, y: top ? box.y + 22 : box.y + box.h - 11 },
      svg("tspan", { class: "name" }, words[0]),
      words[1] ? svg("tspan", { class: "subnet", dx: 8 }, words[1]) : null,
    ),
  );
}

/** Routers with their racks. @param {MapDocument} map @param {Layout} layout */
function uplinks(map, layout) {
  return map.nodes.filter((place) => place.kind === "router").flatMap((router) => {
    const box = layout.boxes.get(router.name);
    return router.racks.flatMap((name) => {
      const found = layout.racks.find((item) => item.name === name);
      if (!box || !found || found.whole) return [];
      const edge = { ...found.box, y: found.top ? found.box.y + found.box.h - 1 : found.box.y, h: 1 };
      return [svg("path", { d: path(curve(layout, edge, box)) })];
    });
  });
}

// Lines ------------------------------------------------------------------------------------------------------------

/** Of tiles only the lines of the chosen one are drawn. @param {Layout} layout @param {Facts} facts @param {View} view */
function lines(layout, facts, view) {
  const isNear = (/** @type {{ends: string[]}} */ item) => layout.cards || item.ends.includes(view.chosen ?? "");
  const own = view.explained && !layout.cards ? [] : facts.pairs.filter(isNear);
  const bundles = layout.cards ? [] : facts.bundles.map((item) => bundle(layout, item, Boolean(view.chosen)));
  const sessions = facts.sessions
    .filter((item) => isNear(item) && (view.sessions || !item.up))
    .map((item) => session(layout, item));
  const labelled = own.length <= MOST_LABELS;
  return [...bundles, ...own.map((pair) => drawPair(layout, pair, view, labelled)), ...sessions].filter((item) => item !== null);
}

/** @param {Layout} layout @param {Pair} pair @param {View} view @param {boolean} labelled */
function drawPair(layout, pair, view, labelled) {
  const [a, b] = pair.ends.map((name) => layout.boxes.get(name));
  if (!a || !b) return null;
  const whole = curve(layout, a, b);
  const fault = pair.halves.map((half) => half.fault);
  const faded = view.chosen && !pair.ends.includes(view.chosen);
  const classes = ["pair", faded ? "faded" : "", view.changed.has(pair.key) ? "changed" : ""];
  return svg(
    "g",
    {
      class: classes.filter(Boolean).join(" "),
      "data-pair": pair.key,
      "data-there": pair.halves[0].by.join(" "),
      "data-back": pair.halves[1].by.join(" "),
    },
    svg("title", {}, `${pair.ends.join(" and ")}: ${pairWords(pair)}${fault.filter(Boolean).map((word) => `, ${word}`).join("")}`),
    ...pair.halves.flatMap((half, side) => half.by.flatMap((name, number) => drawHalf(halves(curve(layout, a, b, number * BESIDE))[side], name, half.fault))),
    ...(fault.some(Boolean) ? [cross(pointOf(whole, fault[0] ? 0.3 : 0.7))] : []),
    ...(labelled ? labels(pair, whole) : []),
  );
}

/** One for both directions, or one on each half. @param {Pair} pair @param {import("./curves.js").Curve} whole */
function labels(pair, whole) {
  const [there, back] = pair.halves.map((half) => (half.by.length !== 1 || half.by[0] === DIRECT ? "" : wordsOf(half)));
  const found = there === back ? [{ words: there, at: labelPlace(whole) }] : [{ words: there, at: 0.26 }, { words: back, at: 0.74 }];
  return found.filter((item) => item.words).map((item) => label(item.words, pointOf(whole, item.at)));
}

/** Lines that cross have their labels beside the crossing. @param {import("./curves.js").Curve} whole */
function labelPlace(whole) {
  const dx = whole[3].x - whole[0].x;
  return Math.abs(dx) < 40 ? 0.5 : dx * (whole[3].y - whole[0].y) > 0 ? 0.27 : 0.73;
}

/** @param {import("./curves.js").Curve} half @param {string} name @param {string | null} fault */
function drawHalf(half, name, fault) {
  const d = path(half);
  return [
    svg("path", { d, class: `half by-${name}${fault ? " fault" : ""}` }),
    ...(name === "vxlan" ? [svg("path", { d, class: "inside" })] : []),
  ];
}

/** @param {{x: number, y: number}} point */
function cross({ x, y }) {
  return svg("g", { class: "cross" }, svg("circle", { cx: x, cy: y, r: 8 }), svg("path", { d: `M ${x - 3.5} ${y - 3.5} l 7 7 m 0 -7 l -7 7` }));
}

/** @param {string} words @param {{x: number, y: number}} point */
function label(words, { x, y }) {
  const w = words.length * 6.6 + 12;
  return svg(
    "g",
    { class: "label" },
    svg("rect", { x: x - w / 2, y: y - 9, width: w, height: 18, rx: 9 }),
    svg("text", { x, y: y + 4, "text-anchor": "middle" }, words),
  );
}

/** @param {Layout} layout @param {import("./model.js").Bundle} item @param {boolean} faded */
function bundle(layout, item, faded) {
  const [a, b] = item.racks.map((name) => layout.racks.find((found) => found.name === name)?.box);
  if (!a || !b) return null;
  const d = path(curve(layout, a, b));
  const words = [...item.by].map(([by, number]) => `${Math.ceil(number / 2)} by ${titleOf(by)}`).join(", ");
  const width = Math.min(3 + Math.sqrt(item.pairs) * 0.35, 14);
  const [most] = [...item.by].sort((one, other) => other[1] - one[1])[0] ?? ["none"];
  return svg(
    "g",
    { class: `bundle${faded ? " faded" : ""}${item.fault ? " fault" : ""}`, "data-bundle": item.key, "data-pairs": item.pairs, "data-fault": item.fault },
    svg("title", {}, `${item.racks.join(" and ")}: ${item.pairs} pairs, ${words}${item.fault ? `, ${item.fault} with a fault` : ""}`),
    svg("path", { d, class: `half by-${most}`, "stroke-width": width }),
    most === "vxlan" ? svg("path", { d, class: "inside", "stroke-width": width / 3 }) : null,
  );
}

/** @param {Layout} layout @param {import("./model.js").Session} item */
function session(layout, item) {
  const [a, b] = item.ends.map((name) => layout.boxes.get(name));
  if (!a || !b) return null;
  const whole = curve(layout, a, b, 14);
  return svg(
    "g",
    { class: `session${item.up ? "" : " down"}`, "data-session": item.key, "data-up": item.up ? "true" : "false" },
    svg("title", {}, `BGP session of ${item.ends.join(" and ")}: ${item.up ? "established" : item.error ?? "down"}`),
    svg("path", { d: path(whole) }),
    item.up ? null : cross(pointOf(whole, 0.5)),
  );
}

// Places -----------------------------------------------------------------------------------------------------------

/** @param {Place} place @param {Layout} layout @param {View} view */
function drawPlace(place, layout, view) {
  const box = layout.boxes.get(place.name);
  if (!box) return svg("g");
  const isTile = !layout.cards && place.kind !== "router";
  const classes = ["place", place.kind, `is-${place.health}`, isTile ? "tile" : "card"];
  if (view.chosen === place.name) classes.push("chosen");
  if (view.marked.has(place.name)) classes.push("marked");
  if (isTile && place.workloads.some((item) => view.ends.includes(item.address))) classes.push("end");
  const words = isTile ? tileWords(place, box) : cardWords(place, box);
  return svg(
    "g",
    { class: classes.join(" "), "data-place": place.name },
    button(place.name, view.chosen === place.name, { class: "button" }, box, 8, words, spoken(place)),
    ...(isTile ? [] : chips(place, box, view)),
  );
}

/**
 * A button of the map. Its name begins with the words that are seen, as screen readers and voice control need it.
 *
 * @param {string} key @param {boolean} pressed @param {Record<string, string>} attributes @param {Box} box @param {number} rx
 * @param {(SVGElement | null)[]} words @param {string} more
 */
function button(key, pressed, attributes, box, rx, words, more) {
  const seen = words.filter((item) => item !== null);
  const name = `${seen.map((item) => item.textContent?.trim()).join(" ")}, ${more}`;
  return svg(
    "g",
    { ...attributes, role: "button", tabindex: -1, "data-key": key, "aria-label": name, "aria-pressed": String(pressed) },
    svg("rect", { x: box.x, y: box.y, width: box.w, height: box.h, rx }),
    ...seen.flatMap((item) => [" ", item]),
  );
}

/** @param {Place} place */
function spoken(place) {
  const count = place.workloads.length;
  const workloads = count ? `, ${count} ${count === 1 ? "workload" : "workloads"}` : "";
  return `${place.kind}${workloads}${place.why.length ? `: ${place.why[0]}` : ""}`;
}

/** @param {string} text @param {number} most */
function cut(text, most) {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

/** @param {Place} place @param {Box} box */
function tileWords(place, box) {
  const sign = SIGNS.get(place.health);
  return [
    svg("text", { class: "name", x: box.x + 9, y: box.y + 21 }, cut(place.name, sign ? 9 : 11)),
    sign ? svg("text", { class: "sign", x: box.x + box.w - 9, y: box.y + 21, "text-anchor": "end" }, sign) : null,
  ];
}

/** @param {Place} place @param {Box} box */
function cardWords(place, box) {
  const isRouter = place.kind === "router";
  const sign = SIGNS.get(place.health);
  const state = place.state === "declared" ? null : place.state;
  const established = place.sessions.up.length;
  const sessions = established + place.sessions.down.length;
  const facts = [sessions ? `BGP ${established}/${sessions}` : "", place.agrees === false ? "≠ configuration" : ""];
  return [
    svg("text", { class: "name", x: box.x + 12, y: box.y + 21 }, cut(place.name, isRouter ? 15 : 17)),
    state || sign
      ? svg("text", { class: "state", x: box.x + box.w - 12, y: box.y + 21, "text-anchor": "end" }, svg("tspan", { class: "sign" }, sign ?? ""), state ? ` ${state}` : "")
      : null,
    svg("text", { class: "address", x: box.x + 12, y: box.y + (isRouter ? 34 : 37) }, isRouter ? place.state ?? "router" : cut(place.addresses[0] ?? "", 27)),
    isRouter ? null : svg("text", { class: "facts", x: box.x + 12, y: box.y + 52 }, facts.filter(Boolean).join("  ") || (place.blocks[0] ?? "")),
  ];
}

/** @param {Place} place @param {Box} box @param {View} view */
function chips(place, box, view) {
  const chosen = place.workloads.filter((item) => view.ends.includes(item.address));
  const shown = [...new Set([...place.workloads.slice(0, MOST_CHIPS), ...chosen])].slice(-MOST_CHIPS);
  const more = place.workloads.length - shown.length;
  const top = box.y + 60;
  const made = shown.map((item, number) => {
    const [x, y, w] = [box.x + 8, top + number * CHIP, box.w - 16];
    const end = view.ends.indexOf(item.address);
    const role = ["from", "to"][end];
    const words = [
      svg("text", { class: "name", x: x + 8, y: y + 14 }, cut(item.name, 25)),
      item.name.length + item.address.length < 23 ? svg("text", { class: "address", x: x + w - 8, y: y + 14, "text-anchor": "end" }, item.address) : null,
    ];
    const attributes = { class: `workload ${item.kind}${role ? ` end ${role}` : ""}`, "data-address": item.address };
    const more = `${item.kind} ${item.address} on ${place.name}${role ? `, ${role}` : ""}`;
    return button(item.address, Boolean(role), attributes, { x, y, w, h: CHIP - 4 }, 5, words, more);
  });
  return more > 0 ? [...made, svg("text", { class: "more", x: box.x + 14, y: top + shown.length * CHIP + 13 }, `and ${more} more`)] : made;
}
