// Removes what a site keeps on a device beside models, for `openCache().delete()`.
import { deleteAnswers } from "./result-store.ts";
import { forgetPage } from "./keep-page.ts";

const PREFIX = "selvedge/";
/** Stays, as the store's own copy does: without it an older signed release would be taken again. */
const RELEASES = "selvedge/releases/";

/**
 * Removes kept answers, what pages remember for later ones (measurements, estimates, crash markers), and the pages that a
 * service worker keeps. Never rejects: what may not be touched here was not written here.
 */
export async function forgetAll(): Promise<void> {
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
