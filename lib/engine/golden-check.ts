// Golden check: compares a variant's answer on this GPU with the bundle's known answer (`Golden` in core/bundle.ts)
// before a lane that loaded it answers a request. GPUs, drivers and kernels may compute wrongly without an error.
// Imported when a variant with a golden is loaded on WebGPU.
//
// A pass is stored per identity, variant, adapter, browser and release, so that later loads run nothing more; the loss
// of a device drops it. A refusal is stored for a day.
import type { AdapterFacts } from "../core/device.ts";
import type { Effects } from "../effects/effects.ts";
import { fromWireError, SelvedgeError } from "../core/errors.ts";
import type { Feeds, Ran } from "../rpc/messages.ts";
import { ARRAY_TYPES } from "../core/tensor.ts";
import type { NumericDtype, Tensor } from "../core/tensor.ts";
import type { Variant } from "../core/bundle.ts";
import { RELEASE } from "../core/version.ts";
import { CHECKS_KEY } from "../pool/gpu-loss-ledger.ts";

/** Bounds on max|Δ| / max|reference| of an output, by the precision that a variant computes in. */
const TOLERANCE = { float32: 1e-3, float16: 2e-2 } as const;
/** Bound on |Δ| where a reference is all zeros. */
const FLOOR = 1e-6;
/** Magnitude from which a reference counts as a mask, as −3.4e38: it sets no scale for other elements. */
const MASK = 1e30;

const DAY_MS = 86_400_000;
/** How long a pass is valid, and how long a refusal is. */
const PASS_MS = 30 * DAY_MS;
const REFUSAL_MS = DAY_MS;
const ENTRIES_MAX = 64;

/** The element types of safetensors files. */
const DTYPES: Readonly<Record<string, NumericDtype>> = {
  F32: "float32",
  F64: "float64",
  F16: "float16",
  I8: "int8",
  U8: "uint8",
  I16: "int16",
  U16: "uint16",
  I32: "int32",
  U32: "uint32",
  I64: "int64",
  U64: "uint64",
  BOOL: "bool",
};

type Tensors = Readonly<Record<string, Tensor>>;
/** Fault of a refused variant, or "" for a pass, with the wall-clock time. */
type Entry = readonly [fault: string, atMs: number];

/** Collaborators of a check, and what it is about. */
export interface CheckParts {
  readonly effects: Effects;
  /** Facts of the adapter; null where they are unknown. */
  readonly gpu: AdapterFacts | null;
  /** Identity of the bundle. */
  readonly identity: string;
  readonly variant: Variant;
  /** Fetches the golden's inputs and outputs. */
  readonly read: () => Promise<readonly [inputs: Blob, outputs: Blob]>;
}

/** Checks one variant on the GPU. */
export class GoldenCheck {
  readonly #parts: CheckParts;
  readonly #name: string;

  constructor(parts: CheckParts) {
    const { effects, gpu, identity, variant } = parts;
    this.#parts = parts;
    const device = [gpu?.vendor, gpu?.architecture, gpu?.description, effects.facts.browser].join("|");
    this.#name = `${identity}/${variant.id}/${device}`;
  }

  /** Throws SelvedgeError `wrong-result` where this variant was refused here within the last day. */
  assertNotRefused(): void {
    const fault = this.#recall();
    if (fault !== undefined && fault !== "") throw refusal(this.#parts.variant.id, fault);
  }

  /**
   * Checks the variant on a lane that has just loaded it, unless it passed before. Returns why it could not be checked,
   * or null where it passed.
   * @throws SelvedgeError `wrong-result` for a wrong answer; rejects as the lane's runs do
   */
  async check(run: (items: readonly Feeds[]) => Promise<Ran>): Promise<string | null> {
    if (this.#recall() === "") return null;
    const golden = await this.#parts.read().then(
      ([inputs, outputs]) => Promise.all([readTensors(inputs), readTensors(outputs)]),
      () => null,
    );
    if (golden === null) return "the golden files could not be fetched";
    const [tensors, expected] = golden;
    if (tensors === null || expected === null) return "the golden files can't be read";
    const { variant } = this.#parts;
    const { items } = await run([{ tensors, others: null }]);
    const item = items[0];
    if (item?.ok === false) throw fromWireError(item.error);
    const fault = faultOf(item?.value.outputs ?? {}, expected, variant.needs.includes("shader-f16"));
    this.#remember(fault ?? "");
    if (fault !== null) throw refusal(variant.id, fault);
    return null;
  }

  #recall(): string | undefined {
    const [fault, atMs] = this.#read()[this.#name] ?? ["", Infinity];
    const ageMs = this.#parts.effects.wallClock() - atMs; // negative where the clock was set back
    return ageMs >= 0 && ageMs < (fault === "" ? PASS_MS : REFUSAL_MS) ? fault : undefined;
  }

