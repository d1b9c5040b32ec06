// Extent of each suite: a slice in `npm test`, the full counts in `npm run soak`.

/** Whether the full counts run. */
export const isSoak: boolean = process.env["SELVEDGE_SOAK"] === "1";

/** Returns the count for this run. */
export function slice(inTest: number, inSoak: number): number {
  return isSoak ? inSoak : inTest;
}

/** Returns every n-th of the cases in `npm test`, and all of them in the soak. */
export function sample<T>(cases: readonly T[], n: number): readonly T[] {
  return cases.filter((_, i) => isSoak || i % n === 0);
}
