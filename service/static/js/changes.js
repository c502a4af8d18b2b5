// Deleting, undoing and restoring, from whatever page. A deletion asks once and can be taken back from the notice.
import { announce, api, complain, notify, say } from "./core.js";

const PENDING = "vitrine-undo";

/** Ask whether to delete; resolves to true for yes. */
function confirmed(name) {
  const dialog = document.getElementById("confirm");
  dialog.querySelector("#confirm-text").textContent = say("confirmDelete", { name });
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

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

function offerUndo(id, name, { after, ...how }) {
  notify(say("deleted", { name }), {
    ...how,
    action: say("undo"),
    run: async () => {
      try {
        await restore(id);
        announce(say("undone", { name }));
        after();
      } catch (error) {
        complain(error);
      }
    },
  });
}

/** Bring one product back. */
export const restore = (id) => api("POST", `/products/${encodeURIComponent(id)}/restore`);

/** Let every delete and restore button of the page work, those that come later too. */
export function watchChanges() {
  document.addEventListener("click", async (event) => {
    const deleting = event.target.closest("[data-delete]");
    const restoring = event.target.closest("[data-restore]");
    try {
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
    const { id, name } = JSON.parse(pending);
    offerUndo(id, name, { after: () => location.reload() });
  }
}
