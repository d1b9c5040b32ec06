// Fallbacks of a load that failed: a smaller variant where the device ran out of memory, the stored version where the
// server's can't be fetched completely. Imported when a load fails.
import type { FetchOptions } from "./cache-client.ts";
import type { Plan } from "../cache/messages.ts";
import type { Candidate } from "../core/choose-variant.ts";
import { isSelvedgeError } from "../core/errors.ts";
import type { SelvedgeError } from "../core/errors.ts";
import type { Opener } from "./opener.ts";
import type { SourceOptions } from "./options.ts";

/** A load whose plan failed. */
export interface FailedLoad<T> {
  readonly opener: Opener;
  /** The plan that failed. */
  readonly plan: Plan;
  readonly from: string | Blob;
  readonly options: SourceOptions;
  readonly download: FetchOptions;
  /** Loads what a plan names. */
  readonly load: (plan: Plan) => Promise<T>;
}

/**
 * Loads a smaller variant, or the stored version.
 * @throws the error of the last try where there is nothing else to load
 */
export async function loadOther<T>(failed: FailedLoad<T>, error: SelvedgeError): Promise<T> {
  const { opener, plan, from, options, download, load } = failed;
  try {
    return await loadFitting(failed, plan, error);
  } catch (last) {
    const { update = "first", identity } = options;
    if (!isWithheld(last) || update !== "first" || identity !== undefined) throw last;
    const stored = await opener.open(from, { ...options, update: "never" }, download).catch(() => plan);
    download.signal.throwIfAborted();
    if (stored.identity === plan.identity) throw last;
    opener.logStored(stored, last.message);
    return await load(stored).catch((again: unknown) => loadFitting(failed, stored, again));
  }
}

/** Loads a smaller variant after each load that ran out of memory, as long as there is one. */
async function loadFitting<T>(failed: FailedLoad<T>, plan: Plan, first: unknown): Promise<T> {
  const { opener, from, options, download, load } = failed;
  const full: Candidate[] = [];
  let [next, error] = [plan, first];
  for (;;) {
    if (!isSelvedgeError(error) || error.code !== "out-of-memory" || next.data !== null) throw error;
    const { candidates, settled, identity } = next;
    full.push(...candidates.filter(({ backend }) => backend === (settled?.backend ?? backend)));
    const cause = error;
    next = await opener.open(from, { ...options, identity }, download, full).catch(() => {
      throw cause;
    });
    try {
      return await load(next);
    } catch (again) {
      error = again;
    }
  }
}

/** Whether a server did not serve a file that its own bundle.json names. */
function isWithheld(error: unknown): error is SelvedgeError {
  return isSelvedgeError(error) && (error.code === "download-failed" || error.code === "integrity-failed");
}
