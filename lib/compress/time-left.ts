// How long the forms that are left will take. A form takes the time of its parts: to make it, to measure it, to check it
// on each target. A part takes as long as it took the last time, and to make a form a share of what int8 took; before
// that was made nothing is known, and nothing is said. A form with fewer bits than one that missed its budget will miss
// it too, and is made again as that one was; whether the first of them does cannot be foreseen, and the text says so.
import type { Form } from "./forms/forms.ts";

/** One part of the work on a form. */
export type WorkPart = "make" | "measure" | "webgpu" | "wasm";

/** Time to make a form relative to int8: where weights are rounded by samples most of it is that, else measuring. */
const MAKING = {
  rounded: { int4: 0.9, "int8-dynamic": 0.8, "int8-static": 1, f16: 0.15, masked: 0 },
  plain: { int4: 0.4, "int8-dynamic": 0.4, "int8-static": 1, f16: 0.6, masked: 0 },
} as const satisfies Record<string, Readonly<Record<string, number>>>;
/** Seconds in which ONNX Runtime's passes run ahead, in processes of their own, on a form for wasm alone. */
const AHEAD = 1.5;
/** Bits that a form's weights have, for the order in which forms miss a budget. */
const BITS: Readonly<Record<string, number>> = { int8: 8, "int8-static": 7, "int8-dynamic": 7, int4: 4 };

/** Estimates the time that is left. */
export class TimeLeft {
  readonly #left: Pick<Form, "id" | "targets">[];
  readonly #making: Readonly<Record<string, number>>;
  readonly #now: () => number;
  /** Seconds of each part as last taken, also by the form. */
  readonly #last = new Map<string, number>();
  /** Seconds for which forms that missed their budget were made again. */
  readonly #again: { readonly id: string; readonly seconds: number }[] = [];
  #id = "";
  #markedMs = 0;
  #isFirst = false;

  /**
   * Takes the forms to be made, in order, with the targets that are checked, whether weights are rounded to nearest, and
   * a clock in milliseconds.
   */
  constructor(
    forms: readonly Pick<Form, "id" | "targets">[],
    isPlain: boolean,
    now: () => number = () => performance.now(),
  ) {
    this.#left = [...forms];
    this.#making = isPlain ? MAKING.plain : MAKING.rounded;
    this.#now = now;
  }

  /** Records that the making of a form begins. */
  started(id: string): void {
    this.#id = id;
    this.#isFirst = true;
    this.#markedMs = this.#now();
  }

  /** Records that a part of the work on the form is done; ignored once it is made again. */
  mark(part: WorkPart): void {
    if (!this.#isFirst) return;
    const now = this.#now();
    const seconds = (now - this.#markedMs) / 1000;
    for (const key of [part, `${part} ${this.#id}`]) this.#last.set(key, seconds);
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

  /** Returns the estimate in seconds; null before int8 was made. */
  seconds(): number | null {
    const making = this.#last.get("make int8");
    if (making === undefined) return null;
    const last = (part: string): number => this.#last.get(part) ?? 0;
    let sum = 0;
    for (const { id, targets } of this.#left) {
      sum += making * (this.#making[id] ?? 1) + last("measure") + this.#againFor(id);
      if (targets.includes("wasm")) sum += last("wasm") + (targets.length === 1 ? AHEAD : 0);
      if (!targets.some((x) => x !== "wasm")) continue;
      // A GPU's driver compiles some kernels of float16 anew, as it did those of float32.
      sum += id === "f16" ? (last("webgpu f32") + last("webgpu")) / 2 : last("webgpu");
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
    return `, about ${inWords(seconds)} left for the forms, more where one misses its budget`;
  }
}

/** Returns a time as "45 s" or "3 min". */
export function inWords(seconds: number): string {
  return seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.round(seconds / 60)} min`;
}
