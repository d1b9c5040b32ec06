// Counts GPU losses across reloads, as browsers do: in Chromium the second loss within two minutes blocks the host for
// two minutes, and the third crash, whatever its cause, disables WebGPU for every host until a restart. So the first
// loss costs a retry, and after the second the GPU is not used for a while.
import type { Effects } from "../effects/effects.ts";

const KEY = "selvedge/gpu-losses/2";
/** Key of the golden checks that variants passed on this GPU (engine/golden-check.ts): they end with the device. */
export const CHECKS_KEY = "selvedge/golden/1";
/** Key of the time of the last refusal by a check: answers of GPUs that were cached before it are not used. */
export const REFUSED_KEY = "selvedge/refused/1";
/** How long a loss counts, in ms: Chromium's two minutes. */
export const LOSS_WINDOW_MS = 120_000;
const LOSSES_MAX = 2;

/** The recorded GPU losses of this origin. */
export class GpuLedger {
  readonly #effects: Effects;
  #losses: number[];

  constructor(effects: Effects) {
    this.#effects = effects;
    this.#losses = (effects.memo.get(KEY) ?? "").split(" ").map(Number);
  }

  /** Whether the GPU may be used now. */
  get allowed(): boolean {
    return this.#recent().length < LOSSES_MAX;
  }

  /** Records a loss now; variants are checked again on the next device. */
  note(): void {
    this.#losses = [...this.#recent(), this.#effects.wallClock()];
    this.#effects.memo.set(KEY, this.#losses.join(" "));
    this.#effects.memo.set(CHECKS_KEY, null);
  }

  #recent(): number[] {
    const now = this.#effects.wallClock();
    // A wall clock may be set back: a loss from the future would count forever. A value that is no number never counts.
    return this.#losses.filter((at) => at <= now && now - at < LOSS_WINDOW_MS);
  }
}
