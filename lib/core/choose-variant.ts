// Choice of variant and backend: pure functions of facts and measurements. Those of facts run in the worker that opens
// bundles (cache/plan.ts); `decide`, which uses measurements, runs on the page (choose-backend.ts).
//
// An available GPU is not always a faster GPU: on a software adapter wasm wins by 10–100 times, and some models are too
// small to pay for the transfer to a real one. So WebGPU is used only where it was measured faster on this device, for
// this bundle; the measurement is remembered. Accuracy was validated when the bundle was packed, so the fastest variant
// wins here. Within 15 % of it the smallest wins, in bytes over the wire, since those are downloaded; a difference of a
// few bytes does not count. Of two variants that are alike in both, the one that every backend runs wins. A variant that
// is larger to download and less accurate than another one, no faster, and runs in no more places, is never chosen.
import type { Bundle, Variant } from "./bundle.ts";
import { meetsNeeds } from "./device.ts";
import type { BackendName, DeviceFacts, LocalBackend } from "./device.ts";
import { SelvedgeError } from "./errors.ts";
import type { Fit } from "./fit.ts";
import type { Why, WhyCode } from "./reasons.ts";

/** A variant on a backend. */
export interface Candidate {
  readonly backend: BackendName;
  readonly variant: Variant;
  /** Whether it fits in memory; absent where that was not predicted. */
  readonly fit?: Fit | undefined;
}

/** Where a model runs, and why. */
export interface BackendChoice {
  readonly backend: BackendName;
  readonly why: Why;
}

/** The caller's choices. */
export interface Pins {
  readonly backend: BackendName | undefined;
  readonly variant: string | undefined;
  /** The engine's option `backends`; absent where it was left out. */
  readonly allowed?: readonly BackendName[] | undefined;
}

/** Measurements of a bundle on this device, in ms for the typical input; null where the backend failed. */
export interface Measured {
  readonly wasm: number | null;
  readonly webgpu: number | null;
}

/** Factors within which two times, or two sizes, count as equal. */
const SIMILAR = { time: 1.15, bytes: 1.05 } as const;
/** Factor beyond which a difference in time exceeds noise. */
const FASTER = 0.95;
/** Factor by which WebGPU must win: on a tie wasm is used, whose device can't be lost. */
const WIN = 0.95;

/** Rank of candidates from which they are used only where there is no other at all. */
export const LAST_RANK = 3;

/**
 * Returns the best variant for each backend that may be used, WebGPU first.
 * @throws as `possible` does
 */
export function candidates(
  bundle: Bundle,
  device: DeviceFacts,
  backends: readonly BackendName[],
  pins: Pins,
  rank?: (candidate: Candidate) => number,
): Candidate[] {
  return bestOf(possible(bundle, device, backends, pins), rank);
}

/** Returns the best variant for each backend, WebGPU first, of those with the lowest rank. */
export function bestOf<T extends Candidate>(all: readonly T[], rank: (candidate: T) => number = () => 0): T[] {
  const found: T[] = [];
  for (const backend of ["webgpu", "wasm"] as const) {
    const here = all.filter((x) => x.backend === backend);
    const least = Math.min(...here.map(rank));
    const first = here.filter((x) => rank(x) === least);
    const variant = best(
      first.map((x) => x.variant),
      backend,
    );
    found.push(...first.filter((x) => x.variant === variant));
  }
  const others = found.filter((x) => rank(x) < LAST_RANK);
  return others.length > 0 ? others : found;
}

/** Returns the variants that `pins` leave. @throws RangeError for one that does not exist */
export function pinnedOf(
  { model, variants }: Pick<Bundle, "model" | "variants">,
  { variant }: Pins,
): readonly Variant[] {
  const found = variants.filter((x) => variant === undefined || x.id === variant);
  if (found.length > 0 || variant === undefined) return found;
  const ids = variants.map((x) => `"${x.id}"`).join(", ");
  throw new RangeError(`variant: ${model.name} has no "${variant}", only ${ids}`);
}

