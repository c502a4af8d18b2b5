// Gestures on the map by mouse, touch and wheel: move, rotate, zoom, lasso, hover, click.
const CLICK_PX = 5;

/** Listen on `element` and call the handlers in `on`: drag(dx, dy, turns), zoom(factor, x, y), hover(x, y), leave(),
 * click(x, y, isTouch), lasso(points), lassoEnd(points). `isLasso()` says whether a drag draws. */
export function watchGestures(element, on) {
  const pointers = new Map();
  let path = null;
  let moved = 0;
  let spread = 0;

  const place = (event) => {
    const area = element.getBoundingClientRect();
    return [event.clientX - area.left, event.clientY - area.top];
  };

  element.addEventListener("pointerdown", (event) => {
    if (event.button > 2) return;
    element.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, place(event));
    moved = 0;
    spread = distance(pointers);
    path = on.isLasso() && pointers.size === 1 ? [place(event)] : null;
  });

  element.addEventListener("pointermove", (event) => {
    const [x, y] = place(event);
    const before = pointers.get(event.pointerId);
    if (!before) {
      on.hover(x, y);
      return;
    }
    const [dx, dy] = [x - before[0], y - before[1]];
    pointers.set(event.pointerId, [x, y]);
    moved += Math.abs(dx) + Math.abs(dy);
    if (pointers.size === 2) {
      const now = distance(pointers);
      const [middleX, middleY] = middle(pointers);
      if (spread) on.zoom(now / spread, middleX, middleY);
      spread = now;
      on.drag(dx / 2, dy / 2, false);
    } else if (path) {
      path.push([x, y]);
      on.lasso(path);
    } else {
      on.drag(dx, dy, !event.shiftKey && !(event.buttons & 2));
    }
  });

  const end = (event) => {
    if (!pointers.delete(event.pointerId)) return;
    if (path && moved > CLICK_PX) on.lassoEnd(path);
    else if (moved <= CLICK_PX && event.type === "pointerup" && event.button === 0) on.click(...place(event), event.pointerType === "touch");
    path = null;
    spread = distance(pointers);
  };
  element.addEventListener("pointerup", end);
  element.addEventListener("pointercancel", end);
  element.addEventListener("pointerleave", () => pointers.size || on.leave());
  element.addEventListener("contextmenu", (event) => event.preventDefault());
  element.addEventListener("wheel", (event) => {
    event.preventDefault();
    const pixels = event.deltaY * (event.deltaMode === 1 ? 30 : 1);
    on.zoom(Math.exp(-Math.max(-300, Math.min(300, pixels)) * 0.0016), ...place(event));
  }, { passive: false });
}

function distance(pointers) {
  if (pointers.size < 2) return 0;
  const [[x1, y1], [x2, y2]] = [...pointers.values()];
  return Math.hypot(x1 - x2, y1 - y2);
}

function middle(pointers) {
  const [[x1, y1], [x2, y2]] = [...pointers.values()];
  return [(x1 + x2) / 2, (y1 + y2) / 2];
}

/** Return whether (x, y) is inside a polygon of [x, y] (even-odd rule). */
export function isInside(polygon, x, y) {
  let inside = false;
  for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i, i += 1) {
    const [[x1, y1], [x2, y2]] = [polygon[i], polygon[j]];
    if (y1 > y !== y2 > y && x < ((x2 - x1) * (y - y1)) / (y2 - y1) + x1) inside = !inside;
  }
  return inside;
}
