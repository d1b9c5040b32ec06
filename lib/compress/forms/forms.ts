// The forms of a model, each for the targets where it is known to run well, and how each is made from the simplified
// float32 model. Facts behind the choice: a GPU has kernels for block-wise weights and for weights behind
// DequantizeLinear, for no integer convolution or product; wasm is fastest with dynamic int8, where that is faster at
// all.
import type { Variant } from "../../core/bundle.ts";
import { halfOf, toHalf } from "../quantize/to-float16.ts";
import { inferValues } from "../run/infer-values.ts";
import { keepFloat16 } from "../quantize/keep-float16.ts";
import type { OnnxModel, Transform } from "../onnx/model.ts";
import type { WrittenModel } from "../onnx/written-model.ts";
import { removeUnused } from "../simplify/remove-unused.ts";
import { leastBlock, QUANTIZE_BLOCKS_DEFAULTS, quantizeBlocks, roundToNearest } from "../quantize/quantize-blocks.ts";
import type { QuantizeBlocksOptions } from "../quantize/quantize-blocks.ts";
import { dynamicWeights, quantizeDynamic } from "../quantize/quantize-dynamic.ts";
import { measureSteps, quantizeStatic } from "../quantize/quantize-static.ts";
import { factsOf, quantizeWeights, toInt8 } from "../quantize/quantize-weights.ts";
import type { WeightFacts, WeightStore } from "../quantize/quantize-weights.ts";
import { layerOf } from "../onnx/layer.ts";
import type { Layer } from "../onnx/layer.ts";
import { packConstants } from "../simplify/pack-constants.ts";
import type { KeptRounding } from "../quantize/kept-rounding.ts";
import { countNames, roundNewLayers } from "../quantize/round-weights.ts";
import type { ChooseGrid as GridOf } from "../quantize/round-weights.ts";
import type { Rounded } from "../quantize/scales.ts";
import { choose8Bit } from "../quantize/choose-8-bit.ts";
import { chooseBlockSizes } from "../quantize/choose-block-sizes.ts";
import { TensorProto_DataType } from "../onnx/onnx.gen.js";
import type { TensorProto } from "../onnx/onnx.gen.js";
import { subgraphs } from "../onnx/graph.ts";
import { measurePeaks } from "../run/statistics.ts";
import type { SampleFeeds } from "../run/statistics.ts";
import { strip } from "../simplify/strip.ts";
import { elementCount } from "../onnx/tensor-proto.ts";

/** Target on which a form is to run. */
export type Target = "webgpu-f16" | "webgpu" | "wasm";

/** The targets, in the order of the command line's help. */
export const TARGETS: readonly Target[] = ["webgpu-f16", "webgpu", "wasm"];

/** A form's name, which is also its file name. */
export type FormId =
  | "f32"
  | "int8"
  | "int4"
  | "f16"
  | "int8-dynamic"
  | "int8-static"
  | "mixed"
  | "pruned"
  | "pruned-int8"
  | "masked"
  | "searched"
  | "searched-fast";

/** One form, before it is made. */
export interface Form {
  readonly id: FormId;
  /** Targets that it is made for and checked on. */
  readonly targets: readonly Target[];
  /** Whether it is made only on request by name. Default false. */
  readonly isOnDemand?: boolean;
  readonly needs: Variant["needs"];
  readonly session?: Variant["session"];
  /** Converts the simplified model to this form, using the inputs of its layers on samples. */
  make(model: OnnxModel, feeds: SampleFeeds, options?: MakeOptions): Promise<void>;
  /** Whether layers can be excluded from quantization (exclude-layers.ts). Default false. */
  readonly canExclude?: boolean;
}

/** A form that was made. */
export interface MadeForm extends WrittenModel {
  /** Includes the session entries that its bytes need. */
  readonly form: Form;
}

