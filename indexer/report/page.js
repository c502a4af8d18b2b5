// A report: draws what the page carries as data, in the language chosen. Loads nothing.
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const texts = JSON.parse(document.getElementById("texts").textContent);
const SHOWN = 24;
let language = (navigator.language || "en").toLowerCase().startsWith("pt") ? "pt" : "en";
try { language = new URLSearchParams(location.hash.slice(1)).get("lang") || language; } catch { /* no matter */ }
if (!(language in texts)) language = "en";

const say = (key, values = {}) => (texts[language][key] ?? texts.en[key] ?? key).replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
const locale = () => (language === "pt" ? "pt-BR" : "en");
const number = (value, digits = 0) => Number(value).toLocaleString(locale(), { maximumFractionDigits: digits, minimumFractionDigits: digits });
const percent = (value) => Number(value).toLocaleString(locale(), { style: "percent", maximumFractionDigits: 0 });
const category = (name) => name || say("noCategory");

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== null));
  return element;
}

function tile(id) {
  const picture = data.pictures[id];
  return make("span", { class: "tile" }, picture
    ? make("img", { src: `data:image/webp;base64,${picture}`, alt: data.products[id]?.[0] ?? id, loading: "lazy" })
    : make("i", {}, say("noPicture")));
}

function product(id, about = false) {
  const [name, group] = data.products[id] ?? [id, ""];
  return make("div", { class: about ? "product about" : "product" }, tile(id),
    make("div", {}, name), make("div", { class: "category" }, category(group)), make("div", { class: "id" }, id));
}

function several(ids, total) {
  return make("div", { class: "several" }, ...ids.slice(0, 4).map(tile),
    make("p", {}, total > ids.length ? say("andMore", { count: number(total - ids.length) }) : category(data.products[ids[0]]?.[1])));
}

function why(finding) {
  const values = {};
  for (const [name, value] of Object.entries(finding.reason)) values[name] = typeof value === "number" ? number(value, Number.isInteger(value) ? 0 : 2) : category(value);
  if (typeof finding.reason.share === "number") values.share = percent(finding.reason.share);
  const { same_category: same, same_group: group } = finding.reason;
  const key = same === undefined ? `why:${finding.kind}` : `why:${group ? "same-group" : same ? "same-category" : "across"}`;
  return make("p", { class: "why" }, say(key, values));
}

function card(finding) {
  const evidence = finding.kind === "small-category" || finding.kind === "placeholder" ? finding.ids.slice(1) : finding.evidence;
  const beside = evidence.length === 1 ? product(evidence[0]) : evidence.length ? several(evidence, finding.kind === "hub" ? finding.reason.lists : evidence.length) : null;
  return make("li", { class: "finding" }, make("div", { class: "pair" }, product(finding.ids[0], true), beside), why(finding),
    make("p", { class: "strength", style: `--share:${Math.round(100 * finding.strength)}%` }, say("strength", { share: percent(finding.strength) })));
}

function list(items, draw) {
  const shown = make("ul", { class: "findings" }, ...items.slice(0, SHOWN).map(draw));
  let rest = items.slice(SHOWN);
  if (!rest.length) return [shown];
  const more = make("button", { class: "more", type: "button" }, say("more", { count: number(rest.length) }));
  more.addEventListener("click", () => {
    shown.append(...rest.splice(0, 4 * SHOWN).map(draw));
    more.textContent = say("more", { count: number(rest.length) });
    if (!rest.length) more.remove();
  });
  return [shown, more];
}

const section = (id, title, about, ...children) => make("section", { id }, make("h2", {}, title), make("p", {}, about), ...children);

