// Decoding of the map points (see encode_points in service/gallery/maps.py), and colours of the categories.
import { Problem, prefix, say } from "./core.js";

const HUES = [158, 18, 212, 42, 330, 95, 262, 190, 0, 128, 285, 60];

/** Fetch points. query: URLSearchParams with category and fit. */
export async function fetchPoints(address, query, signal) {
  let response;
  try {
    response = await fetch(`${address}?${query}`, { signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({ detail: say("offline") });
  }
  if (!response.ok) throw new Problem(await response.json().catch(() => ({ detail: response.statusText })));
  return read(await response.arrayBuffer());
}

function read(buffer) {
  const text = new TextDecoder();
  const headLength = new DataView(buffer).getUint32(0, true);
  const head = JSON.parse(text.decode(new Uint8Array(buffer, 4, headLength)));
  let at = 4 + headLength;
  const positions = scaled(new Float32Array(buffer.slice(at, at + 12 * head.count)));
  at += 12 * head.count;
  const kinds = new Uint16Array(buffer.slice(at, at + 2 * head.count));
  at += 2 * head.count + (head.count % 2) * 2;
  const ids = JSON.parse(text.decode(new Uint8Array(buffer, at)));
  return { ...head, positions, kinds, ids };
}

/** Centre positions and scale all axes by one factor, so that nearly all of them lie in -1..1. */
function scaled(positions) {
  const centre = [0, 0, 0];
  let reach = 1e-9;
  for (let axis = 0; axis < 3; axis += 1) {
    const values = positions.filter((_value, index) => index % 3 === axis).sort();
    if (!values.length) continue;
    const [low, high] = [values[0], values[values.length - 1]];
    centre[axis] = (low + high) / 2;
    if (axis < 2) reach = Math.max(reach, (high - low) / 2);
  }
  return positions.map((value, index) => (value - centre[index % 3]) / reach);
}

/** Return the colour of the category at an index as [r, g, b], distinct from its neighbours in the list. */
export function colourOf(place, dark) {
  const round = Math.floor(place / HUES.length);
  const hue = HUES[place % HUES.length] + round * 13;
  const light = (dark ? 0.66 : 0.46) + [0, 0.12, -0.1][round % 3];
  return hsl(hue % 360, 0.52 - 0.08 * (round % 2), light);
}

function hsl(hue, saturation, light) {
  const spread = saturation * Math.min(light, 1 - light);
  return [0, 8, 4].map((step) => {
    const k = (step + hue / 30) % 12;
    return Math.round(255 * (light - spread * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  });
}

const known = new Map();

/** Return a product by its id, fetched once. */
export async function product(id) {
  if (!known.has(id)) {
    known.set(id, fetch(`${prefix}/api/v1/products/${encodeURIComponent(id)}`).then((response) => (response.ok ? response.json() : null)).catch(() => null));
  }
  return known.get(id);
}
