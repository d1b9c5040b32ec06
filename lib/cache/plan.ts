// Plan of an opened bundle for the page: how the model may be run on this device, its inputs and its outputs. The
// choice is made here, in the worker, because its rules and sentences would add to every page's script.
import type { Bundle, DecodeSpec, ImageSpec, PortSteps, InputReader, Unknown } from "../core/bundle.ts";
import { bestOf, LAST_RANK, pinnedOf, possible, settled, sparesOf, whySpared } from "../core/choose-variant.ts";
import type { Candidate } from "../core/choose-variant.ts";
import { isSmall } from "../core/device.ts";
import { isSelvedgeError, SelvedgeError } from "../core/errors.ts";
import { fitOf, isExpanded, memoryOf } from "../core/fit.ts";
import type { Fit } from "../core/fit.ts";
import type { Why } from "../core/reasons.ts";
import type { OpenedBundle } from "./opened.ts";
import type { Plan, RemoteCandidate, LoadCriteria } from "./messages.ts";

/** A candidate whose memory was predicted. */
type Judged = Candidate & { readonly fit: Fit };

/**
 * Plans how an opened model may be run.
 * @throws SelvedgeError `no-backend` where no variant runs here, `does-not-fit` where those that run need too much memory
 */
export function plan(
  { bundle, identity, storedAs, texts, data, seen, refused, mustCheck }: OpenedBundle,
  criteria: LoadCriteria,
): Plan {
  const { device, pins } = criteria;
  if (bundle.unknown !== undefined) throw newerError(bundle.model.name, bundle.unknown);
  const { name, inputs, outputs, exampleDims: typical = {} } = bundle.model;
  const remote = remoteOf(bundle, criteria);
  const {
    found,
    spares,
    smaller,
    spared,
    away = null,
  } = remote === null ? choose(bundle, criteria) : aside(bundle, criteria);
  const images: Record<string, ImageSpec> = {};
  const decodes: Record<string, DecodeSpec> = {};
  const states: Record<string, string> = {};
  const { steps } = bundle.model;
  Object.assign(images, steps?.images);
  Object.assign(decodes, steps?.decodes);
  for (const x of inputs) if (x.image !== undefined) images[x.name] = x.image;
  for (const x of outputs) {
    if (x.decode !== undefined) decodes[x.name] = x.decode;
    if (x.feeds !== undefined) states[x.name] = x.feeds;
  }
  return {
    name,
    format: bundle.format,
    identity,
    storedAs,
    texts: texts ?? steps?.assets,
    declared: data === null && steps === undefined ? { inputs, outputs } : null,
    images,
    readers: steps && readersOf(steps),
    decodes,
    states,
    typical,
    assets: bundle.assets ?? [],
    candidates: found,
    spares,
    onWasm: onWasm([...found, ...spares], criteria),
    smaller,
    settled: settled(found, device, pins),
    remote: remote && { ...remote, why: away },
    spared,
    seen,
    refused,
    mustCheck,
    data,
  };
}

/** Returns a repository's conversions of texts and sounds, by input name. */
function readersOf({ texts = {}, sounds = {}, unsupported = {} }: Partial<PortSteps>): Plan["readers"] {
  const names = [texts, sounds, unsupported].flatMap(Object.keys);
  return Object.fromEntries(
    names.map((x) => [x, { text: texts[x], sound: sounds[x], unsupported: unsupported[x] } satisfies InputReader]),
  );
}

/** Returns the variants that the GPU may run as wasm would load them, by id. */
function onWasm(found: readonly Candidate[], criteria: LoadCriteria): Record<string, Judged> {
  const onGpu = found.filter(({ backend }) => backend === "webgpu");
  return Object.fromEntries(
    onGpu.map(({ variant }) => [variant.id, sparing(judge({ backend: "wasm", variant }, criteria), criteria)]),
  );
}

/** Returns a candidate as it is loaded: in the least memory where that is short. */
function sparing(candidate: Judged, criteria: LoadCriteria): Judged {
  return isShort(candidate, criteria) ? withoutPrepacking(candidate) : candidate;
}

