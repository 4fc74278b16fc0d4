/**
 * The details beside the map: the way of a packet, one node, all problems, `verify`'s failures, events; and the map as
 * a table.
 *
 * Refuses to know: the map's elements, how the server is asked.
 *
 * @typedef {import("./model.js").MapDocument} MapDocument
 * @typedef {import("./model.js").Place} Place
 * @typedef {import("./explained.js").Explained} Explained
 * @typedef {import("./explained.js").Journey} Journey
 * @typedef {{failure: string, node: string, because: string, pairs: number, source: string, destination: string, size_bytes: number, next: string, ends: (string | null)[]}} FailureClass
 * @typedef {{age_s: number | null, error: string | null, verdict: null | {pairs: number, classes: FailureClass[], unasked?: {node: string, reason: string}[], differing?: string[]}}} Verdict
 * @typedef {{choose: (name: string) => void, mark: (item: FailureClass) => void, verify: () => void, explain: (from: string, to: string) => void}} Acts
 */

import { SIGNS } from "./draw.js";
import { html } from "./dom.js";
import { failing, nextOf } from "./explained.js";
import { titleOf } from "./model.js";

/** @param {string} command */
function commandOf(command) {
  return html("p", { class: "next" }, html("span", { class: "next-word" }, "next "), html("code", {}, command));
}

/** @param {string} name @param {Acts} acts */
function nodeButton(name, acts) {
  return html("button", { type: "button", class: "link", click: () => acts.choose(name) }, name);
}

// The way of a packet -----------------------------------------------------------------------------------------------

/** @param {Explained | null} explained @param {string | null} error @param {boolean} asking */
export function pathTab(explained, error, asking) {
  if (asking) return [html("p", { class: "quiet" }, "Following the packet …")];
  if (error) return [html("p", { class: "fault-words" }, error)];
  if (!explained) return [html("p", { class: "quiet" }, "Choose two workloads: a packet is followed there, and its answer back.")];
  const failed = failing(explained);
  const word = { delivered: "✓ Delivered, there and back", broken: "✕ It breaks", unknown: "? Not known" }[explained.outcome] ?? explained.outcome;
  return [
    html("p", { class: `verdict ${explained.outcome}` }, word),
    ...(failed ? ending(failed) : []),
    ...journey("There", explained.there),
    ...(explained.back ? journey("Back", explained.back) : []),
    ...(explained.differing ?? []).map((name) => html("p", { class: "fault-words" }, `${name} has another configuration`)),
  ];
}

/** @param {Journey} item */
function ending(item) {
  const words = item.outcome === "broken" ? `Breaks at ${item.at}: ${item.because}` : item.because;
  const next = nextOf(item);
  return [
    html("p", { class: "fault-words" }, words),
    item.missing ? html("p", { class: "fault-words" }, `${item.missing.place ? `${item.missing.place}: ` : ""}${item.missing.text}`) : null,
    next ? commandOf(next) : null,
    ...item.unasked.map((one) => html("p", { class: "fault-words" }, `${one.node} could not be asked: ${one.reason}`)),
  ].filter((one) => one !== null);
}

/** @param {string} title @param {Journey} item */
function journey(title, item) {
  const steps = item.steps.map((step, number) =>
    html(
      "li",
      {},
      step.node === item.steps[number - 1]?.node ? null : html("span", { class: "where" }, step.node),
      html("span", { class: "step" }, step.step),
      html("span", { class: "text" }, step.text, step.declared ? " (declared)" : null),
      step.why ? html("span", { class: "why" }, step.why, step.place ? ` (${step.place})` : null) : null,
      step.suspect ? html("span", { class: "why fault-words" }, step.suspect) : null,
    ),
  );
  const end = html(
    "li",
    { class: `end ${item.outcome}` },
    item.at === item.steps[item.steps.length - 1]?.node ? null : html("span", { class: "where" }, item.at ?? "?"),
    html("span", { class: "step" }, "end"),
    html("span", { class: "text" }, item.because),
  );
  return [html("h3", {}, title), html("ol", { class: "steps" }, ...steps, end)];
}

// Nodes and problems -------------------------------------------------------------------------------------------------

/** @param {Place | undefined} place @param {Acts} acts */
export function nodeTab(place, acts) {
  if (!place) return [html("p", { class: "quiet" }, "Choose a node on the map, or search for one.")];
  const rows = [
    ["Addresses", place.addresses.join(", ")],
    ["Blocks", place.blocks.join(", ")],
    ["Configuration", place.agrees === null ? "" : place.agrees ? "as most nodes" : "another than most nodes"],
    ...place.tunnels.map((item) => [
      titleOf(item.encapsulation),
      `${item.device ? `${item.device}${item.up ? "" : ", down"}, MTU ${item.mtu_bytes}: ` : ""}${item.to.length ? listed(item.to) : "to no node"}`,
    ]),
    ["No tunnel", place.direct.length ? listed(place.direct) : ""],
    ["BGP", place.sessions.up.length ? `established with ${listed(place.sessions.up)}` : ""],
    ["Workloads", place.workloads.map((item) => `${item.name} ${item.address}`).join(", ")],
  ].filter(([, text]) => text);
  return [
    html("p", { class: `verdict is-${place.health}` }, `${SIGNS.get(place.health) ?? ""} ${place.name} ${place.state ?? place.kind}`),
    ...problemsOf(place),
    html("dl", {}, ...rows.flatMap(([name, text]) => [html("dt", {}, name), html("dd", {}, text)])),
    ...place.workloads.length ? [html("p", { class: "quiet" }, "Choose one of its workloads on the map as an end.")] : [],
  ];
}