  #remember(fault: string): void {
    const { memo, wallClock } = this.#parts.effects;
    const others = Object.entries(this.#read()).filter(([name]) => name !== this.#name);
    const entry: Entry = [fault, wallClock()];
    const variants = Object.fromEntries([...others.slice(1 - ENTRIES_MAX), [this.#name, entry]]);
    memo.set(CHECKS_KEY, JSON.stringify({ release: RELEASE, variants }));
  }

  #read(): Readonly<Record<string, Entry>> {
    try {
      const { release, variants } = JSON.parse(this.#parts.effects.memo.get(CHECKS_KEY) ?? "") as {
        release: string;
        variants: Record<string, Entry>;
      };
      return release === RELEASE ? variants : {};
    } catch {
      return {}; // missing, or written by other code
    }
  }
}

function refusal(variant: string, fault: string): SelvedgeError {
  const sentence = `WebGPU ${variant} refused: ${fault} (golden check)`;
  const message = `${sentence}. This GPU computes it wrongly: leave \`backend\` out, or name another variant.`;
  return new SelvedgeError("wrong-result", message, { reason: "golden", variant, refusal: sentence });
}

/** Returns what is wrong with outputs in comparison to the expected ones; null where nothing is. */
export function faultOf(outputs: Tensors, expected: Tensors, isHalf: boolean): string | null {
  for (const [name, reference] of Object.entries(expected)) {
    const output = outputs[name];
    if (output === undefined) return `no output "${name}"`;
    if (String(output.dims) !== String(reference.dims))
      return `"${name}" has dims ${output.dims.join("×")} in place of ${reference.dims.join("×")}`;
    const tolerance = isHalf || reference.dtype === "float16" ? TOLERANCE.float16 : TOLERANCE.float32;
    const error = errorOf(numbersOf(output), numbersOf(reference));
    if (error === null) return `"${name}" is not finite`;
    if (error > tolerance) return `error ${Number(error.toPrecision(2))} above ${tolerance}`;
  }
  return null;
}

/** Returns max|Δ| / max|reference|; null where a value is not finite although its reference is. */
function errorOf(values: ArrayLike<number>, reference: ArrayLike<number>): number | null {
  if (values.length !== reference.length) return null;
  let scale = FLOOR / TOLERANCE.float32;
  for (let i = 0; i < reference.length; i += 1) {
    const size = Math.abs(reference[i] as number);
    if (size < MASK && size > scale) scale = size;
  }
  let error = 0;
  for (let i = 0; i < reference.length; i += 1) {
    const wanted = reference[i] as number;
    const value = values[i] as number;
    if (!Number.isFinite(wanted)) continue;
    if (!Number.isFinite(value)) return null;
    const size = Math.abs(wanted);
    error = Math.max(error, Math.abs(value - wanted) / (size < MASK ? scale : size));
  }
  return error;
}

function numbersOf({ dtype, data }: Tensor): ArrayLike<number> {
  if (dtype === "float16") return Float64Array.from(data, halfToNumber);
  return Array.from<bigint | number | string, number>(data, Number);
}

function halfToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
}

/** Reads a safetensors file; null where it is malformed, or has an element type that is not known here. */
async function readTensors(file: Blob): Promise<Tensors | null> {
  try {
    const bytes = await file.arrayBuffer();
    const start = 8 + Number(new DataView(bytes).getBigUint64(0, true));
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 8, start - 8))) as Record<
      string,
      { readonly dtype: string; readonly shape: number[]; readonly data_offsets: [number, number] }
    >;
    const tensors: Record<string, Tensor> = {};
    for (const [name, { dtype: type, shape, data_offsets: range }] of Object.entries(header)) {
      if (name === "__metadata__") continue;
      const dtype = DTYPES[type] as NumericDtype;
      const data = new ARRAY_TYPES[dtype](bytes.slice(start + range[0], start + range[1]));
      tensors[name] = { dtype, dims: shape, data } as Tensor;
    }
    return tensors;
  } catch {
    return null;
  }
}
