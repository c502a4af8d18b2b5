// Map page: options, legend, hover card, keyboard, and the gallery of a selection.
import { announce, complain, count, icon, make, percent, prefix, reveal, say } from "./core.js";
import { show as showHeld } from "./holding.js";
import { Camera } from "./map-camera.js";
import { colourOf, fetchPoints, product } from "./map-data.js";
import { watchGestures } from "./map-gestures.js";
import { Stage } from "./map-stage.js";

const form = document.getElementById("map-options");
const place = document.getElementById("map");
const canvas = document.getElementById("map-points");
const card = document.getElementById("map-card");
const said = document.getElementById("map-said");
const gallery = document.getElementById("map-selection");
const lassoButton = document.getElementById("map-lasso");
const legend = [...document.querySelectorAll(".legend-item")];
const dark = matchMedia("(prefers-color-scheme: dark)");
let stage = null;
let running = null;
let pointed = null;

/** Start the page. */
export async function begin() {
  try {
    stage = new Stage(place, canvas, document.getElementById("map-over"));
  } catch {
    said.textContent = say("noWebgl");
    place.removeAttribute("aria-busy");
    return;
  }
  const places = new Map(legend.map((item, index) => [item.dataset.category, index]));
  stage.placeOf = (name) => places.get(name) ?? 0;
  stage.onDraw = placeAxes;
  stage.camera.home(dimensions());
  paintLegend();
  listen();
  await load();
}

const dimensions = () => Number(form.elements.dimensions.value);
const chosen = () => [...form.querySelectorAll("[name=category]:checked")].map((box) => box.value);
const fitsSelection = () => form.elements.fit.checked && chosen().length > 0;

function listen() {
  form.addEventListener("change", (event) => changed(event.target));
  document.getElementById("map-all").addEventListener("click", () => {
    for (const box of form.querySelectorAll("[name=category]")) box.checked = false;
    changed(form.querySelector("[name=category]"));
  });
  document.getElementById("map-in").addEventListener("click", () => zoom(1.4));
  document.getElementById("map-out").addEventListener("click", () => zoom(1 / 1.4));
  document.getElementById("map-home").addEventListener("click", home);
  lassoButton.addEventListener("click", () => setLasso(lassoButton.getAttribute("aria-pressed") !== "true"));
  for (const item of legend) {
    const name = item.dataset.category;
    item.addEventListener("pointerenter", () => emphasise(name));
    item.addEventListener("pointerleave", () => emphasise(null));
  }
  dark.addEventListener("change", paintLegend);
  canvas.addEventListener("keydown", key);
  canvas.addEventListener("blur", () => { stage.cursor = null; point(null); stage.ask(); });
  watchGestures(canvas, {
    isLasso: () => lassoButton.getAttribute("aria-pressed") === "true",
    drag(dx, dy, turns) {
      if (turns && dimensions() === 3) stage.camera.turn(dx, dy);
      else stage.camera.pan(dx, dy);
      point(null);
      stage.ask(true);
    },
    zoom(factor, x, y) { stage.camera.zoomAt(factor, x, y); point(null); stage.ask(true); },
    hover(x, y) { point(stage.at(x, y)); },
    leave() { point(null); },
    click(x, y, isTouch) {
      const found = stage.at(x, y);
      if (found === null && stage.selected) return select(null);
      if (found !== null && isTouch) return point(found, true);
      return found === null ? undefined : open(found);
    },
    lasso(path) { stage.lasso = path; stage.ask(); },
    lassoEnd(path) {
      stage.lasso = null;
      setLasso(false);
      select(stage.inside(path));
    },
  });
}

/** Fetch the points and show them. */
async function load() {
  running?.abort();
  running = new AbortController();
  place.setAttribute("aria-busy", "true");
  said.textContent = say("loading");
  const query = new URLSearchParams();
  if (fitsSelection()) query.set("fit", "selection");
  if (fitsSelection() || stage.data?.sampled) for (const name of chosen()) query.append("category", name);
  try {
    const data = await fetchPoints(form.dataset.address, query, running.signal);
    stage.setData(data, isShown());
    tell();
    place.removeAttribute("aria-busy");
  } catch (error) {
    complain(error);
  }
}

function isShown() {
  const names = new Set(chosen());
  return (name) => !names.size || names.has(name);
}

function changed(field) {
  const query = new URLSearchParams();
  if (dimensions() === 3) query.set("dimensions", "3");
  for (const name of chosen()) query.append("category", name);
  if (form.elements.fit.checked) query.set("fit", "selection");
  history.replaceState(null, "", query.size ? `?${query}` : location.pathname);
  if (field.name === "pictures") {
    stage.showsPictures = field.checked;
    stage.ask(true);
  } else if (field.name === "dimensions") {
    stage.moveTo(Camera.start(dimensions()));
  } else {
    select(null);
    const wasFitted = stage.fitted;
    stage.fitted = fitsSelection();
    if (stage.fitted || wasFitted || stage.data?.sampled) load();
    else if (stage.data) {
      stage.filter(isShown());
      tell();
    }
  }
}

/** Announce how many points are shown, and whether that is all. */
function tell() {
  const { data } = stage;
  said.textContent = data.sampled
    ? say("sampled", { count: count(data.count), total: count(data.total) })
    : say("points", { count: count(stage.count) });
}

