// Units: the atoms of pruning. Each index of a prunable axis carries a unit number; indices that can only be removed
// together carry units that were joined. Unit 0 stands for indices that must stay, so any unit joined with it stays.
//
// Labels are the units of one axis, index by index. An axis without labels (null) keeps its length whatever is pruned.

/** The units of an axis, one per index. */
export type Labels = Int32Array;

/** The labels of each axis of a value; null for an axis that cannot be pruned. */
export type Axes = (Labels | null)[];

/**
 * Union-find over units that must be removed together. The representative is the smallest of a set, so 0 always wins.
 */
export class Units {
  readonly #parents: number[] = [0];

  /** Creates separate units for an axis of some length. */
  fresh(length: number): Labels {
    const first = this.#parents.length;
    for (let i = 0; i < length; i++) this.#parents.push(first + i);
    return Int32Array.from({ length }, (_, i) => first + i);
  }

  /** Returns the representative of a unit's set. */
  find(unit: number): number {
    let root = unit;
    for (let up = this.#parents[root] ?? 0; up !== root; up = this.#parents[root] ?? 0) root = up;
    for (let at = unit; at !== root;) {
      const up = this.#parents[at] ?? 0;
      this.#parents[at] = root;
      at = up;
    }
    return root;
  }

  /** Joins two units. */
  join(a: number, b: number): void {
    const [left, right] = [this.find(a), this.find(b)];
    if (left !== right) this.#parents[Math.max(left, right)] = Math.min(left, right);
  }

  /** Marks an axis as not prunable. */
  fix(labels: Labels | null | undefined): void {
    for (const unit of labels ?? []) this.join(unit, 0);
  }

  /** Joins two axes index by index and returns the result; an axis with labels joined with one without is fixed. */
  unify(a: Labels | null, b: Labels | null): Labels | null {
    if (a === null || b === null || a.length !== b.length) {
      this.fix(a);
      this.fix(b);
      return null;
    }
    for (let i = 0; i < a.length; i++) this.join(a[i] ?? 0, b[i] ?? 0);
    return a;
  }
}

/** Repeats each unit: a, a, b, b. */
export function repeated(labels: Labels, times: number): Labels {
  return Int32Array.from({ length: labels.length * times }, (_, i) => labels[Math.floor(i / times)] ?? 0);
}

/** Repeats the whole axis: a, b, a, b. */
export function tiled(labels: Labels, times: number): Labels {
  return Int32Array.from({ length: labels.length * times }, (_, i) => labels[i % labels.length] ?? 0);
}

/** Concatenates axes; one without labels is given by its length and is fixed. */
export function joined(parts: readonly (Labels | number)[]): Labels {
  return Int32Array.from(parts.flatMap((x) => (typeof x === "number" ? Array<number>(x).fill(0) : [...x])));
}
