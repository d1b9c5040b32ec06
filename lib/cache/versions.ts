// Which stored version of a bundle an address leads to. A new version's manifest is stored before its chunks, which may
// never come: the page is closed, or the server withholds them. So the version before stays beside it, and is the one
// that is used, until the new one is whole on this device: for each backend for which the former is stored whole, so is
// the new one. Names alone tell, so a page may die at any write.
import type { BundleFile } from "../core/bundle.ts";
import { keyOf } from "./names.ts";
import type { OpenedBundle } from "./opened.ts";
import { plan } from "./plan.ts";
import type { Wish } from "./messages.ts";

/** Returns the version to use of those that are stored, given in the order in which they came; null where there is none. */
export function currentOf(
  versions: readonly OpenedBundle[],
  here: ReadonlySet<string>,
  wish: Wish,
): OpenedBundle | null {
  let current: OpenedBundle | null = null;
  let whole = new Map<string, boolean>();
  for (const version of versions) {
    const next = wholeFor(version, here, wish);
    if (current !== null && !replaces(next, whole)) continue;
    current = version;
    whole = next;
  }
  return current;
}

/** Tells whether all is stored that a version takes on one of the backends that may run it. */
export function isWhole(version: OpenedBundle, here: ReadonlySet<string>, wish: Wish): boolean {
  return [...wholeFor(version, here, wish).values()].includes(true);
}

/** Tells whether a version can take the place of the one before. */
function replaces(next: ReadonlyMap<string, boolean>, former: ReadonlyMap<string, boolean>): boolean {
  if (next.size === 0 && former.size > 0) return false;
  const mayLose = [...former].filter(([, isWhole]) => isWhole).map(([backend]) => backend);
  if (mayLose.length === 0) return true;
  return [...next.values()].includes(true) && mayLose.every((backend) => next.get(backend) !== false);
}

/** Tells for each backend that may run a version whether what that takes is stored; empty where nothing here runs it. */
function wholeFor(opened: OpenedBundle, here: ReadonlySet<string>, wish: Wish): Map<string, boolean> {
  const { assets = [] } = opened.bundle;
  const isHere = (files: readonly BundleFile[]): boolean =>
    [...files, ...assets].every((file) => file.chunks.every((chunk) => here.has(keyOf(chunk))));
  try {
    const { candidates, settled } = plan(opened, wish);
    const wanted = candidates.filter((x) => settled === null || x.backend === settled.backend);
    return new Map(wanted.map((x) => [x.backend, isHere(x.variant.files)]));
  } catch {
    return new Map();
  }
}
