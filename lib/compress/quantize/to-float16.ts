// Converts a model to float16: half the bytes, and on a GPU with `shader-f16` twice the arithmetic throughput. Inputs
// and outputs keep their types, behind a Cast.
//
// Every value's type comes from ONNX Runtime's own inference. A node stays float32, between Casts, where it has no
// float16 form, holds a subgraph, has a constant that float16 cannot represent (past 65,504, or so small that it
// becomes 0, such as an epsilon), produces values past that range on the samples, or loses too much accuracy
// (keep-float32.ts). Weights that such a node reads are stored in 16 bits all the same.
import type { ValueFacts } from "../run/infer-values.ts";
import { integerOf, setAttribute, subgraphs, uses } from "../onnx/graph.ts";
import type { Graph } from "../onnx/graph.ts";
import { TensorProto_DataType } from "../onnx/onnx.gen.js";
import type { NodeProto, TensorProto } from "../onnx/onnx.gen.js";
import type { Transform } from "../onnx/model.ts";
import { float16Bits, float16BitsOf } from "../onnx/float16.ts";
import { nodesInFloat32 } from "./keep-float32.ts";
import { rowAxis } from "./quantize-weights.ts";
import { storeInt16Pairs } from "./int16-pairs.ts";
import { elementCount, float16Tensor, floatsOf } from "../onnx/tensor-proto.ts";

/** Options of `toHalf`. */
export interface HalfOptions {
  /** Type and dims of each value, by `inferValues` of the same model. */
  readonly values: ReadonlyMap<string, ValueFacts>;
  /** The largest magnitude of each value over the samples, where it was measured. Default none. */
  readonly peaks?: ReadonlyMap<string, number>;
  /** Returns the float16 of a constant; null where it does not fit. Default `halfOf`. */
  readonly half?: (constant: TensorProto) => Uint16Array | null;
}

/** The largest float16. */
const HALF_MAX = 65_504;
/** A value with a peak above this stays float32: other inputs may go further. */
const PEAK_MAX = HALF_MAX / 4;
/** Constants of more elements are weights, where flushing a value to 0 does no harm. */
const SCALAR_MAX = 4;
/** Minimum size at which storing a table as float16 saves more than the nodes that widen it cost. */
const TABLE_MIN = 256;
/** Vectors affect every output at full size, as scales and biases of norms do, so they must save more than that. */
const VECTOR_MIN = 1_024;

/** Operators without a float16 form, or whose float16 form has no good kernel. */
const FLOAT32_ONLY: ReadonlySet<string> = new Set(
  (
    "QuantizeLinear DequantizeLinear DynamicQuantizeLinear NonMaxSuppression RandomNormal RandomUniform " +
    "RandomNormalLike RandomUniformLike Multinomial Bernoulli EyeLike Range Upsample RoiAlign MaxRoiPool LSTM GRU RNN " +
    "Constant ConstantOfShape CumSum MeanVarianceNormalization NegativeLogLikelihoodLoss SoftmaxCrossEntropyLoss " +
    "StringNormalizer TfIdfVectorizer STFT DFT MelWeightMatrix HannWindow HammingWindow BlackmanWindow GridSample " +
    "ConcatFromSequence SplitToSequence SequenceConstruct SequenceAt SequenceInsert ReverseSequence Det"
  ).split(" "),
);
/** Inputs that stay float32 in an operator's float16 form. */
const FLOAT32_INPUTS: Readonly<Record<string, readonly number[]>> = { Resize: [1, 2] };

/** Converts the main graph to float16. */
export function toHalf(options: HalfOptions): Transform {
  return (model) => new Halving(model.graph, options).run();
}

class Halving {
  readonly #graph: Graph;
  readonly #options: HalfOptions;
  readonly #wide: ReadonlySet<NodeProto>;
  /** Names of values already converted to the other width. */
  readonly #casts = new Map<string, string>();

  constructor(graph: Graph, options: HalfOptions) {
    this.#graph = graph;
    this.#options = options;
    const precise = nodesInFloat32(graph);
    this.#wide = new Set(graph.nodes.filter((x) => precise.has(x) || this.#staysWide(x)));
  }

