// What a compression came to: the contents of report.json, which every face of the report is drawn from.
import type { Check } from "./check.ts";
import type { Target } from "./forms.ts";
import type { PruneOutcome } from "./prune-forms.ts";
import type { SensitivityRow } from "./sensitivity.ts";
import type { SearchOutcome } from "./search.ts";

/** What came of one form. */
export interface FormReport {
  readonly id: string;
  readonly file: string;
  /** What a device must have for it. */
  readonly needs: readonly string[];
  /** 0 where it could not be made. */
  readonly bytes: number;
  readonly brotliBytes: number;
  /** What its weights take of a GPU's memory; null where it is for no GPU, or could not be made. */
  readonly deviceBytes: number | null;
  /** Null where it could not be measured. */
  readonly score: number | null;
  readonly isWithinBudget: boolean;
  /** Ratio of signal to error of the outputs beside the source model's, in dB; null where it could not be measured. */
  readonly sqnrDb: number | null;
  /** Reason it could not be made or measured. */
  readonly why?: string;
  readonly checks: readonly Check[];
  /** What making, measuring and checking it took. */
  readonly seconds: number;
}

/** What came of all: `report.json`. */
export interface CompressReport {
  readonly schema: "selvedge/report@1";
  readonly model: string;
  readonly sourceBytes: number;
  readonly targets: readonly Target[];
  readonly metric: { readonly name: string; readonly budget: string; readonly reference: number | null };
  readonly samples: { readonly n: number; readonly isMadeUp: boolean };
  readonly forms: readonly FormReport[];
  /** The form that each target gets, or null where it gets none. */
  readonly defaults: Readonly<Partial<Record<Target, string | null>>>;
  /** What `bundle/` holds; null where nothing could be packed. */
  readonly bundle: {
    readonly identity: string;
    readonly variants: readonly string[];
    readonly bytes: number;
    readonly wireBytes: number;
  } | null;
  /** The largest tensors of the simplified model, by bytes. */
  readonly tensors: readonly { readonly name: string; readonly bytes: number }[];
  /** The weights, the most sensitive first; those that time did not suffice for are left out. */
  readonly sensitivity: readonly SensitivityRow[];
  /** What was pruned, where something was. */
  readonly pruning?: PruneOutcome;
  /** What was searched, where it was asked for. */
  readonly search?: SearchOutcome;
  readonly notes: readonly string[];
  readonly isStopped: boolean;
  readonly seconds: number;
  /** The most memory that the process held. */
  readonly peakBytes: number;
}
