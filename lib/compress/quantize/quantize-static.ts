// Static int8: activations in 8 bits with measured ranges, weights in 8 bits per output, as pairs of QuantizeLinear and
// DequantizeLinear around convolutions and products, which ONNX Runtime fuses into integer kernels (QLinearConv and the
// like). No GPU kernel exists for it; on wasm dynamic int8 was the fastest, so this form is made on demand.
//
// Only inputs and outputs of such layers are in 8 bits. Sums, normalizations and softmax stay float32, and so does a
// layer whose input 8 bits represent poorly: default settings must not break a transformer. Unsigned activations and
// signed weights are the combination with a fast kernel. Depthwise and first convolutions keep more bits: they hold few
// weights, and each matters.
import { chooseStep, crowded } from "./calibrate.ts";
import type { QuantizationStep, StepOptions } from "./calibrate.ts";
import type { Graph } from "../onnx/graph.ts";
import { layerOf } from "../onnx/layer.ts";
import type { Layer } from "../onnx/layer.ts";
import { TensorProto_DataType } from "../onnx/onnx.gen.js";
import type { NodeProto } from "../onnx/onnx.gen.js";
import type { OnnxModel, Transform } from "../onnx/model.ts";
import { addScales } from "./quantize-blocks.ts";
import { isDepthwise, isStem, toInt8 } from "./quantize-weights.ts";
import type { Rounded } from "./scales.ts";
import { measureHistograms, measureRanges } from "../run/statistics.ts";
import type { SampleFeeds, Histogram, ValueRange } from "../run/statistics.ts";
import { elementCount, floatsOf, floatTensor, int32Tensor, int8Tensor, uint8Tensor } from "../onnx/tensor-proto.ts";

/** Options of `quantizeStatic`. */
export interface QuantizeStaticOptions {
  /** Quantization parameters of each value that may be in 8 bits, by `measureSteps`. */
  readonly steps: ReadonlyMap<string, QuantizationStep>;
  /** Weights that are already rounded, by name. Default none. */
  readonly rounded?: ReadonlyMap<string, Rounded>;
  /** Minimum number of elements; smaller weights are not quantized. Default 1024. */
  readonly minElements?: number;
}

const MIN_ELEMENTS = 1024;
/** Activations that ONNX Runtime fuses into the integer kernel of the preceding layer. */
const ABSORBED: ReadonlySet<string> = new Set(["Relu", "Clip"]);

/**
 * Returns the quantization parameters of the values that `quantizeStatic` may put in 8 bits; iterates over the samples
 * twice.
 */
export async function measureSteps(
  model: OnnxModel,
  feeds: SampleFeeds,
  options: StepOptions = {},
): Promise<Map<string, QuantizationStep>> {
  const names = new Set<string>();
  for (const layer of layersOf(model.graph, MIN_ELEMENTS)) {
    names.add(layer.node.input[0] ?? "");
    names.add(resultOf(model.graph, layer.node).output[0] ?? "");
  }
  const ranges = await measureRanges(model, feeds, names);
  const histograms = await measureHistograms(model, feeds, ranges);
  // The values of one bin may all be equal, as in a black-and-white picture: only differing values lose information.
  const parts = new Map<string, ValueRange>();
  for (const [name, histogram] of histograms) {
    const part = crowded(histogram);
    if (part !== undefined) parts.set(name, part);
  }
  const inside = await measureHistograms(model, feeds, parts);
  const steps = new Map<string, QuantizationStep>();
  for (const [name, histogram] of histograms) {
    if (isSpread(inside.get(name))) continue;
    const step = chooseStep(histogram, options);
    if (step !== undefined) steps.set(name, step);
  }
  return steps;
}

/** Whether numbers lie inside a range, and not only at its ends, where values outside are counted. */
function isSpread(histogram: Histogram | undefined): boolean {
  return histogram !== undefined && histogram.counts.slice(1, -1).filter((x) => x > 0).length > 1;
}

/** Puts convolutions and products with constant weights, and their inputs and outputs, in 8 bits; in the main graph. */
export function quantizeStatic({ steps, rounded, minElements = MIN_ELEMENTS }: QuantizeStaticOptions): Transform {
  return ({ graph }) => {
    const layers = layersOf(graph, minElements).filter((x) => steps.has(x.node.input[0] ?? ""));
    const narrow = new Narrowing(graph, steps);
    // Outputs first: then the following layers read values that are already in 8 bits.
    for (const { node } of layers) narrow.result(resultOf(graph, node));
    for (const layer of layers) {
      const [input = ""] = layer.node.input;
      const weight = toInt8(layer.weight, layer.isByRow ? 0 : 1, rounded?.get(layer.weight.name));
      if (!weight.scales.every(Number.isFinite)) continue;
      const scale = narrow.input(layer.node, input);
      narrow.weight(layer, weight, scale);
    }
  };
}

function layersOf(graph: Graph, minElements: number): Layer[] {
  return graph.nodes.flatMap((node) => {
    const layer = layerOf(graph, node);
    if (layer === undefined || elementCount(layer.weight) < minElements) return [];
    const { weight, groups } = layer;
    const facts = { opType: node.opType, dims: weight.dims.map(Number), group: groups, name: weight.name };
    return isDepthwise(facts) || isStem(facts) || layer.node.input[1] !== weight.name ? [] : [layer];
  });
}

