// Dynamic int8 for wasm: a layer's inputs are quantized at run time (dynamic-input.ts), its weights beforehand; sums
// are of integers. No GPU kernel exists for it.
//
// The layout is the fastest of seven measured on wasm (two are slower than float32): weights symmetric int8, shifted to
// uint8 with the single zero point 128, since signed weights take a slow path; a scale for each output, applied after
// the product (a convolution's by DequantizeLinear, which saves a node); only on products and on convolutions of 1×1,
// 1×3 and 3×1, whose columns need not be gathered first.
import { SelvedgeError } from "../../core/errors.ts";
import { quantizeInput } from "./dynamic-input.ts";
import type { DynamicInput } from "./dynamic-input.ts";
import { integerOf, integersAt } from "../onnx/graph.ts";
import { gemmAxis, isPlainGemm } from "../onnx/layer.ts";
import type { Graph, NodeSpec, ReadingNode } from "../onnx/graph.ts";
import { TensorProto_DataType } from "../onnx/onnx.gen.js";
import type { NodeProto, TensorProto } from "../onnx/onnx.gen.js";
import type { OnnxModel, Transform } from "../onnx/model.ts";
import type { Rounded } from "./scales.ts";
import { addScales } from "./quantize-blocks.ts";
import { toInt8 } from "./quantize-weights.ts";
import { elementCount, floatsOf, floatTensor, int64Tensor, uint8Tensor } from "../onnx/tensor-proto.ts";

/** Options of `quantizeDynamic`. */
export interface QuantizeDynamicOptions {
  /** Minimum number of elements; smaller weights are not quantized. Default 1024. */
  readonly minElements?: number;
  /** Weights that are already rounded, by name, with a positive scale for each output. Default none. */
  readonly rounded?: ReadonlyMap<string, Rounded>;
  /** Selects the layers, by their weight's name. Default all that are suitable. */
  readonly choose?: (name: string) => boolean;
  /** Returns a weight in 8 bits, with a scale for each index of the axis. Default `toInt8` of `rounded`. */
  readonly int8?: (weight: TensorProto, axis: number) => ReturnType<typeof toInt8>;
}

/** Defaults of `quantizeDynamic`. */
export const QUANTIZE_DYNAMIC_DEFAULTS: Required<Omit<QuantizeDynamicOptions, "int8">> = {
  minElements: 1024,
  rounded: new Map(),
  choose: () => true,
};

/**
 * Replaces products and small convolutions with constant float32 weights by integer ones.
 * @throws SelvedgeError `model-invalid` below operator set 13.
 */
export function quantizeDynamic(options: QuantizeDynamicOptions = {}): Transform {
  const { minElements, rounded, choose, int8 } = { ...QUANTIZE_DYNAMIC_DEFAULTS, ...options };
  const int8Of: Int8Of = int8 ?? ((weight, axis) => toInt8(weight, axis, rounded.get(weight.name)));
  return (model) => {
    if (model.opset < 13)
      throw new SelvedgeError("model-invalid", `per-sample scales need operator set 13, not ${model.opset}`, {
        opset: model.opset,
      });
    // Branches share the weights of the graph around them, so each is stored once, where it was.
    const stored = new Map<TensorProto, Stored>();
    const graphs = [...model.graph.all()];
    for (const graph of graphs) {
      const layers = new Layers(graph, model.opset, rounded, stored, int8Of);
      for (const node of [...graph.nodes]) {
        const weight = dynamicWeightOf(graph, node, minElements);
        if (weight !== undefined && choose(weight.name)) layers.replace(node, weight);
      }
    }
    for (const graph of graphs.reverse()) dropUnused(graph);
  };
}

/** Lists the weights that `quantizeDynamic` replaces, each with the axes of its outputs. */
export function dynamicWeights(
  model: OnnxModel,
  choose: (name: string) => boolean,
): { readonly weight: TensorProto; readonly axis: number }[] {
  const found = new Map<TensorProto, Set<number>>();
  for (const graph of model.graph.all())
    for (const node of graph.nodes) {
      const weight = dynamicWeightOf(graph, node, QUANTIZE_DYNAMIC_DEFAULTS.minElements);
      if (weight === undefined || !choose(weight.name)) continue;
      found.set(weight, (found.get(weight) ?? new Set()).add(isRowWise(node, weight) ? 0 : 1));
    }
  return [...found].flatMap(([weight, axes]) => [...axes].map((axis) => ({ weight, axis })));
}

/** Whether a row of a layer's weight is an output. */
function isRowWise(node: NodeProto, { name }: TensorProto): boolean {
  return node.opType === "Conv" || node.input[1] !== name || gemmAxis(node) === 0;
}