function placeAxes() {
  const { ratios } = stage.data;
  const ends = stage.axisEnds();
  const space = stage.camera.depth > 0.5;
  place.classList.toggle("space", space);
  ["x", "y", "z"].forEach((axis, i) => {
    const label = document.getElementById(`axis-${axis}`);
    const text = say("axis", { number: i + 1, share: percent(ratios[i]) });
    if (label.textContent !== text) label.textContent = text;
    label.hidden = axis === "z" && !space;
    const [x, y] = [Math.max(110, Math.min(stage.camera.width - 110, ends[i + 1][0])), Math.max(16, Math.min(stage.camera.height - 40, ends[i + 1][1]))];
    label.style.transform = space ? `translate(${x}px, ${y}px) translate(-50%, -50%)` : "";
  });
}

function paintLegend() {
  legend.forEach((item, index) => {
    item.querySelector(".swatch").style.backgroundColor = `rgb(${colourOf(index, dark.matches).join(" ")})`;
    const link = item.querySelector("[data-plain]");
    link?.replaceWith(link.textContent);
  });
}

function emphasise(name) {
  if (!stage.data) return;
  const kind = name === null ? -1 : stage.data.categories.indexOf(name);
  stage.highlight = kind < 0 ? null : kind;
  stage.recolour();
}

/** Show the card of a point. isTouch: it can be tapped. */
async function point(found, isTouch = false) {
  canvas.style.cursor = found === null ? "" : "pointer";
  if (found === pointed) return;
  pointed = found;
  card.hidden = found === null;
  if (found === null) return;
  const id = stage.data.ids[found];
  const category = stage.data.categories[stage.data.kinds[found]];
  const title = make("strong", {}, id);
  card.classList.toggle("touch", isTouch);
  card.replaceChildren(make("a", { href: address(id), tabIndex: -1 },
    make("img", { src: `${prefix}/api/v1/products/${encodeURIComponent(id)}/image?size=256`, alt: "" }), title, make("span", { className: "muted" }, category || say("noCategory"))));
  const [x, y] = [stage.xs[found], stage.ys[found]];
  card.style.left = `${Math.max(8, Math.min(stage.camera.width - 188, x > stage.camera.width / 2 ? x - 210 : x + 30))}px`;
  card.style.top = `${Math.max(8, Math.min(stage.camera.height - 250, y - 110))}px`;
  const known = await product(id);
  if (pointed === found && known) title.textContent = known.name;
}

const address = (id) => `${prefix}/product/${encodeURIComponent(id)}`;
const open = (found) => location.assign(address(stage.data.ids[found]));

function zoom(factor) {
  stage.moveTo({ ...stage.camera.state, zoom: stage.camera.zoom * factor, panX: stage.camera.panX * factor, panY: stage.camera.panY * factor });
}

function home() {
  stage.moveTo(Camera.start(dimensions()));
}

function setLasso(on) {
  lassoButton.setAttribute("aria-pressed", String(on));
  place.classList.toggle("lassoing", on);
}

/** Show the gallery of some points; null shows none. */
async function select(points) {
  stage.selected = points?.length ? new Set(points) : null;
  stage.recolour();
  if (!points) return gallery.replaceChildren();
  if (!points.length) return announce(say("nothingHere"));
  try {
    const response = await fetch(gallery.dataset.address, {
      method: "POST", headers: { "Content-Type": "application/json", "X-Requested-With": "fetch" },
      body: JSON.stringify({ ids: points.slice(0, 100).map((each) => stage.data.ids[each]), total: points.length }),
    });
    gallery.innerHTML = await response.text();
    const clear = make("button", { type: "button", className: "button small" }, icon("close"), say("close"));
    clear.addEventListener("click", () => { select(null); canvas.focus(); });
    gallery.querySelector("h2").append(" ", clear);
    reveal(gallery);
    showHeld();
    gallery.scrollIntoView({ behavior: "smooth", block: "nearest" });
  } catch (error) {
    complain(error);
  }
  return undefined;
}

const WAYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function key(event) {
  if (!stage.data || event.ctrlKey || event.metaKey || event.altKey) return;
  const way = WAYS[event.key];
  if (way && event.shiftKey) shift(way);
  else if (way) walk(way);
  else if (event.key === "Enter" && stage.cursor !== null) open(stage.cursor);
  else if (event.key === "+" || event.key === "=") zoom(1.4);
  else if (event.key === "-") zoom(1 / 1.4);
  else if (event.key === "0" || event.key === "Home") home();
  else if (event.key === "l" || event.key === "L") select(stage.inside(null));
  else if (event.key === "Escape") { select(null); setLasso(false); }
  else return;
  event.preventDefault();
}

function shift([dx, dy]) {
  if (dimensions() === 3) stage.camera.turn(dx * 12, dy * 12);
  else stage.camera.pan(-dx * 60, -dy * 60);
  stage.ask(true);
}

async function walk(way) {
  const next = stage.cursor === null ? stage.nearest(stage.camera.width / 2, stage.camera.height / 2) : stage.towards(stage.cursor, way);
  if (next === null) return;
  stage.cursor = next;
  const [x, y] = [stage.xs[next], stage.ys[next]];
  const { width, height } = stage.camera;
  if (x < 40 || y < 40 || x > width - 40 || y > height - 40) stage.camera.pan(width / 2 - x, height / 2 - y);
  stage.ask(true);
  point(next);
  const known = await product(stage.data.ids[next]);
  if (known && stage.cursor === next) announce(say("pointSaid", known));
}
