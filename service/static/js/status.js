// Status page: rollback to an earlier snapshot.
import { Problem, askForKey, complain, prefix, savedKey } from "./core.js";

/** Start the page. */
export function begin() {
  const table = document.getElementById("snapshots");
  table.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-rollback]");
    if (!button) return;
    button.disabled = true;
    try {
      await goBack(table.dataset.address, button.dataset.rollback);
      location.reload();
    } catch (error) {
      complain(error);
      button.disabled = false;
    }
  });
}

async function goBack(address, snapshot) {
  for (;;) {
    const headers = { "Content-Type": "application/json", "X-Requested-With": "fetch" };
    if (savedKey()) headers.Authorization = `Bearer ${savedKey()}`;
    const response = await fetch(address, { method: "POST", headers, body: JSON.stringify({ snapshot }) });
    if (response.ok) return;
    if (response.status !== 401 || !(await askForKey())) throw new Problem(await response.json());
  }
}
