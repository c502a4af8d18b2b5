// Shared by all scripts: texts, requests to the service, dialogs and notices.
const root = document.documentElement;
const messages = JSON.parse(document.getElementById("messages").textContent);
const KEY = "vitrine-key";

export const prefix = root.dataset.prefix;
export const language = root.lang;

/** Return a text in the page's language; {name} in it is replaced by values.name. */
export function say(key, values = {}) {
  return (messages[key] ?? key).replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

const whole = new Intl.NumberFormat(language);
const share = new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: 0 });
export const count = (value) => whole.format(value);
export const percent = (value) => share.format(value);

/** Create an element: properties, data-attributes under `data`, then children (nodes or texts). */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "data") Object.assign(element.dataset, value);
    else if (name in element && name !== "list") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

/** Return one of the icons of icons.svg. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `${prefix}/static/icons.svg#${name}`);
  svg.append(use);
  return svg;
}

/** Error of a request that was answered by a problem document. */
export class Problem extends Error {
  constructor(problem) {
    const known = messages[`problem:${problem.type?.split("/").pop()}`];
    super(known ?? problem.detail ?? problem.title);
    this.problem = problem;
  }
}

/** Fetch a part of a page. Throws Problem, or AbortError after `signal`. */
export async function fetchPart(address, signal, options = {}) {
  const response = await reach(address, { ...options, signal, headers: { "X-Requested-With": "fetch" } });
  if (!response.ok) throw new Problem(await problemIn(response));
  return response.text();
}

/** Call the API, JSON in and out; prompts for a key if one is needed. Throws Problem. */
export async function api(method, path, body) {
  const headers = {};
  if (body !== undefined && !(body instanceof FormData)) {
    headers["Content-Type"] = "application/json";
    body = JSON.stringify(body);
  }
  for (;;) {
    const key = sessionStorage.getItem(KEY);
    if (key) headers.Authorization = `Bearer ${key}`;
    const response = await reach(`${prefix}/api/v1${path}`, { method, headers, body });
    if (response.ok) return response.json();
    if (response.status !== 401 || !(await askForKey())) throw new Problem(await problemIn(response));
  }
}

export const savedKey = () => sessionStorage.getItem(KEY);

async function reach(address, options) {
  try {
    return await fetch(address, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({ detail: say("offline") });
  }
}

async function problemIn(response) {
  try {
    return await response.json();
  } catch {
    return { status: response.status, detail: `${response.status} ${response.statusText}` };
  }
}

/** Prompt for an API key; resolves to whether one was given. */
export async function askForKey() {
  const dialog = document.getElementById("key");
  const field = dialog.querySelector("input");
  field.value = "";
  const given = (await asked(dialog)) && field.value.trim();
  if (given) sessionStorage.setItem(KEY, given);
  return Boolean(given);
}

/** Show a dialog; resolves to true for yes. */
export function asked(dialog) {
  const cancel = dialog.querySelector("[data-cancel]");
  if (cancel) cancel.onclick = () => dialog.close("no");
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

/** Announce a text to screen readers. */
export function announce(text) {
  const place = document.getElementById("announcer");
  place.textContent = "";
  setTimeout(() => { place.textContent = text; }, 60);
}

/** Show a notice at the foot of the page, with an action such as undo, focused if `focus` is set.
 * It stays until closed or `seconds` pass. */
export function notify(text, { action, run, error = false, seconds = 0, focus = false, onClose = () => {} } = {}) {
  const place = document.getElementById("notices");
  const notice = make("div", { className: error ? "notice error" : "notice" }, make("p", {}, text));
  const close = () => notice.remove();
  if (action) {
    const button = make("button", { type: "button" }, action);
    button.addEventListener("click", async () => { button.disabled = true; await run(); close(); });
    notice.append(button);
  }
  const dismiss = make("button", { type: "button" }, say("close"));
  dismiss.addEventListener("click", () => { close(); onClose(); });
  notice.append(dismiss);
  place.replaceChildren(notice);
  if (focus) notice.querySelector("button").focus();
  if (seconds) setTimeout(close, 1000 * seconds);
  return close;
}

/** Show an error in a notice. */
export function complain(error) {
  if (error.name === "AbortError") return;
  notify(say("failed", { reason: error.message }), { error: true });
  if (!(error instanceof Problem)) console.error(error);
}

/** Copy a text and confirm on the button. */
export async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
    announce(say("copied"));
    const label = [...button.childNodes].findLast((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
    const before = label.data;
    label.data = say("copied");
    setTimeout(() => { label.data = before; }, 1600);
  } catch {
    notify(say("copyFailed"), { error: true });
  }
}

/** Show the elements that need scripts. */
export function reveal(place = document) {
  for (const element of place.querySelectorAll("[data-script]")) element.hidden = false;
}

/** Return f, called once after `ms` without another call. */
export function later(f, ms) {
  let timer;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => f(...args), ms);
  };
}
