/**
 * The page: asks the server, keeps what was chosen, and draws. It reads only.
 *
 * Refuses to know: the forms of lines and places (draw.js), the words of the details (panel.js).
 */

import { byId, html } from "./dom.js";
import { drawn } from "./draw.js";
import { ARROWS, Focus } from "./focus.js";
import { layoutOf } from "./layout.js";
import { addressOf, changesOf, countsOf, endsOf, factsOf, matching } from "./model.js";
import { eventsTab, ill, nodeTab, pathTab, problemsTab, tableOf, verifyTab } from "./panel.js";
import { Zoom } from "./zoom.js";

const EVERY_MS = 1000;
const VERIFY_EVERY_MS = 10_000;
const MOST_VERIFIED = 40;
const CHANGED_MS = 6000;
const MOST_CHANGES = 40;
const LATER_MS = 3000;

const TABS = [["path", "Path"], ["node", "Node"], ["problems", "Problems"], ["verify", "Verify"], ["events", "Events"]];

const stage = /** @type {SVGSVGElement} */ (/** @type {unknown} */ (byId("map")));
const inputs = { from: /** @type {HTMLInputElement} */ (byId("from")), to: /** @type {HTMLInputElement} */ (byId("to")) };
const search = /** @type {HTMLInputElement} */ (byId("search"));
const zoom = new Zoom(stage);
const focus = new Focus(stage, (name) => {
  const box = state.layout?.boxes.get(name);
  if (box) zoom.reveal(box);
});

/** @type {{
 *   map: import("./model.js").MapDocument | null, tag: string, facts: import("./model.js").Facts,
 *   layout: import("./layout.js").Layout | null, tab: string, table: boolean,
 *   chosen: string | null, ends: string[], sessions: boolean | null, changed: Set<string>, marked: Set<string>,
 *   explained: import("./explained.js").Explained | null, error: string | null, asking: boolean,
 *   verdict: import("./panel.js").Verdict | null, verifying: boolean, happened: {at_s: number, node: string, event: string}[]
 * }} */
const state = {
  map: null, tag: "", facts: { pairs: [], sessions: [], bundles: [] }, layout: null, tab: "path", table: false,
  chosen: null, ends: [], sessions: null, changed: new Set(), marked: new Set(),
  explained: null, error: null, asking: false, verdict: null, verifying: false, happened: [],
};

// Asking -------------------------------------------------------------------------------------------------------------

/** @param {string} path @param {Record<string, string>} headers */
async function ask(path, headers = {}) {
  const key = decodeURIComponent(location.hash.slice(1));
  return fetch(path, { headers: { Authorization: `Bearer ${key}`, ...headers }, cache: "no-store" });
}

/** @param {string} path */
async function read(path) {
  const answer = await ask(path);
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.error);
  return body;
}

async function poll() {
  let after = EVERY_MS;
  try {
    if (!document.hidden || !state.map) {
      const answer = await ask("/api/map", state.tag ? { "If-None-Match": state.tag } : {});
      if (answer.status === 200) {
        state.tag = answer.headers.get("ETag") ?? "";
        take(await answer.json());
      } else if (answer.status !== 304) throw new Error((await answer.json()).error);
      alarm(null);
    }
    if (state.map?.source === "files") return;
  } catch (error) {
    alarm(error instanceof TypeError ? "bgpctl ui does not answer; the map is as it was" : String(/** @type {Error} */ (error).message));
    after = LATER_MS;
  }
  setTimeout(poll, after);
}

/** @param {string | null} words */
function alarm(words) {
  const place = byId("alert");
  if (place.textContent !== (words ?? "")) place.textContent = words ?? "";
  place.hidden = !words;
}

