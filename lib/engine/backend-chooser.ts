// The backend on which a model runs. Facts alone decide it for most models (choose-variant.ts); what measures the others is
// imported when a page has two backends.
import type { BackendName } from "../rpc/backend.ts";
import type { Plan } from "../cache/messages.ts";
import type { Comparer } from "./choose-backend.ts";
import type { Candidate, BackendChoice } from "../core/choose-variant.ts";
import { SelvedgeError } from "../core/errors.ts";
import type { Loader } from "./loader.ts";

/** A variant on a backend, and the reason for it. */
export type ChosenCandidate = BackendChoice & Candidate;

/** Decision on where a model runs. */
export interface BackendDecision {
  readonly choice: ChosenCandidate;
  /** When a request's inputs are to be measured: `first` with the next request, `later` after a delay, else null. */
  readonly measure: "first" | "later" | null;
  /** A measurement that outlasts the wait of a load, including the load on the GPU; null where there is none. */
  readonly measuring: Promise<BackendDecision> | null;
  /** Measures the model later; absent where facts alone decided. */
  readonly comparer?: Comparer;
}

/** Chooses backends for the models of one engine. */
export class BackendChooser {
  readonly #make: (comparer: typeof Comparer) => Comparer;
  #comparer: Promise<Comparer> | null = null;

  constructor(make: (comparer: typeof Comparer) => Comparer) {
    this.#make = make;
  }

  /** Starts to import what measures, in parallel to the model's download. */
  prepare(): void {
    this.open().catch(() => undefined); // the load reports it
  }

  /** Decides where a model runs. Rejects where no backend can load it. */
  async choose(loader: Loader): Promise<BackendDecision> {
    const { settled } = loader.plan;
    if (settled !== null) return decisionFor(loader, settled);
    const comparer = await this.open();
    return { ...(await comparer.choose(loader)), comparer };
  }

  /** Imports what measures. */
  open(): Promise<Comparer> {
    return (this.#comparer ??= import("./choose-backend.ts").then(
      ({ Comparer }) => this.#make(Comparer),
      (error: unknown) => {
        this.#comparer = null; // the next load tries again
        throw error;
      },
    ));
  }
}

/** Returns the decision for a choice with nothing left to measure. */
export function decisionFor({ plan }: Loader, choice: BackendChoice): BackendDecision {
  const { variant } = candidateIn(plan, choice.backend);
  return { choice: { ...choice, variant }, measure: null, measuring: null };
}

/**
 * Returns the candidate of a plan for a backend.
 * @throws SelvedgeError `internal` where there is none
 */
export function candidateIn({ candidates }: Plan, backend: BackendName): Candidate {
  const candidate = candidates.find((x) => x.backend === backend);
  if (candidate === undefined) throw new SelvedgeError("internal", `There is no candidate for ${backend}.`);
  return candidate;
}