/** Returns the weight of a suitable layer; undefined for any other node. */
export function dynamicWeightOf(graph: Graph, node: NodeProto, minElements: number): TensorProto | undefined {
  if (node.domain !== "") return undefined;
  const [, name = ""] = node.input;
  const weight = graph.constant(name) ?? transposed(graph, name);
  if (weight?.dataType !== TensorProto_DataType.FLOAT || elementCount(weight) < minElements) return undefined;
  const dims = weight.dims.map(Number);
  switch (node.opType) {
    case "MatMul":
      return dims.length === 2 ? weight : undefined;
    case "Gemm":
      return isPlainGemm(node) && weight.name === name ? weight : undefined;
    case "Conv": {
      const isSmall = dims.length === 4 && (dims[2] ?? 0) * (dims[3] ?? 0) <= 3;
      return isSmall && integerOf(node, "group", 1) === 1 && weight.name === name ? weight : undefined;
    }
    default:
      return undefined;
  }
}

/** Returns the matrix of which a value is the transpose: a table that is multiplied by. */
function transposed(graph: Graph, name: string): TensorProto | undefined {
  const node = graph.producer(name);
  if (node?.opType !== "Transpose" || integersAt(node, "perm")?.join() === "0,1") return undefined;
  const table = graph.constant(node.input[0] ?? "");
  return table?.dims.length === 2 ? table : undefined;
}

/** The stored form of one weight, so that several layers share it. */
interface Quantized {
  readonly values: string;
  readonly scale: string;
  readonly zero: string;
}

/** A weight as it is stored, and whether its rows are outputs. */
interface Stored extends Quantized {
  readonly isByRow: boolean;
}

type Int8Of = NonNullable<QuantizeDynamicOptions["int8"]>;

class Layers {
  readonly #graph: Graph;
  readonly #opset: number;
  readonly #inputs = new Map<string, DynamicInput>();
  readonly #weights = new Map<string, Quantized>();

  readonly #rounded: ReadonlyMap<string, Rounded>;
  readonly #stored: Map<TensorProto, Stored>;
  readonly #int8Of: Int8Of;

  constructor(
    graph: Graph,
    opset: number,
    rounded: ReadonlyMap<string, Rounded>,
    stored: Map<TensorProto, Stored>,
    int8Of: Int8Of,
  ) {
    this.#int8Of = int8Of;
    this.#graph = graph;
    this.#opset = opset;
    this.#rounded = rounded;
    this.#stored = stored;
  }

  /** Replaces a layer; one whose weight holds NaN or an infinity, which no scale fits, stays. */
  replace(node: NodeProto, weight: TensorProto): void {
    const graph = this.#graph;
    const [input = "", , bias = ""] = node.input;
    const [output = ""] = node.output;
    const isConv = node.opType === "Conv";
    const isByRow = isRowWise(node, weight);
    const w = this.#weight(node, weight, isByRow, isConv);
    if (w === undefined) return;
    const x = this.#input(node, input);
    const name = (what: string): string => graph.freshName(`${output}/${what}`);
    const [sum, wide, scaled, product] = [name("sum"), name("float32"), name("scaled"), name("product")];
    const put = (spec: NodeSpec): NodeProto => graph.insertBefore(node, spec);
    const integer = put({
      opType: isConv ? "ConvInteger" : "MatMulInteger",
      input: [x.values, w.values, x.zero, w.zero],
      output: [sum],
    });
    if (isConv) integer.attribute = node.attribute;
    const result = bias === "" ? output : product;
    if (isConv) {
      put({ opType: "DequantizeLinear", input: [sum, w.scale], output: [scaled], attributes: { axis: 1 } });
      put({ opType: "Mul", input: [scaled, x.scale], output: [result] });
    } else {
      put({ opType: "Cast", input: [sum], output: [wide], attributes: { to: TensorProto_DataType.FLOAT } });
      put({ opType: "Mul", input: [wide, x.scale], output: [scaled] });
      put({ opType: "Mul", input: [scaled, w.scale], output: [result] });
    }
    if (bias !== "") {
      let shift = bias;
      if (isConv) {
        shift = name("bias");
        const shape = graph.addInitializer(int64Tensor(name("bias-shape"), [3], [-1, 1, 1]));
        const constant = graph.constant(bias);
        if (constant?.dataType === TensorProto_DataType.FLOAT)
          graph.addInitializer(floatTensor(shift, [Number(weight.dims[0]), 1, 1], floatsOf(constant)));
        else put({ opType: "Reshape", input: [bias, shape], output: [shift] });
      }
      put({ opType: "Add", input: [product, shift], output: [output] });
    }
    graph.remove(new Set([node]));
  }

