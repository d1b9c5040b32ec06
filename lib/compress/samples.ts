// Inputs on which a model is measured: from .npy, .npz, JSON lines, a folder of arrays or of images, or a module. Each
// becomes a feed of the model's own types, one sample at a time. Without any, inputs are made up from the declared dims:
// enough to tell whether a form computes the same, and the report says so.
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { extname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { BundleInput } from "../bundle.ts";
import { imageToTensor } from "../preprocess/image.ts";
import { arrayOver } from "../tensor.ts";
import type { Dtype, Port, Tensor } from "../tensor.ts";
import { readNpy, readNpz } from "./npy.ts";
import type { NumberArray } from "./npy.ts";
import { float16Bits } from "./quantize-weights.ts";
import { loadSharp } from "./runtime.ts";

/** One sample: a tensor for each input. */
export type Feed = Readonly<Record<string, Tensor>>;

/** Samples and where they came from. */
export interface Samples {
  readonly feeds: readonly Feed[];
  /** Whether they were made up. */
  readonly isMadeUp: boolean;
}

const IMAGES = /\.(png|jpe?g|webp|gif|avif|tiff?)$/i;
/** A made-up size for a symbolic dim: the first axis counts items, others must be large enough for a kernel. */
const SYMBOLIC = { first: 1, other: 32 } as const;

/** Reads samples; `bound` is the number below which made-up whole numbers stay. */
export async function readSamples(
  path: string | undefined,
  inputs: readonly BundleInput[],
  options: { limit: number; typical: Readonly<Record<string, number>>; bound: number },
): Promise<Samples> {
  if (path === undefined) return { feeds: madeUp(inputs, options.typical, options.bound), isMadeUp: true };
  const feeds = (await readAll(path, inputs, options.limit)).slice(0, options.limit);
  if (feeds.length === 0) throw new TypeError(`samples: ${path} holds no sample`);
  return { feeds, isMadeUp: false };
}

async function readAll(path: string, inputs: readonly BundleInput[], limit: number): Promise<Feed[]> {
  if (!existsSync(path)) throw new TypeError(`samples: ${path} is not there`);
  if (statSync(path).isDirectory()) return readFolder(path, inputs, limit);
  switch (extname(path)) {
    case ".npy":
      return cut({ [only(inputs, path).name]: readNpy(new Uint8Array(readFileSync(path)), path) }, inputs);
    case ".npz":
      return cut(readNpz(new Uint8Array(readFileSync(path))), inputs);
    case ".jsonl":
    case ".ndjson":
      return readFileSync(path, "utf8")
        .split("\n")
        .filter((x) => x.trim() !== "")
        .map((line) => fromJson(JSON.parse(line), inputs));
    case ".js":
    case ".mjs":
    case ".ts":
    case ".mts":
      return readModule(path, inputs, limit);
    default:
      throw new TypeError(`samples: ${path} is no .npy, .npz, .jsonl, module or folder`);
  }
}

async function readFolder(path: string, inputs: readonly BundleInput[], limit: number): Promise<Feed[]> {
  const files = readdirSync(path).sort();
  const arrays = files.filter((x) => /\.np[yz]$/.test(x));
  const feeds: Feed[] = [];
  if (arrays.length > 0) {
    for (const file of arrays.slice(0, limit)) feeds.push(...(await readAll(join(path, file), inputs, limit)));
    return feeds;
  }
  const input = only(inputs, path);
  if (input.image === undefined)
    throw new TypeError(
      `samples: ${path} holds images, and nothing says how they become "${input.name}"; give --bundle`,
    );
  const sharp = await loadSharp();
  for (const file of files.filter((x) => IMAGES.test(x)).slice(0, limit)) {
    const { data, info } = await sharp(join(path, file)).ensureAlpha().raw().toBuffer({ resolveWithObject: true });
    const pixels = { width: info.width, height: info.height, data: new Uint8ClampedArray(data) };
    feeds.push({ [input.name]: imageToTensor(pixels, input.image, input.dtype) });
  }
  return feeds;
}

async function readModule(path: string, inputs: readonly BundleInput[], limit: number): Promise<Feed[]> {
  const module = (await import(pathToFileURL(resolve(path)).href)) as Record<string, unknown>;
  const given = module["samples"] ?? module["default"];
  const made = (typeof given === "function" ? (given as () => unknown)() : given) as AsyncIterable<unknown> | undefined;
  if (made === undefined) throw new TypeError(`samples: ${path} exports no "samples"`);
  const feeds: Feed[] = [];
  for await (const each of made) {
    feeds.push(fromJson(each, inputs));
    if (feeds.length >= limit) break;
  }
  return feeds;
}

/** Cuts arrays into samples along their first axis. */
function cut(arrays: Record<string, NumberArray>, inputs: readonly Port[]): Feed[] {
  const lists = inputs.map((input) => {
    const single = inputs.length === 1 ? Object.values(arrays)[0] : undefined;
    const array = arrays[input.name] ?? single;
    if (array === undefined) throw new TypeError(`samples: there is no array for the input "${input.name}"`);
    const { dims, data } = array;
    const isStacked = dims.length === input.dims.length + 1;
    if (!isStacked && dims.length !== input.dims.length)
      throw new TypeError(`samples: "${input.name}" has ${input.dims.length} dims, and the array ${dims.length}`);
    const step = isStacked || typeof input.dims[0] !== "number" ? 1 : input.dims[0];
    const inner = dims.slice(1);
    const count = Math.floor((dims[0] ?? 1) / step);
    const length = step * inner.reduce((a, b) => a * b, 1);
    const shape = isStacked ? inner : [step, ...inner];
    return Array.from({ length: count }, (_, i) => ({ dims: shape, data: part(data, i * length, length) }));
  });
  const counts = new Set(lists.map((x) => x.length));
  if (counts.size > 1) throw new TypeError(`samples: the arrays hold ${[...counts].join(" and ")} samples`);
  return Array.from({ length: lists[0]?.length ?? 0 }, (_, i) =>
    Object.fromEntries(inputs.map((input, j) => [input.name, tensorOf(input, lists[j]?.[i])])),
  );
}

function part(data: ArrayLike<number>, start: number, length: number): number[] {
  return Array.from({ length }, (_, i) => data[start + i] ?? 0);
}

function fromJson(value: unknown, inputs: readonly Port[]): Feed {
  const isNamed = typeof value === "object" && value !== null && !Array.isArray(value) && !("dims" in value);
  return Object.fromEntries(
    inputs.map((input) => {
      const given = isNamed ? (value as Record<string, unknown>)[input.name] : value;
      return [input.name, tensorOf(input, Array.isArray(given) ? nested(given) : (given as NumberArray | undefined))];
    }),
  );
}

function nested(value: readonly unknown[]): NumberArray {
  const dims: number[] = [];
  for (let at: unknown = value; Array.isArray(at); at = at[0]) dims.push(at.length);
  return { dims, data: value.flat(Infinity) as number[] };
}

function tensorOf(input: Port, array: NumberArray | undefined): Tensor {
  if (array === undefined) throw new TypeError(`samples: one has nothing for the input "${input.name}"`);
  const { dims, data } = array;
  if (dims.length !== input.dims.length || input.dims.some((x, i) => typeof x === "number" && x !== dims[i]))
    throw new TypeError(`samples: "${input.name}" is [${input.dims.join(", ")}], and one is [${dims.join(", ")}]`);
  const count = dims.reduce((a, b) => a * b, 1);
  if (data.length !== count) throw new TypeError(`samples: "${input.name}" has ${data.length} values, not ${count}`);
  return { dtype: input.dtype, dims, data: fill(input.dtype, data) };
}

function fill(dtype: Dtype, values: ArrayLike<number>): Tensor["data"] {
  if (dtype === "string") throw new TypeError("samples: inputs of text are not supported");
  if (dtype === "int64") return BigInt64Array.from(Array.from(values, BigInt));
  if (dtype === "uint64") return BigUint64Array.from(Array.from(values, BigInt));
  if (dtype === "float16") return Uint16Array.from(values, float16Bits);
  const array = arrayOver(dtype, new ArrayBuffer(0));
  return (array.constructor as unknown as { from(x: ArrayLike<number>): Tensor["data"] }).from(values);
}

function madeUp(inputs: readonly BundleInput[], typical: Readonly<Record<string, number>>, bound: number): Feed[] {
  let state = 7;
  const next = (): number => {
    state = (state * 16_807) % 2_147_483_647;
    return state / 2_147_483_647;
  };
  return Array.from({ length: 4 }, () =>
    Object.fromEntries(
      inputs.map((input) => {
        const dims = input.dims.map((x, i) =>
          typeof x === "number" ? x : (typical[x] ?? (i === 0 ? SYMBOLIC.first : SYMBOLIC.other)),
        );
        const isWhole = !input.dtype.startsWith("float");
        const most = input.dtype === "bool" ? 2 : bound;
        const values = Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () =>
          isWhole ? Math.floor(next() * most) : next() * 2 - 1,
        );
        return [input.name, { dtype: input.dtype, dims, data: fill(input.dtype, values) }];
      }),
    ),
  );
}

function only(inputs: readonly BundleInput[], path: string): BundleInput {
  const [input] = inputs;
  if (input === undefined || inputs.length > 1)
    throw new TypeError(`samples: ${path} is for one input, and the model has ${inputs.length}; use .npz or .jsonl`);
  return input;
}
