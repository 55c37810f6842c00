// The box on the photo: moved and resized by mouse, touch and keyboard.

const LEAST = 0.04; // of a side, in shares of the photo's
const STEP = 0.02, LARGE_STEP = 0.1;
const EDGES = ["left", "top", "right", "bottom"];
const TURNS = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

export const WHOLE = [0, 0, 1, 1];

/** Put an element where the box (x_min, y_min, x_max, y_max, shares of the sides) is. */
export function place(element, [left, top, right, bottom]) {
  const shares = {left, top, width: right - left, height: bottom - top};
  for (const [name, share] of Object.entries(shares)) {
    element.style.setProperty(`--${name}`, `${100 * share}%`);
  }
}

/** A box whose named edges, or all of it, went by (x, y); it stays on the photo. */
export function moved(sides, part, [x, y]) {
  const [left, top, right, bottom] = sides;
  if (part === "all") {
    const dx = clamp(x, -left, 1 - right), dy = clamp(y, -top, 1 - bottom);
    return [left + dx, top + dy, right + dx, bottom + dy];
  }
  const is = (edge) => part.split(" ").includes(edge);
  return [
    is("left") ? clamp(left + x, 0, Math.max(left, right - LEAST)) : left,
    is("top") ? clamp(top + y, 0, Math.max(top, bottom - LEAST)) : top,
    is("right") ? clamp(right + x, Math.min(right, left + LEAST), 1) : right,
    is("bottom") ? clamp(bottom + y, Math.min(bottom, top + LEAST), 1) : bottom,
  ];
}

export class Box {
  #sides = WHOLE;
  #drag = null;

  /** `photo` holds the picture and #box; `changed(isDone)` is told what people do. */
  constructor(photo, changed) {
    this.photo = photo;
    this.changed = changed;
    this.element = photo.querySelector("#box");
    this.element.addEventListener("pointerdown", (event) => this.#down(event));
    this.element.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel"]) {
      this.element.addEventListener(end, () => this.#up());
    }
    this.element.addEventListener("keydown", (event) => this.#key(event));
    this.sides = WHOLE;
  }

  get sides() {
    return this.#sides;
  }

  set sides(sides) {
    this.#sides = sides;
    place(this.photo, sides);
    for (const edge of this.element.querySelectorAll("[role=slider]")) {
      const at = EDGES.indexOf(edge.dataset.part);
      const [low, high] = at < 2 ? [0, sides[at + 2] - LEAST] : [sides[at - 2] + LEAST, 1];
      const values = {min: low, max: high, now: sides[at]};
      for (const [name, value] of Object.entries(values)) {
        edge.setAttribute(`aria-value${name}`, Math.round(100 * value));
      }
      const side = at % 2 ? "height" : "width";
      edge.setAttribute("aria-valuetext", `${Math.round(100 * sides[at])} % of the ${side}`);
    }
  }

  get isDragged() {
    return this.#drag !== null;
  }

  #change(part, by, isDone) {
    const sides = moved(this.#sides, part, by);
    if (sides.every((side, at) => side === this.#sides[at])) return;
    this.sides = sides;
    this.changed(isDone);
  }

  #down(event) {
    if (event.button !== 0 || this.#drag) return;
    event.preventDefault(); // neither a selection nor the drag of a picture
    const {part = "all"} = event.target.dataset;
    (event.target.tabIndex >= 0 ? event.target : this.element).focus({preventScroll: true});
    this.element.setPointerCapture(event.pointerId);
    this.#drag = {part, x: event.clientX, y: event.clientY, before: this.#sides};
  }

  #move(event) {
    if (!this.#drag) return;
    const {part, x, y, before} = this.#drag;
    const {clientWidth, clientHeight} = this.photo;
    this.sides = moved(before, part, [
      (event.clientX - x) / clientWidth, (event.clientY - y) / clientHeight,
    ]);
    this.changed(false);
  }

  #up() {
    const before = this.#drag?.before;
    this.#drag = null;
    if (before && before.some((side, at) => side !== this.#sides[at])) this.changed(true);
  }

  #key(event) {
    const {part} = event.target.dataset;
    const turn = TURNS[event.key];
    let by = turn?.map((way) => way * STEP);
    if (part && !turn) { // what a slider does besides
      const far = {PageUp: LARGE_STEP, PageDown: -LARGE_STEP, Home: -1, End: 1}[event.key];
      by = far && [far, far];
    }
    if (!by) return;
    event.preventDefault();
    this.#change(part ?? (event.shiftKey ? "right bottom" : "all"), by, false);
  }
}
