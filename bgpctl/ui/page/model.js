/**
 * The map's document, and the facts that follow from it. Pure functions.
 *
 * Refuses to know: places on the screen, elements.
 *
 * @typedef {{name: string, address: string, kind: "workload" | "block"}} Workload
 * @typedef {{device: string | null, encapsulation: string, up: boolean, mtu_bytes: number | null, to: string[]}} Tunnel
 * @typedef {{with: string, error: string | null, next: string | null}} DownSession
 * @typedef {{
 *   name: string, kind: "node" | "router" | "host", racks: string[], addresses: string[], blocks: string[],
 *   state: string | null, health: string, why: string[], agrees: boolean | null,
 *   sessions: {up: string[], down: DownSession[]}, tunnels: Tunnel[], direct: string[],
 *   unproven: Record<string, string>, workloads: Workload[]
 * }} Place
 * @typedef {{name: string, subnet: string}} Rack
 * @typedef {{node: string, at_s: number, event: string}} Happened
 * @typedef {{title: string, source: string, racks: Rack[], nodes: Place[], events: Happened[]}} MapDocument
 * @typedef {{by: string[], fault: string | null}} Half  one direction: the encapsulations, and what is wrong
 * @typedef {{key: string, ends: [string, string], halves: [Half, Half]}} Pair
 * @typedef {{key: string, ends: [string, string], up: boolean, error: string | null}} Session
 * @typedef {{pairs: Pair[], sessions: Session[], bundles: Bundle[]}} Facts  that follow from one document
 * @typedef {{key: string, racks: [string, string], pairs: number, fault: number, by: Map<string, number>}} Bundle
 */

export const DIRECT = "direct";

/** For people. */
export const TITLES = new Map([["ipip", "IPIP"], ["vxlan", "VXLAN"], [DIRECT, "no tunnel"]]);

/** @param {string} name */
export function titleOf(name) {
  return TITLES.get(name) ?? name;
}

/** @param {string} a @param {string} b @returns {[string, string]} */
function ordered(a, b) {
  return a < b ? [a, b] : [b, a];
}

/** @param {string} a @param {string} b */
export function keyOf(a, b) {
  return ordered(a, b).join(" ");
}

