// Thumbnails on the map, as many as fit without overlap, chosen when the map stops moving.
import { prefix } from "./core.js";

const MOST = 150;
const KEPT = 700;
const images = new Map();

export class Pictures {
  constructor(canvas, onLoad) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.onLoad = onLoad;
    this.chosen = [];
    this.size = 54;
  }

  /** Choose the points that show their picture, in `order` of priority. */
  choose({ ids, shown, xs, ys, order }, camera) {
    this.chosen = [];
    const cells = new Map();
    const cell = this.size * 1.06;
    for (const point of order) {
      const [x, y] = [xs[point], ys[point]];
      if (!shown[point] || x < 0 || y < 0 || x > camera.width || y > camera.height) continue;
      const [column, row] = [Math.floor(x / cell), Math.floor(y / cell)];
      if (neighbours(cells, column, row).some((other) => Math.abs(xs[other] - x) < cell && Math.abs(ys[other] - y) < cell)) continue;
      const key = `${column},${row}`;
      cells.set(key, [...(cells.get(key) ?? []), point]);
      this.chosen.push(point);
      this.#load(ids[point]);
      if (this.chosen.length >= MOST) break;
    }
  }

  #load(id) {
    if (images.has(id)) return;
    const image = new Image();
    image.onload = () => this.onLoad();
    image.onerror = () => { image.failed = true; };
    image.src = `${prefix}/api/v1/products/${encodeURIComponent(id)}/image?size=128`;
    images.set(id, image);
    if (images.size > KEPT) images.delete(images.keys().next().value);
  }

  /** Return the frontmost point whose picture is at (x, y), or null. */
  at(x, y, xs, ys, zs) {
    let best = null;
    for (const point of this.chosen) {
      const half = (this.size * zs[point]) / 2;
      if (Math.abs(xs[point] - x) <= half && Math.abs(ys[point] - y) <= half && (best === null || zs[point] > zs[best])) best = point;
    }
    return best;
  }

  /** Draw the chosen pictures at their points, framed in the colours of their categories. */
  draw({ ids, xs, ys, zs, colours, faded }) {
    const { context } = this;
    const order = [...this.chosen].sort((a, b) => zs[a] - zs[b]);
    for (const point of order) {
      const image = images.get(ids[point]);
      if (!image?.complete || image.failed || !image.naturalWidth) continue;
      const size = this.size * zs[point];
      const [x, y] = [xs[point] - size / 2, ys[point] - size / 2];
      const side = Math.min(image.naturalWidth, image.naturalHeight);
      context.save();
      context.globalAlpha = faded(point) ? 0.25 : 1;
      context.beginPath();
      context.roundRect(x, y, size, size, 9);
      context.fillStyle = "#fff";
      context.fill();
      context.clip();
      context.drawImage(image, (image.naturalWidth - side) / 2, (image.naturalHeight - side) / 2, side, side, x, y, size, size);
      context.lineWidth = 5;
      context.strokeStyle = `rgb(${colours[4 * point]} ${colours[4 * point + 1]} ${colours[4 * point + 2]})`;
      context.stroke();
      context.restore();
    }
  }
}

/** Return the points chosen in a cell and in the eight around it. */
function neighbours(cells, column, row) {
  const found = [];
  for (let i = column - 1; i <= column + 1; i += 1) {
    for (let j = row - 1; j <= row + 1; j += 1) found.push(...(cells.get(`${i},${j}`) ?? []));
  }
  return found;
}
