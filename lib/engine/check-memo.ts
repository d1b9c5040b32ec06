// Results of golden checks, stored for later pages: for each variant on a device its last fault or "" for a pass, the
// time, the classes of shapes that passed (shape-class.ts), and whether the golden has run. Of this release alone. A pass is valid for a month, a
// refusal for a day; the loss of a device drops all (pool/gpu-loss-ledger.ts).
import type { Effects } from "../effects/effects.ts";
import { RELEASE } from "../core/version.ts";
import { CHECKS_KEY, REFUSED_KEY } from "../pool/gpu-loss-ledger.ts";

const DAY_MS = 86_400_000;
const PASS_MS = 30 * DAY_MS;
const REFUSAL_MS = DAY_MS;
/** Bounds on the variants, and on the classes of each. */
const ENTRIES_MAX = 64;
const CLASSES_MAX = 64;

/** Fault of a refused variant, or "" for a pass; the wall-clock time; the classes of shapes that passed; 1 once the golden ran. */
type Entry = readonly [fault: string, atMs: number, passed?: readonly string[], hasGoldenRun?: number];

/** The stored result of one variant's checks. */
export interface Remembered {
  /** Fault of a refused variant; "" for a pass. */
  readonly fault: string;
  /** The classes of shapes that passed. */
  readonly passed: readonly string[];
  /** Whether the golden is among what passed. */
  readonly hasGoldenRun: boolean;
}

/** The stored results of one variant on one device. */
export class CheckMemo {
  readonly #effects: Effects;
  readonly #name: string;

  constructor(effects: Effects, name: string) {
    this.#effects = effects;
    this.#name = name;
  }

  /** Returns the valid result; null where there is none. */
  recall(): Remembered | null {
    const [fault, atMs, passed = [], hasRun = 0] = this.#read()[this.#name] ?? ["", Infinity];
    const ageMs = this.#effects.wallClock() - atMs; // negative where the clock was set back
    return ageMs >= 0 && ageMs < (fault === "" ? PASS_MS : REFUSAL_MS)
      ? { fault, passed, hasGoldenRun: hasRun === 1 }
      : null;
  }

  /**
   * Stores a result. A pass is added to those of other pages, and replaces no valid refusal; a refusal also makes every
   * cached answer of a GPU unreachable.
   */
  remember({ fault, passed: own, hasGoldenRun }: Remembered): void {
    const { memo, wallClock } = this.#effects;
    if (fault !== "") this.dropAnswers();
    const known = this.recall();
    if (fault === "" && known !== null && known.fault !== "") return;
    const passed = fault === "" ? [...new Set([...(known?.passed ?? []), ...own])] : own;
    const others = Object.entries(this.#read()).filter(([name]) => name !== this.#name);
    const hasRun = Number(hasGoldenRun || known?.hasGoldenRun === true);
    const entry: Entry = [fault, wallClock(), passed.slice(-CLASSES_MAX), hasRun];
    const variants = Object.fromEntries([...others.slice(1 - ENTRIES_MAX), [this.#name, entry]]);
    memo.set(CHECKS_KEY, JSON.stringify({ release: RELEASE, variants }));
  }

  /** Makes every cached answer of a GPU unreachable. */
  dropAnswers(): void {
    this.#effects.memo.set(REFUSED_KEY, String(this.#effects.wallClock()));
  }

  #read(): Readonly<Record<string, Entry>> {
    try {
      const { release, variants } = JSON.parse(this.#effects.memo.get(CHECKS_KEY) ?? "") as {
        release: string;
        variants: Record<string, Entry>;
      };
      return release === RELEASE ? variants : {};
    } catch {
      return {}; // missing, or written by other code
    }
  }
}
