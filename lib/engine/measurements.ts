// Measurements of this device, stored for later pages: for each model and backend the ms for a typical input, or the
// code of the error that it failed with. One storage entry for all models, read again before each write, so that two
// engines keep each other's numbers; bounded, the oldest are evicted first.
import type { BackendName } from "../rpc/backend.ts";
import type { Plan } from "../cache/messages.ts";
import type { DeviceFacts } from "../core/device.ts";
import type { Effects } from "../effects/effects.ts";
import { RELEASE } from "../core/version.ts";

/** Ms for a typical input, or the code of the error. */
type MeasuredValue = number | string;

/** Measurements of one model; undefined where nothing is known of a backend. */
export type ModelMeasurements = Readonly<Partial<Record<BackendName, MeasuredValue | undefined>>>;

/** The same with the wall-clock time of each. */
type Entry = Partial<Record<BackendName, readonly [value: MeasuredValue, atMs: number]>>;

const KEY = "selvedge/measured/3";
const DAY_MS = 86_400_000;
/** How long a number is valid, and how long an error is. */
const NUMBER_MS = 30 * DAY_MS;
const ERROR_MS = DAY_MS;
const ENTRIES_MAX = 64;

/** The measurements of one device. */
export class Measurements {
  readonly #effects: Effects;
  readonly #device: string;

  constructor(effects: Effects, { gpu, cores }: DeviceFacts, threads: number) {
    this.#effects = effects;
    this.#device = [gpu?.vendor, gpu?.architecture, gpu?.description, cores, threads].join("|");
  }

  /** Returns the measurements of a model. */
  recall(plan: Plan): ModelMeasurements {
    const { wasm, webgpu } = this.#read()[this.#nameOf(plan)] ?? {};
    const valueOf = ([value, atMs]: NonNullable<Entry["wasm"]> = ["", 0]): MeasuredValue | undefined => {
      const ageMs = this.#effects.wallClock() - atMs; // negative where the clock was set back
      return ageMs >= 0 && ageMs < (typeof value === "number" ? NUMBER_MS : ERROR_MS) ? value : undefined;
    };
    return { wasm: valueOf(wasm), webgpu: valueOf(webgpu) };
  }

  /** Adds measurements of a model. */
  remember(plan: Plan, known: ModelMeasurements): void {
    const atMs = this.#effects.wallClock();
    const name = this.#nameOf(plan);
    const { [name]: before, ...others } = this.#read();
    const entry: Entry = { ...before };
    for (const backend of ["wasm", "webgpu"] as const) {
      const value = known[backend];
      if (value !== undefined) entry[backend] = [value, atMs];
    }
    const models = Object.fromEntries([...Object.entries(others).slice(1 - ENTRIES_MAX), [name, entry]]);
    this.#effects.memo.set(KEY, JSON.stringify({ release: RELEASE, models }));
  }

  #read(): Readonly<Record<string, Entry>> {
    try {
      const { release, models } = JSON.parse(this.#effects.memo.get(KEY) ?? "") as {
        release: string;
        models: Record<string, Entry>;
      };
      return release === RELEASE ? models : {};
    } catch {
      return {}; // missing, or written by other code
    }
  }

  #nameOf({ identity, candidates }: Plan): string {
    return `${identity}/${candidates.map((x) => x.variant.id).join("+")}/${this.#device}`;
  }
}
