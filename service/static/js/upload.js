// Upload page: many photos at once, each with a proposed name and category, its progress and its errors.
import { count, icon, notify, percent, prefix, say } from "./core.js";
import { acceptPictures } from "./pictures.js";
import { send } from "./sending.js";

const AT_ONCE = 2;
const list = document.getElementById("uploads");
const bar = document.getElementById("upload-bar");
const state = document.getElementById("upload-state");
const rows = new Set();
const waiting = [];
let working = 0;

/** Start the page. */
export function begin() {
  if (!document.getElementById("files")) return;
  acceptPictures(document.getElementById("drop"), document.getElementById("files"), (files) => files.forEach(add));
  document.getElementById("upload-all").addEventListener("click", () => {
    for (const row of rows) if (row.state === "ready" || row.state === "failed") row.upload();
  });
  addEventListener("beforeunload", (event) => {
    if ([...rows].some((row) => row.state !== "done")) event.preventDefault();
  });
}

function add(file) {
  const row = new Row(file);
  rows.add(row);
  list.append(row.element);
  row.propose();
  recount();
}

/** Run tasks, at most AT_ONCE at a time, to limit the load on the service. */
function inTurn(work) {
  return new Promise((resolve, reject) => {
    waiting.push(() => work().then(resolve, reject).finally(() => {
      working -= 1;
      next();
    }));
    next();
  });
}

function next() {
  while (working < AT_ONCE && waiting.length) {
    working += 1;
    waiting.shift()();
  }
}

function recount() {
  const all = [...rows];
  const open = all.filter((row) => row.state !== "done").length;
  bar.hidden = !all.length;
  document.getElementById("upload-all").disabled = !all.some((row) => row.state === "ready" || row.state === "failed");
  state.textContent = open ? say("uploadsOpen", { count: count(open) }) : say("uploadsDone", { count: count(all.length) });
}

/** One photo to upload. state: ready, sending, failed, done. */
class Row {
  constructor(file) {
    this.file = file;
    this.key = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
    this.state = "ready";
    this.element = document.getElementById("upload-row").content.firstElementChild.cloneNode(true);
    this.find(".upload-file").textContent = file.name;
    const image = this.find("img");
    image.addEventListener("error", () => image.replaceWith(icon("photo")));
    image.src = URL.createObjectURL(file);
    this.form = this.find("form");
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.upload();
    });
    for (const field of [this.form.elements.name, this.form.elements.category]) {
      field.addEventListener("input", () => { field.dataset.own = "yes"; });
    }
    this.find("[data-drop]").addEventListener("click", () => this.drop());
  }

  find(selector) {
    return this.element.querySelector(selector);
  }

  said(text, kind = "") {
    const place = this.find(".upload-said");
    place.textContent = text;
    this.element.dataset.state = kind;
  }

  drop() {
    const beside = this.element.nextElementSibling ?? this.element.previousElementSibling;
    this.element.remove();
    rows.delete(this);
    recount();
    (beside?.querySelector("input") ?? document.getElementById("files")).focus();
  }

  /** Fetch the proposed name and category, and fill the empty fields. */
  async propose() {
    const place = this.find(".upload-proposal");
    place.textContent = say("looking");
    const body = new FormData();
    body.append("image", this.file);
    body.append("filename", this.file.name);
    try {
      const found = JSON.parse(await inTurn(() => send(list.dataset.proposal, body)));
      const { name, category } = this.form.elements;
      if (!name.dataset.own) name.value = found.name;
      const [best] = found.categories;
      if (best && !category.dataset.own) category.value = best.name;
      place.replaceChildren(...this.#reasons(found));
    } catch (error) {
      place.textContent = "";
      this.said(error.message, "failed");
    }
  }

  #reasons(found) {
    const said = found.categories.map((each) => {
      const button = document.createElement("button");
      Object.assign(button, { type: "button", className: "proposal", textContent: `${each.name} ${percent(each.share)}` });
      button.addEventListener("click", () => { this.form.elements.category.value = each.name; });
      return button;
    });
    if (!found.is_known) return said.length ? [say("probably"), " ", ...said] : [];
    const link = document.createElement("a");
    Object.assign(link, { href: `${prefix}/product/${encodeURIComponent(found.nearest.id)}`, textContent: found.nearest.name, target: "_blank" });
    return [say("probably"), " ", ...said, document.createElement("br"), say("alreadyThere"), " ", link];
  }

  async upload() {
    if (this.state === "sending" || this.state === "done" || !this.form.reportValidity()) return;
    this.state = "sending";
    recount();
    this.said("");
    const progress = this.find("progress");
    progress.hidden = false;
    const stop = this.find("[data-add]");
    stop.disabled = true;
    try {
      const answer = JSON.parse(await inTurn(() => send(`${prefix}/api/v1/products`, this.#body(), {
        headers: { "Idempotency-Key": this.key },
        onSent: (share) => { if (share < 1) progress.value = share; else progress.removeAttribute("value"); },
      })));
      this.#finish(answer);
    } catch (error) {
      this.state = "failed";
      stop.disabled = false;
      this.said(error.message, "failed");
    }
    progress.hidden = true;
    recount();
  }

  #body() {
    const body = new FormData();
    const attributes = {};
    body.append("image", this.file, this.file.name);
    for (const field of this.form.querySelectorAll("input, select")) {
      const value = field.value.trim();
      if (!value) continue;
      if (!field.dataset.attribute) body.append(field.name, value);
      else attributes[field.name] = { number: Number(value), truth: value === "true", text: value }[field.dataset.attribute];
    }
    if (Object.keys(attributes).length) body.append("attributes", JSON.stringify(attributes));
    return body;
  }

  #finish(product) {
    this.state = "done";
    for (const field of this.form.querySelectorAll("input, select")) field.disabled = true;
    this.find("[data-add]").hidden = true;
    this.find("[data-drop]").hidden = true;
    const open = this.find("[data-open]");
    open.href = `${prefix}/product/${encodeURIComponent(product.id)}`;
    open.hidden = false;
    this.find(".upload-proposal").textContent = "";
    this.said(say("added", { name: product.name }), "done");
    if ([...rows].every((row) => row.state === "done") && rows.size > 1) notify(say("uploadsDone", { count: count(rows.size) }), { seconds: 6 });
  }
}
