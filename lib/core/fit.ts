// Whether a device has the memory for a variant, before any of it is fetched. `no`: it can't succeed, since its least need
// exceeds a limit of the browser or of the app. Where that is uncertain it is `tight`: a browser reports neither free
// memory nor, but for Chromium, the device's.
import type { Variant } from "./bundle.ts";
import type { Candidate } from "./choose-variant.ts";
import type { DeviceFacts } from "./device.ts";
import { CHECK_BYTES, FREE_BYTES, leastMemory, modelBytes, predictMemory } from "./predict-memory.ts";

/** Whether a model fits in memory; `tight` where that is uncertain. */
export type Fits = "yes" | "tight" | "no";

/** A limit that a load exceeds. */
export type UnfitReason = "wasm-limit" | "gpu-buffer" | "memory-budget" | "device-memory";

/** The predicted memory of a load, and whether it fits. */
export interface Fit {
  readonly fits: Fits;
  /** Predicted peak of a load and a run, in bytes; of the load alone where the run is not known. */
  readonly memoryBytes: number;
  /** One sentence with the numbers. */
  readonly why: string;
  /** The limit that is, or may be, exceeded (error-reasons.ts); null where it fits. */
  readonly reason: UnfitReason | null;
}

/** Limits of the app, and its way of loading. */
export interface MemoryCriteria {
  /** Bound on the memory of loaded models; null for none. */
  readonly budgetBytes: number | null;
  /** Whether the build of ONNX Runtime copies weights before it reads them: the one without JSPI does. */
  readonly copiesBlobs: boolean;
  /** Whether fetched files are kept in memory, for want of a store. */
  readonly holdsBlobs: boolean;
  /** The page's own id (`HostFacts.page`): its models are not another tab's. */
  readonly page?: string;
  /** Weights of the models that other tabs of this origin have loaded. Default 0. */
  readonly elsewhereBytes?: number;
}

/** The end of a WebAssembly memory, which is larger than its resident part: it grows by a fifth at a time. */
const WASM_MAX_BYTES = 2 ** 32;
const WASM_SLACK = 1.07;
/** Share of the device's memory up to which a load surely fits; the browser and other programs take theirs. */
const SURE_SHARE = 1 / 4;
/** Memory of a device that does not report it, as low as is usual. */
const USUAL_BYTES = 4 * 2 ** 30;
/** Browsers round the device's memory to a power of two, and cap it: up to here the report is no cap. */
const REPORTED_MAX_BYTES = 4 * 2 ** 30;
const ROUNDING = 1.5;

/** Predicts whether a variant fits on a backend. */
export function fitOf(candidate: Candidate, device: DeviceFacts, criteria: MemoryCriteria): Fit {
  const { backend, variant } = candidate;
  const memoryBytes = memoryOf(candidate, criteria);
  const when = variant.activationBytes === undefined ? "to load, its run not counted" : "at its peak";
  const about = `${variant.id} on ${backend}: about ${bytesText(memoryBytes)} ${when}`;
  const found = (fits: Fits, checks: readonly LimitCheck[]): Fit | null => {
    const [, reason = null, text = ""] = checks.find(([isExceeded]) => isExceeded) ?? [];
    return reason === null ? null : { fits, memoryBytes, why: `${about}; ${text}`, reason };
  };
  const { no, tight } = checksOf(candidate, memoryBytes, device, criteria);
  return found("no", no) ?? found("tight", tight) ?? { fits: "yes", memoryBytes, why: about, reason: null };
}

/** A limit: whether it is exceeded, and what it is. */
type LimitCheck = readonly [isExceeded: boolean, reason: UnfitReason, text: string];

