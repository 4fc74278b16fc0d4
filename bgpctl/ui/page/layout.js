/**
 * Places on the map: racks in two rows that face each other, and between them a band for the lines from rack to rack.
 * A few nodes are cards with their workloads, many are tiles.
 *
 * Refuses to know: elements, lines.
 *
 * @typedef {import("./model.js").MapDocument} MapDocument
 * @typedef {import("./model.js").Place} Place
 * @typedef {{x: number, y: number, w: number, h: number}} Box
 * @typedef {{name: string, subnet: string, box: Box, top: boolean, whole: boolean}} RackBox  `whole`: it is in both rows
 * @typedef {{boxes: Map<string, Box>, racks: RackBox[], w: number, h: number, cards: boolean, middle: number, band: number, covers: boolean}} Layout
 */

export const MOST_CARDS = 12;
export const MOST_CHIPS = 3;
export const CHIP = 24;
const CARD = { w: 186, h: 62, gap: 16 };
const TILE = { w: 84, h: 34, gap: 8 };
const ROUTER = { w: 132, h: 40, gap: 24 };
/** So much smaller may a map be on which no card covers another one's lines. */
const COVERED = 0.6;
const TITLE = 34;
const PAD = 14;
const MARGIN = 20;
const RACK_GAP = 36;

/** @param {Place} place */
function cardHeight(place) {
  return CARD.h + Math.min(place.workloads.length, MOST_CHIPS + 1) * CHIP + (place.workloads.length ? 6 : 0);
}

/** The nodes and hosts of each rack, in the order of their names. @param {MapDocument} map */
function members(map) {
  /** @type {Map<string, Place[]>} */
  const found = new Map(map.racks.map((rack) => [rack.name, []]));
  for (const place of map.nodes) {
    if (place.kind === "router") continue;
    const rack = place.racks[0] ?? "elsewhere";
    if (!found.has(rack)) found.set(rack, []);
    found.get(rack)?.push(place);
  }
  const order = new Intl.Collator("en", { numeric: true });
  for (const places of found.values()) places.sort((a, b) => order.compare(a.name, b.name));
  return [...found].filter(([, places]) => places.length);
}

/** The only rack of a map faces itself. @param {[string, Place[]][]} racks @returns {[string, Place[]][]} */
function halved(racks) {
  const [[name, places] = ["", []], ...others] = racks;
  if (others.length || places.length < 2) return racks;
  const half = Math.ceil(places.length / 2);
  return [[name, places.slice(0, half)], [name, places.slice(half)]];
}

/** Both halves of a rack as one. @param {RackBox[]} racks @returns {RackBox[]} */
function whole(racks) {
  const [a, b] = racks;
  if (racks.length !== 2 || a.name !== b.name) return racks;
  const x = Math.min(a.box.x, b.box.x);
  return [{ ...a, box: { x, y: a.box.y, w: Math.max(a.box.w, b.box.w), h: b.box.y + b.box.h - a.box.y - TITLE + PAD }, whole: true }];
}

/** Two rows with as many racks of nodes each, where there are two; racks of hosts alone come last. @param {[string, Place[]][]} racks */
function inRows(racks) {
  const [own, others] = [true, false].map((has) => racks.filter(([, places]) => places.some((place) => place.kind === "node") === has));
  const half = own.length > 1 ? Math.ceil(own.length / 2) : own.length;
  const rows = [own.slice(0, half), own.slice(half)];
  for (const rack of others) rows[rows[1].length < rows[0].length ? 1 : 0].push(rack);
  return rows;
}

/** The arrangement that is largest on a screen of this shape. @param {MapDocument} map @param {number} aspect */
export function layoutOf(map, aspect) {
  const cards = map.nodes.filter((place) => place.kind !== "router").length <= MOST_CARDS;
  const most = Math.max(1, ...members(map).map(([, places]) => places.length));
  const tries = Array.from({ length: Math.min(most, 10) }, (_, number) => arranged(map, number + 1, cards));
  const size = (/** @type {Layout} */ item) => Math.min(aspect / item.w, 1 / item.h) * (item.covers ? COVERED : 1);
  return tries.reduce((best, item) => (size(item) > size(best) * 1.02 ? item : best));
}

