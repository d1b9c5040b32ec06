// Chooses the layers to exclude from dynamic int8, where the outputs lose too much accuracy: their inputs are not
// quantized, their weights still are. A few layers often cause most of the error, such as a classifier behind a mean
// whose values have a wide range.
//
// Each layer's input can be quantized or not by an input of the model, so that it is loaded once and a run tries any of
// them. Errors of different layers add up, so the layers with the most error per work are excluded first, until the
// rest is estimated to meet the target.
import { create } from "@bufbuild/protobuf";
import { quantizeInput } from "./dynamic-input.ts";
import type { Feed } from "../run/feeds.ts";
import { countMacs } from "../run/macs.ts";
import { sqnr } from "../run/metric.ts";
import type { Outputs } from "../run/metric.ts";
import { TensorProto_DataType, ValueInfoProtoSchema } from "../onnx/onnx.gen.js";
import type { OnnxModel } from "../onnx/model.ts";
import { Scratch, writeModel } from "../onnx/written-model.ts";
import { dynamicWeightOf, QUANTIZE_DYNAMIC_DEFAULTS } from "./quantize-dynamic.ts";
import { openModel } from "../run/session.ts";

/** Cost of a layer, in accuracy and in work; layers that share a weight count as one. */
export interface LayerError {
  /** Its weight. */
  readonly name: string;
  /** Energy of the outputs' error relative to that of the outputs, where this layer alone has its input in 8 bits. */
  readonly noise: number;
  /** Share of the multiply-adds of all such layers. */
  readonly work: number;
}

/** Maximum share of the work to exclude: above it nothing of the form's speed would be left. */
const WORK_MAX = 0.5;

/** Measures each layer that dynamic int8 would convert, within the time limit. */
export async function measureLayerErrors(
  original: OnnxModel,
  feeds: readonly Feed[],
  { budgetMs }: { readonly budgetMs: number },
): Promise<LayerError[]> {
  const [first] = feeds;
  if (first === undefined) return [];
  const model = original.copy();
  const { graph, opset } = model;
  const ends = performance.now() + budgetMs;
  const macs = new Map((await countMacs(model, first)).map((x) => [x.node, x.macs]));
  const layers = new Map<string, { flag: string; macs: number }>();
  for (const node of [...graph.nodes]) {
    const weight = dynamicWeightOf(graph, node, QUANTIZE_DYNAMIC_DEFAULTS.minElements);
    if (weight === undefined) continue;
    const known = layers.get(weight.name) ?? { flag: graph.freshName(`${weight.name}/is-quantized`), macs: 0 };
    layers.set(weight.name, { ...known, macs: known.macs + (macs.get(node) ?? 0) });
    const [input = ""] = node.input;
    const put = (opType: string, from: readonly string[], attributes = {}): string => {
      const output = graph.freshName(`${input}/${opType.toLowerCase()}`);
      graph.insertBefore(node, { opType, input: from, output: [output], attributes });
      return output;
    };
    const { values, scale, zero } = quantizeInput(graph, opset, node, input);
    const [wide, middle] = [values, zero].map((x) => put("Cast", [x], { to: TensorProto_DataType.FLOAT }));
    const rounded = put("Mul", [put("Sub", [wide ?? "", middle ?? ""]), scale]);
    node.input[0] = put("Where", [known.flag, rounded, input]);
    graph.changed();
  }
  for (const { flag } of layers.values()) graph.proto.input.push(flagInput(flag));
  graph.changed();
  const total = [...layers.values()].reduce((sum, x) => sum + x.macs, 0);
  const scratch = new Scratch();
  const { source } = await writeModel(model, scratch);
  const loaded = await openModel(source, "cpu");
  try {
    const run = async (quantized: string | null): Promise<Outputs[]> => {
      const flags = [...layers].map(([name, { flag }]) => [flag, flagTensor(name === quantized)] as const);
      const outputs: Outputs[] = [];
      for (const feed of feeds) outputs.push(await loaded.run({ ...feed, ...Object.fromEntries(flags) }));
      return outputs;
    };
    const reference = await run(null);
    const errors: LayerError[] = [];
    // The last layers come first, in case the time does not suffice: no later layer evens their errors out.
    for (const [name, { macs }] of [...layers].reverse()) {
      if (performance.now() > ends) break;
      const outputs = await run(name);
      const db = sqnr(outputs.map((x, i) => ({ outputs: x, reference: reference[i] ?? {} })));
      errors.push({ name, noise: 10 ** (-db / 10), work: macs / total });
    }
    return errors;
  } finally {
    await loaded.release();
    await scratch.close();
  }
}

/** Returns the layers to exclude so that the rest meets this ratio; none where most would have to be excluded. */
export function excludeLayers(errors: readonly LayerError[], leastDb: number): ReadonlySet<string> {
  const excluded = new Set<string>();
  let left = errors.reduce((sum, x) => sum + x.noise, 0);
  let work = 0;
  for (const error of [...errors].sort((a, b) => b.noise / b.work - a.noise / a.work)) {
    if (left <= 10 ** (-leastDb / 10)) return excluded;
    left -= error.noise;
    work += error.work;
    if (work > WORK_MAX) return new Set();
    excluded.add(error.name);
  }
  return excluded;
}

function flagInput(name: string) {
  const value = { elemType: TensorProto_DataType.BOOL, shape: { dim: [] } };
  return create(ValueInfoProtoSchema, { name, type: { value: { case: "tensorType" as const, value } } });
}

function flagTensor(isSet: boolean): Feed[string] {
  return { dtype: "bool", dims: [], data: Uint8Array.of(Number(isSet)) };
}
