// Requests for persistent storage, which only a page, not a worker, may make.
import { isOpaque } from "./opaque-origin.ts";

/**
 * Requests persistent storage, which the browser does not evict; Firefox asks the user. Returns whether it was granted.
 */
export async function persistStorage(): Promise<boolean> {
  if (isOpaque()) return false;
  const { storage } = navigator as Partial<Navigator>; // missing on pages that are not secure
  try {
    return (await storage?.persisted()) === true || (await storage?.persist()) === true;
  } catch {
    return false;
  }
}

/**
 * Requests persistent storage only where the user is not asked: where it was granted before, and in the browsers that
 * decide by themselves, Chromium and WebKit. Their permission state is "prompt" too, so they are detected by
 * `navigator.vendor`, which Firefox leaves empty.
 */
export async function keepQuietly(): Promise<void> {
  const { vendor, permissions } = navigator as Partial<Navigator>;
  let decidesItself = vendor !== undefined && vendor !== "";
  try {
    decidesItself ||= (await permissions?.query({ name: "persistent-storage" }))?.state === "granted";
  } catch {
    // a browser that does not know the permission by name
  }
  if (decidesItself) await persistStorage();
}
