// Files that a person chooses, or drops anywhere on the page.

/** Calls back with the files of each choice or drop. */
export function takeFiles(input: HTMLInputElement, onFiles: (files: readonly File[]) => void): void {
  input.addEventListener("change", () => {
    onFiles([...(input.files ?? [])]);
    input.value = ""; // so that the same file can be chosen again
  });
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  document.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) document.body.classList.remove("dropping");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    const files = [...(event.dataTransfer?.files ?? [])];
    // Text that is dragged is no file.
    if (files.length > 0) onFiles(files);
  });
}
