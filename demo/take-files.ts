// Files that a person chooses, or drops anywhere on the page.

/** Calls back with the files of each choice or drop; at least one. */
export function takeFiles(
  input: HTMLInputElement,
  onFiles: (files: readonly [first: File, ...others: File[]]) => void,
): void {
  const take = (list: FileList | null | undefined): void => {
    const [first, ...others] = [...(list ?? [])];
    // Text that is dragged is no file.
    if (first !== undefined) onFiles([first, ...others]);
  };
  input.addEventListener("change", () => {
    take(input.files);
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
    take(event.dataTransfer?.files);
  });
}
