// A measurement that is made once in each round, however many subjects of however many cases are read from it.
import type { Sample, Subject } from "./kernel.ts";

/** A measurement of each round. */
export interface OnceARound<T> {
  /** Returns the measurement of a round; makes it where it was not made yet. */
  at(round: number): Promise<T>;
  /** Returns a subject whose n-th sample is read from the n-th round's measurement. */
  subject(name: string, read: (measured: T) => Sample): Subject;
}

/** Prepares a measurement; nothing is measured yet. */
export function onceARound<T>(measure: (round: number) => Promise<T>): OnceARound<T> {
  const rounds: Promise<T>[] = [];
  const at = (round: number): Promise<T> => (rounds[round] ??= measure(round));
  return {
    at,
    subject(name, read) {
      let round = 0;
      return { name, sample: async () => read(await at(round++)) };
    },
  };
}
