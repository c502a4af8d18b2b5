// Renders a report from the data in the page, in the chosen language. Loads nothing from the network.
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const texts = JSON.parse(document.getElementById("texts").textContent);
const ITEMS_SHOWN = 24;
const POINT_EDGE_PX = 18;
const HOVER_RADIUS_PX = 20;
let language = (navigator.language || "en").toLowerCase().startsWith("pt") ? "pt" : "en";
try { language = new URLSearchParams(location.hash.slice(1)).get("lang") || language; } catch { /* keep the browser's language */ }
if (!(language in texts)) language = "en";

const translate = (key, values = {}) =>
  (texts[language][key] ?? texts.en[key] ?? key).replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
const locale = () => (language === "pt" ? "pt-BR" : "en");
const formatNumber = (value, digits = 0) =>
  Number(value).toLocaleString(locale(), { maximumFractionDigits: digits, minimumFractionDigits: digits });
const formatPercent = (value) => Number(value).toLocaleString(locale(), { style: "percent", maximumFractionDigits: 0 });
const categoryName = (name) => name || translate("noCategory");
const categoryOf = (id) => data.products[id]?.[1] ?? "";

function createElement(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== null));
  return element;
}

function pictureTile(id) {
  const picture = data.pictures[id];
  return createElement("span", { class: "tile" }, picture
    ? createElement("img", { src: `data:image/webp;base64,${picture}`, alt: data.products[id]?.[0] ?? id, loading: "lazy" })
    : createElement("i", {}, translate("noPicture")));
}

function productCard(id, highlighted = false) {
  const [name, category] = data.products[id] ?? [id, ""];
  return createElement("div", { class: highlighted ? "product about" : "product" },
    pictureTile(id),
    createElement("div", {}, name),
    createElement("div", { class: "category" }, categoryName(category)),
    createElement("div", { class: "id" }, id));
}

function pictureGroup(ids, total) {
  const caption = total > ids.length
    ? translate("andMore", { count: formatNumber(total - ids.length) })
    : categoryName(categoryOf(ids[0]));
  return createElement("div", { class: "several" }, ...ids.slice(0, 4).map(pictureTile), createElement("p", {}, caption));
}

function findingReason(finding) {
  const { reason } = finding;
  const values = {};
  for (const [name, value] of Object.entries(reason)) {
    values[name] = typeof value === "number" ? formatNumber(value, Number.isInteger(value) ? 0 : 2) : categoryName(value);
  }
  if (typeof reason.share === "number") values.share = formatPercent(reason.share);
  let key = `why:${finding.kind}`;
  if (reason.same_category !== undefined) {
    key = `why:${reason.same_group ? "same-group" : reason.same_category ? "same-category" : "across"}`;
  }
  return createElement("p", { class: "why" }, translate(key, values));
}

function findingCard(finding) {
  const isGroup = finding.kind === "small-category" || finding.kind === "placeholder";
  const evidence = isGroup ? finding.ids.slice(1) : finding.evidence;
  let beside = null;
  if (evidence.length === 1) beside = productCard(evidence[0]);
  else if (evidence.length) beside = pictureGroup(evidence, finding.kind === "hub" ? finding.reason.lists : evidence.length);
  const strength = { class: "strength", style: `--share:${Math.round(100 * finding.strength)}%` };
  return createElement("li", { class: "finding" },
    createElement("div", { class: "pair" }, productCard(finding.ids[0], true), beside),
    findingReason(finding),
    createElement("p", strength, translate("strength", { share: formatPercent(finding.strength) })));
}

// Returns a list of the first items, and a button that appends more of them.
function expandableList(items, createItem) {
  const list = createElement("ul", { class: "findings" }, ...items.slice(0, ITEMS_SHOWN).map(createItem));
  const rest = items.slice(ITEMS_SHOWN);
  if (!rest.length) return [list];
  const button = createElement("button", { class: "more", type: "button" }, translate("more", { count: formatNumber(rest.length) }));
  button.addEventListener("click", () => {
    list.append(...rest.splice(0, 4 * ITEMS_SHOWN).map(createItem));
    button.textContent = translate("more", { count: formatNumber(rest.length) });
    if (!rest.length) button.remove();
  });
  return [list, button];
}

const section = (id, title, description, ...children) =>
  createElement("section", { id }, createElement("h2", {}, title), createElement("p", {}, description), ...children);