/** Options for making a form. */
export interface MakeOptions {
  /** Whether the samples are synthetic: then no statistics are gathered from them. Default false. */
  readonly isSynthetic?: boolean;
  /** Whether a weight, by name, keeps 16 bits or more. Default none. */
  readonly isLeft?: (name: string) => boolean;
  /** Whether a weight, by name, gets 8 bits in a form of 4 bits. Default those that are found to be worth it. */
  readonly has8Bits?: (name: string) => boolean;
  /** Whether the layer of a weight, by name, is excluded: its input stays unquantized. Default none. */
  readonly isExcluded?: (name: string) => boolean;
  /** The weights that were rounded for other forms of the same model and samples. Default none. */
  readonly kept?: KeptRounding | undefined;
  /** Awaited after each part of the weights, with the share that is done; rejects to stop. */
  readonly between?: (share: number) => Promise<void>;
}

/** Weights stored as int8 are dequantized once, while loading, and run at the speed of float32. */
export const FOLD: NonNullable<Variant["session"]> = {
  webgpu: { "session.disable_quant_qdq": "1" },
  wasm: { "session.disable_quant_qdq": "1" },
};

/** Minimum number of elements at which a weight in 8 bits with its scales and the node is smaller than in 32. */
const MIN_ELEMENTS = 256;

type ChooseStore = (weight: WeightFacts) => WeightStore;

/**
 * Measures which depthwise and first convolutions keep 16 bits; with synthetic samples, and in a large model, all do.
 */
async function storeFor(model: OnnxModel, feeds: SampleFeeds, isSynthetic: boolean): Promise<ChooseStore> {
  return keepFloat16(model, isSynthetic || isLarge(model) ? [] : feeds);
}

const gridUnless =
  (isLeft: (name: string) => boolean, grid: GridOf): GridOf =>
  (layer) =>
    isLeft(layer.weight.name) ? undefined : grid(layer);
const narrowed = (
  isNow: (name: string) => boolean,
  isLeft: (name: string) => boolean,
  store: ChooseStore,
  rounded: ReadonlyMap<string, Rounded>,
  blocks: ReadonlyMap<string, number> = new Map(),
): Transform =>
  quantizeWeights({
    minElements: MIN_ELEMENTS,
    store: (weight) => {
      if (!isNow(weight.name)) return "float32";
      return isLeft(weight.name) ? "float16" : store(weight);
    },
    rounded,
    blocks,
  });
const none = (): boolean => false;
const all = (): boolean => true;

/** Whether a weight is stored as int8. */
function isStoredInt8({ graph }: OnnxModel, tensor: TensorProto, store: ChooseStore): boolean {
  const facts = factsOf(graph, tensor);
  return facts !== undefined && store(facts) === "int8";
}

/**
 * Number of weights above which measuring the layers' inputs would take minutes, and more memory than twice the model.
 */
const ROUNDED_MAX = 48 * 2 ** 20;

function isLarge({ graph }: OnnxModel): boolean {
  return graph.proto.initializer.reduce((sum, x) => sum + elementCount(x), 0) > ROUNDED_MAX;
}

/** Whether weights are rounded to nearest: with synthetic samples, and where there are very many. */
export function isPlain(model: OnnxModel, isSynthetic: boolean): boolean {
  return isSynthetic || isLarge(model);
}

/** Number of elements that are rounded at once: about a second of work. A larger weight is a part of its own. */
const PART_ELEMENTS = 2 ** 20;

/** Time to round a weight to 4 bits, relative to 8: more scales are tried, and zero points. */
const FINE_COST = 4;

/**
 * Applies transforms to one part of the weights after the other: all of a large model take minutes, in which the
 * process would neither answer Ctrl-C nor say how far it is.
 */