function checksOf(
  { backend, variant }: Candidate,
  memoryBytes: number,
  { memoryBytes: deviceBytes, gpu }: DeviceFacts,
  { budgetBytes, elsewhereBytes = 0 }: MemoryCriteria,
): { readonly no: readonly LimitCheck[]; readonly tight: readonly LimitCheck[] } {
  const isWasm = backend === "wasm";
  const weights = weightBytes(variant);
  const needed = loadOf(variant, backend) + runOf(variant, backend);
  // A run of other sizes may take less.
  const least = isWasm ? leastOf(variant) : loadOf(variant, backend);
  const { tensorBytes = 0 } = variant;
  const budget = budgetBytes ?? Infinity;
  const limit = (name: string): number => gpu?.limits[name] ?? Infinity;
  const wasm = `WebAssembly memory ends at ${bytesText(WASM_MAX_BYTES)}`;
  const buffer = (name: string): string =>
    `its largest tensor has ${bytesText(tensorBytes)}, and ${name} of this GPU is ${bytesText(limit(name))}`;
  const deviceText = `this device has about ${bytesText(deviceBytes ?? USUAL_BYTES)}`;
  const others =
    elsewhereBytes === 0 ? "" : `, and other tabs of this site hold models of ${bytesText(elsewhereBytes)}`;
  const no: (readonly [isExceeded: boolean, reason: UnfitReason, text: string])[] = [
    [isWasm && least * WASM_SLACK > WASM_MAX_BYTES, "wasm-limit", wasm],
    [!isWasm && tensorBytes > limit("maxBufferSize"), "gpu-buffer", buffer("maxBufferSize")],
    [weights > budget, "memory-budget", `memoryBudgetBytes is ${bytesText(budget)}`],
    [
      deviceBytes !== null && deviceBytes <= REPORTED_MAX_BYTES && Math.min(needed, least) > ROUNDING * deviceBytes,
      "device-memory",
      deviceText,
    ],
  ];
  const binding = "maxStorageBufferBindingSize";
  const tight: (readonly [isExceeded: boolean, reason: UnfitReason, text: string])[] = [
    [isWasm && needed * WASM_SLACK > WASM_MAX_BYTES, "wasm-limit", wasm],
    [!isWasm && tensorBytes > limit(binding), "gpu-buffer", buffer(binding)],
    [memoryBytes > budget, "memory-budget", `memoryBudgetBytes is ${bytesText(budget)}`],
    [memoryBytes + elsewhereBytes > SURE_SHARE * (deviceBytes ?? USUAL_BYTES), "device-memory", deviceText + others],
  ];
  return { no, tight };
}

/** Predicts the peak of a load and a run on a backend, in bytes. */
export function memoryOf({ backend, variant }: Candidate, { copiesBlobs, holdsBlobs }: MemoryCriteria): number {
  const copies = (backend === "wasm" && copiesBlobs ? 1 : 0) + (holdsBlobs ? 1 : 0);
  const own = loadOf(variant, backend) + runOf(variant, backend) + copies * weightBytes(variant);
  // Without a golden wasm answers first (engine/known-answers.ts).
  const isCheckedByWasm = backend === "webgpu" && variant.golden === undefined;
  return isCheckedByWasm ? own + loadOf(variant, "wasm") + runOf(variant, "wasm") + CHECK_BYTES : own;
}

/** Whether most of a load on wasm are weights in float32 that the session has expanded; a load may do without that. */
export function isExpanded({ files, memoryBytes, session }: Variant): boolean {
  const weights = weightBytes({ files });
  return session?.wasm?.["session.disable_quant_qdq"] === "1" && (memoryBytes?.wasm ?? 0) > 2 * weights + FREE_BYTES;
}

/** Returns the least WebAssembly memory with which a variant can be loaded. */
function leastOf(variant: Variant): number {
  const least = leastMemory(weightBytes(variant));
  return isExpanded(variant) ? least : (variant.memoryBytes?.wasm ?? least);
}

function loadOf({ memoryBytes, files }: Variant, backend: Candidate["backend"]): number {
  return backend === "remote" ? 0 : (memoryBytes?.[backend] ?? predictMemory(modelBytes(files))[backend]);
}

function runOf({ activationBytes }: Variant, backend: Candidate["backend"]): number {
  return backend === "remote" ? 0 : (activationBytes?.[backend] ?? 0);
}

function weightBytes({ files }: Pick<Variant, "files">): number {
  const { graph, float } = modelBytes(files);
  return float === 0 ? graph : float;
}

/** Writes a number of bytes for people. */
function bytesText(bytes: number): string {
  const [unit, per] = bytes >= 1e9 ? ["GB", 1e9] : ["MB", 1e6];
  const value = bytes / per;
  return `${value >= 10 ? Math.round(value) : Number(value.toFixed(1))} ${unit}`;
}