function heatmap(matrix) {
  const offDiagonal = matrix.values.flatMap((row, i) => row.filter((_, j) => i !== j));
  const lowest = Math.min(...offDiagonal), range = Math.max(...offDiagonal) - lowest || 1;
  const names = matrix.names.map(categoryName);
  const cell = (value, i, j) => {
    const share = i === j ? 1 : Math.max(0, Math.min(1, (value - lowest) / range));
    const background = `color-mix(in oklab, var(--accent) ${Math.round(100 * share)}%, var(--tile))`;
    const style = `background: ${background}; color: ${share > .55 ? "var(--accent-ink)" : "var(--ink)"}`;
    return createElement("td", { style, title: `${names[i]} × ${names[j]}` }, formatNumber(value, 2));
  };
  const columnHeads = names.map((name) => createElement("th", { scope: "col" }, name));
  const head = createElement("thead", {}, createElement("tr", {}, createElement("td"), ...columnHeads));
  const rows = matrix.values.map((values, i) => createElement("tr", {},
    createElement("th", { scope: "row", title: names[i] }, `${names[i]} · ${formatNumber(matrix.counts[i])}`),
    ...values.map((value, j) => cell(value, i, j))));
  const table = createElement("table", {}, head, createElement("tbody", {}, ...rows));
  return createElement("div", { class: "wide", tabindex: "0", role: "region", "aria-label": translate("heatmap") }, table);
}

// Multiples of the golden angle give neighbouring categories, and any few of them, distant hues.
function categoryColour(index) {
  const isDark = matchMedia("(prefers-color-scheme: dark)").matches;
  return `oklch(${isDark ? ".76" : ".58"} .15 ${(137.508 * index) % 360})`;
}

// Returns the map of the products and its legend. A card shows the product nearest to the pointer.
function scatterPlot(points) {
  const categories = [...new Set(points.ids.map(categoryOf))].sort();
  const canvas = createElement("canvas", { role: "img", "aria-label": translate("map") });
  const hoverCard = createElement("div", { class: "card", hidden: "" });
  const plot = createElement("div", { class: "plot" }, canvas, hoverCard);
  const extent = (values) => { const sorted = [...values].sort((a, b) => a - b); return [sorted[0], sorted.at(-1)]; };
  const [left, right] = extent(points.x), [bottom, top] = extent(points.y);
  let positions = [];
  const drawPoints = () => {
    const { width, height } = plot.getBoundingClientRect(), ratio = devicePixelRatio || 1;
    const scale = (value, low, high, size) => (value - low) / (high - low || 1) * (size - 2 * POINT_EDGE_PX);
    canvas.width = width * ratio; canvas.height = height * ratio;
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    positions = points.ids.map((_, i) => [
      POINT_EDGE_PX + scale(points.x[i], left, right, width),
      height - POINT_EDGE_PX - scale(points.y[i], bottom, top, height),
    ]);
    context.globalAlpha = .8;
    positions.forEach(([x, y], i) => {
      context.fillStyle = categoryColour(categories.indexOf(categoryOf(points.ids[i])));
      context.beginPath(); context.arc(x, y, points.ids.length > 3000 ? 2 : 4, 0, 7); context.fill();
    });
  };
  const showNearest = (event) => {
    const box = plot.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
    let nearest = -1, leastSquare = HOVER_RADIUS_PX ** 2;
    positions.forEach(([a, b], i) => {
      const square = (a - x) ** 2 + (b - y) ** 2;
      if (square < leastSquare) [nearest, leastSquare] = [i, square];
    });
    hoverCard.hidden = nearest < 0;
    if (nearest < 0) return;
    hoverCard.replaceChildren(productCard(points.ids[nearest]));
    hoverCard.style.left = `${Math.min(x + 14, box.width - 160)}px`;
    hoverCard.style.top = `${Math.max(6, Math.min(y - 90, box.height - 230))}px`;
  };
  plot.addEventListener("pointermove", showNearest);
  plot.addEventListener("pointerdown", showNearest);
  plot.addEventListener("pointerleave", () => { hoverCard.hidden = true; });
  new ResizeObserver(drawPoints).observe(plot);
  const legend = categories.map((name, i) => createElement("li", {},
    createElement("i", { style: `background:${categoryColour(i)}` }), categoryName(name)));
  return [plot, createElement("ul", { class: "legend" }, ...legend)];
}

function figure(label, value, link = null) {
  const attributes = link ? { class: "figure", href: link } : { class: "figure" };
  return createElement(link ? "a" : "div", attributes, createElement("b", {}, value), createElement("span", {}, label));
}

function renderQuality(main) {
  const figures = data.findingTypes.map((type) => {
    const count = data.counts[type];
    const element = figure(translate(`type:${type}`), formatNumber(count), count ? `#${type}` : null);
    if (!count) element.classList.add("none");
    return element;
  });
  main.append(createElement("div", { class: "figures" }, ...figures));
  for (const type of data.findingTypes.filter((name) => data.counts[name])) {
    const findings = data.findings.filter((finding) => finding.kind === type);
    const title = `${translate(`type:${type}`)} · ${formatNumber(data.counts[type])}`;
    let description = translate(`about:${type}`);
    if (findings.length < data.counts[type]) description += ` ${translate("surest", { count: formatNumber(findings.length) })}`;
    main.append(section(type, title, description, ...expandableList(findings, findingCard)));
  }
}