async function byParts(
  model: OnnxModel,
  between: MakeOptions["between"],
  make: (isNow: (name: string) => boolean) => readonly Transform[],
  costOf: (name: string) => number = () => 1,
): Promise<void> {
  if (between === undefined) {
    model.transform(...make(() => true));
    return;
  }
  const weights = [...model.graph.all()].flatMap((graph) => graph.proto.initializer);
  const costs = weights.map((x) => elementCount(x) * costOf(x.name));
  const total = costs.reduce((sum, x) => sum + x, 0);
  let [done, part] = [0, new Set<string>()];
  let elements = 0;
  for (const [i, tensor] of weights.entries()) {
    part.add(tensor.name);
    elements += elementCount(tensor);
    done += costs[i] ?? 0;
    if (elements < PART_ELEMENTS && i < weights.length - 1) continue;
    const names = part;
    model.transform(...make((name) => names.has(name)));
    [part, elements] = [new Set(), 0];
    await between(done / total);
  }
}

/** Applies `use` to items in order, and awaits `between` after each part of about a second of work. */
async function eachOf<T>(
  items: readonly T[],
  sizeOf: (item: T) => number,
  between: MakeOptions["between"],
  use: (item: T) => unknown,
): Promise<void> {
  const total = items.reduce((sum, x) => sum + sizeOf(x), 0);
  let [done, part] = [0, 0];
  for (const item of items) {
    use(item);
    done += sizeOf(item);
    part += sizeOf(item);
    if (part < PART_ELEMENTS) continue;
    part = 0;
    await between?.(done / total);
  }
}

/** Final transforms of every form that stores weights in fewer bits. */
const REST: readonly Transform[] = [packConstants({ minElements: 64, isExact: false }), removeUnused(), strip()];

const FORMS: readonly Form[] = [
  { id: "f32", targets: TARGETS, needs: [], make: async () => undefined },
  {
    id: "int8",
    targets: TARGETS,
    needs: [],
    session: FOLD,
    make: makeInt8(() => new Map()),
  },
  {
    id: "int4",
    targets: ["webgpu-f16", "webgpu"],
    needs: ["webgpu"],
    session: FOLD,
    make: async (model, feeds, { isSynthetic = false, isLeft = none, has8Bits, between, kept } = {}) => {
      // A lookup table affects every token: it keeps 8 bits.
      const isTable = (name: string): boolean =>
        [...model.graph.all()].some((graph) => graph.readers(name)?.some((x) => x.node.opType === "Gather"));
      const isMeasured = has8Bits === undefined && !isPlain(model, isSynthetic);
      const wide = isMeasured ? await choose8Bit(model, feeds) : new Set<string>();
      const bits = (name: string): 4 | 8 => (isTable(name) || (has8Bits?.(name) ?? wide.has(name)) ? 8 : 4);
      const store = await storeFor(model, feeds, isSynthetic);
      const grid = gridUnless(isLeft, (x) => int4Grid(x, bits, store));
      const rounded = isPlain(model, isSynthetic) ? NONE : await roundNewLayers(model, feeds, grid, kept, between);
      const round = keptOr(model, kept);
      const parts = (isNow: (name: string) => boolean): readonly Transform[] => [
        quantizeBlocks({
          bits: (name) => (isNow(name) && !isLeft(name) ? bits(name) : null),
          rounded,
          round,
        }),
        narrowed(isNow, isLeft, store, rounded),
      ];
      await byParts(model, between, parts, (name) => (bits(name) === 4 ? FINE_COST : 1));
      model.transform(...REST);
    },
  },
  {
    id: "f16",
    targets: ["webgpu-f16"],
    needs: ["webgpu", "shader-f16"],
    session: FOLD,
    make: async (model, feeds, { between } = {}) => {
      const values = await inferValues(model);
      const peaks = await measurePeaks(model, feeds);
      const halves = new Map<TensorProto, Uint16Array | null>();
      const weights = model.graph.proto.initializer.filter((x) => x.dataType === TensorProto_DataType.FLOAT);
      await eachOf(weights, elementCount, between, (x) => halves.set(x, halfOf(x)));
      model.transform(toHalf({ values, peaks, half: (x) => (halves.has(x) ? (halves.get(x) ?? null) : halfOf(x)) }));
      // Weights that branches read stay float32 in arithmetic, and are stored in 16 bits.
      const hasBranches = model.graph.nodes.some((x) => subgraphs(x).length > 0);
      if (hasBranches) model.transform(packConstants({ minElements: 256, isExact: false }));
      model.transform(removeUnused(), strip());
    },
  },
  {
    id: "int8-dynamic",
    targets: ["wasm"],
    needs: ["wasm"],
    session: FOLD,
    canExclude: true,
    make: async (model, feeds, { isSynthetic = false, isLeft = none, isExcluded = none, between, kept } = {}) => {
      const store = await storeFor(model, feeds, isSynthetic);
      const grid = gridUnless(isLeft, (x) => int8Grid(x, store));
      const rounded = isPlain(model, isSynthetic) ? NONE : await roundNewLayers(model, feeds, grid, kept, between);
      const choose = (name: string): boolean => !isLeft(name) && !isExcluded(name);
      const stored = new Map<TensorProto, Map<number, ReturnType<typeof toInt8>>>();
      const int8 = (x: TensorProto, axis: number): ReturnType<typeof toInt8> => toInt8(x, axis, rounded.get(x.name));
      const sizeOf = ({ weight }: { readonly weight: TensorProto }): number => elementCount(weight);
      await eachOf(dynamicWeights(model, choose), sizeOf, between, ({ weight, axis }) =>
        stored.set(
          weight,
          (stored.get(weight) ?? new Map<number, ReturnType<typeof toInt8>>()).set(axis, int8(weight, axis)),
        ),
      );
      const ready: typeof int8 = (x, axis) => {
        const made = stored.get(x)?.get(axis);
        stored.get(x)?.delete(axis);
        return made ?? int8(x, axis);
      };
      model.transform(quantizeDynamic({ rounded, choose, int8: ready }));
      const rest = between && (() => between(1));
      await byParts(model, rest, (isNow) => [narrowed(isNow, isLeft, store, rounded)]);
      model.transform(...REST);
    },
  },
  {
    id: "int8-static",
    isOnDemand: true,
    targets: ["wasm"],
    needs: ["wasm"],
    make: async (model, feeds, { isSynthetic = false, isLeft = none, between, kept } = {}) => {
      const steps = await measureSteps(model, feeds);
      const store = await storeFor(model, feeds, isSynthetic);
      const grid = gridUnless(isLeft, (x) => int8Grid(x, store));
      const rounded = isPlain(model, isSynthetic) ? NONE : await roundNewLayers(model, feeds, grid, kept, between);
      model.transform(quantizeStatic({ steps, rounded }), narrowed(all, isLeft, store, rounded), ...REST);
    },
  },
];

