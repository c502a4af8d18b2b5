// Uploads with progress, which fetch does not report.
import { Problem, askForKey, savedKey, say } from "./core.js";

/** POST a form; onSent gets the fraction sent, 0..1. Resolves to the response text. Throws Problem, AbortError. */
export async function send(address, body, options = {}) {
  for (;;) {
    const request = await attempt(address, body, options);
    if (request.status < 400) return request.responseText;
    if (request.status !== 401 || !(await askForKey())) throw new Problem(problemIn(request));
  }
}

function attempt(address, body, { signal, onSent = () => {}, headers = {} }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", address);
    request.setRequestHeader("X-Requested-With", "fetch");
    const key = savedKey();
    if (key) request.setRequestHeader("Authorization", `Bearer ${key}`);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.addEventListener("progress", (event) => onSent(event.lengthComputable ? event.loaded / event.total : 0));
    request.upload.addEventListener("load", () => onSent(1));
    request.addEventListener("load", () => resolve(request));
    request.addEventListener("error", () => reject(new Problem({ detail: say("offline") })));
    request.addEventListener("abort", () => reject(new DOMException("aborted", "AbortError")));
    signal?.addEventListener("abort", () => request.abort());
    request.send(body);
  });
}

function problemIn(request) {
  try {
    return JSON.parse(request.responseText);
  } catch {
    return { status: request.status, detail: `${request.status} ${request.statusText}` };
  }
}
