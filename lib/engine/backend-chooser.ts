// The backend on which a model runs. Facts alone decide it for most models (choose-variant.ts); what measures the others is
// imported when a page has two backends.
import type { BackendName } from "../rpc/backend.ts";
import type { Plan } from "../cache/messages.ts";
import type { Comparer } from "./choose-backend.ts";
import type { Candidate, BackendChoice } from "../core/choose-variant.ts";
import { SelvedgeError } from "../core/errors.ts";
import type { Loader } from "./loader.ts";
import type { Feeds } from "../rpc/messages.ts";
import type { Why } from "../core/reasons.ts";

/** A variant on a backend, and the reason for it. */
export type ChosenCandidate = BackendChoice & Candidate;

/** Decision on where a model runs. */
export interface BackendDecision {
  readonly choice: ChosenCandidate;
  /** When a request's inputs are to be measured: `first` with the next request, `later` after a delay, else null. */
  readonly measure: "first" | "later" | null;
  /** A measurement that outlasts the wait of a load, including the load on the GPU; null where there is none. */
  readonly measuring: Promise<BackendDecision> | null;
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
    this.#open().catch(() => undefined); // the load reports it
  }

  /** Decides where a model runs. Rejects where no backend can load it. */
  async choose(loader: Loader): Promise<BackendDecision> {
    const { settled } = loader.plan;
    return settled === null ? (await this.#open()).choose(loader) : decisionFor(loader, settled);
  }

  /** Returns the backend of a model, as far as it is known without a trial, and the time of a typical request there. */
  async expect(plan: Plan): Promise<{ choice: BackendChoice | null; ms: number | null }> {
    return (await this.#open()).expect(plan);
  }

  /** Measures both backends with the same inputs, once no other model is being measured, and stores the result. */
  async measure(loader: Loader, feeds: Feeds): Promise<BackendDecision> {
    return (await this.#open()).measure(loader, feeds);
  }

  #open(): Promise<Comparer> {
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

/** Returns the reason for running on wasm after a `wrong-result` of the GPU (golden-check.ts). */
export function whyRefused({ details }: SelvedgeError): Why {
  return { code: "golden-failed", text: `wasm: ${String(details["refusal"])}` };
}