/** @param {string[]} names */
function listed(names) {
  return names.length > 8 ? `${names.slice(0, 8).join(", ")} and ${names.length - 8} more` : names.join(", ");
}

/** @param {Place} place */
function problemsOf(place) {
  return [
    ...place.why.map((words) => html("p", { class: "fault-words" }, words)),
    ...Object.entries(place.unproven).map(([far, words]) => html("p", { class: "fault-words" }, `the path to ${far} is not proven: ${words}`)),
    ...place.sessions.down.flatMap((item) => [
      html("p", { class: "fault-words" }, `no BGP session with ${item.with}${item.error ? `: ${item.error}` : ""}`),
      ...(item.next ? [commandOf(item.next)] : []),
    ]),
  ];
}

/** The nodes that are not well. @param {MapDocument} map */
export function ill(map) {
  return map.nodes.filter((place) => !["good", "declared", "none"].includes(place.health) || place.why.length);
}

/** @param {MapDocument} map @param {Acts} acts */
export function problemsTab(map, acts) {
  const found = ill(map);
  if (!found.length) return [html("p", { class: "verdict delivered" }, map.source === "files" ? "✓ The files have no problem" : "✓ All nodes are well")];
  return found.flatMap((place) => [
    html("h3", { class: `is-${place.health}` }, `${SIGNS.get(place.health) ?? ""} `, nodeButton(place.name, acts), ` ${place.state ?? ""}`),
    ...problemsOf(place),
  ]);
}

/** @param {Verdict | null} verdict @param {Acts} acts @param {boolean} asking */
export function verifyTab(verdict, acts, asking) {
  const again = html("button", { type: "button", click: () => acts.verify(), disabled: asking }, asking ? "Following packets …" : "Verify now");
  const found = verdict?.verdict;
  if (!found) {
    const words = verdict?.error ?? "A packet is followed between the blocks of every two nodes.";
    return [html("p", { class: verdict?.error ? "fault-words" : "quiet" }, words), again];
  }
  const failed = found.classes.reduce((sum, item) => sum + item.pairs, 0);
  const word = failed ? `✕ ${found.pairs} pairs of blocks: ${failed} fail` : `✓ ${found.pairs} pairs of blocks: all reach each other`;
  return [
    html("p", { class: `verdict ${failed ? "broken" : "delivered"}` }, word),
    html("ul", { class: "classes" }, ...found.classes.map((item) => failureOf(item, acts))),
    ...(found.unasked ?? []).map((item) => html("p", { class: "fault-words" }, `${item.node} could not be asked: ${item.reason}`)),
    ...(found.differing ?? []).map((name) => html("p", { class: "fault-words" }, `${name} has another configuration`)),
    again,
  ];
}

/** @param {FailureClass} item @param {Acts} acts */
function failureOf(item, acts) {
  return html(
    "li",
    {},
    html(
      "button",
      { type: "button", class: "class", click: () => acts.mark(item) },
      html("strong", {}, `${item.failure} at ${item.node}`),
      html("span", {}, `${item.pairs} ${item.pairs === 1 ? "pair" : "pairs"}: ${item.because}`),
    ),
    commandOf(item.next),
  );
}

// Events and the table ------------------------------------------------------------------------------------------------

/** @param {{at_s: number, node: string, event: string}[]} events */
export function eventsTab(events) {
  if (!events.length) return [html("p", { class: "quiet" }, "Nothing has happened yet.")];
  const rows = events.map((item) => {
    const at = new Date(item.at_s * 1000);
    return html("li", {}, html("time", { datetime: at.toISOString() }, at.toTimeString().slice(0, 8)), html("span", { class: "where" }, item.node), html("span", {}, item.event));
  });
  return [html("ol", { class: "events" }, ...rows)];
}

/** @param {MapDocument} map @param {Acts} acts */
export function tableOf(map, acts) {
  const heads = ["Rack", "Node", "State", "Addresses", "Workloads", "BGP", "Tunnels", "Problems"];
  const rows = map.nodes.map((place) => {
    const sessions = place.sessions.up.length + place.sessions.down.length;
    const tunnels = place.tunnels.filter((item) => item.to.length).map((item) => `${titleOf(item.encapsulation)} to ${item.to.length}`);
    const texts = [
      place.addresses.join(", "),
      place.workloads.map((item) => item.name).join(", "),
      sessions ? `${place.sessions.up.length}/${sessions}` : "",
      [...tunnels, place.direct.length ? `none to ${place.direct.length}` : ""].filter(Boolean).join(", "),
      place.why.join("; "),
    ];
    return html(
      "tr",
      { "data-row": place.name },
      html("td", {}, place.racks.join(", ")),
      html("th", { scope: "row" }, nodeButton(place.name, acts)),
      html("td", { class: `is-${place.health}` }, `${SIGNS.get(place.health) ?? ""} ${place.state ?? place.kind}`),
      ...texts.map((text) => html("td", {}, text)),
    );
  });
  return html(
    "table",
    {},
    html("caption", { class: "sr" }, "Nodes, and how they are connected"),
    html("thead", {}, html("tr", {}, ...heads.map((text) => html("th", { scope: "col" }, text)))),
    html("tbody", {}, ...rows),
  );
}