async function verify() {
  state.verifying = true;
  drawPanel();
  try {
    do {
      state.verdict = await read("/api/verify");
      if (state.verdict?.age_s === null) await new Promise((resolve) => setTimeout(resolve, 500));
    } while (state.verdict?.age_s === null);
  } catch (error) {
    state.verdict = { age_s: null, verdict: null, error: String(/** @type {Error} */ (error).message) };
  }
  state.verifying = false;
  drawPanel();
}

function verifyAgain() {
  const nodes = state.map?.nodes.length ?? 0;
  if (nodes && nodes <= MOST_VERIFIED && !document.hidden && !state.verifying) verify();
  if (state.map?.source !== "files") setTimeout(verifyAgain, VERIFY_EVERY_MS);
}

async function explain() {
  const [from, to] = state.ends;
  Object.assign(state, { explained: null, error: null, asking: true, tab: "path", marked: new Set() });
  draw();
  try {
    const found = await read(`/api/explain?${new URLSearchParams({ from, to })}`);
    if (state.ends[0] !== from || state.ends[1] !== to) return;
    state.explained = found;
    announce(found.outcome === "delivered" ? "The packet is delivered, there and back" : `The packet is not delivered: ${found.there.because}`);
  } catch (error) {
    if (state.ends[0] !== from || state.ends[1] !== to) return;
    state.error = String(/** @type {Error} */ (error).message);
    announce(state.error);
  }
  state.asking = false;
  draw();
}

// What was learned and chosen ------------------------------------------------------------------------------------------

/** @param {import("./model.js").MapDocument} map */
function take(map) {
  const facts = factsOf(map);
  const changes = state.map ? changesOf(state.facts.pairs, facts.pairs) : [];
  const now_s = Date.now() / 1000;
  noteStates(map, now_s);
  for (const change of changes) {
    const [node, ...rest] = change.text.split(" ");
    state.happened.unshift({ at_s: now_s, node, event: rest.join(" ") });
    state.changed.add(change.key);
    setTimeout(() => state.changed.delete(change.key) && draw(), CHANGED_MS);
  }
  state.happened.length = Math.min(state.happened.length, MOST_CHANGES);
  if (changes.length) announce(changes.length > 3 ? `${changes.length} directions have another encapsulation` : changes.map((item) => item.text).join(", "));
  const isFirst = !state.map;
  Object.assign(state, { map, facts });
  state.sessions ??= map.nodes.length <= 8;
  byId("title").textContent = map.title;
  document.title = `${map.title} · map`;
  fillEnds();
  draw();
  if (isFirst) {
    document.documentElement.dataset.ready = performance.now().toFixed(0);
    verifyAgain();
  }
}

/** @param {import("./model.js").MapDocument} map @param {number} now_s */
function noteStates(map, now_s) {
  const known = new Map(state.map?.nodes.map((place) => [place.name, place.state]));
  for (const place of map.nodes) {
    const before = known.get(place.name);
    if (before === undefined || before === place.state) continue;
    state.happened.unshift({ at_s: now_s, node: place.name, event: `is ${place.state}` });
    announce(`${place.name} is ${place.state}`);
  }
}

function fillEnds() {
  if (!state.map) return;
  const options = endsOf(state.map).map((end) => html("option", { value: end.kind === "block" ? end.address : end.name }, `${end.address} on ${end.node}`));
  byId("ends").replaceChildren(...options);
}

/** @param {string} words */
function announce(words) {
  byId("status").textContent = words;
}

/** @param {string} address */
function chooseEnd(address) {
  const ends = state.ends.length === 1 && state.ends[0] !== address ? [state.ends[0], address] : [address];
  setEnds(ends);
}

/** @param {string[]} ends */
function setEnds(ends) {
  state.ends = ends;
  inputs.from.value = nameOf(ends[0]);
  inputs.to.value = nameOf(ends[1]);
  if (ends.length === 2) {
    explain();
    return;
  }
  Object.assign(state, { explained: null, error: null, asking: false });
  if (ends.length) announce(`from ${nameOf(ends[0])}; choose the other end`);
  draw();
}

