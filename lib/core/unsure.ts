// Mark of an answer that a larger model was to improve, and did not: the result cache does not keep it.

/** Key of the mark, in `info`. Copies have no mark. */
export const UNSURE: unique symbol = Symbol("unsure");