/** Candidates of a plan, and the reason for passing over better ones. */
type Choice = Pick<Plan, "spares" | "smaller" | "spared"> & {
  readonly found: readonly Judged[];
  /** Why none runs on this device, where servers may; absent where one does. */
  readonly away?: string;
};

/** The same beside servers: no candidates where `placement` is `remote`, or where none runs here; `away` says why. */
function aside(bundle: Bundle, criteria: LoadCriteria): Choice {
  const none = { found: [], spares: [], smaller: null, spared: null };
  if (criteria.placement === "remote") return { ...none, away: 'placement is "remote"' };
  try {
    return choose(bundle, criteria);
  } catch (error) {
    const isAway = isSelvedgeError(error) && (error.code === "no-backend" || error.code === "does-not-fit");
    if (!isAway) throw error;
    return { ...none, away: error.message };
  }
}

/** Returns a bundle's model on servers, whose variant its goldens tell; null where servers are not asked. */
function remoteOf(bundle: Bundle, { placement = "local", pins }: LoadCriteria): RemoteCandidate | null {
  if (placement === "local") return null;
  const { model } = bundle;
  const variants = pinnedOf(bundle, pins);
  if (model.outputs.some(({ feeds }) => feeds !== undefined)) {
    if (placement === "auto") return null;
    const text = `${model.name} has a recurrent state, which servers don't keep: load it with placement "local".`;
    throw new SelvedgeError("no-backend", text, { model: model.name, reason: "pinned" });
  }
  // A server's graph can't be read: rows are joined there only where the bundle says that they may be.
  const mixesRows = variants.some((x) => x.mixesRows !== false);
  const variant = { id: "remote", needs: [], files: [], mixesRows };
  const goldens = variants.flatMap(({ id, needs, golden }) =>
    golden === undefined ? [] : [{ variant: id, isHalf: needs.includes("shader-f16"), golden }],
  );
  return { backend: "remote", variant, goldens, why: null };
}

/** Chooses the best candidates that fit. */
function choose(bundle: Bundle, criteria: LoadCriteria): Choice {
  const { device, backends, pins } = criteria;
  const all = possible(bundle, device, backends, pins).map((x) => judge(x, criteria));
  const fitting = all.filter((x) => x.fit.fits !== "no");
  if (fitting.length === 0) throw unfitError(bundle, all, criteria);
  const best = bestOf(fitting, (x) => rankOf(x, criteria));
  const passed = bestOf(all).filter((x) => !best.includes(x));
  const died = passed.find((x) => isIn(criteria.crashed, x));
  const found = best.map((x) => sparing(x, criteria));
  const others = fitting.filter((x) => !isIn(criteria.crashed, x));
  const spares = sparesOf(others, found);
  const smaller = smallerOf(others, found, criteria);
  return { found, spares, smaller, spared: died === undefined ? whyShort(passed, best, criteria) : whySpared(died) };
}

/** Returns the best variant that takes less memory than the one on wasm, for a run that has no memory left. */
function smallerOf(all: readonly Judged[], found: readonly Judged[], criteria: LoadCriteria): Plan["smaller"] {
  const chosen = found.find((x) => x.backend === "wasm");
  const [smaller] = bestOf(all.filter((x) => x.backend === "wasm" && !isAsLarge([chosen ?? x], x, criteria)));
  const text = "wasm ran out of memory in a run of a larger variant";
  return smaller === undefined ? null : { ...withoutPrepacking(smaller), why: { code: "memory-short", text } };
}

/** Returns the reason for passing over a variant that may not fit, or for loading one in the least memory. */
function whyShort(passed: readonly Judged[], best: readonly Judged[], criteria: LoadCriteria): Why | null {
  const large = passed.find((x) => x.fit.fits !== "yes");
  if (large !== undefined) return { code: "memory-short", text: large.fit.why };
  const at = settled(best, criteria.device, criteria.pins);
  const short = best.find((x) => x.backend === at?.backend && isShort(x, criteria));
  return short === undefined ? null : { code: "memory-short", text: `${short.fit.why}; loaded without prepacking` };
}

/** Whether a candidate is loaded in the least memory, at some cost of speed. */
function isShort({ fit, backend }: Judged, { device, crashed, full }: LoadCriteria): boolean {
  return backend === "wasm" && (fit.fits === "tight" || isSmall(device) || crashed.length + full.length > 0);
}

