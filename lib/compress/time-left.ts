// How long the forms that are left will take. A form takes the time of its parts: to make it, to measure it, to check it
// on each target. Each part takes as long as it took the last time; before weights were rounded once nothing is known,
// and nothing is said. A form with fewer bits than one that missed its budget will miss it too, and is made again as
// that one was; whether the first of them does cannot be foreseen, and the text says so.
import type { Form } from "./forms/forms.ts";

/** One part of the work on a form. */
export type Part = "make" | "measure" | "webgpu" | "wasm";

/** Forms that are only converted. */
const PLAIN: ReadonlySet<string> = new Set(["f32", "f16", "masked"]);
/** Time to convert a form, relative to rounding the weights of another, where no form was converted yet. */
const PLAIN_SHARE = 0.25;
/** Bits that a form's weights have, for the order in which forms miss a budget. */
const BITS: Readonly<Record<string, number>> = { int8: 8, "int8-static": 7, "int8-dynamic": 7, int4: 4 };

/** Estimates the time that is left. */
export class TimeLeft {
  readonly #left: Pick<Form, "id" | "targets">[];
  readonly #now: () => number;
  /** Seconds of each part as last taken; of "make" by the kind of form. */
  readonly #last = new Map<string, number>();
  /** Seconds for which forms that missed their budget were made again. */
  readonly #again: { readonly id: string; readonly seconds: number }[] = [];
  #id = "";
  #markedMs = 0;
  #isFirst = false;

  /** Takes the forms to be made, in order, with the targets that are checked, and a clock in milliseconds. */
  constructor(forms: readonly Pick<Form, "id" | "targets">[], now: () => number = () => performance.now()) {
    this.#left = [...forms];
    this.#now = now;
  }

  /** Records that the making of a form begins. */
  started(id: string): void {
    this.#id = id;
    this.#isFirst = true;
    this.#markedMs = this.#now();
  }

  /** Records that a part of the work on the form is done; ignored once it is made again. */
  mark(part: Part): void {
    if (!this.#isFirst) return;
    const now = this.#now();
    this.#last.set(keyOf(part, this.#id), (now - this.#markedMs) / 1000);
    this.#markedMs = now;
  }

  /** Records that the form was made and evaluated once. */
  evaluated(): void {
    this.#isFirst = false;
    this.#markedMs = this.#now();
  }

  /** Records that nothing more is done for the form. */
  done(): void {
    const at = this.#left.findIndex((x) => x.id === this.#id);
    if (at !== -1) this.#left.splice(at, 1);
    const seconds = (this.#now() - this.#markedMs) / 1000;
    if (!this.#isFirst && seconds > 0) this.#again.push({ id: this.#id, seconds });
  }

  /** Returns the estimate in seconds; null before a form with fewer bits was made. */
  seconds(): number | null {
    const rounding = this.#last.get(keyOf("make", "int8"));
    const plain = this.#last.get(keyOf("make", "f16"));
    if (rounding === undefined && (plain === undefined || this.#left.some((x) => !PLAIN.has(x.id)))) return null;
    let sum = 0;
    for (const { id, targets } of this.#left) {
      sum += PLAIN.has(id) ? (plain ?? PLAIN_SHARE * (rounding ?? 0)) : (rounding ?? 0);
      sum += this.#last.get("measure") ?? 0;
      if (targets.includes("wasm")) sum += this.#last.get("wasm") ?? 0;
      if (targets.some((x) => x !== "wasm")) sum += this.#last.get("webgpu") ?? 0;
      sum += this.#againFor(id);
    }
    return sum;
  }

  /** Returns the seconds for which a form is likely to be made again. */
  #againFor(id: string): number {
    const bits = BITS[id];
    const missed = this.#again.filter((x) => bits !== undefined && (BITS[x.id] ?? 0) >= bits);
    return missed.at(-1)?.seconds ?? 0;
  }

  /** Returns the estimate as the end of a line; "" where there is none. */
  text(): string {
    const seconds = this.seconds();
    if (seconds === null || seconds === 0) return "";
    const time = seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.round(seconds / 60)} min`;
    return `, about ${time} left for the forms, more where one misses its budget`;
  }
}

/** Returns the key of a part: f32 takes no time to make, which says nothing of other forms. */
function keyOf(part: Part, id: string): string {
  if (part !== "make") return part;
  return id === "f32" ? "make f32" : `make ${PLAIN.has(id) ? "plain" : "rounded"}`;
}
