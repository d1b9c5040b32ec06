// Facts about this device and its capabilities. choose-variant.ts decides by them.

/** A backend that computes on this device. */
export type LocalBackend = "webgpu" | "wasm";

/** A backend of a lane; `remote` sends tensors to an inference server. */
export type BackendName = "webgpu" | "wasm" | "remote";

/** Whether a lane, a route or an answer is one of a server. */
export function isServer({ backend }: { readonly backend?: string }): boolean {
  return backend === "remote";
}

/**
 * Where requests may run: on this device, on a server, or wherever they finish first. With `local` nothing is sent.
 */
export type Placement = "local" | "remote" | "auto";

/**
 * Kind of lane. `express` is one more than there are cores, for short requests that may be late elsewhere. `wide` has
 * a thread per core, for sequential requests that would leave the other cores idle.
 */
export type LaneKind = "usual" | "express" | "wide";

/** Facts of a GPU adapter, as WebGPU reports them; strings may be empty where the browser hides them. */
export interface AdapterFacts {
  /** Vendor, as `nvidia`. */
  readonly vendor: string;
  /** Architecture family, as `ampere`. */
  readonly architecture: string;
  /** Full name. */
  readonly description: string;
  /** Whether the adapter runs on the CPU, as far as the browser reports it. */
  readonly software: boolean;
  /** Names of its WebGPU features, sorted. */
  readonly features: readonly string[];
  /** WebGPU limits by name. */
  readonly limits: Readonly<Record<string, number>>;
}

/** Describes the device that an engine runs on. */
export interface DeviceFacts {
  /** Logical cores, at least 1. */
  readonly cores: number;
  /** Whether the page is cross-origin isolated, so that wasm threads may be used. */
  readonly isolated: boolean;
  /**
   * Whether the page is a secure context: https, or localhost. Elsewhere browsers have no WebGPU, no isolation (so no
   * threads) and no storage for models: these run on wasm and are fetched at each visit.
   */
  readonly secure: boolean;
  /** Whether WebAssembly can suspend on promises (JSPI), which WebGPU requires here. */
  readonly jspi: boolean;
  /**
   * Memory of the device in bytes as the browser reports it, rounded and capped (`navigator.deviceMemory`); null where
   * it does not: all but Chromium.
   */
  readonly memoryBytes: number | null;
  /** Null where WebGPU is missing, blocked, or left out by the `backends` option. */
  readonly gpu: AdapterFacts | null;
}

/** Devices of this memory and less take the small-device profile: one worker, ended soon, and no prepacking. */
const SMALL_BYTES = 2 * 2 ** 30;

/** Whether a device reports so little memory that models are loaded in the least of it. */
export function isSmall({ memoryBytes }: Pick<DeviceFacts, "memoryBytes">): boolean {
  return memoryBytes !== null && memoryBytes <= SMALL_BYTES;
}

/** Names of known software adapters; browsers do not all set `isFallbackAdapter`. */
const SOFTWARE = /swiftshader|llvmpipe|lavapipe|softpipe|mesa software|microsoft basic render|\bwarp\b/i;

/**
 * Reads the facts of an adapter.
 * @internal left out of the published declarations, which must not need WebGPU types
 */
export function adapterFacts(adapter: GPUAdapter): AdapterFacts {
  const { vendor, architecture, description } = adapter.info;
  const limits: Record<string, number> = {};
  // The limits live on the prototype: a plain spread or JSON would lose them.
  for (const key in adapter.limits) {
    const value: unknown = Reflect.get(adapter.limits, key);
    if (typeof value === "number") limits[key] = value;
  }
  const fallback: unknown = Reflect.get(adapter.info, "isFallbackAdapter") ?? Reflect.get(adapter, "isFallbackAdapter");
  return {
    vendor,
    architecture,
    description,
    software: fallback === true || SOFTWARE.test(`${vendor} ${architecture} ${description}`),
    features: [...adapter.features].sort(),
    limits,
  };
}

/** Whether every capability word holds for a backend on a device; an unknown word does not. */
export function meetsNeeds(needs: readonly string[], backend: BackendName, device: DeviceFacts): boolean {
  return needs.every((need) => {
    if (need === "webgpu" || need === "wasm") return need === backend;
    if (backend !== "webgpu" || device.gpu === null) return false;
    const limit = /^([A-Za-z0-9]+)>=(\d+)$/.exec(need);
    if (limit !== null) return (device.gpu.limits[limit[1] ?? ""] ?? -1) >= Number(limit[2]);
    return device.gpu.features.includes(need);
  });
}