/**
 * Returns all variants that may be used, on each backend that has what they need, WebGPU first.
 * @throws RangeError for a pinned variant that does not exist, SelvedgeError `no-backend` where none can run here
 */
export function possible(
  bundle: Bundle,
  device: DeviceFacts,
  backends: readonly BackendName[],
  pins: Pins,
): Candidate[] {
  pinnedOf(bundle, pins);
  const { backend: pinned, allowed } = pins;
  if (pinned !== undefined && !backends.includes(pinned)) {
    const message = `${bundle.model.name} can't run on ${pinned}, which \`backend\` asks for: ${whyAbsent(pinned, device, allowed)}.`;
    throw new SelvedgeError("no-backend", message, { model: bundle.model.name, backend: pinned, reason: "pinned" });
  }
  if (backends.length === 0) {
    const why = (["webgpu", "wasm"] as const)
      .map((backend) => `${backend}: ${whyAbsent(backend, device, allowed)}`)
      .join("; ");
    const message = `${bundle.model.name} can't run here: none of the engine's \`backends\` is there. ${why}.`;
    throw new SelvedgeError("no-backend", message, { model: bundle.model.name, usable: [], reason: "no-backends" });
  }
  const wanted = pins.backend === undefined ? backends : backends.filter((x) => x === pins.backend);
  const those = (runs: (variant: Variant, backend: LocalBackend) => boolean): Candidate[] =>
    (["webgpu", "wasm"] as const)
      .filter((backend) => wanted.includes(backend))
      .flatMap((backend) =>
        bundle.variants
          .filter(
            (variant) =>
              (pins.variant === undefined ? isChecked(variant, backend) : variant.id === pins.variant) &&
              runs(variant, backend),
          )
          .map((variant): Candidate => ({ backend, variant })),
      );
  const able = those((variant, backend) => meetsNeeds(variant.needs, backend, device));
  const found =
    able.length > 0 || pins.variant === undefined
      ? able
      : those((variant, backend) => variant.named?.includes(backend) === true);
  if (found.length === 0) {
    const facts = (x: Variant): string =>
      [...x.needs, ...(x.unchecked ?? []).map((backend) => `unchecked on ${backend}: only by its name`)].join(", ");
    const needs = bundle.variants.map((x) => `${x.id} (${facts(x) || "nothing"})`).join(", ");
    const message = `${bundle.model.name} can't run here: backends: ${wanted.join(", ") || "none"}; variants and their needs: ${needs}.`;
    throw new SelvedgeError("no-backend", message, {
      model: bundle.model.name,
      usable: [...wanted],
      reason: "no-variant",
    });
  }
  return found;
}

/**
 * Returns the variants for WebGPU that follow the chosen one, in the order of preference: used where that computes
 * wrongly on this device.
 */
export function sparesOf<T extends Candidate>(all: readonly T[], found: readonly Candidate[]): T[] {
  const chosen = found.find((x) => x.backend === "webgpu")?.variant;
  if (chosen === undefined) return [];
  const spares: T[] = [];
  let left = all.filter((x) => x.backend === "webgpu" && x.variant !== chosen);
  while (left.length > 0) {
    const [next] = bestOf(left);
    spares.push(...left.filter((x) => x === next));
    left = left.filter((x) => x !== next);
  }
  return spares;
}

/** Returns why an engine does not have a backend. */
function whyAbsent(backend: BackendName, { secure, jspi }: DeviceFacts, allowed: Pins["allowed"]): string {
  if (allowed?.includes(backend) === false) return "the engine's `backends` leave it out";
  if (backend === "wasm") return "this browser has no WebAssembly";
  if (!secure) return "the page is neither https nor localhost, so the browser has no WebGPU";
  if (!jspi) return "this browser has no JSPI, which WebGPU needs here";
  return "this browser gives no GPU adapter";
}

/** A variant that was not validated on a backend at packing is never its default. */
function isChecked(variant: Variant, backend: LocalBackend): boolean {
  return variant.unchecked?.includes(backend) !== true;
}

