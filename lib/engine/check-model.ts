// Comparison of a loaded model with the known answers of its bundle, on the lane that runs it: for a page that shows it.
// Imported by `model.check`. Refusals are golden-check.ts's.
import type { Candidate } from "../core/choose-variant.ts";
import { goldenFiles } from "../core/bundle.ts";
import { compare } from "../core/compare-outputs.ts";
import type { Compared, Tensors } from "../core/compare-outputs.ts";
import { isServer } from "../core/device.ts";
import { SelvedgeError } from "../core/errors.ts";
import type { BackendName } from "../rpc/backend.ts";
import { KnownAnswers, outputsIn } from "./known-answers.ts";
import type { KnownRun } from "./known-answers.ts";
import type { Loader } from "./loader.ts";

/** The comparison of one output with its known values. */
export interface OutputCheck {
  /** Name of the output. */
  readonly name: string;
  /**
   * Largest error over the golden's runs, as a share of the reference; null for an output that is not compared as numbers
   * (integers, random values), and for one that is not finite.
   */
  readonly error: number | null;
  /** Bound on the error: 0.001, or 0.02 in float16. */
  readonly tolerance: number;
  /** Sentence on a wrong output; null for a right one. */
  readonly fault: string | null;
}

/** The comparison of a loaded model with the known answers of its bundle. */
export interface ModelCheck {
  /** The backend that ran. */
  readonly backend: BackendName;
  /** The variant that ran. */
  readonly variant: string;
  /** `unchecked` where the bundle has no known answers, or where they can't be fetched. */
  readonly verdict: "passed" | "failed" | "unchecked";
  /** Reason where it did not pass; else null. */
  readonly why: string | null;
  /** Each output; empty for `unchecked`. */
  readonly outputs: readonly OutputCheck[];
}

/** Runs the golden of a model's current variant on its backend, and compares the outputs. */
export async function checkModel(loader: Loader, backend: BackendName, variant: string): Promise<ModelCheck> {
  if (isServer({ backend })) {
    const why = "a server runs it, which has to answer the golden before its first request";
    return { backend, variant, verdict: "unchecked", why, outputs: [] };
  }
  const { candidates, smaller } = loader.plan;
  const isCurrent = (x: Candidate | null): x is Candidate => x?.backend === backend && x.variant.id === variant;
  const candidate = [...candidates, smaller].find(isCurrent);
  if (candidate === undefined) throw movedError();
  const known = answersOf(loader, candidate);
  const golden = candidate.variant.golden === undefined ? "it has no golden" : await known.golden();
  if (typeof golden === "string") return { backend, variant, verdict: "unchecked", why: golden, outputs: [] };
  const worst = new Map<string, OutputCheck>();
  for (const one of await compareAll(loader, candidate, known, golden)) {
    const before = worst.get(one.name);
    const isWorse = before === undefined || (before.fault === null && (one.error ?? -1) > (before.error ?? -1));
    if (isWorse || (one.fault !== null && before.fault === null)) worst.set(one.name, one);
  }
  const outputs = [...worst.values()];
  const why = outputs.find(({ fault }) => fault !== null)?.fault ?? null;
  return { backend, variant, verdict: why === null ? "passed" : "failed", why, outputs };
}

async function compareAll(
  loader: Loader,
  candidate: Candidate,
  known: KnownAnswers,
  golden: readonly KnownRun[],
): Promise<Compared[]> {
  const isHalf = candidate.variant.needs.includes("shader-f16");
  const outputs = loader.plan.declared?.outputs ?? [];
  const random = outputs.flatMap(({ name, isRandom }) => (isRandom === true ? [name] : []));
  const { lane, message, assertWanted, candidate: own } = await loader.on(candidate);
  if (own.variant.id !== candidate.variant.id) throw movedError(); // the GPU computes it wrongly
  const found: Compared[] = [];
  let last: Tensors = {};
  for (const one of golden) {
    assertWanted();
    [last = {}] = outputsIn(await lane.run(message, [known.after(last, one.feeds)], { isProbe: true }));
    found.push(...compare(last, one.outputs, isHalf, { floors: one.floors, random }));
  }
  return found;
}

function movedError(): SelvedgeError {
  return new SelvedgeError("closed", "The model moved to another variant meanwhile: check it again.");
}

function answersOf(loader: Loader, { variant }: Candidate): KnownAnswers {
  return new KnownAnswers({
    variant,
    shapes: () => ({ ports: loader.inputs, states: loader.plan.states }),
    read: async () => (await loader.read(goldenFiles(variant.golden))).map(({ data }) => data),
    ...{ typical: {}, allowsUnverified: false, run: () => Promise.resolve(null), onUnchecked: () => undefined },
  });
}
