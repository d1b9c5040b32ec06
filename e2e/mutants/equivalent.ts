// Automatic mutants that no test can notice, since they change nothing that can be seen, each with the reason.

/** Mutants of one file, as auto.ts writes its survivors, without the number of the line: the reason of each. */
export const EQUIVALENT: Readonly<Record<string, Readonly<Record<string, string>>>> = {};
