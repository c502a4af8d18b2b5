// Pictures that are dropped on a page, pasted, or chosen.

/** Pass files to `take`; several at once if the input allows it. */
export function acceptPictures(zone, input, take) {
  const give = (files) => {
    const list = [...files];
    if (list.length) take(input.multiple ? list : list.slice(0, 1));
  };
  input.addEventListener("change", () => {
    give(input.files);
    input.value = "";
  });
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])].filter((file) => file.type.startsWith("image/"));
    if (!files.length) return;
    event.preventDefault();
    give(files);
  });
  let inside = 0;
  const mark = () => zone.classList.toggle("over", inside > 0);
  const carriesFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  document.addEventListener("dragenter", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    inside += 1;
    mark();
  });
  document.addEventListener("dragover", (event) => carriesFiles(event) && event.preventDefault());
  document.addEventListener("dragleave", (event) => {
    if (!carriesFiles(event)) return;
    inside = Math.max(0, inside - 1);
    mark();
  });
  document.addEventListener("drop", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    inside = 0;
    mark();
    give(event.dataTransfer.files);
  });
}
