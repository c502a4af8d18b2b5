// The queue of findings: delete the product, or say that it is no mistake; each can be taken back.
import { restore } from "./changes.js";
import { announce, api, complain, notify, say } from "./core.js";

const queue = () => [...document.querySelectorAll(".finding:not([hidden])")];
let undo = null;

/** Begin. */
export function begin() {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-accept], [data-dismiss]");
    if (button) settle(button.closest(".finding"), "accept" in button.dataset);
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, dialog")) return;
    const key = event.key.toLowerCase();
    const current = document.activeElement?.closest(".finding");
    if (key === "j" || key === "k") move(current, key === "j" ? 1 : -1);
    else if (key === "u" && undo) undo();
    else if (current && (key === "d" || key === "x") && current.querySelector(key === "d" ? "[data-accept]" : "[data-dismiss]")) settle(current, key === "d");
    else return;
    event.preventDefault();
  });
}

function move(from, step) {
  const all = queue();
  const place = from ? all.indexOf(from) + step : 0;
  all[Math.max(0, Math.min(place, all.length - 1))]?.focus();
}

async function settle(card, isDeleted) {
  if (card.hasAttribute("aria-busy")) return;
  card.setAttribute("aria-busy", "true");
  const { finding, product, name } = card.dataset;
  try {
    if (isDeleted) await api("DELETE", `/products/${encodeURIComponent(product)}`);
    else await api("POST", "/quality/dismiss", { keys: [finding] });
  } catch (error) {
    complain(error);
    return;
  } finally {
    card.removeAttribute("aria-busy");
  }
  const all = queue(), next = all[all.indexOf(card) + 1] ?? all[all.indexOf(card) - 1];
  card.hidden = true;
  const bringBack = async () => {
    undo = null;
    try {
      await (isDeleted ? restore(product) : api("POST", "/undo"));
      card.hidden = false;
      card.focus();
      announce(say("undone", { name }));
    } catch (error) {
      complain(error);
    }
  };
  const close = notify(isDeleted ? say("deleted", { name }) : say("dismissed", { name }), { action: say("undo"), run: bringBack });
  undo = () => { close(); bringBack(); };
  if (next) next.focus();
  else document.getElementById("main").focus();
}