const NONE: ReadonlyMap<string, Rounded> = new Map();

/**
 * Returns what rounds a weight to nearest, unless it was rounded so for an earlier form. Two branches may each have a
 * weight of one name: these are not kept.
 */
function keptOr(model: OnnxModel, kept: KeptRounding | undefined): NonNullable<QuantizeBlocksOptions["round"]> {
  const counts = countNames(model);
  return (name, rows, options) => {
    const store = counts.get(name) === 1 ? kept : undefined;
    const before = store?.get(name, "nearest", options);
    if (before !== undefined) return before;
    const rounded = roundToNearest(rows, options);
    if (rounded !== null) store?.set(name, "nearest", options, { ...rounded, shift: null });
    return rounded;
  };
}

/**
 * Makes int8: behind DequantizeLinear, except for products to which `blocked` assigns a block size; a GPU's kernel reads
 * those as stored.
 */
function makeInt8(
  blocked: (model: OnnxModel, isInt8: (x: TensorProto) => boolean) => ReadonlyMap<string, number>,
): Form["make"] {
  return async (model, feeds, { isSynthetic = false, isLeft = none, between, kept } = {}) => {
    const store = await storeFor(model, feeds, isSynthetic);
    const isInt8 = (x: TensorProto): boolean =>
      elementCount(x) >= MIN_ELEMENTS && !isLeft(x.name) && isStoredInt8(model, x, store);
    const finer = isLarge(model) ? new Map<string, number>() : await chooseBlockSizes(model, feeds, isInt8);
    const products = blocked(model, isInt8);
    const grid: GridOf = (layer) => {
      const plain = int8Grid(layer, store);
      const { name } = layer.weight;
      const block = finer.get(name) ?? products.get(name);
      return plain && block !== undefined ? { ...plain, block, isSnapped: !finer.has(name) } : plain;
    };
    const rounded = isPlain(model, isSynthetic)
      ? NONE
      : await roundNewLayers(model, feeds, gridUnless(isLeft, grid), kept, between);
    const blocks = new Map([...products].map(([name, block]) => [name, finer.get(name) ?? block]));
    const round = keptOr(model, kept);
    await byParts(model, between, (isNow) => [
      quantizeBlocks({
        bits: (name) => (isNow(name) && products.has(name) ? 8 : null),
        blocks,
        rounded,
        round,
      }),
      narrowed(isNow, isLeft, store, rounded, finer),
    ]);
    model.transform(...REST);
  };
}

