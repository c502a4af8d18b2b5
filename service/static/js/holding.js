// Comparison tray: two products to compare side by side, kept across pages in this tab.
import { announce, icon, make, prefix, say } from "./core.js";

const HELD = "vitrine-held";
const read = () => JSON.parse(sessionStorage.getItem(HELD) ?? "[]");

function write(held) {
  sessionStorage.setItem(HELD, JSON.stringify(held));
  show();
}

function toggle({ product: id, name, image }) {
  const held = read();
  if (held.some((each) => each.id === id)) {
    write(held.filter((each) => each.id !== id));
    announce(say("released", { name }));
  } else {
    write([...held, { id, name, image }].slice(-2));
    announce(say("held", { name }));
  }
}

/** Draw the tray and the state of the buttons. */
export function show() {
  const held = read();
  for (const button of document.querySelectorAll("[data-hold]")) {
    const { product } = button.closest("[data-product]").dataset;
    button.setAttribute("aria-pressed", String(held.some((each) => each.id === product)));
  }
  const tray = document.getElementById("tray");
  tray.hidden = !held.length;
  if (!held.length) return;
  const list = make("ul", {}, ...held.map((each) => {
    const drop = make("button", { type: "button", className: "round", title: say("release", each), ariaLabel: say("release", each) }, icon("close"));
    drop.addEventListener("click", () => toggle({ product: each.id, name: each.name }));
    return make("li", {}, make("img", { src: `${each.image}?size=128`, alt: each.name }), drop);
  }));
  const address = `${prefix}/compare?${new URLSearchParams({ a: held[0].id, b: held[1]?.id })}`;
  const go = held.length === 2
    ? make("a", { className: "button primary", href: address }, icon("compare"), say("compare"))
    : make("p", { className: "muted small" }, say("holdOne"));
  tray.replaceChildren(list, go);
}

/** Handle every comparison button of the page, including later ones. */
export function watchHolding() {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-hold]");
    if (button) toggle(button.closest("[data-product]").dataset);
  });
  show();
}
