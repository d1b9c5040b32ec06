// How long the forms that are left will take, from those that were made. A form with fewer bits takes as long as the mean
// of its like; before the first of them is made nothing is known, and nothing is said. Whether a form misses its budget
// and is made again, up to four times, cannot be foreseen: it is neither predicted nor counted, and the text says so.

/** Forms that are only converted, which takes as long as they take to measure. */
const PLAIN: ReadonlySet<string> = new Set(["f32", "f16", "masked"]);

/** Estimates the time that is left. */
export class TimeLeft {
  readonly #left: string[];
  readonly #now: () => number;
  readonly #taken: { readonly id: string; readonly seconds: number }[] = [];
  #startedMs = 0;
  #firstMs: number | null = null;

  /** Takes the names of the forms to be made, in order, and a clock in milliseconds. */
  constructor(ids: readonly string[], now: () => number = () => performance.now()) {
    this.#left = [...ids];
    this.#now = now;
  }

  /** Records that the making of a form begins. */
  started(): void {
    this.#startedMs = this.#now();
    this.#firstMs = null;
  }

  /** Records that the form was made and evaluated once. */
  evaluated(): void {
    this.#firstMs ??= this.#now();
  }

  /** Records that nothing more is done for the form. */
  done(id: string): void {
    const at = this.#left.indexOf(id);
    if (at !== -1) this.#left.splice(at, 1);
    this.#taken.push({ id, seconds: ((this.#firstMs ?? this.#now()) - this.#startedMs) / 1000 });
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
    const time = seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.round(seconds / 60)} min`;
    return `, about ${time} left for the forms, more where one misses its budget`;
  }
}