function productItem(id) {
  return createElement("li", { class: "finding" }, createElement("div", { class: "pair" }, productCard(id)));
}

function movedItem(move) {
  return createElement("li", { class: "finding" },
    createElement("div", { class: "pair" }, productCard(move.id, true)),
    createElement("p", { class: "why" }, `${categoryName(move.before)} → ${categoryName(move.after)}`));
}

function listChangeItem(change) {
  const overlap = createElement("p", { class: "why" }, translate("overlap", { share: formatPercent(change.overlap) }));
  const pictureRow = (title, ids) => createElement("div", {},
    createElement("p", { class: "why" }, title),
    createElement("div", { class: "several", style: "grid-template-columns:repeat(5,1fr)" }, ...ids.slice(0, 5).map(pictureTile)));
  return createElement("li", { class: "finding" },
    createElement("div", { class: "pair" }, productCard(change.id, true), overlap),
    pictureRow(translate("before"), change.before),
    pictureRow(translate("after"), change.after));
}

function shiftTable(shifts) {
  const rows = shifts.map(({ category, shift }) => createElement("tr", {},
    createElement("th", { scope: "row" }, categoryName(category)),
    createElement("td", { style: "width:auto;padding:0 .6rem" }, formatNumber(shift, 4))));
  return createElement("div", { class: "wide" }, createElement("table", {}, ...rows));
}

function renderDiff(main) {
  const overlap = data.overlap === null ? "–" : formatPercent(data.overlap);
  main.append(createElement("div", { class: "figures" },
    figure(translate("in"), formatNumber(data.entered.count)),
    figure(translate("out"), formatNumber(data.left.count)),
    figure(translate("moved"), formatNumber(data.moved.count)),
    figure(translate("overlapMean"), overlap)));
  const titled = (name) => `${translate(name)} · ${formatNumber(data[name].count)}`;
  for (const name of ["entered", "left"]) {
    if (data[name].count) main.append(section(name, titled(name), "", ...expandableList(data[name].ids, productItem)));
  }
  if (data.moved.count) main.append(section("moved", titled("moved"), "", ...expandableList(data.moved.products, movedItem)));
  if (data.shifts.length) main.append(section("shifts", translate("shifts"), translate("about:shifts"), shiftTable(data.shifts)));
  if (data.changed.length) {
    main.append(section("changed", translate("changed"), translate("about:changed"), ...expandableList(data.changed, listChangeItem)));
  }
}

function sectionLinks(main) {
  return [...main.querySelectorAll("section")].map((element) => {
    const [name, count] = element.querySelector("h2").textContent.split(" · ");
    return createElement("a", { href: `#${element.id}` }, name, count ? createElement("b", {}, ` ${count}`) : null);
  });
}

function languageButtons() {
  return Object.keys(texts).map((code) => {
    const attributes = { type: "button", "aria-pressed": String(code === language), lang: code, title: texts[code].name };
    const button = createElement("button", attributes, code.toUpperCase());
    button.addEventListener("click", () => { language = code; render(); });
    return button;
  });
}

function render() {
  document.documentElement.lang = locale();
  const main = document.getElementById("main");
  const { report } = data;
  const lead = translate(`lead:${report}`, {
    products: formatNumber(data.productCount), categories: formatNumber(data.categoryCount), from: data.from, state: data.state,
  });
  document.title = `Vitrine · ${translate(`title:${report}`)}`;
  document.getElementById("kind").textContent = translate(`short:${report}`);
  main.replaceChildren(createElement("h1", {}, translate(`title:${report}`)), createElement("p", { class: "lead" }, lead));
  for (const reason of data.missing ?? []) main.append(createElement("p", { class: "note" }, translate(`missing:${reason}`)));
  (report === "quality" ? renderQuality : renderDiff)(main);
  if (data.matrix?.names.length > 1) main.append(section("heatmap", translate("heatmap"), translate("about:heatmap"), heatmap(data.matrix)));
  if (data.points) {
    const description = translate("about:map", { share: formatPercent(data.points.explained) });
    main.append(section("map", translate("map"), description, ...scatterPlot(data.points)));
  }
  const createdAt = new Date(data.at).toLocaleString(locale());
  main.append(createElement("footer", {}, translate("made", { at: createdAt, state: data.state })));
  document.getElementById("jump").replaceChildren(...sectionLinks(main));
  document.getElementById("languages").replaceChildren(...languageButtons());
}

render();
