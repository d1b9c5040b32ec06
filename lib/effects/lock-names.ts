// Names of the Web Locks by which tabs of an origin see each other's models. The page holds them, for as long as a model is
// loaded; the worker that fetches models lists them.

/** Begins the names of all that a tab has in use. */
export const USED = "selvedge/used/";

/** Returns the name of the bytes that a page has loaded of a model, after `USED`. */
export function memoryLock(bytes: number, page: string, identity: string): string {
  return `bytes/${bytes}/${page}/${identity}`;
}
