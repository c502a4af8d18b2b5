// Product page: recommendations that follow the options, and the trail of visited products.
import { complain, fetchPart, later, reveal } from "./core.js";
import { show as showHeld } from "./holding.js";
import { leaveTrail } from "./trail.js";

const form = document.getElementById("toggles");
const similar = document.getElementById("similar");
let running = null;

/** Start the page. */
export function begin() {
  leaveTrail();
  form.addEventListener("input", later(() => refresh(), 120));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    refresh();
  });
  similar.addEventListener("click", (event) => {
    const more = event.target.closest("#more-similar");
    if (!more) return;
    event.preventDefault();
    refresh(more.dataset.limit);
  });
}

async function refresh(limit) {
  const query = new URLSearchParams(new FormData(form));
  if (query.get("diversity") === "0") query.delete("diversity");
  if (limit) query.set("limit", limit);
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  const shown = similar.querySelectorAll(".card").length;
  history.replaceState(null, "", `${form.action}${query.size ? `?${query}` : ""}`);
  similar.setAttribute("aria-busy", "true");
  try {
    const callsOpen = similar.querySelector(".calls")?.open;
    similar.innerHTML = await fetchPart(`${form.dataset.address}?${query}`, signal);
    similar.querySelector(".calls").open = callsOpen;
    reveal(similar);
    showHeld();
    if (limit) similar.querySelectorAll(".card-link")[shown]?.focus();
  } catch (error) {
    complain(error);
  }
  if (!signal.aborted) similar.removeAttribute("aria-busy");
}
