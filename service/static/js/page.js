// Entry point of every page: common behaviour, then the module of the page.
import { complain, copy, reveal } from "./core.js";
import { watchChanges } from "./changes.js";
import { watchHolding } from "./holding.js";

const MODULES = {
  window: "./window.js",
  product: "./product.js",
  photo: "./photo.js",
  upload: "./upload.js",
  trash: "./trash.js",
  status: "./status.js",
  quality: "./quality.js",
  categories: "./categories.js",
  map: "./map.js",
};

reveal();
watchPictures();
watchChanges();
if (document.body.dataset.page !== "compare") watchHolding();

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy], [data-copy-address]");
  if (button) {
    copy("copy" in button.dataset ? button.parentElement.querySelector("code").textContent : location.href, button);
  }
  for (const open of document.querySelectorAll(".more-places details[open]")) {
    if (!open.contains(event.target)) open.open = false;
  }
});

document.querySelector(".more-places details").addEventListener("focusout", (event) => {
  const menu = event.currentTarget;
  if (event.relatedTarget && !menu.contains(event.relatedTarget)) menu.open = false;
});

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select, [contenteditable], dialog");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    document.getElementById("q").select();
  }
  if (event.key === "Escape") {
    const open = document.querySelector(".more-places details[open]");
    if (open) {
      open.open = false;
      open.querySelector("summary").focus();
    }
  }
  if (event.key.startsWith("Arrow") && event.target.matches(".card-link")) walk(event);
});

/** Show a placeholder for a picture that does not load. */
function watchPictures() {
  const mark = (image) => image.classList.add("missing");
  document.addEventListener("error", (event) => event.target.matches?.(".tile img") && mark(event.target), true);
  for (const image of document.querySelectorAll(".tile img")) if (image.complete && !image.naturalWidth && image.currentSrc) mark(image);
}

/** Move between the cards of a grid with the arrow keys. */
function walk(event) {
  const links = [...event.target.closest(".grid").querySelectorAll(".card:not([hidden]) .card-link")];
  const here = links.indexOf(event.target);
  const top = links[0].getBoundingClientRect().top;
  const columns = Math.max(1, links.findIndex((link) => link.getBoundingClientRect().top > top + 5));
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
  const next = links[here + step];
  if (next) {
    event.preventDefault();
    next.focus();
    next.scrollIntoView({ block: "nearest" });
  }
}

const module = MODULES[document.body.dataset.page];
if (module) import(module).then((page) => page.begin()).catch(complain);