/** Returns a block size for each weight that only products read. */
function productBlocks(model: OnnxModel, isInt8: (x: TensorProto) => boolean): ReadonlyMap<string, number> {
  const { graph } = model;
  const blocks = new Map<string, number>();
  for (const node of graph.nodes) {
    const layer = layerOf(graph, node);
    if (layer === undefined || node.opType === "Conv" || !isInt8(layer.weight)) continue;
    if (elementCount(layer.weight) < QUANTIZE_BLOCKS_DEFAULTS.minElements) continue;
    if (graph.consumers(layer.weight.name).every((x) => x.opType !== "Gather"))
      blocks.set(layer.weight.name, leastBlock(layer.columns));
  }
  return blocks;
}

/**
 * int8 for GPUs only: weights of products stay in 8 bits in GPU memory. The same kernel in WebAssembly takes 1.7 times
 * (64 rows) to 18 times (one row) as long as float32, so where wasm is a target too, the weights are dequantized while
 * loading.
 */
const INT8_ON_GPU = makeInt8(productBlocks);

/** A symmetric scale per output, as quantizeWeights stores it. */
function int8Grid(layer: Layer, store: ChooseStore): ReturnType<GridOf> {
  const dims = layer.weight.dims.map(Number);
  const facts = { opType: layer.node.opType, dims, group: layer.groups, name: layer.weight.name };
  if (elementCount(layer.weight) < MIN_ELEMENTS || store(facts) !== "int8") return undefined;
  return { bits: 8, block: layer.columns, isEven: true, isHalf: true, isSnapped: true };
}

/** Blocks of 4 bits for products, which quantizeBlocks stores; int8 for the rest. */
function int4Grid(layer: Layer, bits: (name: string) => 4 | 8, store: ChooseStore): ReturnType<GridOf> {
  if (elementCount(layer.weight) < MIN_ELEMENTS) return undefined;
  const isStored = layer.node.opType !== "Conv" && elementCount(layer.weight) >= QUANTIZE_BLOCKS_DEFAULTS.minElements;
  return !isStored
    ? int8Grid(layer, store)
    : {
        bits: bits(layer.weight.name),
        block: 32,
        hasZeros: true,
        isHalf: true,
      };
}

/**
 * Lists the forms for some targets, or those named.
 * @throws TypeError naming an unknown form.
 */
export function formsFor(targets: readonly Target[], named?: readonly string[]): readonly Form[] {
  for (const id of named ?? []) {
    if (!FORMS.some((x) => x.id === id))
      throw new TypeError(`forms: unknown form "${id}"; choose from ${FORMS.map((x) => x.id).join(", ")}`);
  }
  const isForGpu = targets.length > 0 && !targets.includes("wasm");
  const forms = FORMS.map((x) => (x.id === "int8" && isForGpu ? { ...x, make: INT8_ON_GPU } : x));
  return forms.filter((x) => {
    if (named !== undefined && x.id !== "f32") return named.includes(x.id);
    return x.id === "f32" || x.id === "int8" || (x.isOnDemand !== true && x.targets.some((y) => targets.includes(y)));
  });
}