  #input(node: NodeProto, input: string): DynamicInput {
    const key = `${input} ${node.opType === "Conv"}`;
    const made = this.#inputs.get(key) ?? quantizeInput(this.#graph, this.#opset, node, input);
    this.#inputs.set(key, made);
    return made;
  }

  #weight(node: NodeProto, weight: TensorProto, isByRow: boolean, isConv: boolean): Quantized | undefined {
    const key = `${weight.name} ${isByRow}`;
    const known = this.#weights.get(key);
    if (known !== undefined) return known;
    const graph = this.#graph;
    const stored = this.#store(weight, isByRow);
    if (stored === undefined) return undefined;
    const { values, scale, zero } = stored;
    let table = values;
    if (isByRow && !isConv) {
      table = graph.freshName(`${weight.name}/columns`);
      graph.insertBefore(node, { opType: "Transpose", input: [values], output: [table], attributes: { perm: [1, 0] } });
    }
    const made = { values: table, scale, zero };
    this.#weights.set(key, made);
    return made;
  }

  /** Stores a weight in the graph that holds it; along each axis that layers need once. */
  #store(weight: TensorProto, isByRow: boolean): Quantized | undefined {
    const known = this.#stored.get(weight);
    if (known?.isByRow === isByRow) return known;
    const owner = this.#graph.ownerOf(weight.name) ?? this.#graph;
    const dims = weight.dims.map(Number);
    const [axis, outputs] = isByRow ? [0, dims[0] ?? 0] : [1, dims[1] ?? 0];
    const { values, scales } = this.#int8Of(weight, axis);
    if (!scales.every(Number.isFinite)) return undefined;
    const shifted = new Uint8Array(values.length);
    for (let i = 0; i < values.length; i++) shifted[i] = (values[i] ?? 0) + 128;
    const name = (what: string): string => owner.freshName(`${weight.name}/${what}`);
    const stored = owner.addInitializer(uint8Tensor(name("uint8"), dims, shifted));
    const zero = owner.addInitializer(uint8Tensor(name("zero"), [], Uint8Array.of(128)));
    const scaleDims = [outputs];
    const scale = this.#rounded.has(weight.name)
      ? addScales(owner, name("scale"), scaleDims, scales)
      : owner.addInitializer(floatTensor(name("scale"), scaleDims, scales));
    lookUp(owner, weight, stored, scales);
    const made = { isByRow, values: stored, scale, zero };
    if (known === undefined) this.#stored.set(weight, made);
    return made;
  }
}

/** Makes lookups in a table that is also multiplied by read the same bytes. */
function lookUp(graph: Graph, weight: TensorProto, stored: string, scales: Float32Array): void {
  const isLookUp = ({ node }: ReadingNode): boolean => node.opType === "Gather" && node.input[0] === weight.name;
  const users = (graph.readers(weight.name) ?? []).filter(isLookUp).map((x) => x.node);
  const around = graph.consumers(weight.name);
  const first = graph.nodes.find((x) => around.includes(x));
  if (users.length === 0 || first === undefined || scales.length !== Number(weight.dims[0])) return;
  const name = (what: string): string => graph.freshName(`${weight.name}/${what}`);
  const scale = graph.addInitializer(floatTensor(name("row-scale"), [scales.length], scales));
  const zero = graph.addInitializer(
    uint8Tensor(name("row-zero"), [scales.length], new Uint8Array(scales.length).fill(128)),
  );
  const output = name("float32");
  graph.insertBefore(first, {
    opType: "DequantizeLinear",
    input: [stored, scale, zero],
    output: [output],
    attributes: { axis: 0 },
  });
  for (const user of users) user.input[0] = output;
  graph.changed();
}

/** Removes weights, and the Transposes of weights, that are no longer used. */
function dropUnused(graph: Graph): void {
  graph.changed();
  const isUsed = (name: string): boolean => graph.consumers(name).length > 0 || graph.isOutput(name);
  graph.remove(
    new Set(
      graph.nodes.filter(
        (x) => x.opType === "Transpose" && !isUsed(x.output[0] ?? "") && graph.constant(x.input[0] ?? ""),
      ),
    ),
  );
  const inputs = new Set(graph.proto.input.map((x) => x.name));
  graph.proto.initializer = graph.proto.initializer.filter((x) => isUsed(x.name) || inputs.has(x.name));
  graph.changed();
}