function heat(matrix) {
  const values = matrix.values.flatMap((row, i) => row.filter((_, j) => i !== j));
  const low = Math.min(...values), span = Math.max(...values) - low || 1;
  const table = make("table", {}, make("thead", {}, make("tr", {}, make("td"), ...matrix.names.map((name) => make("th", { scope: "col" }, category(name))))),
    make("tbody", {}, ...matrix.values.map((row, i) => make("tr", {}, make("th", { scope: "row", title: category(matrix.names[i]) }, `${category(matrix.names[i])} · ${number(matrix.counts[i])}`),
      ...row.map((value, j) => {
        const share = i === j ? 1 : Math.max(0, Math.min(1, (value - low) / span));
        const shade = `background: color-mix(in oklab, var(--accent) ${Math.round(100 * share)}%, var(--tile)); color: ${share > .55 ? "var(--accent-ink)" : "var(--ink)"}`;
        return make("td", { style: shade, title: `${category(matrix.names[i])} × ${category(matrix.names[j])}` }, number(value, 2));
      })))));
  return make("div", { class: "wide", tabindex: "0", role: "region", "aria-label": say("heatmap") }, table);
}

// The golden angle keeps neighbours in the list, and any few of them, apart.
const colour = (place) => `oklch(${matchMedia("(prefers-color-scheme: dark)").matches ? ".76" : ".58"} .15 ${(137.508 * place) % 360})`;

function map(points) {
  const names = [...new Set(points.ids.map((id) => data.products[id]?.[1] ?? ""))].sort();
  const canvas = make("canvas", { role: "img", "aria-label": say("map") });
  const plot = make("div", { class: "plot" }, canvas);
  const hover = make("div", { class: "card", hidden: "" });
  plot.append(hover);
  const spread = (axis) => { const sorted = [...axis].sort((a, b) => a - b); return [sorted[0], sorted.at(-1)]; };
  const [left, right] = spread(points.x), [low, high] = spread(points.y);
  let places = [];
  const draw = () => {
    const { width, height } = plot.getBoundingClientRect(), ratio = devicePixelRatio || 1, edge = 18;
    canvas.width = width * ratio; canvas.height = height * ratio;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    places = points.ids.map((id, i) => [edge + (points.x[i] - left) / (right - left || 1) * (width - 2 * edge), height - edge - (points.y[i] - low) / (high - low || 1) * (height - 2 * edge)]);
    places.forEach(([x, y], i) => {
      pen.globalAlpha = .8;
      pen.fillStyle = colour(names.indexOf(data.products[points.ids[i]]?.[1] ?? ""));
      pen.beginPath(); pen.arc(x, y, points.ids.length > 3000 ? 2 : 4, 0, 7); pen.fill();
    });
  };
  const point = (event) => {
    const box = plot.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
    let best = -1, least = 400;
    places.forEach(([a, b], i) => { const far = (a - x) ** 2 + (b - y) ** 2; if (far < least) [best, least] = [i, far]; });
    hover.hidden = best < 0;
    if (best < 0) return;
    hover.replaceChildren(product(points.ids[best]));
    hover.style.left = `${Math.min(x + 14, box.width - 160)}px`;
    hover.style.top = `${Math.max(6, Math.min(y - 90, box.height - 230))}px`;
  };
  plot.addEventListener("pointermove", point); plot.addEventListener("pointerdown", point);
  plot.addEventListener("pointerleave", () => { hover.hidden = true; });
  new ResizeObserver(draw).observe(plot);
  return [plot, make("ul", { class: "legend" }, ...names.map((name, i) => make("li", {}, make("i", { style: `background:${colour(i)}` }), category(name))))];
}

function changed(entry) {
  const row = (title, ids) => make("div", {}, make("p", { class: "why" }, title), make("div", { class: "several", style: "grid-template-columns:repeat(5,1fr)" }, ...ids.slice(0, 5).map(tile)));
  return make("li", { class: "finding" }, make("div", { class: "pair" }, product(entry.id, true), make("p", { class: "why" }, say("overlap", { share: percent(entry.overlap) }))),
    row(say("before"), entry.before), row(say("after"), entry.after));
}