/** @param {string | undefined} address */
function nameOf(address) {
  if (!address || !state.map) return "";
  const end = endsOf(state.map).find((item) => item.address === address);
  return end && end.kind === "workload" ? end.name : address;
}

/** @param {string} name */
function choose(name) {
  const place = state.map?.nodes.find((item) => item.name === name);
  if (!place) return;
  state.chosen = state.chosen === name && state.layout?.cards ? null : name;
  state.marked = new Set();
  state.tab = "node";
  const end = place.workloads[0];
  if (!state.layout?.cards && end && place.kind !== "router" && !state.table) chooseEnd(end.address);
  draw();
}

function clear() {
  Object.assign(state, { chosen: null, ends: [], explained: null, error: null, asking: false, marked: new Set() });
  search.value = "";
  setEnds([]);
}

/** @param {import("./panel.js").FailureClass} item */
function mark(item) {
  state.marked = new Set([item.node, ...item.ends.filter((name) => name !== null)]);
  state.chosen = null;
  state.ends = [item.source, item.destination];
  setEnds(state.ends);
  state.marked = new Set([item.node]);
}

// Drawing --------------------------------------------------------------------------------------------------------------

function draw() {
  if (!state.map) return;
  const { map } = state;
  state.layout = layoutOf(map, zoom.aspect);
  const focused = document.activeElement?.getAttribute("data-key");
  const view = {
    chosen: state.chosen, ends: state.ends, sessions: Boolean(state.sessions), changed: state.changed, explained: state.explained,
    marked: new Set([...state.marked, ...matching(map, search.value).map((place) => place.name)]),
  };
  stage.replaceChildren(...drawn(map, state.layout, state.facts, view));
  stage.classList.toggle("searching", Boolean(search.value.trim()));
  stage.classList.toggle("following", Boolean(state.explained));
  stage.classList.toggle("tiles", !state.layout.cards);
  zoom.of(state.layout);
  focus.keep(focused ?? null);
  byId("counts").textContent = countsOf(map);
  byId("as-table").setAttribute("aria-pressed", String(state.table));
  byId("with-sessions").setAttribute("aria-pressed", String(Boolean(state.sessions)));
  byId("table").hidden = !state.table;
  byId("stage").classList.toggle("as-table", state.table);
  if (state.table) byId("table").replaceChildren(tableOf(map, acts));
  drawLegend();
  drawPanel();
}

const acts = { choose, mark, verify, explain: () => explain() };

function drawLegend() {
  const used = new Set(state.facts.pairs.flatMap((pair) => pair.halves.flatMap((half) => half.by)));
  const items = [
    ["ipip", "IPIP tunnel"], ["vxlan", "VXLAN tunnel"], ["direct", "no tunnel"], ...(state.sessions ? [["session", "BGP session"]] : []), ["fault", "not proven or down"],
  ].filter(([name]) => used.has(name) || ["session", "fault"].includes(name));
  const words = items.map(([name, text]) => `${name} ${text}`).join();
  const legend = byId("legend");
  if (legend.dataset.words === words) return;
  legend.dataset.words = words;
  legend.replaceChildren(...items.map(([name, text]) => html("li", {}, html("span", { class: `sample by-${name}`, "aria-hidden": "true" }), text)));
}

function drawPanel() {
  if (!state.map) return;
  const counts = { problems: ill(state.map).length, verify: state.verdict?.verdict?.classes.length ?? 0 };
  const tabs = TABS.map(([name, text]) => {
    const number = counts[/** @type {"problems"} */ (name)] ?? 0;
    const chosen = name === state.tab;
    return html(
      "button",
      { type: "button", role: "tab", id: `tab-${name}`, "aria-selected": String(chosen), "aria-controls": "tab-panel", tabindex: chosen ? 0 : -1, click: () => showTab(name) },
      text, number ? html("span", { class: "number" }, String(number)) : null,
    );
  });
  const hadFocus = byId("tabs").contains(document.activeElement);
  byId("tabs").replaceChildren(...tabs);
  const panel = byId("tab-panel");
  panel.setAttribute("aria-labelledby", `tab-${state.tab}`);
  const inside = panel.contains(document.activeElement);
  const fresh = html("div", {}, ...tabOf());
  if (panel.innerHTML !== fresh.outerHTML) panel.replaceChildren(fresh);
  if (hadFocus) byId(`tab-${state.tab}`).focus();
  else if (inside && !panel.contains(document.activeElement)) panel.focus();
}