/** Returns the fastest variant by the bundle's figures; the smallest among those that are about as fast. */
export function best(variants: readonly Variant[], backend: LocalBackend): Variant | undefined {
  const score = (x: Variant): number | undefined =>
    x.score?.name === variants[0]?.score?.name ? x.score?.value : undefined;
  const time = (x: Variant): number => x.speed?.[backend] ?? 1;
  return fastOrSmall(variants, { time, bytes: sizeOf, needs: (x) => x.needs.length, score });
}

/** The criteria of a choice: time, size over the wire, number of required capabilities, and score where it is known. */
export interface Traits<T> {
  readonly time: (x: T) => number;
  readonly bytes: (x: T) => number;
  readonly needs: (x: T) => number;
  readonly score: (x: T) => number | undefined;
}

/**
 * Returns the smallest of the candidates that are about as fast as the fastest. Among those about as small: the one
 * with the fewest needs, or one that is clearly faster.
 */
export function fastOrSmall<T>(given: readonly T[], { time, bytes, needs, score }: Traits<T>): T | undefined {
  const isWorse = (x: T, y: T): boolean =>
    bytes(x) > bytes(y) &&
    needs(y) <= needs(x) &&
    (score(x) ?? Infinity) < (score(y) ?? -Infinity) &&
    time(y) <= time(x) * SIMILAR.time;
  const all = given.filter((x) => !given.some((y) => isWorse(x, y)));
  const least = Math.min(...all.map(time));
  const fast = all.filter((x) => time(x) <= least * SIMILAR.time);
  const smallest = Math.min(...fast.map(bytes));
  const [first, ...others] = fast
    .filter((x) => bytes(x) <= smallest * SIMILAR.bytes)
    .sort((a, b) => needs(a) - needs(b) || bytes(a) - bytes(b) || time(a) - time(b));
  if (first === undefined) return undefined;
  return others.reduce((a, b) => (time(b) < Math.min(time(a), time(first) * FASTER) ? b : a), first);
}

/** Decides between WebGPU and wasm without measuring; null where a measurement is needed. */
export function settled(found: readonly Candidate[], device: DeviceFacts, pins: Pins): BackendChoice | null {
  const backend = found.length === 1 ? found[0]?.backend : undefined;
  if (backend !== undefined && pins.backend !== undefined) return choose(backend, "pinned", "pinned by the caller");
  if (backend === "wasm")
    return choose(
      "wasm",
      "only-backend",
      device.gpu === null ? "WebGPU is not available" : "no variant runs on this GPU",
    );
  if (backend === "webgpu") return choose("webgpu", "only-backend", "no variant runs on WebAssembly");
  if (device.gpu?.software !== true) return null;
  const { vendor, architecture, description } = device.gpu;
  const name = [vendor, architecture, description].filter((x) => x !== "").join(" ");
  return choose("wasm", "software-adapter", `the GPU is a software adapter (${name})`);
}

/** Decides between WebGPU and wasm by measurements; `cause` is the error code of a failed one. */
export function decide({ wasm, webgpu }: Measured, cause?: string): BackendChoice {
  const failed = `failed when it was tried${cause === undefined ? "" : ` (${cause})`}`;
  if (webgpu === null) return choose("wasm", "measurement-failed", `WebGPU ${failed}`);
  if (wasm === null) return choose("webgpu", "measurement-failed", `wasm ${failed}`);
  const numbers = `webgpu ${webgpu.toFixed(1)} ms, wasm ${wasm.toFixed(1)} ms for a typical input`;
  return choose(webgpu < wasm * WIN ? "webgpu" : "wasm", "measured", numbers);
}

/** Returns the reason for passing over a candidate that crashed a page. */
export function whySpared({ backend, variant }: Candidate): Why {
  return { code: "crashed-before", text: `a page crashed while it loaded ${variant.id} on ${backend}` };
}

function choose(backend: BackendName, code: WhyCode, text: string): BackendChoice {
  return { backend, why: { code, text: `${backend}: ${text}` } };
}

function sizeOf(variant: Variant): number {
  return variant.wireBytes ?? variant.files.reduce((sum, file) => sum + file.bytes, 0);
}
