// Stage of the map: points, thumbnails, axes and lasso on two canvases.
import { Camera } from "./map-camera.js";
import { colourOf } from "./map-data.js";
import { isInside } from "./map-gestures.js";
import { Pictures } from "./map-pictures.js";
import { Points } from "./map-points.js";

const MOVE_MS = 550;
const REST_MS = 140;
const TOUCH_PX = 16;
const quiet = matchMedia("(prefers-reduced-motion: reduce)");
const dark = matchMedia("(prefers-color-scheme: dark)");

export class Stage {
  constructor(element, pointsCanvas, overCanvas) {
    this.element = element;
    this.canvases = [pointsCanvas, overCanvas];
    this.points = new Points(pointsCanvas);
    this.pictures = new Pictures(overCanvas, () => this.ask());
    this.over = overCanvas.getContext("2d");
    this.camera = new Camera();
    this.showsPictures = true;
    this.lasso = null;
    this.selected = null;
    this.cursor = null;
    this.highlight = null;
    this.onDraw = () => {};
    new ResizeObserver(() => this.#resize()).observe(element);
    dark.addEventListener("change", () => this.recolour());
    this.#resize();
  }

  /** Set the points of the service. isShown(kind): whether a category is shown. */
  setData(data, isShown) {
    const n = data.count;
    Object.assign(this, { data, xs: new Float32Array(n), ys: new Float32Array(n), zs: new Float32Array(n), shown: new Uint8Array(n), colours: new Uint8Array(4 * n) });
    this.order = shuffled(n);
    this.selected = this.cursor = null;
    this.points.setPositions(data.positions);
    this.filter(isShown);
  }

  /** Show only the points of some categories. */
  filter(isShown) {
    const allowed = this.data.categories.map(isShown);
    for (let i = 0; i < this.data.count; i += 1) this.shown[i] = allowed[this.data.kinds[i]] ? 1 : 0;
    this.count = this.shown.reduce((sum, each) => sum + each, 0);
    this.recolour();
    this.#rest();
  }

  /** Set the colour of every point: transparent if hidden, faint if out of focus. */
  recolour() {
    if (!this.data) return;
    const palette = this.data.categories.map((name) => colourOf(this.placeOf(name), dark.matches));
    for (let i = 0; i < this.data.count; i += 1) {
      const [r, g, b] = palette[this.data.kinds[i]];
      this.colours.set([r, g, b, this.shown[i] ? (this.isFaded(i) ? 40 : 225) : 0], 4 * i);
    }
    this.points.setColours(this.colours);
    this.ask();
  }

  placeOf = () => 0;

  isFaded(point) {
    return (this.highlight !== null && this.data.kinds[point] !== this.highlight) || (this.selected !== null && !this.selected.has(point));
  }

  get size() {
    const crowd = Math.max(1, this.count);
    return Math.max(2.4, Math.min(11, 60 / Math.sqrt(Math.sqrt(crowd)) / 1.6)) * Math.min(2.2, Math.max(1, this.camera.zoom ** 0.35));
  }

  #resize() {
    const { width, height } = this.element.getBoundingClientRect();
    this.ratio = Math.min(2, devicePixelRatio || 1);
    for (const canvas of this.canvases) [canvas.width, canvas.height] = [Math.round(width * this.ratio), Math.round(height * this.ratio)];
    Object.assign(this.camera, { width, height });
    this.pictures.size = width < 600 ? 42 : 54;
    this.#rest();
  }

