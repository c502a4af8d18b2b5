// Category heatmap (Plotly), and the most similar pairs of the selected cell.
/* global Plotly */
import { complain, fetchPart, language, reveal, say } from "./core.js";

const place = document.getElementById("heat");
const form = document.getElementById("heat-options");
const pairs = document.getElementById("pairs");
const data = document.getElementById("heat-data");
const decimals = new Intl.NumberFormat(language, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
let heatmap = data && JSON.parse(data.textContent);
let running = null;

/** Start the page. */
export async function begin() {
  if (!heatmap) return;
  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-a][data-b]");
    if (!link || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    showPairs(link.dataset.a, link.dataset.b);
  });
  form.addEventListener("change", refresh);
  form.addEventListener("submit", (event) => event.preventDefault());
  await plotlyHere();
  await draw();
  place.on("plotly_click", ({ points: [cell] }) => showPairs(heatmap.categories[cell.y], heatmap.categories[cell.x]));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  addEventListener("resize", () => Plotly.Plots.resize(place));
  document.getElementById("heat-png").addEventListener("click", download);
}

/** Wait for Plotly's deferred script, which may load after this module. */
async function plotlyHere() {
  while (!window.Plotly) await new Promise((resolve) => { setTimeout(resolve, 30); });
}

async function draw() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  const names = heatmap.categories;
  const cells = heatmap.matrix.flatMap((row, i) => row.filter((_value, j) => i !== j)).filter((value) => value !== null);
  const [low, high] = [Math.min(...cells), Math.max(...cells)];
  const size = names.length > 40 ? 16 : Math.max(18, Math.min(36, Math.round(720 / names.length)));
  const font = { family: style.getPropertyValue("--sans"), size: names.length > 30 ? 10.5 : 12.5, color: colour("ink") };
  const places = names.map((_name, i) => i), shown = names.map((name) => asText(name || say("noCategory")));
  const axis = { tickmode: "array", tickvals: places, ticktext: names.map((name) => asText(short(name || say("noCategory")))), automargin: true, ticks: "", showgrid: false, zeroline: false, fixedrange: true, tickfont: font };
  const trace = {
    type: "heatmap", x: places, y: places, z: heatmap.matrix, zmin: low, zmax: high, xgap: 1, ygap: 1,
    colorscale: [[0, colour("heat-0")], [0.35, colour("heat-1")], [0.7, colour("heat-2")], [1, colour("heat-3")]],
    text: heatmap.matrix.map((row, i) => row.map((value, j) => say("pairsOf", { a: shown[i], b: shown[j], value: value === null ? "—" : decimals.format(value) }))),
    hovertemplate: "%{text}<extra></extra>",
    showscale: place.clientWidth > 480, colorbar: { thickness: 10, outlinewidth: 0, len: 0.6, tickfont: font, x: 1.01 },
  };
  const layout = {
    height: names.length * size + 150, margin: { l: 10, r: 10, t: 10, b: 10 }, separators: language.startsWith("pt") ? ",." : ".,",
    xaxis: { ...axis, side: "top", tickangle: names.length > 8 ? -60 : -30 }, yaxis: { ...axis, autorange: "reversed" },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font,
    hoverlabel: { bgcolor: colour("ink"), bordercolor: colour("ink"), font: { ...font, color: colour("paper"), size: 13 } },
  };
  place.style.minWidth = `${names.length * 13 + 150}px`;
  await Plotly.react(place, [trace], layout, { displayModeBar: false, responsive: true });
  place.removeAttribute("aria-busy");
}

/** Escape a name for Plotly, which interprets some HTML. */
const asText = (name) => name.replaceAll("&", "&amp;").replaceAll("<", "&lt;");

/** Shorten a long name for an axis; the hover text and the table show all of it. */
const short = (name) => (name.length > 22 ? `${name.slice(0, 21)}…` : name);

async function refresh() {
  const query = new URLSearchParams(new FormData(form));
  history.replaceState(null, "", `?${query}`);
  try {
    const { table, ...found } = JSON.parse(await fetchPart(`${form.dataset.address}?${query}`));
    heatmap = found;
    document.getElementById("closest").innerHTML = table;
    const csv = document.getElementById("heat-csv");
    csv.search = `?${query}`;
    await draw();
  } catch (error) {
    complain(error);
  }
}

async function showPairs(a, b) {
  running?.abort();
  running = new AbortController();
  try {
    pairs.innerHTML = await fetchPart(`${pairs.dataset.address}?${new URLSearchParams({ a, b })}`, running.signal);
    reveal(pairs);
    pairs.scrollTop = 0;
    if (pairs.getBoundingClientRect().top > innerHeight || pairs.getBoundingClientRect().top < 0) pairs.scrollIntoView();
  } catch (error) {
    complain(error);
  }
}

function download() {
  const paper = getComputedStyle(document.body).backgroundColor;
  const { width, height } = place.getBoundingClientRect();
  const figure = { data: place.data, layout: { ...place.layout, paper_bgcolor: paper } };
  return Plotly.downloadImage(figure, { format: "png", filename: "vitrine-categories", scale: 2, width, height }).catch(complain);
}
