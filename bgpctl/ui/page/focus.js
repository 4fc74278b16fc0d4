/**
 * The focus among the map's buttons: one of them is reached by Tab, the others from it by arrow keys.
 *
 * Refuses to know: the meaning of a button.
 */

/** The direction of each arrow key: to the right, and down. */
export const ARROWS = new Map([["ArrowLeft", [-1, 0]], ["ArrowRight", [1, 0]], ["ArrowUp", [0, -1]], ["ArrowDown", [0, 1]]]);

export class Focus {
  /** @param {SVGSVGElement} map @param {(place: string) => void} reveal */
  constructor(map, reveal) {
    this.map = map;
    this.reveal = reveal;
    /** @type {string | null} */
    this.key = null;
    map.addEventListener("focusin", (event) => this.note(/** @type {Element} */ (event.target)));
  }

  get buttons() {
    return /** @type {SVGElement[]} */ ([...this.map.querySelectorAll("[data-key]")]);
  }

  /** @param {Element} target */
  note(target) {
    const item = target.closest("[data-key]");
    if (!item) return;
    for (const other of this.map.querySelectorAll("[data-key][tabindex='0']")) other.setAttribute("tabindex", "-1");
    item.setAttribute("tabindex", "0");
    this.key = item.getAttribute("data-key");
  }

  /** After the map was drawn anew: the button that had the focus has it again. @param {string | null} focused */
  keep(focused) {
    const all = this.buttons;
    const found = all.find((item) => item.dataset.key === (focused ?? this.key)) ?? all[0];
    found?.setAttribute("tabindex", "0");
    if (focused) found?.focus({ preventScroll: true });
  }

  /** @param {SVGElement} item */
  on(item) {
    this.reveal(item.closest("[data-place]")?.getAttribute("data-place") ?? "");
    item.focus({ preventScroll: true });
  }

  /** The nearest button in a direction. @param {SVGElement} from @param {number[]} direction */
  nearest(from, [right, down]) {
    const here = middleOf(from);
    const far = (/** @type {SVGElement} */ item) => {
      const { x, y } = middleOf(item);
      const along = (x - here.x) * right + (y - here.y) * down;
      const aside = Math.abs((x - here.x) * down) + Math.abs((y - here.y) * right);
      return along > 1 ? along + 2.5 * aside : Infinity;
    };
    const found = this.buttons.filter((item) => item !== from).map((item) => ({ item, far: far(item) }));
    return found.reduce((best, one) => (one.far < best.far ? one : best), { item: from, far: Infinity }).item;
  }
}

/** @param {Element} item */
function middleOf(item) {
  const { x, y, width, height } = item.getBoundingClientRect();
  return { x: x + width / 2, y: y + height / 2 };
}
