// Delete, move, restore and undo, on every page. Each change can be undone from its notice.
import { announce, api, asked, complain, notify, say } from "./core.js";

const PENDING = "vitrine-undo";

/** Confirm a deletion; resolves to true for yes. */
function confirmed(name) {
  const dialog = document.getElementById("confirm");
  dialog.querySelector("#confirm-text").textContent = say("confirmDelete", { name });
  return asked(dialog);
}

/** Move the product of an element to the category chosen in the dialog. */
async function move(element) {
  const dialog = document.getElementById("move");
  const field = dialog.querySelector("input");
  const { product: id, name, category: before } = element.dataset;
  field.value = before;
  field.select();
  if (!(await asked(dialog)) || field.value.trim() === before) return;
  const category = field.value.trim();
  await moveTo(id, category);
  sessionStorage.setItem(PENDING, JSON.stringify({ id, name, category, before }));
  location.reload();
}

/** Move one product to a category. */
export const moveTo = (id, category) => api("POST", "/products/move", { ids: [id], category });

async function remove(element, leaves) {
  const { product: id, name } = element.dataset;
  if (!(await confirmed(name))) return;
  await api("DELETE", `/products/${encodeURIComponent(id)}`);
  if (leaves) {
    sessionStorage.setItem(PENDING, JSON.stringify({ id, name }));
    location.assign(document.querySelector("#trail a[data-back]")?.href ?? document.querySelector(".brand").href);
    return;
  }
  const next = element.nextElementSibling ?? element.previousElementSibling;
  element.classList.add("leaving");
  setTimeout(() => { element.hidden = true; }, 200);
  offerUndo(id, name, {
    focus: true,
    onClose: () => next?.querySelector("a")?.focus(),
    after() {
      element.classList.remove("leaving");
      element.hidden = false;
      element.querySelector("a")?.focus();
    },
  });
}

function offerUndo(id, name, { after, text = say("deleted", { name }), takeBack = () => restore(id), ...how }) {
  notify(text, {
    ...how,
    action: say("undo"),
    run: async () => {
      try {
        await takeBack();
        announce(say("undone", { name }));
        after();
      } catch (error) {
        complain(error);
      }
    },
  });
}

/** Restore one product. */
export const restore = (id) => api("POST", `/products/${encodeURIComponent(id)}/restore`);

/** Handle every delete and restore button of the page, including later ones. */
export function watchChanges() {
  document.addEventListener("click", async (event) => {
    const deleting = event.target.closest("[data-delete]");
    const restoring = event.target.closest("[data-restore]");
    const moving = event.target.closest("[data-move]");
    try {
      if (moving) await move(moving.closest("[data-product]"));
      if (deleting) await remove(deleting.closest("[data-product]"), "leave" in deleting.dataset);
      if (restoring && "reload" in restoring.dataset) {
        await restore(restoring.dataset.restore);
        location.reload();
      }
    } catch (error) {
      complain(error);
    }
  });
  const pending = sessionStorage.getItem(PENDING);
  if (pending) {
    sessionStorage.removeItem(PENDING);
    const { id, name, category, before } = JSON.parse(pending);
    const after = () => location.reload();
    if (category === undefined) offerUndo(id, name, { after });
    else offerUndo(id, name, { after, text: say("moved", { name, category }), takeBack: () => moveTo(id, before) });
  }
}
