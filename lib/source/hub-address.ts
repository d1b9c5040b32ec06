// Address and names of a Hugging Face hub. Imports nothing: the page's script and the toolchain share it.

/** The Hugging Face hub: the only address outside of the page's own that the package has. */
export const HUB = "https://huggingface.co";

/** Whether a value is a repository's name, as `owner/name`; a few old repositories have no owner. */
export function isRepositoryName(value: unknown): value is string {
  return typeof value === "string" && /^[\w.-]+(?:\/[\w.-]+)?$/.test(value) && !/(?:^|\/)\.{1,2}(?:\/|$)/.test(value);
}

/** Returns the address of a repository's files at a revision, with a slash at the end. */
export function filesUrl(host: string, repo: string, revision: string): string {
  return `${host}/${repo}/resolve/${encodeURIComponent(revision)}/`;
}
