// Choice among the stored versions of a bundle at an address. A new version's manifest is stored before its chunks,
// which may never arrive: the page is closed, or the server withholds them. So the previous version stays beside it,
// and is used until the new one is whole on this device: for each backend for which the former is stored whole, so is
// the new one. The decision depends on names alone, so a page may die at any write.
import type { BundleFile } from "../core/bundle.ts";
import { keyOf } from "./names.ts";
import type { OpenedBundle } from "./opened.ts";
import { plan } from "./plan.ts";
import type { LoadCriteria } from "./messages.ts";

/** Returns the version to use, of stored ones in the order of arrival; null where there is none. */
export function currentOf(
  versions: readonly OpenedBundle[],
  here: ReadonlySet<string>,
  criteria: LoadCriteria,
): OpenedBundle | null {
  let current: OpenedBundle | null = null;
  let whole = new Map<string, boolean>();
  for (const version of versions) {
    const next = wholeFor(version, here, criteria);
    if (current !== null && !replaces(next, whole)) continue;
    current = version;
    whole = next;
  }
  return current;
}

/** Whether a version is stored whole for one of the backends that may run it. */
export function isWhole(version: OpenedBundle, here: ReadonlySet<string>, criteria: LoadCriteria): boolean {
  return [...wholeFor(version, here, criteria).values()].includes(true);
}

/** Whether a version can replace the one before. */
function replaces(next: ReadonlyMap<string, boolean>, former: ReadonlyMap<string, boolean>): boolean {
  if (next.size === 0 && former.size > 0) return false;
  const mayLose = [...former].filter(([, isWhole]) => isWhole).map(([backend]) => backend);
  if (mayLose.length === 0) return true;
  return [...next.values()].includes(true) && mayLose.every((backend) => next.get(backend) !== false);
}

/** Returns, for each backend that may run a version, whether its files are stored; empty where nothing here runs it. */
function wholeFor(opened: OpenedBundle, here: ReadonlySet<string>, criteria: LoadCriteria): Map<string, boolean> {
  const { assets = [] } = opened.bundle;
  const isHere = (files: readonly BundleFile[]): boolean =>
    [...files, ...assets].every((file) => file.chunks.every((chunk) => here.has(keyOf(chunk))));
  try {
    const { candidates, settled } = plan(opened, criteria);
    const wanted = candidates.filter((x) => settled === null || x.backend === settled.backend);
    return new Map(wanted.map((x) => [x.backend, isHere(x.variant.files)]));
  } catch {
    return new Map();
  }
}
