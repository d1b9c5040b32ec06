// Which variant on which backend: pure functions of facts and measurements. Those of facts run in the worker that opens
// bundles (cache/plan.ts); `decide`, which takes what was measured, runs on the page (choose-backend.ts).
//
// A GPU that is there is not a GPU that is faster: on a software adapter wasm wins by 10–100 times, and some models are
// too small to pay for the way to a real one. So WebGPU is taken only where it was measured faster on this device, for
// this bundle; the measurement is remembered. Among variants, accuracy was settled when the bundle was packed; here
// the fastest wins, and within 15 % of it the smallest, since those bytes must come over the wire; a few bytes are no reason,
// and of two that are alike in both what every backend runs is taken.
import type { Bundle, Variant } from "./bundle.ts";
import { meetsNeeds } from "./device.ts";
import type { BackendName, DeviceFacts } from "./device.ts";
import { SelvedgeError } from "./errors.ts";
import type { Why, WhyCode } from "./reasons.ts";

/** A variant on a backend. */
export interface Candidate {
  readonly backend: BackendName;
  readonly variant: Variant;
}

/** Where a model runs, and why. */
export interface Placement {
  readonly backend: BackendName;
  readonly why: Why;
}

/** What the caller pinned. */
export interface Pins {
  readonly backend: BackendName | undefined;
  readonly variant: string | undefined;
}

/** Measurements of a bundle on this device, in ms for the typical input; null where the backend failed. */
export interface Measured {
  readonly wasm: number | null;
  readonly webgpu: number | null;
}

/** As fast, and as small, as what takes so many times as long, or as much. */
const SIMILAR = { time: 1.15, bytes: 1.05 } as const;
/** Faster than chance makes it. */
const FASTER = 0.95;
/** WebGPU must win by this much: a tie goes to wasm, which can't be lost. */
const WIN = 0.95;

/**
 * Gives the best variant for each backend that may be used, WebGPU first; without those that a page died of, as long
 * as anything is left.
 * @throws RangeError for a pinned variant that is not there, SelvedgeError `no-backend` where none can run here
 */
export function candidates(
  bundle: Bundle,
  device: DeviceFacts,
  backends: readonly BackendName[],
  pins: Pins,
  hasCrashed?: (candidate: Candidate) => boolean,
): Candidate[] {
  if (pins.variant !== undefined && !bundle.variants.some((x) => x.id === pins.variant)) {
    const ids = bundle.variants.map((x) => `"${x.id}"`).join(", ");
    throw new RangeError(`variant: ${bundle.model.name} has no "${pins.variant}", only ${ids}`);
  }
  const wanted = pins.backend === undefined ? backends : backends.filter((x) => x === pins.backend);
  const found: Candidate[] = [];
  for (const backend of ["webgpu", "wasm"] as const) {
    if (!wanted.includes(backend)) continue;
    const fits = bundle.variants.filter(
      (variant) =>
        (pins.variant === undefined ? isChecked(variant, backend) : variant.id === pins.variant) &&
        meetsNeeds(variant.needs, backend, device) &&
        hasCrashed?.({ backend, variant }) !== true,
    );
    const variant = best(fits, backend);
    if (variant !== undefined) found.push({ backend, variant });
  }
  if (found.length === 0 && hasCrashed !== undefined) return candidates(bundle, device, backends, pins);
  if (found.length === 0) {
    const facts = (x: Variant): string =>
      [...x.needs, ...(x.unchecked ?? []).map((backend) => `unchecked on ${backend}: only by its name`)].join(", ");
    const needs = bundle.variants.map((x) => `${x.id} (${facts(x) || "nothing"})`).join(", ");
    const message = `${bundle.model.name} can't run here: backends: ${wanted.join(", ") || "none"}; variants and their needs: ${needs}.`;
    throw new SelvedgeError("no-backend", message, { model: bundle.model.name, usable: [...wanted] });
  }
  return found;
}

/** What was not checked on a backend when it was packed is nobody's default there. */
function isChecked(variant: Variant, backend: BackendName): boolean {
  return variant.unchecked?.includes(backend) !== true;
}

/** Gives the fastest variant by what the bundle tells, the smallest among those that are about as fast. */
export function best(variants: readonly Variant[], backend: BackendName): Variant | undefined {
  return fastOrSmall(variants, { time: (x) => x.speed?.[backend] ?? 1, bytes: sizeOf, needs: (x) => x.needs.length });
}

/** What a choice goes by: how long something takes, what it weighs, and how much it asks of a device. */
export interface Traits<T> {
  readonly time: (x: T) => number;
  readonly bytes: (x: T) => number;
  readonly needs: (x: T) => number;
}

/**
 * Gives the smallest of those that are about as fast as the fastest. Of those about as small it is what needs the least; or
 * one that is clearly faster.
 */
export function fastOrSmall<T>(all: readonly T[], { time, bytes, needs }: Traits<T>): T | undefined {
  const least = Math.min(...all.map(time));
  const fast = all.filter((x) => time(x) <= least * SIMILAR.time);
  const smallest = Math.min(...fast.map(bytes));
  const [first, ...others] = fast
    .filter((x) => bytes(x) <= smallest * SIMILAR.bytes)
    .sort((a, b) => needs(a) - needs(b) || bytes(a) - bytes(b) || time(a) - time(b));
  if (first === undefined) return undefined;
  return others.reduce((a, b) => (time(b) < Math.min(time(a), time(first) * FASTER) ? b : a), first);
}

/** Decides between WebGPU and wasm without measuring where that is possible; null where it must be measured. */
export function settled(found: readonly Candidate[], device: DeviceFacts, pins: Pins): Placement | null {
  const backend = found.length === 1 ? found[0]?.backend : undefined;
  if (backend !== undefined && pins.backend !== undefined) return place(backend, "pinned", "pinned by the caller");
  if (backend === "wasm")
    return place(
      "wasm",
      "webgpu-missing",
      device.gpu === null ? "there is no WebGPU here" : "no variant fits this GPU",
    );
  if (backend === "webgpu") return place("webgpu", "wasm-missing", "no variant fits wasm");
  if (device.gpu?.software !== true) return null;
  const { vendor, architecture, description } = device.gpu;
  const name = [vendor, architecture, description].filter((x) => x !== "").join(" ");
  return place("wasm", "software-adapter", `the GPU is a software adapter (${name})`);
}

/** Decides between WebGPU and wasm by what was measured; `cause` is the code of the error where one of them failed. */
export function decide({ wasm, webgpu }: Measured, cause?: string): Placement {
  const failed = `failed when it was tried${cause === undefined ? "" : ` (${cause})`}`;
  if (webgpu === null) return place("wasm", "webgpu-failed", `WebGPU ${failed}`);
  if (wasm === null) return place("webgpu", "wasm-failed", `wasm ${failed}`);
  const numbers = `webgpu ${webgpu.toFixed(1)} ms, wasm ${wasm.toFixed(1)} ms for a typical input`;
  return webgpu < wasm * WIN ? place("webgpu", "measured-faster", numbers) : place("wasm", "measured-slower", numbers);
}

/** Says why another candidate is taken than the best one, where one is left. */
export function whySpared({ backend, variant }: Candidate): Why {
  return { code: "crashed-before", text: `a page died while it tried ${variant.id} on ${backend}` };
}

function place(backend: BackendName, code: WhyCode, text: string): Placement {
  return { backend, why: { code, text: `${backend}: ${text}` } };
}

function sizeOf(variant: Variant): number {
  return variant.wireBytes ?? variant.files.reduce((sum, file) => sum + file.bytes, 0);
}
