// Photo search: drop, paste, choose or camera; a crop frame; results and progress.
import { announce, complain, later, percent, reveal, say } from "./core.js";
import { Cropper } from "./cropper.js";
import { show as showHeld } from "./holding.js";
import { acceptPictures } from "./pictures.js";
import { send } from "./sending.js";

const form = document.getElementById("photo");
const hits = document.getElementById("photo-hits");
const image = document.getElementById("crop-image");
const progress = document.getElementById("photo-progress");
const video = document.getElementById("video");
const cropper = new Cropper(document.getElementById("crop-stage"), document.getElementById("crop-box"));
let photo = null;
let running = null;

/** Start the page. */
export function begin() {
  document.getElementById("file").required = false;
  acceptPictures(document.getElementById("drop"), document.getElementById("file"), ([first]) => take(first));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    search();
  });
  document.getElementById("photo-category").addEventListener("change", () => search());
  cropper.onChange = later(() => search(), 450);
  cropper.onEnter = () => search();
  document.getElementById("crop-all").addEventListener("click", () => cropper.reset());
  document.getElementById("another").addEventListener("click", () => document.getElementById("file").click());
  beginCamera();
}

/** Show a photo with its frame and search with it. */
async function take(file) {
  photo = file;
  show("cropper");
  URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(file);
  try {
    await image.decode();
    cropper.reset({ quiet: true });
  } catch {
    show("drop"); // TIFF and the like: searched whole, since the browser cannot show it
  }
  search({ focus: true });
}

function show(id) {
  for (const each of ["drop", "camera-view", "cropper"]) document.getElementById(each).hidden = each !== id;
  document.getElementById("photo-layout").classList.toggle("with-photo", photo !== null);
}

async function search({ focus = false } = {}) {
  if (!photo) return;
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  const body = new FormData();
  body.append("image", photo);
  body.append("category", form.category.value);
  if (cropper.isPart && !document.getElementById("cropper").hidden) body.append("crop", cropper.text);
  tell(say("sending", { share: percent(0) }), 0);
  try {
    const part = await send(form.dataset.address, body, {
      signal,
      onSent: (share) => share < 1 ? tell(say("sending", { share: percent(share) }), share) : tell(say("looking"), null),
    });
    hits.innerHTML = part;
    reveal(hits);
    showHeld();
    announce(hits.querySelector("h2")?.textContent ?? "");
    if (focus) hits.focus({ preventScroll: true });
  } catch (error) {
    if (error.name === "AbortError") return;
    hits.replaceChildren();
    complain(error);
  }
  progress.hidden = true;
}

/** Show progress: a text, and a fraction in 0..1 or null if unknown. */
function tell(text, share) {
  progress.hidden = false;
  const stage = document.getElementById("photo-stage");
  if (stage.textContent !== text) stage.textContent = text;
  const bar = document.getElementById("photo-sent");
  if (share === null) bar.removeAttribute("value");
  else bar.value = share;
}

function beginCamera() {
  const open = document.getElementById("camera");
  if (!navigator.mediaDevices?.getUserMedia) {
    open.hidden = true;
    return;
  }
  let stream = null;
  const off = () => {
    stream?.getTracks().forEach((track) => track.stop());
    stream = null;
    show(photo ? "cropper" : "drop");
  };
  open.addEventListener("click", async () => {
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 1280 } } });
    } catch (error) {
      complain(new Error(say("noCamera", { reason: error.message })));
      return;
    }
    const snap = document.getElementById("snap");
    video.srcObject = stream;
    snap.disabled = true; // until there is a frame to take
    show("camera-view");
    await video.play();
    snap.disabled = false;
    snap.focus();
  });
  document.getElementById("camera-off").addEventListener("click", off);
  document.getElementById("snap").addEventListener("click", () => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    canvas.getContext("2d").drawImage(video, 0, 0);
    canvas.toBlob((blob) => {
      off();
      take(new File([blob], "camera.jpg", { type: "image/jpeg" }));
    }, "image/jpeg", 0.92);
  });
}