/** Returns the node whose output is a layer's result: a fused activation, else the layer. */
function resultOf(graph: Graph, node: NodeProto): NodeProto {
  const next = graph.onlyConsumer(node.output[0] ?? "");
  return next !== undefined && next.domain === "" && ABSORBED.has(next.opType) && next.input[0] === node.output[0]
    ? next
    : node;
}

class Narrowing {
  readonly #graph: Graph;
  readonly #steps: ReadonlyMap<string, QuantizationStep>;
  /** Outputs of DequantizeLinear with their scale, by their name and by the float32 value's. */
  readonly #scales = new Map<string, { readonly value: string; readonly scale: string }>();

  constructor(graph: Graph, steps: ReadonlyMap<string, QuantizationStep>) {
    this.#graph = graph;
    this.#steps = steps;
  }

  /** Puts a layer's output in 8 bits for all its consumers; an output of the model stays float32. */
  result(node: NodeProto): void {
    const graph = this.#graph;
    const [name = ""] = node.output;
    const step = this.#steps.get(name);
    if (step === undefined || graph.isOutput(name) || this.#scales.has(name)) return;
    const users = [...graph.consumers(name)];
    if (users.length === 0 || users.some((x) => !x.input.includes(name))) return;
    const made = this.#pair(name, step, (spec) => graph.insertBefore(users.sort(byPlace(graph))[0] ?? node, spec));
    for (const user of users) user.input = user.input.map((x) => (x === name ? made.value : x));
    graph.changed();
  }

  /** Makes a layer read its input in 8 bits; returns the name of the input's scale. */
  input(node: NodeProto, name: string): string {
    const graph = this.#graph;
    const [now = ""] = node.input;
    const known = this.#scales.get(now) ?? this.#scales.get(name);
    const step = this.#steps.get(name) ?? { scale: 1, zero: 0 };
    const made = known ?? this.#pair(name, step, (spec) => graph.insertBefore(node, spec));
    node.input[0] = made.value;
    graph.changed();
    return made.scale;
  }

  /** Stores a layer's weights in 8 bits, and a convolution's bias in 32, as its kernel expects. */
  weight(layer: Layer, { values, scales }: ReturnType<typeof toInt8>, inputScale: string): void {
    const graph = this.#graph;
    const { node, weight, isByRow } = layer;
    const name = (what: string): string => graph.freshName(`${weight.name}/${what}`);
    const stored = graph.addInitializer(int8Tensor(name("int8"), weight.dims.map(Number), values));
    const scale = addScales(graph, name("scale"), [scales.length], scales);
    const wide = name("float32");
    graph.insertBefore(node, {
      opType: "DequantizeLinear",
      input: [stored, scale],
      output: [wide],
      attributes: { axis: isByRow ? 0 : 1 },
    });
    node.input[1] = wide;
    const bias = node.input[2] === undefined ? undefined : graph.constant(node.input[2]);
    const step = graph.constant(inputScale);
    if (bias?.dataType === TensorProto_DataType.FLOAT && elementCount(bias) === scales.length && step !== undefined) {
      const by = floatsOf(step)[0] ?? 1;
      const codes = Int32Array.from(floatsOf(bias), (x, i) => Math.round(x / (by * (scales[i] ?? 1))));
      // Past 32 bits a bias would overflow; one too large for the small step stays float32.
      if (codes.every((x, i) => Math.abs((floatsOf(bias)[i] ?? 0) / (by * (scales[i] ?? 1)) - x) <= 1)) {
        const product = graph.freshName(`${bias.name}/scale`);
        graph.insertBefore(node, { opType: "Mul", input: [scale, inputScale], output: [product] });
        const narrow = graph.addInitializer(int32Tensor(graph.freshName(`${bias.name}/int32`), [codes.length], codes));
        const output = graph.freshName(`${bias.name}/float32`);
        const spec = {
          opType: "DequantizeLinear",
          input: [narrow, product],
          output: [output],
          attributes: { axis: 0 },
        };
        graph.insertBefore(node, spec);
        node.input[2] = output;
      }
    }
    graph.changed();
  }

  #pair(
    name: string,
    step: QuantizationStep,
    insert: (spec: Parameters<Graph["insertBefore"]>[1]) => NodeProto,
  ): { value: string; scale: string } {
    const graph = this.#graph;
    const fresh = (what: string): string => graph.freshName(`${name}/${what}`);
    const scale = graph.addInitializer(floatTensor(fresh("scale"), [], Float32Array.of(step.scale)));
    const zero = graph.addInitializer(uint8Tensor(fresh("zero"), [], Uint8Array.of(step.zero)));
    const [narrow, value] = [fresh("uint8"), fresh("narrow")];
    insert({ opType: "QuantizeLinear", input: [name, scale, zero], output: [narrow] });
    insert({ opType: "DequantizeLinear", input: [narrow, scale, zero], output: [value] });
    const made = { value, scale };
    this.#scales.set(name, made);
    this.#scales.set(value, made);
    return made;
  }
}

function byPlace(graph: Graph): (a: NodeProto, b: NodeProto) => number {
  const places = new Map(graph.nodes.map((x, i) => [x, i]));
  return (a, b) => (places.get(a) ?? 0) - (places.get(b) ?? 0);
}
