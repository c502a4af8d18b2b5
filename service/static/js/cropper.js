// Crop frame on a picture, moved and resized by mouse, touch and keyboard. Sizes are fractions of the picture.
import { announce, percent, say } from "./core.js";

const LEAST = 0.05;
const STEP = 0.02;
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

export class Cropper {
  constructor(stage, box) {
    this.stage = stage;
    this.box = box;
    this.onChange = () => {};
    this.onEnter = () => {};
    stage.addEventListener("pointerdown", (event) => this.#grab(event));
    box.addEventListener("keydown", (event) => this.#key(event));
    this.reset({ quiet: true });
  }

  /** Frame the whole picture. */
  reset({ quiet = false } = {}) {
    this.#set({ x: 0, y: 0, w: 1, h: 1 }, quiet);
  }

  /** Whether the frame is smaller than the picture. */
  get isPart() {
    const { x, y, w, h } = this.frame;
    return x > 0 || y > 0 || w < 1 || h < 1;
  }

  /** The frame in the API's format: x,y,w,h. */
  get text() {
    const { x, y, w, h } = this.frame;
    return [x, y, w, h].map((value) => value.toFixed(4)).join(",");
  }

  #set(frame, quiet = false) {
    this.frame = frame;
    for (const side of ["x", "y", "w", "h"]) this.stage.style.setProperty(`--${side}`, frame[side]);
    if (!quiet) this.onChange();
  }

  /** Start dragging a handle, the frame, or a new frame. */
  #grab(event) {
    if (event.button) return;
    event.preventDefault();
    const corner = event.target.dataset.corner;
    const area = this.stage.getBoundingClientRect();
    const at = (each) => [clamp((each.clientX - area.left) / area.width, 0, 1), clamp((each.clientY - area.top) / area.height, 0, 1)];
    const [startX, startY] = at(event);
    const start = { ...this.frame };
    const drawsAnew = !corner && (!this.isPart || event.target !== this.box);
    this.stage.setPointerCapture(event.pointerId);
    const move = (each) => {
      const [x, y] = at(each);
      if (drawsAnew) this.#span(startX, startY, x, y);
      else if (corner) this.#pull(start, corner, x, y);
      else this.#set({ ...start, x: clamp(start.x + x - startX, 0, 1 - start.w), y: clamp(start.y + y - startY, 0, 1 - start.h) });
    };
    const end = () => {
      this.stage.removeEventListener("pointermove", move);
      this.stage.removeEventListener("pointerup", end);
      this.stage.removeEventListener("pointercancel", end);
      this.box.focus({ preventScroll: true });
    };
    this.stage.addEventListener("pointermove", move);
    this.stage.addEventListener("pointerup", end);
    this.stage.addEventListener("pointercancel", end);
  }

  #span(x1, y1, x2, y2) {
    const [x, y] = [Math.min(x1, x2), Math.min(y1, y2)];
    const [w, h] = [Math.abs(x2 - x1), Math.abs(y2 - y1)];
    if (w >= LEAST && h >= LEAST) this.#set({ x, y, w, h });
  }

  #pull(start, corner, x, y) {
    let [left, top, right, bottom] = [start.x, start.y, start.x + start.w, start.y + start.h];
    if (corner.includes("w")) left = clamp(x, 0, right - LEAST);
    if (corner.includes("e")) right = clamp(x, left + LEAST, 1);
    if (corner.includes("n")) top = clamp(y, 0, bottom - LEAST);
    if (corner.includes("s")) bottom = clamp(y, top + LEAST, 1);
    this.#set({ x: left, y: top, w: right - left, h: bottom - top });
  }

  #key(event) {
    const { x, y, w, h } = this.frame;
    const way = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] }[event.key];
    if (way && event.shiftKey) {
      this.#set({ x, y, w: clamp(w + way[0], LEAST, 1 - x), h: clamp(h + way[1], LEAST, 1 - y) });
    } else if (way) {
      this.#set({ x: clamp(x + way[0], 0, 1 - w), y: clamp(y + way[1], 0, 1 - h), w, h });
    } else if (event.key === "Home") {
      this.reset();
    } else if (event.key === "Enter") {
      this.onEnter();
    } else {
      return;
    }
    event.preventDefault();
    const frame = this.frame;
    announce(say("frame", { left: percent(frame.x), top: percent(frame.y), width: percent(frame.w), height: percent(frame.h) }));
  }
}