/** @param {MapDocument} map @param {number} columns @param {boolean} cards @returns {Layout} */
function arranged(map, columns, cards) {
  const found = halved(members(map));
  const rows = inRows(found).map((row) => row.map(([name, places]) => rackSize(map, name, places, columns, cards)));
  const widths = rows.map((row) => row.reduce((sum, rack) => sum + rack.w, RACK_GAP * Math.max(0, row.length - 1)));
  const routers = map.nodes.filter((place) => place.kind === "router");
  const w = Math.max(...widths, routers.length * (ROUTER.w + ROUTER.gap)) + 2 * MARGIN;
  const top = Math.max(0, ...rows[0].map((rack) => rack.h));
  const band = bandHeight(found.length, cards, routers.length > 0);
  const middle = MARGIN + top + band / 2;
  /** @type {Layout} */
  const layout = { boxes: new Map(), racks: [], w, h: 0, cards, middle, band, covers: false };
  rows.forEach((row, number) => {
    let x = (w - widths[number]) / 2;
    for (const rack of row) {
      const y = number ? MARGIN + top + band : MARGIN + top - rack.h;
      layout.covers ||= cards && rack.lines > 1;
      layout.racks.push({ name: rack.name, subnet: rack.subnet, box: { x, y, w: rack.w, h: rack.h }, top: !number, whole: false });
      // Titles are on the outer side, where no line comes.
      const down = number ? PAD - TITLE : 0;
      for (const [name, box] of rack.inside) layout.boxes.set(name, { ...box, x: x + box.x, y: y + box.y + down });
      x += rack.w + RACK_GAP;
    }
  });
  routers.forEach((router, number) => {
    const x = w / 2 + (number - (routers.length - 1) / 2) * (ROUTER.w + ROUTER.gap) - ROUTER.w / 2;
    layout.boxes.set(router.name, { x, y: middle - ROUTER.h / 2, w: ROUTER.w, h: ROUTER.h });
  });
  layout.h = MARGIN * 2 + top + band + (rows[1].length ? Math.max(...rows[1].map((rack) => rack.h)) : 0);
  layout.racks = whole(layout.racks);
  return layout;
}

/** @param {number} racks @param {boolean} cards @param {boolean} routers */
function bandHeight(racks, cards, routers) {
  if (racks === 1) return routers || cards ? 130 : 30;
  return cards ? 210 : 150 + 22 * Math.min(racks, 12);
}

/** @param {MapDocument} map @param {string} name @param {Place[]} places @param {number} most @param {boolean} cards */
function rackSize(map, name, places, most, cards) {
  const unit = cards ? CARD : TILE;
  const columns = Math.min(most, places.length);
  /** @type {Map<string, Box>} */
  const inside = new Map();
  let y = TITLE;
  for (let start = 0; start < places.length; start += columns) {
    const row = places.slice(start, start + columns);
    const h = cards ? Math.max(...row.map(cardHeight)) : TILE.h;
    row.forEach((place, column) => {
      const box = { x: PAD + column * (unit.w + unit.gap), y, w: unit.w, h: cards ? cardHeight(place) : TILE.h };
      inside.set(place.name, box);
    });
    y += h + unit.gap;
  }
  const w = 2 * PAD + columns * unit.w + (columns - 1) * unit.gap;
  const subnet = map.racks.find((rack) => rack.name === name)?.subnet ?? "";
  return { name, subnet, inside, w, h: y - unit.gap + PAD, lines: Math.ceil(places.length / columns) };
}

/** @param {Box} box */
export function centre(box) {
  return { x: box.x + box.w / 2, y: box.y + box.h / 2 };
}