  /** Draw at the next frame. moves: the camera moved, so thumbnails are chosen again when it stops. */
  ask(moves = false) {
    if (moves) this.#rest();
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => {
      this.asked = false;
      if (this.data) this.#draw();
    });
  }

  #rest() {
    clearTimeout(this.resting);
    this.resting = setTimeout(() => {
      if (!this.data) return;
      this.#project();
      if (this.showsPictures) this.pictures.choose({ ...this.data, ...this }, this.camera);
      else this.pictures.chosen = [];
      this.ask();
    }, REST_MS);
    this.ask();
  }

  #project() {
    this.camera.project(this.data.positions, this.xs, this.ys, this.zs);
  }

  #draw() {
    this.#project();
    this.points.draw(this.camera, this.size, this.ratio);
    const { over, ratio } = this;
    over.setTransform(ratio, 0, 0, ratio, 0, 0);
    over.clearRect(0, 0, this.camera.width, this.camera.height);
    this.#drawAxes();
    if (this.showsPictures) this.pictures.draw({ ...this, ids: this.data.ids, faded: (point) => !this.shown[point] || this.isFaded(point) });
    if (this.cursor !== null) this.#ring(this.cursor);
    if (this.lasso) this.#drawLasso();
    this.onDraw();
  }

  /** Return the screen positions of the axes: [[x, y] of the origin, then of each end]. */
  axisEnds() {
    const ends = new Float32Array([0, 0, 0, 1.12, 0, 0, 0, 1.12, 0, 0, 0, 1.12]);
    const [xs, ys, zs] = [new Float32Array(4), new Float32Array(4), new Float32Array(4)];
    this.camera.project(ends, xs, ys, zs);
    return [0, 1, 2, 3].map((i) => [xs[i], ys[i]]);
  }

  #drawAxes() {
    const { over, camera } = this;
    const [middle, ...ends] = this.axisEnds();
    over.strokeStyle = dark.matches ? "rgb(255 255 255 / .16)" : "rgb(40 35 25 / .14)";
    over.lineWidth = 1;
    over.beginPath();
    for (const end of camera.depth > 0.5 ? ends : []) {
      over.moveTo(...middle);
      over.lineTo(...end);
    }
    if (camera.depth <= 0.5) {
      over.moveTo(0, middle[1]);
      over.lineTo(camera.width, middle[1]);
      over.moveTo(middle[0], 0);
      over.lineTo(middle[0], camera.height);
    }
    over.stroke();
  }

  #ring(point) {
    const { over } = this;
    const half = (this.pictures.chosen.includes(point) ? this.pictures.size / 2 + 3 : this.size / 2 + 5) * this.zs[point];
    over.strokeStyle = getComputedStyle(this.element).getPropertyValue("--accent");
    over.lineWidth = 3;
    over.beginPath();
    over.roundRect(this.xs[point] - half, this.ys[point] - half, 2 * half, 2 * half, 10);
    over.stroke();
  }

  #drawLasso() {
    const { over } = this;
    const accent = getComputedStyle(this.element).getPropertyValue("--accent");
    over.beginPath();
    this.lasso.forEach(([x, y], i) => (i ? over.lineTo(x, y) : over.moveTo(x, y)));
    over.closePath();
    over.fillStyle = `color-mix(in srgb, ${accent} 15%, transparent)`;
    over.fill();
    over.strokeStyle = accent;
    over.lineWidth = 2;
    over.stroke();
  }

  /** Return the visible point at (x, y): its thumbnail, or the nearest point within reach; else null. */
  at(x, y) {
    if (!this.data) return null;
    if (this.showsPictures) {
      const pictured = this.pictures.at(x, y, this.xs, this.ys, this.zs);
      if (pictured !== null && this.shown[pictured]) return pictured;
    }
    return this.nearest(x, y, TOUCH_PX);
  }

  nearest(x, y, within = Infinity) {
    let [best, least] = [null, within * within];
    for (let i = 0; i < this.data.count; i += 1) {
      if (!this.shown[i]) continue;
      const away = (this.xs[i] - x) ** 2 + (this.ys[i] - y) ** 2;
      if (away < least) [best, least] = [i, away];
    }
    return best;
  }

  /** Return the nearest visible point from another in one of four directions [dx, dy], or null. */
  towards(from, [dx, dy]) {
    this.#project();
    let [best, least] = [null, Infinity];
    for (let i = 0; i < this.data.count; i += 1) {
      if (!this.shown[i] || i === from) continue;
      const [x, y] = [this.xs[i] - this.xs[from], this.ys[i] - this.ys[from]];
      const along = x * dx + y * dy;
      const across = Math.abs(x * dy) + Math.abs(y * dx);
      if (along <= 0.5 || across > 2 * along) continue;
      const cost = along + 2 * across;
      if (cost < least) [best, least] = [i, cost];
    }
    return best;
  }

  /** Return the visible points inside a polygon, or all in sight without one. */
  inside(polygon) {
    this.#project();
    const { width, height } = this.camera;
    const corners = polygon ?? [[0, 0], [width, 0], [width, height], [0, height]];
    const found = [];
    for (let i = 0; i < this.data.count; i += 1) if (this.shown[i] && isInside(corners, this.xs[i], this.ys[i])) found.push(i);
    return found;
  }

  /** Move the camera to a state, animated unless reduced motion is preferred. */
  moveTo(target) {
    const [start, began] = [this.camera.state, performance.now()];
    cancelAnimationFrame(this.moving);
    const step = (now) => {
      const share = quiet.matches ? 1 : Math.min(1, (now - began) / MOVE_MS);
      const eased = 1 - (1 - share) ** 3;
      for (const [name, value] of Object.entries(target)) this.camera[name] = start[name] + (value - start[name]) * eased;
      this.ask(true);
      if (share < 1) this.moving = requestAnimationFrame(step);
    };
    step(quiet.matches ? began + MOVE_MS : began);
  }
}

/** Return 0..n-1 in a fixed pseudo-random order. */
function shuffled(n) {
  const order = Uint32Array.from({ length: n }, (_value, index) => index);
  let seed = 42;
  for (let i = n - 1; i > 0; i -= 1) {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    const j = seed % (i + 1);
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}
