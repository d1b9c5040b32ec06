// How long the forms that are left will take, from those that were made. A form with fewer bits takes as long as the mean
// of its like; before the first of them is made nothing is known, and nothing is said.

/** Forms that are only converted, which takes as long as they take to measure. */
const PLAIN: ReadonlySet<string> = new Set(["f32", "f16", "masked"]);

/** Estimates the time that is left. */
export class TimeLeft {
  readonly #left: string[];
  readonly #taken: { readonly id: string; readonly seconds: number }[] = [];

  /** Takes the names of the forms to be made, in order. */
  constructor(ids: readonly string[]) {
    this.#left = [...ids];
  }

  /** Records a form that was made. */
  done(id: string, seconds: number): void {
    const at = this.#left.indexOf(id);
    if (at !== -1) this.#left.splice(at, 1);
    this.#taken.push({ id, seconds });
  }

  /** Returns the estimate in seconds; null while one of the forms left is like none that was made. */
  seconds(): number | null {
    let sum = 0;
    for (const id of this.#left) {
      const like = this.#taken.filter((x) => PLAIN.has(x.id) === PLAIN.has(id));
      if (like.length === 0) return null;
      sum += like.reduce((total, x) => total + x.seconds, 0) / like.length;
    }
    return sum;
  }

  /** Returns the estimate as the end of a line; "" where there is none. */
  text(): string {
    const seconds = this.seconds();
    if (seconds === null || seconds === 0) return "";
    return `, about ${seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.round(seconds / 60)} min`} left for the forms`;
  }
}
