// Mutants of the pool: lanes, their workers, the thread line, and the dispatcher that drives them.
import type { Mutant } from "./mutant.ts";

/** Known faults of the pool, one edit each. */
export const MUTANTS: readonly Mutant[] = [
  {
    fault: "core-C1",
    breaks: "a request with a moved tensor is taken for the like of the next one, which gets its elements",
    file: "lib/pool/pack.ts",
    from: "before = isPacked ? tensors : null;",
    to: "before = tensors;",
    test: "lib/pool/wire.test.ts",
    title: "core-C1",
  },
];
