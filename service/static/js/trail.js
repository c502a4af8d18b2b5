// Trail of the visited products, kept in this tab.
import { make, prefix } from "./core.js";

const TRAIL = "vitrine-trail";
const SHOWN = 5;

/** Add this page's product to the trail and draw it; a return to an earlier product cuts off the later ones. */
export function leaveTrail() {
  const place = document.getElementById("trail");
  const { product: id, name } = place.dataset;
  const began = !document.referrer.startsWith(location.origin) || !/\/product\//.test(new URL(document.referrer).pathname);
  const navigation = performance.getEntriesByType("navigation")[0]?.type;
  const before = began && navigation === "navigate" ? [] : JSON.parse(sessionStorage.getItem(TRAIL) ?? "[]");
  const known = before.findIndex((each) => each.id === id);
  const trail = [...(known < 0 ? before : before.slice(0, known)), { id, name }].slice(-20);
  sessionStorage.setItem(TRAIL, JSON.stringify(trail));
  if (trail.length < 2) return;
  const start = place.querySelector("li");
  const shown = trail.slice(0, -1).slice(-SHOWN);
  const links = shown.map((each, place) => make("li", {}, make("a", {
    href: `${prefix}/product/${encodeURIComponent(each.id)}`, data: place === shown.length - 1 ? { back: "" } : {},
  }, each.name)));
  const gap = trail.length - 1 > SHOWN ? [make("li", { ariaHidden: "true" }, make("span", {}, "…"))] : [];
  place.querySelector("ol").replaceChildren(start, ...gap, ...links, make("li", { ariaCurrent: "page" }, make("span", {}, name)));
}