/**
 * Turns off prepacking: kernels' rearranged copies of weights, a third of what float32 weights take. Quantized weights
 * are not expanded to float32 while loading, but in each run: a quarter of the memory, and several times slower.
 */
function withoutPrepacking(candidate: Judged): Judged {
  const { session } = candidate.variant;
  const stored = isExpanded(candidate.variant) ? { "session.disable_quant_qdq": "0" } : {};
  const wasm = { ...session?.wasm, ...stored, "session.disable_prepacking": "1" };
  return { ...candidate, variant: { ...candidate.variant, session: { ...session, wasm } } };
}

/** Predicts whether a candidate fits, with what this device died of. */
function judge(candidate: Candidate, criteria: LoadCriteria): Judged {
  const fit = fitOf(candidate, criteria.device, criteria.memory);
  const { backend, variant } = candidate;
  if (isAsLarge(criteria.full, candidate, criteria)) {
    const why = `${variant.id} on ${backend}: this device ran out of memory when it loaded it, or a smaller variant`;
    return { ...candidate, fit: { ...fit, fits: "no", why, reason: null } };
  }
  if (fit.fits === "no" || !isIn(criteria.crashed, candidate)) return { ...candidate, fit };
  return { ...candidate, fit: { ...fit, fits: "tight", why: whySpared(candidate).text } };
}

/** Returns the order in which candidates of one backend are used; those of equal rank by speed and size. */
function rankOf(candidate: Judged, criteria: LoadCriteria): number {
  if (isIn(criteria.crashed, candidate)) return LAST_RANK;
  if (isAsLarge(criteria.crashed, candidate, criteria)) return 2;
  return candidate.fit.fits === "tight" ? 1 : 0;
}

function isIn(list: readonly Candidate[], { backend, variant }: Candidate): boolean {
  return list.some((x) => x.backend === backend && x.variant.id === variant.id);
}

/** Whether a candidate needs as much memory as one of a list. */
function isAsLarge(list: readonly Candidate[], candidate: Candidate, { memory }: LoadCriteria): boolean {
  const bytes = memoryOf(candidate, memory);
  return list.some((x) => x.backend === candidate.backend && bytes >= memoryOf(x, memory));
}

/** Returns the error for a model that needs too much memory; it names a variant that would fit. */
function unfitError({ model, variants }: Bundle, all: readonly Judged[], criteria: LoadCriteria): SelvedgeError {
  const [least, ...more] = [...all].sort((a, b) => a.fit.memoryBytes - b.fit.memoryBytes);
  const { backends, device } = criteria;
  const free = { backend: undefined, variant: undefined };
  const bundle = { format: 2, model, variants } as const;
  const others = possible(bundle, device, backends, free).map((x) => judge(x, criteria));
  const rank = (x: Judged): number => rankOf(x, criteria);
  const fitting = others.filter((x) => x.fit.fits !== "no");
  const [other] = bestOf(fitting, rank).sort((a, b) => rank(a) - rank(b));
  const advice =
    other === undefined
      ? "No variant of it fits: use a smaller model."
      : `The variant "${other.variant.id}" would fit on ${other.backend}: name it, or leave \`variant\` and \`backend\` out.`;
  const text = [least, ...more].flatMap((x) => (x === undefined ? [] : [x.fit.why])).join("; ");
  return new SelvedgeError("does-not-fit", `${model.name} does not fit in memory: ${text}. ${advice}`, {
    model: model.name,
    variant: least?.variant.id ?? null,
    backend: least?.backend ?? null,
    memoryBytes: least?.fit.memoryBytes ?? null,
    fitting: other?.variant.id ?? null,
    reason: least?.fit.reason ?? null,
  });
}

/** Returns the error for a model that needs a feature of a newer release. */
function newerError(model: string, { kind, word, at }: Unknown): SelvedgeError {
  const things = { step: "processing step", encoding: "chunk encoding", dtype: "element type" };
  const thing = `the ${things[kind]} "${word}"`;
  const message = `${model} can't run here: this release does not know ${thing} of "${at}". A newer release of selvedge may know it.`;
  return new SelvedgeError("no-backend", message, { model, [kind]: word, at, reason: "newer" });
}