function quality(main) {
  const kinds = data.kinds, by = (kind) => data.findings.filter((finding) => finding.kind === kind);
  main.append(make("div", { class: "figures" }, ...kinds.map((kind) => make(data.counts[kind] ? "a" : "div", { class: data.counts[kind] ? "figure" : "figure none", ...(data.counts[kind] ? { href: `#${kind}` } : {}) },
    make("b", {}, number(data.counts[kind])), make("span", {}, say(`kind:${kind}`))))));
  for (const kind of kinds) if (data.counts[kind]) {
    const found = by(kind), left = data.counts[kind] - found.length;
    main.append(section(kind, `${say(`kind:${kind}`)} · ${number(data.counts[kind])}`, say(`about:${kind}`) + (left ? ` ${say("surest", { count: number(found.length) })}` : ""), ...list(found, card)));
  }
}

function drift(main) {
  const figures = [["in", data.entered.count], ["out", data.left.count], ["moved", data.moved.count], ["overlapMean", null]];
  main.append(make("div", { class: "figures" }, ...figures.map(([name, value]) => make("div", { class: "figure" }, make("b", {}, value === null ? (data.overlap === null ? "–" : percent(data.overlap)) : number(value)), make("span", {}, say(name))))));
  for (const name of ["entered", "left"]) if (data[name].count) main.append(section(name, `${say(name)} · ${number(data[name].count)}`, "", ...list(data[name].ids, (id) => make("li", { class: "finding" }, make("div", { class: "pair" }, product(id))))));
  if (data.moved.count) main.append(section("moved", `${say("moved")} · ${number(data.moved.count)}`, "", ...list(data.moved.products, (each) => make("li", { class: "finding" }, make("div", { class: "pair" }, product(each.id, true)), make("p", { class: "why" }, `${category(each.before)} → ${category(each.after)}`)))));
  if (data.shifts.length) main.append(section("shifts", say("shifts"), say("about:shifts"), make("div", { class: "wide" }, make("table", {}, ...data.shifts.map((each) => make("tr", {}, make("th", { scope: "row" }, category(each.category)), make("td", { style: "width:auto;padding:0 .6rem" }, number(each.shift, 4))))))));
  if (data.changed.length) main.append(section("changed", say("changed"), say("about:changed"), ...list(data.changed, changed)));
}

function draw() {
  document.documentElement.lang = locale();
  const main = document.getElementById("main");
  const is = data.report;
  document.title = `Vitrine · ${say(`title:${is}`)}`;
  document.getElementById("kind").textContent = say(`short:${is}`);
  main.replaceChildren(make("h1", {}, say(`title:${is}`)), make("p", { class: "lead" }, say(`lead:${is}`, { products: number(data.productCount), categories: number(data.categoryCount), from: data.from, state: data.state })));
  for (const reason of data.missing ?? []) main.append(make("p", { class: "note" }, say(`missing:${reason}`)));
  (is === "quality" ? quality : drift)(main);
  if (data.matrix?.names.length > 1) main.append(section("heatmap", say("heatmap"), say("about:heatmap"), heat(data.matrix)));
  if (data.points) main.append(section("map", say("map"), say("about:map", { share: percent(data.points.explained) }), ...map(data.points)));
  main.append(make("footer", {}, say("made", { at: new Date(data.at).toLocaleString(locale()), state: data.state })));
  document.getElementById("jump").replaceChildren(...[...main.querySelectorAll("section")].map((each) => {
    const [name, count] = each.querySelector("h2").textContent.split(" · ");
    return make("a", { href: `#${each.id}` }, name, count ? make("b", {}, ` ${count}`) : null);
  }));
  document.getElementById("languages").replaceChildren(...Object.keys(texts).map((code) => {
    const button = make("button", { type: "button", "aria-pressed": String(code === language), lang: code, title: texts[code].name }, code.toUpperCase());
    button.addEventListener("click", () => { language = code; draw(); });
    return button;
  }));
}
draw();
