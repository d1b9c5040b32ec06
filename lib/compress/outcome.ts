// What a compression came to: the contents of report.json, which every face of the report is drawn from.
import type { Check } from "./check.ts";
import type { Target } from "./forms.ts";

/** What came of one form. */
export interface FormReport {
  readonly id: string;
  readonly file: string;
  readonly bytes: number;
  readonly brotliBytes: number;
  readonly score: number;
  readonly isWithinBudget: boolean;
  readonly sqnrDb: number;
  readonly checks: readonly Check[];
}

/** What came of all: `report.json`. */
export interface CompressReport {
  readonly schema: "selvedge/report@1";
  readonly model: string;
  readonly sourceBytes: number;
  readonly targets: readonly Target[];
  readonly metric: { readonly name: string; readonly budget: string; readonly reference: number };
  readonly samples: { readonly n: number; readonly isMadeUp: boolean };
  readonly forms: readonly FormReport[];
  /** The form that each target gets, or why it gets none. */
  readonly defaults: Readonly<Partial<Record<Target, string | null>>>;
  /** The largest tensors of the simplified model, by bytes. */
  readonly tensors: readonly { readonly name: string; readonly bytes: number }[];
  readonly notes: readonly string[];
  readonly isStopped: boolean;
}
