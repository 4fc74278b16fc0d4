/**
 * The part of the map that is seen: wheel and drag, buttons, and a place that is brought into sight.
 *
 * Refuses to know: the elements of the map.
 */

const CLOSEST = 4;
const STEP = 1.3;
const CLICK = 5;

export class Zoom {
  /** @param {SVGSVGElement} map */
  constructor(map) {
    this.map = map;
    this.size = { w: 1, h: 1 };
    this.part = { x: 0, y: 0, w: 1, h: 1 };
    this.isFit = true;
    this.dragged = false;
    map.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    map.addEventListener("pointerdown", (event) => this.press(event));
    new ResizeObserver(() => this.isFit && this.fit()).observe(map);
  }

  /** The width of the stage by its height. */
  get aspect() {
    const { width, height } = this.map.getBoundingClientRect();
    return width && height ? width / height : 1.5;
  }

  /** All of a map of this size may be seen. @param {{w: number, h: number}} size */
  of(size) {
    const isSame = size.w === this.size.w && size.h === this.size.h;
    this.size = { w: size.w, h: size.h };
    if (this.isFit || !isSame) this.fit();
  }

  fit() {
    const { w, h } = this.size;
    const { width } = this.map.getBoundingClientRect();
    // Never larger than 1.35 times its own size: four nodes need not fill a wall.
    const scale = Math.max(w / (width || w), h / ((width || w) / this.aspect), 1 / 1.35);
    const [seenW, seenH] = [(width || w) * scale, ((width || w) / this.aspect) * scale];
    this.show({ x: (w - seenW) / 2, y: (h - seenH) / 2, w: seenW, h: seenH });
    this.isFit = true;
  }

  /** @param {{x: number, y: number, w: number, h: number}} part */
  show(part) {
    this.part = part;
    this.map.setAttribute("viewBox", [part.x, part.y, part.w, part.h].map((item) => item.toFixed(2)).join(" "));
    this.isFit = false;
  }

  /** @param {number} by @param {{x: number, y: number}} about  a share of what is seen */
  zoom(by, about = { x: 0.5, y: 0.5 }) {
    const { x, y, w, h } = this.part;
    const { width } = this.map.getBoundingClientRect();
    const wanted = Math.min(Math.max(w / by, width / CLOSEST), Math.max(this.size.w, this.size.h) * 3);
    const factor = wanted / w;
    this.show({ x: x + w * (1 - factor) * about.x, y: y + h * (1 - factor) * about.y, w: w * factor, h: h * factor });
  }

  closer() {
    this.zoom(STEP);
  }

  wider() {
    this.zoom(1 / STEP);
  }

  /** Bring a box into sight, in a legible size. @param {{x: number, y: number, w: number, h: number}} box */
  reveal(box) {
    const { x, y, w, h } = this.part;
    const { width } = this.map.getBoundingClientRect();
    const isSeen = box.x >= x && box.y >= y && box.x + box.w <= x + w && box.y + box.h <= y + h;
    const isLegible = width / w > 0.7;
    if (isSeen && isLegible) return;
    const seenW = isLegible ? w : Math.min(w, width);
    const seenH = seenW / this.aspect;
    this.show({ x: box.x + box.w / 2 - seenW / 2, y: box.y + box.h / 2 - seenH / 2, w: seenW, h: seenH });
  }

  /** @param {WheelEvent} event */
  wheel(event) {
    event.preventDefault();
    const { left, top, width, height } = this.map.getBoundingClientRect();
    const about = { x: (event.clientX - left) / width, y: (event.clientY - top) / height };
    this.zoom(Math.exp(-event.deltaY * 0.0015), about);
  }

  /** @param {PointerEvent} event */
  press(event) {
    if (event.button !== 0) return;
    const start = { x: event.clientX, y: event.clientY, part: this.part };
    this.dragged = false;
    const move = (/** @type {PointerEvent} */ now) => {
      const [dx, dy] = [now.clientX - start.x, now.clientY - start.y];
      if (!this.dragged && Math.hypot(dx, dy) < CLICK) return;
      this.dragged = true;
      const scale = start.part.w / this.map.getBoundingClientRect().width;
      this.show({ ...start.part, x: start.part.x - dx * scale, y: start.part.y - dy * scale });
    };
    const end = () => {
      window.removeEventListener("pointermove", move);
      window.removeEventListener("pointerup", end);
      window.removeEventListener("pointercancel", end);
    };
    window.addEventListener("pointermove", move);
    window.addEventListener("pointerup", end);
    window.addEventListener("pointercancel", end);
  }
}
