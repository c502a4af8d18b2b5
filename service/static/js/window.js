// Shop window: search as you type, filters without a page load, more products on scrolling.
import { announce, complain, count, fetchPart, later, reveal, say } from "./core.js";
import { show as showHeld } from "./holding.js";

const found = document.getElementById("found");
const form = document.querySelector(".search");
const field = document.getElementById("q");
let running = null;

/** Start the page. */
export function begin() {
  field.addEventListener("input", later(() => search(), 180));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    search();
  });
  found.addEventListener("click", (event) => {
    const chip = event.target.closest("[data-chip]");
    if (!chip || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    go(new URL(chip.href), { push: true, focus: chip.dataset.chip });
  });
  addEventListener("popstate", () => {
    field.value = new URLSearchParams(location.search).get("q") ?? "";
    go(new URL(location.href), {});
  });
  watchEnd();
}

function search() {
  const address = new URL(form.action);
  for (const [name, value] of new FormData(form)) if (value.trim()) address.searchParams.append(name, value);
  if (address.href !== location.href) go(address, {});
}

async function go(address, { push = false, focus }) {
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  history[push ? "pushState" : "replaceState"](null, "", address);
  found.setAttribute("aria-busy", "true");
  try {
    const part = await fetchPart(`${found.dataset.address}${address.search}`, signal);
    found.innerHTML = part;
    if (scrollY > 0) scrollTo(0, 0);
    arrived();
    keepChosen(address);
    if (focus !== undefined) focusChip(focus);
    watchEnd();
  } catch (error) {
    complain(error);
  }
  if (!signal.aborted) found.removeAttribute("aria-busy");
}

function arrived() {
  reveal(found);
  showHeld();
}

/** Keep the chosen categories in the form, so that a new search keeps them. */
function keepChosen(address) {
  for (const old of form.querySelectorAll("[name=category]")) old.remove();
  for (const name of address.searchParams.getAll("category")) {
    const hidden = document.createElement("input");
    Object.assign(hidden, { type: "hidden", name: "category", value: name });
    form.append(hidden);
  }
  for (const link of document.querySelectorAll(".languages a")) {
    const to = new URL(link.href);
    const chosen = to.searchParams.get("lang");
    to.search = address.search;
    to.searchParams.set("lang", chosen);
    link.href = to;
  }
}

function focusChip(name) {
  const chip = [...found.querySelectorAll("[data-chip]")].find((each) => each.dataset.chip === name);
  if (!chip) return;
  chip.closest("details")?.setAttribute("open", "");
  chip.focus();
}

/** Load the next products near the end of the grid. */
function watchEnd() {
  const next = document.getElementById("next");
  if (!next) return;
  const load = async () => {
    watcher.disconnect();
    try {
      await append(next);
    } catch (error) {
      complain(error);
    }
  };
  const watcher = new IntersectionObserver((seen) => seen.some((each) => each.isIntersecting) && load(), { rootMargin: "900px" });
  watcher.observe(next);
  next.addEventListener("click", (event) => {
    event.preventDefault();
    load();
  });
}

async function append(next) {
  if (next.dataset.loading) return;
  next.dataset.loading = "yes";
  next.textContent = say("loading");
  const part = await fetchPart(`${found.dataset.address}${new URL(next.href).search}`, running?.signal);
  const pieces = new DOMParser().parseFromString(part, "text/html");
  const hadFocus = document.activeElement === next;
  const cards = [...pieces.querySelectorAll(".card")];
  document.getElementById("grid").append(...cards);
  next.parentElement.replaceWith(...pieces.querySelectorAll(".next"));
  if (hadFocus) cards[0]?.querySelector("a").focus();
  announce(say("moreLoaded", { count: count(cards.length) }));
  arrived();
  watchEnd();
}
