// Result of a compression: the contents of report.json, from which every format of the report is rendered.
import type { CheckResult } from "../check/check.ts";
import type { Target } from "../forms/forms.ts";
import type { PruneOutcome } from "../forms/prune-forms.ts";
import type { Interval } from "../run/interval.ts";
import type { SensitivityRow } from "../run/sensitivity.ts";
import type { WeightWidths } from "../run/weight-widths.ts";
import type { SearchOutcome } from "../search/search.ts";

/** Result for one form. */
export interface FormReport {
  /** Name of the form, which is the id of its variant in `bundle.json`. */
  readonly id: string;
  /** Path of its model, relative to the output folder. */
  readonly file: string;
  /** Device features that it needs. */
  readonly needs: readonly string[];
  /** 0 where it could not be made. */
  readonly bytes: number;
  /** Bytes over the wire: as packed, or with a fast brotli setting for a form that is not in the bundle. */
  readonly brotliBytes: number;
  /** Estimated GPU memory of its weights; null where it is for no GPU, or could not be made. */
  readonly deviceBytes: number | null;
  /** Score over the held-out samples; null where it could not be measured. */
  readonly score: number | null;
  /** The score's 95 % interval; null or absent where there are too few samples for one. */
  readonly interval?: Interval | null;
  /** Half of the 95 % interval of the score's difference from float32's. */
  readonly lossError?: number | null;
  /** Whether its score passed: it lost no more than the budget. */
  readonly isWithinBudget: boolean;
  /** Whether too few samples are held out to decide whether it is within its budget: then it is not. */
  readonly isTooFewToTell?: boolean;
  /** Share of its weights by the bits that they are stored in; absent where it could not be made. */
  readonly widths?: WeightWidths;
  /** Signal-to-noise ratio of the outputs against the source model's, in dB; null where it could not be measured. */
  readonly sqnrDb: number | null;
  /** Reason it could not be made or measured. */
  readonly why?: string;
  /** Result of its check on each target. */
  readonly checks: readonly CheckResult[];
  /** Time to make, measure and check it. */
  readonly seconds: number;
}

/** Result of a whole compression: `report.json`. */
export interface CompressReport {
  /** Format of the report. */
  readonly schema: "selvedge/report@1";
  /** Name of the model's file. */
  readonly model: string;
  /** Size of the source model in bytes, external data included. */
  readonly sourceBytes: number;
  /** Backends that forms were made for. */
  readonly targets: readonly Target[];
  /** Metric of the scores, what it may lose, and its value for the source model; null where there is none. */
  readonly metric: { readonly name: string; readonly budget: string; readonly reference: number | null };
  /** Forms were fitted to `fitted` of them and scored over the `scored` others. */
  readonly samples: {
    readonly n: number;
    readonly fitted: number;
    readonly scored: number;
    readonly isSynthetic: boolean;
  };
  /** Results by form, in the order in which they were made. */
  readonly forms: readonly FormReport[];
  /** The form that each target gets, or null where it gets none. */
  readonly defaults: Readonly<Partial<Record<Target, string | null>>>;
  /** Contents of `bundle/`; null where nothing could be packed. */
  readonly bundle: {
    readonly identity: string;
    readonly variants: readonly string[];
    readonly bytes: number;
    readonly wireBytes: number;
  } | null;
  /** The largest tensors of the simplified model, by bytes; `node` names the one that uses a tensor without a name. */
  readonly tensors: readonly { readonly name: string; readonly node?: string; readonly bytes: number }[];
  /** The weights, the most sensitive first; without those that were not measured in time. */
  readonly sensitivity: readonly (SensitivityRow & { readonly node?: string })[];
  /** Result of pruning, if anything was pruned. */
  readonly pruning?: PruneOutcome;
  /** Result of the search, if it was requested. */
  readonly search?: SearchOutcome;
  /** Sentences on what was rewritten, raised, skipped or refused. */
  readonly notes: readonly string[];
  /** Whether it was interrupted before all forms were made. */
  readonly isStopped: boolean;
  /** Time of the whole compression. */
  readonly seconds: number;
  /** Peak memory of the process. */
  readonly peakBytes: number;
}
