// Quality queue: delete or move the product of a finding, or dismiss the finding; each can be undone.
import { moveTo, restore } from "./changes.js";
import { announce, api, complain, notify, say } from "./core.js";

const DECISIONS = {
  delete: {
    key: "d",
    take: ({ product }) => api("DELETE", `/products/${encodeURIComponent(product)}`),
    takeBack: ({ product }) => restore(product),
    said: (about) => say("deleted", about),
  },
  move: {
    key: "m",
    take: ({ product, vote }) => moveTo(product, vote),
    takeBack: ({ product, category }) => moveTo(product, category),
    said: (about) => say("moved", about),
  },
  dismiss: {
    key: "x",
    take: ({ finding }) => api("POST", "/quality/dismiss", { keys: [finding] }),
    takeBack: () => api("POST", "/undo"),
    said: (about) => say("dismissed", about),
  },
};
const queue = () => [...document.querySelectorAll(".finding:not([hidden])")];
let undo = null;

/** Start the page. */
export function begin() {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-decision]");
    if (button) settle(button.closest(".finding"), button.dataset.decision);
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, dialog")) return;
    const key = event.key.toLowerCase();
    const current = document.activeElement?.closest(".finding");
    if (key === "j" || key === "k") move(current, key === "j" ? 1 : -1);
    else if (key === "u" && undo) undo();
    else {
      const decision = Object.keys(DECISIONS).find((name) => DECISIONS[name].key === key);
      if (!decision || !current?.querySelector(`[data-decision="${decision}"]`)) return;
      settle(current, decision);
    }
    event.preventDefault();
  });
}

function move(from, step) {
  const all = queue();
  const place = from ? all.indexOf(from) + step : 0;
  all[Math.max(0, Math.min(place, all.length - 1))]?.focus();
}

async function settle(card, decision) {
  if (card.hasAttribute("aria-busy")) return;
  card.setAttribute("aria-busy", "true");
  const { take, takeBack, said } = DECISIONS[decision];
  const about = { name: card.dataset.name, category: card.dataset.vote };
  try {
    await take(card.dataset);
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
      await takeBack(card.dataset);
      card.hidden = false;
      card.focus();
      announce(say("undone", about));
    } catch (error) {
      complain(error);
    }
  };
  const close = notify(said(about), { action: say("undo"), run: bringBack });
  undo = () => { close(); bringBack(); };
  if (next) next.focus();
  else document.getElementById("main").focus();
}
