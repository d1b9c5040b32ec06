// Files that a person chooses, or drops anywhere on the page.

/** Calls back with the files of each choice or drop; at least one. */
export function takeFiles(
  input: HTMLInputElement,
  onFiles: (files: readonly [first: File, ...others: File[]]) => void,
): void {
  const take = (list: FileList | null | undefined): void => {
    const [first, ...others] = [...(list ?? [])];
    if (first !== undefined) onFiles([first, ...others]);
  };
  input.addEventListener("change", () => {
    take(input.files);
    input.value = ""; // so that the same file can be chosen again
  });
  document.addEventListener("dragover", (event) => {
    // Text that is dragged goes into a text box as ever.
    if (event.dataTransfer?.types.includes("Files") !== true) return;
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  document.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) document.body.classList.remove("dropping");
  });
  document.addEventListener("drop", (event) => {
    if (event.dataTransfer?.types.includes("Files") !== true) return;
    event.preventDefault();
    document.body.classList.remove("dropping");
    take(event.dataTransfer.files);
  });
}