function tabOf() {
  const map = /** @type {import("./model.js").MapDocument} */ (state.map);
  switch (state.tab) {
    case "node": return nodeTab(map.nodes.find((place) => place.name === state.chosen), acts);
    case "problems": return problemsTab(map, acts);
    case "verify": return verifyTab(state.verdict, acts, state.verifying);
    case "events": return eventsTab([...state.happened, ...map.events].sort((a, b) => b.at_s - a.at_s));
    default: return pathTab(state.explained, state.error, state.asking);
  }
}

/** @param {string} name */
function showTab(name) {
  state.tab = name;
  drawPanel();
  byId(`tab-${name}`).focus();
}

// Keys and clicks -------------------------------------------------------------------------------------------------------

/** @param {Element | null} target */
function press(target) {
  const item = target?.closest("[data-key]");
  if (!item) return;
  const address = item.getAttribute("data-address");
  if (address) chooseEnd(address);
  else choose(item.getAttribute("data-key") ?? "");
}

stage.addEventListener("click", (event) => {
  if (!zoom.dragged) press(/** @type {Element} */ (event.target));
});
stage.addEventListener("keydown", (event) => {
  const item = /** @type {SVGElement | null} */ (/** @type {Element} */ (event.target).closest("[data-key]"));
  const arrow = ARROWS.get(event.key);
  if (item && arrow) focus.on(focus.nearest(item, arrow));
  else if (item && (event.key === "Enter" || event.key === " ")) press(item);
  else if (event.key === "+") zoom.closer();
  else if (event.key === "-") zoom.wider();
  else if (event.key === "0") zoom.fit();
  else return;
  event.preventDefault();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") clear();
  else if (event.key === "/" && !(event.target instanceof HTMLInputElement)) {
    search.focus();
    event.preventDefault();
  }
});
byId("tabs").addEventListener("keydown", (event) => {
  const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!by) return;
  const number = TABS.findIndex(([name]) => name === state.tab);
  showTab(TABS[(number + by + TABS.length) % TABS.length][0]);
});
byId("path-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const { map } = state;
  if (!map || !inputs.from.value.trim() || !inputs.to.value.trim()) return;
  state.ends = [addressOf(map, inputs.from.value), addressOf(map, inputs.to.value)];
  setEnds(state.ends);
});
byId("search-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const [first] = state.map ? matching(state.map, search.value) : [];
  const found = focus.buttons.find((item) => item.dataset.key === first?.name);
  if (!found) {
    announce("nothing is found");
    return;
  }
  focus.on(found);
  state.chosen = first.name;
  state.tab = "node";
  draw();
});
search.addEventListener("input", draw);
byId("swap").addEventListener("click", () => state.ends.length === 2 && setEnds([state.ends[1], state.ends[0]]));
byId("clear").addEventListener("click", clear);
byId("zoom-in").addEventListener("click", () => zoom.closer());
byId("zoom-out").addEventListener("click", () => zoom.wider());
byId("zoom-fit").addEventListener("click", () => zoom.fit());
byId("as-table").addEventListener("click", () => { state.table = !state.table; draw(); });
byId("with-sessions").addEventListener("click", () => { state.sessions = !state.sessions; draw(); });
window.addEventListener("hashchange", () => location.reload());
window.addEventListener("resize", draw);

poll();
