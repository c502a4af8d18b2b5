// Camera of the map: one for two and three dimensions, so that one view can turn into the other.
// Positions are scaled to about -1..1; a unit is half of the stage's shorter side.
const PERSPECTIVE = 0.32;
const MARGIN = 0.86;
const NEAR = 60;

export class Camera {
  constructor() {
    this.home(2);
    this.width = this.height = 1;
  }

  /** Show all points. dimensions: 2 looks straight at the plane, 3 from a corner. */
  home(dimensions) {
    Object.assign(this, Camera.start(dimensions));
  }

  static start(dimensions) {
    return dimensions === 3
      ? { depth: 1, yaw: -0.6, pitch: 0.42, zoom: MARGIN, panX: 0, panY: 0 }
      : { depth: 0, yaw: 0, pitch: 0, zoom: MARGIN, panX: 0, panY: 0 };
  }

  get unit() {
    return Math.min(this.width, this.height) / 2;
  }

  /** The state as numbers, for the shader and for animations. */
  get state() {
    const { depth, yaw, pitch, zoom, panX, panY } = this;
    return { depth, yaw, pitch, zoom, panX, panY };
  }

  /** Horizontal stretch in two dimensions, so that a wide stage is filled. Three dimensions are not stretched. */
  get stretch() {
    const wide = Math.max(1, this.width / this.unit / 2);
    return 1 + (Math.min(wide, 1.9) - 1) * (1 - this.depth);
  }

  /** Write the screen positions (CSS pixels) of positions (n x 3) into xs and ys, and depth into zs. */
  project(positions, xs, ys, zs) {
    const { depth, zoom, panX, panY, unit, width, height, stretch } = this;
    const [cy, sy, cp, sp] = [Math.cos(this.yaw), Math.sin(this.yaw), Math.cos(this.pitch), Math.sin(this.pitch)];
    for (let i = 0, j = 0; i < xs.length; i += 1, j += 3) {
      const x = positions[j];
      const y = positions[j + 1];
      const z = positions[j + 2] * depth;
      const turned = -x * sy + z * cy;
      const near = y * sp + turned * cp;
      const p = 1 / (1 - PERSPECTIVE * depth * near);
      xs[i] = width / 2 + ((x * cy + z * sy) * stretch * p * zoom + panX) * unit;
      ys[i] = height / 2 - ((y * cp - turned * sp) * p * zoom + panY) * unit;
      zs[i] = p;
    }
  }

  pan(dx, dy) {
    this.panX += dx / this.unit;
    this.panY -= dy / this.unit;
  }

  turn(dx, dy) {
    this.yaw += dx * 0.008;
    this.pitch = Math.min(1.5, Math.max(-1.5, this.pitch + dy * 0.008));
  }

  /** Zoom around (x, y). */
  zoomAt(factor, x = this.width / 2, y = this.height / 2) {
    const zoom = Math.min(NEAR, Math.max(0.3, this.zoom * factor));
    const [fx, fy] = [(x - this.width / 2) / this.unit, (this.height / 2 - y) / this.unit];
    this.panX = fx + (this.panX - fx) * (zoom / this.zoom);
    this.panY = fy + (this.panY - fy) * (zoom / this.zoom);
    this.zoom = zoom;
  }
}

export { PERSPECTIVE };
