// Trash: restore one, several or all products, and undo the last change.
import { announce, api, complain, count, say } from "./core.js";
import { restore } from "./changes.js";

const AT_ONCE = 500;
const boxes = () => [...document.querySelectorAll("input[name=chosen]:not(:disabled)")];
const chosenButton = document.getElementById("restore-chosen");

/** Start the page. */
export function begin() {
  document.addEventListener("click", (event) => {
    const one = event.target.closest("[data-restore]");
    if (one) run(one, () => restoreOne(one.closest("[data-product]")));
  });
  chosenButton?.addEventListener("click", () => run(chosenButton, async () => {
    await restoreSeveral(boxes().filter((box) => box.checked).map((box) => box.value));
    location.reload();
  }));
  const all = document.getElementById("restore-all");
  all?.addEventListener("click", () => run(all, async () => {
    await restoreAll();
    location.assign(location.pathname);
  }));
  const undo = document.getElementById("undo-last");
  undo?.addEventListener("click", () => run(undo, async () => {
    await api("POST", "/undo");
    location.reload();
  }));
  const whole = document.getElementById("choose-all");
  whole?.addEventListener("change", () => {
    for (const box of boxes()) box.checked = whole.checked;
    note();
  });
  document.addEventListener("change", (event) => event.target.name === "chosen" && note());
}

async function run(button, work) {
  button.disabled = true;
  try {
    await work();
  } catch (error) {
    complain(error);
    button.disabled = false;
  }
}

function note() {
  const number = boxes().filter((box) => box.checked).length;
  chosenButton.disabled = !number;
  chosenButton.querySelector("span").textContent = number ? say("restoreChosen", { count: count(number) }) : say("restoreNone");
}

async function restoreOne(row) {
  await restore(row.dataset.product);
  announce(say("undone", { name: row.dataset.name }));
  const beside = row.nextElementSibling ?? row.previousElementSibling;
  row.remove();
  if (beside) beside.querySelector("[data-restore]").focus();
  else location.reload();
}

const restoreSeveral = (ids) => api("POST", "/products/restore", { ids });

async function restoreAll() {
  for (;;) {
    const { products } = await api("GET", `/products?deleted=true&limit=${AT_ONCE}`);
    if (!products.length) return;
    await restoreSeveral(products.map((product) => product.id));
  }
}