/** How each two nodes send to each other. @param {MapDocument} map @returns {Pair[]} */
export function pairsOf(map) {
  /** @type {Map<string, Pair>} */
  const found = new Map();
  const names = new Set(map.nodes.map((node) => node.name));
  const add = (/** @type {Place} */ node, /** @type {string} */ far, /** @type {string} */ by, up = true) => {
    if (!names.has(far)) return;
    const ends = ordered(node.name, far);
    const key = keyOf(node.name, far);
    const pair = found.get(key) ?? { key, ends, halves: [{ by: [], fault: null }, { by: [], fault: null }] };
    found.set(key, /** @type {Pair} */ (pair));
    const half = pair.halves[node.name === ends[0] ? 0 : 1];
    if (!half.by.includes(by)) half.by.push(by);
    half.fault ??= up ? node.unproven[far] ?? null : "the device is down";
  };
  for (const node of map.nodes) {
    for (const far of node.direct) add(node, far, DIRECT);
    for (const tunnel of node.tunnels) for (const far of tunnel.to) add(node, far, tunnel.encapsulation, tunnel.up);
  }
  return [...found.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
}

/** The words for a direction: `IPIP`, or `IPIP and VXLAN` on the way from one to the other. @param {Half} half */
export function wordsOf(half) {
  return half.by.map(titleOf).join(" and ") || "nothing";
}

/** The words for both directions. @param {Pair} pair */
export function pairWords(pair) {
  const [there, back] = pair.halves.map(wordsOf);
  return there === back ? there : `${pair.ends[0]} by ${there}, ${pair.ends[1]} by ${back}`;
}

/** A session is up if each end that has it says so. @param {MapDocument} map @returns {Session[]} */
export function sessionsOf(map) {
  /** @type {Map<string, Session>} */
  const found = new Map();
  const names = new Set(map.nodes.map((node) => node.name));
  const owner = new Map(map.nodes.flatMap((node) => node.addresses.map((item) => [item.split("/")[0], node.name])));
  for (const node of map.nodes) {
    const rows = [
      ...node.sessions.up.map((far) => ({ far, up: true, error: null })),
      ...node.sessions.down.map((item) => ({ far: item.with, up: false, error: item.error })),
    ];
    for (const { far: given, up, error } of rows) {
      const far = names.has(given) ? given : owner.get(given);
      if (far === undefined) continue;
      const key = keyOf(node.name, far);
      const known = found.get(key);
      const both = { key, ends: ordered(node.name, far), up: up && (known?.up ?? true), error: error ?? known?.error ?? null };
      found.set(key, both);
    }
  }
  return [...found.values()];
}

/** Pairs of nodes in different racks, together. @param {MapDocument} map @param {Pair[]} pairs @returns {Bundle[]} */
export function bundlesOf(map, pairs) {
  const rackOf = new Map(map.nodes.map((node) => [node.name, node.racks[0] ?? ""]));
  /** @type {Map<string, Bundle>} */
  const found = new Map();
  for (const pair of pairs) {
    const racks = ordered(rackOf.get(pair.ends[0]) ?? "", rackOf.get(pair.ends[1]) ?? "");
    if (racks[0] === racks[1]) continue;
    const key = racks.join(" ");
    const bundle = found.get(key) ?? { key, racks, pairs: 0, fault: 0, by: new Map() };
    found.set(key, bundle);
    bundle.pairs += 1;
    bundle.fault += pair.halves.some((half) => half.fault) ? 1 : 0;
    for (const half of pair.halves) for (const by of half.by) bundle.by.set(by, (bundle.by.get(by) ?? 0) + 1);
  }
  return [...found.values()];
}

/** @param {MapDocument} map @returns {Facts} */
export function factsOf(map) {
  const pairs = pairsOf(map);
  return { pairs, sessions: sessionsOf(map), bundles: bundlesOf(map, pairs) };
}

/** The pairs whose directions go another way than before, in words. @param {Pair[]} before @param {Pair[]} now */
export function changesOf(before, now) {
  const known = new Map(before.map((pair) => [pair.key, pair]));
  return now.flatMap((pair) => {
    const former = known.get(pair.key);
    return [0, 1].flatMap((side) => {
      const [was, is] = [former && wordsOf(former.halves[side]), wordsOf(pair.halves[side])];
      if (!was || was === is) return [];
      return [{ key: pair.key, text: `${pair.ends[side]} to ${pair.ends[1 - side]}: ${was} → ${is}` }];
    });
  });
}

/** @param {MapDocument} map */
export function endsOf(map) {
  return map.nodes.flatMap((node) => node.workloads.map((item) => ({ ...item, node: node.name })));
}

/** The address that is meant by a name or an address. @param {MapDocument} map @param {string} text */
export function addressOf(map, text) {
  const wanted = text.trim();
  const end = endsOf(map).find((item) => item.name === wanted || item.address === wanted);
  return end?.address ?? wanted.split(" ")[0];
}

/** Places that have the text in a name, an address or a block. @param {MapDocument} map @param {string} text */
export function matching(map, text) {
  const wanted = text.trim().toLowerCase();
  if (!wanted) return [];
  return map.nodes.filter((node) =>
    [node.name, ...node.addresses, ...node.blocks, ...node.workloads.flatMap((item) => [item.name, item.address])].some(
      (item) => item.toLowerCase().includes(wanted),
    ),
  );
}

/** `12 nodes, all converged`. @param {MapDocument} map */
export function countsOf(map) {
  const nodes = map.nodes.filter((node) => node.kind === "node");
  const states = new Map();
  for (const node of nodes) states.set(node.state, (states.get(node.state) ?? 0) + 1);
  const words = [...states].map(([state, number]) => (number === nodes.length ? `all ${state}` : `${number} ${state}`));
  return `${nodes.length} ${nodes.length === 1 ? "node" : "nodes"}: ${words.join(", ")}`;
}
