// Removes the data that a site keeps on a device beside models, for `openCache().delete()`.
import { deleteAnswers } from "./result-store.ts";
import { forgetPage } from "./keep-page.ts";

const PREFIX = "selvedge/";
/** Kept, like the store's own copy: without it an older signed release would be accepted again. */
const RELEASES = "selvedge/releases/";

/**
 * Removes cached answers, records of earlier pages (measurements, estimates, crash markers), and the pages that a
 * service worker keeps. Never rejects: data that is inaccessible here was not written here.
 */
export async function deleteSiteData(): Promise<void> {
  forgetMemos();
  await Promise.allSettled([deleteAnswers(), forgetPage(null)]);
}

function forgetMemos(): void {
  try {
    const keys = Array.from({ length: localStorage.length }, (_, i) => localStorage.key(i) ?? "");
    for (const key of keys) if (key.startsWith(PREFIX) && !key.startsWith(RELEASES)) localStorage.removeItem(key);
  } catch {
    // no storage in workers, sandboxed frames and some private modes
  }
}