  run(): void {
    const graph = this.#graph;
    const nodes = [...graph.nodes];
    const halves = new Set(
      nodes.filter((x) => !this.#wide.has(x)).flatMap((x) => x.output.filter((y) => this.#isFloat(y))),
    );
    for (const node of nodes) {
      const isWide = this.#wide.has(node);
      for (const [i, name] of node.input.entries()) {
        if (!this.#isFloat(name)) continue;
        const wantsWide = isWide || (FLOAT32_INPUTS[node.opType]?.includes(i) ?? false);
        const constant = graph.constant(name);
        if (constant !== undefined) node.input[i] = this.#constant(node, constant, wantsWide);
        else if (wantsWide === halves.has(name)) node.input[i] = this.#cast(node, name, wantsWide);
      }
      if (!isWide && node.opType === "Cast" && integerOf(node, "to", 0) === TensorProto_DataType.FLOAT)
        setAttribute(node, "to", TensorProto_DataType.FLOAT16);
    }
    for (const node of nodes)
      for (const [i, name] of node.output.entries()) {
        if (!halves.has(name)) continue;
        const isCaptured = graph.consumers(name).some((x) => !x.input.includes(name));
        if (!graph.isOutput(name) && !isCaptured) continue;
        // The name belongs to the float32 value, which is public; inside, it gets another name.
        const inner = graph.freshName(`${name}/float16`);
        for (const user of graph.consumers(name)) user.input = user.input.map((x) => (x === name ? inner : x));
        node.output[i] = inner;
        graph.insertAfter(node, cast(inner, name, TensorProto_DataType.FLOAT));
      }
    this.#dropWide();
    graph.proto.valueInfo = [];
    graph.changed();
  }

  #isFloat(name: string): boolean {
    const constant = name === "" ? undefined : this.#graph.constant(name);
    if (constant !== undefined) return constant.dataType === TensorProto_DataType.FLOAT;
    return this.#options.values.get(name)?.type === "float32";
  }

  #staysWide(node: NodeProto): boolean {
    if (node.domain !== "" || FLOAT32_ONLY.has(node.opType) || subgraphs(node).length > 0) return true;
    // A sequence, an optional or an output whose type was not inferred.
    if (node.output.some((x) => x !== "" && !this.#options.values.has(x))) return true;
    const peak = (name: string): number => this.#options.peaks?.get(name) ?? 0;
    if ([...node.input, ...node.output].some((x) => peak(x) > PEAK_MAX)) return true;
    return node.input.some((name) => {
      const constant = name === "" ? undefined : this.#graph.constant(name);
      return constant?.dataType === TensorProto_DataType.FLOAT && this.#half(constant) === null;
    });
  }

  #half(constant: TensorProto): Uint16Array | null {
    return (this.#options.half ?? halfOf)(constant);
  }

  #constant(node: NodeProto, constant: TensorProto, wantsWide: boolean): string {
    const graph = this.#graph;
    const storedMin = constant.dims.length > 1 ? TABLE_MIN : VECTOR_MIN;
    if (wantsWide && (elementCount(constant) <= storedMin || this.#half(constant) === null)) return constant.name;
    const key = `${constant.name} ${wantsWide ? "wide" : "half"}`;
    const known = this.#casts.get(key);
    if (known !== undefined) return known;
    const users = graph.consumers(constant.name);
    const isWideOnly = users.every(
      (x) => this.#wide.has(x) || graph.consumers(x.output[0] ?? "").every((y) => this.#wide.has(y)),
    );
    // An operator of ONNX Runtime's own has no float16 form here; its weights need no more bits than others.
    const isPrecise = wantsWide && isWideOnly && node.domain === "";
    const axis = isPrecise ? rowAxis(graph, constant) : undefined;
    const exact = axis === undefined ? undefined : storeInt16Pairs(graph, constant, axis);
    if (exact !== undefined) {
      this.#casts.set(key, exact);
      return exact;
    }
    let half = this.#casts.get(`${constant.name} half`);
    if (half === undefined) {
      half = graph.freshName(`${constant.name}/float16`);
      const bits = this.#half(constant) ?? float16BitsOf(floatsOf(constant));
      graph.addInitializer(float16Tensor(half, constant.dims.map(Number), bits));
      this.#casts.set(`${constant.name} half`, half);
    }
    if (!wantsWide) return half;
    const wide = graph.freshName(`${constant.name}/float32`);
    graph.insertBefore(node, cast(half, wide, TensorProto_DataType.FLOAT));
    this.#casts.set(key, wide);
    return wide;
  }

  #cast(node: NodeProto, name: string, toWide: boolean): string {
    const known = this.#casts.get(name);
    if (known !== undefined) return known;
    const graph = this.#graph;
    const made = graph.freshName(`${name}/${toWide ? "float32" : "float16"}`);
    graph.insertBefore(node, cast(name, made, toWide ? TensorProto_DataType.FLOAT : TensorProto_DataType.FLOAT16));
    this.#casts.set(name, made);
    return made;
  }

  /** Removes the float32 constants that are no longer read. */
  #dropWide(): void {
    const graph = this.#graph;
    const used = new Set(graph.nodes.flatMap((x) => [...uses(x)]));
    for (const { name } of [...graph.proto.input, ...graph.proto.output]) used.add(name);
    graph.proto.initializer = graph.proto.initializer.filter((x) => used.has(x.name));
  }
}

function cast(from: string, to: string, type: TensorProto_DataType): Parameters<Graph["insertBefore"]>[1] {
  return { opType: "Cast", input: [from], output: [to], attributes: { to: type } };
}

/** Returns the float16 of a constant; null where it does not fit. */
export function halfOf(constant: TensorProto): Uint16Array | null {
  return fits(constant) ? float16BitsOf(floatsOf(constant)) : null;
}

/** Whether float16 can represent a constant: no finite value past its range, no small number that becomes 0. */
function fits(constant: TensorProto): boolean {
  const isScalar = elementCount(constant) <= SCALAR_MAX;
  return floatsOf(constant).every((x) => {
    const size = Math.abs(x);
    return size === Infinity || (!(size > HALF_MAX) && !(isScalar && x !== 0 && (float16Bits(x) & 0x7fff) === 0));
  });
}
