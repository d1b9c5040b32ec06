// Adds small relative changes to the outputs of embedding lookups (Gather and its like), to measure how much rounding
// changes a model's outputs. Text models take integers, which have no rounding error; their first float values are rows
// of embedding tables. Nodes after the lookup change each value by the factor that core/tolerances.ts applies to a float
// input, so that no table is copied.
import { NUDGE } from "../../core/tolerances.ts";
import type { Graph } from "./graph.ts";
import { integerOf } from "./graph.ts";
import { CONTRIB } from "./model.ts";
import type { OnnxModel } from "./model.ts";
import { TensorProto_DataType } from "./onnx.gen.js";
import type { NodeProto } from "./onnx.gen.js";
import { floatTensor } from "./tensor-proto.ts";

/** The input that decides an output's element type, by operators that look rows up, and that of their indices. */
const LOOKUPS: Readonly<Record<string, readonly [typed: number, indices: number, domain: string]>> = {
  Gather: [0, 1, ""],
  GatherBlockQuantized: [2, 1, CONTRIB],
  EmbedLayerNormalization: [2, 0, CONTRIB],
};
/** Operators that hand on the element type of their first input. */
const SAME_TYPE: ReadonlySet<string> = new Set(["Identity", "Reshape", "Transpose", "Squeeze", "Unsqueeze"]);
/** Version of the operator set that has Sign. */
const OPSET_MIN = 9;
/** Factor before a sine, whose sign is then as good as random. */
const SPREAD = 1e4;
/** Most nodes between a lookup and its float32 values. */
const STEPS_MAX = 4;

/** Returns a copy of a model with each float32 value that it looks up nudged; null where it looks up none. */
export function nudgeLookups(model: OnnxModel): OnnxModel | null {
  if (model.opset < OPSET_MIN) return null;
  const copy = model.copy();
  const { graph } = copy;
  const places = graph.nodes.map((node) => firstFloats(graph, node)).filter((x) => x !== null);
  for (const name of new Set(places)) nudge(graph, name);
  return places.length === 0 ? null : copy;
}

/** Returns the name of the first float32 value that follows a lookup by an input; null where there is none. */
function firstFloats(graph: Graph, { opType, domain, input, output }: NodeProto): string | null {
  const [typed, indices, own] = LOOKUPS[opType] ?? [0, 0, null];
  if (domain !== own || graph.constant(input[indices] ?? "") !== undefined) return null;
  let [name = "", type] = [output[0], typeOf(graph, input[typed] ?? "")];
  for (let step = 0; step < STEPS_MAX && type !== null; step += 1) {
    if (type === TensorProto_DataType.FLOAT) return name;
    const next = graph.consumers(name).find(({ opType: x }) => x === "DequantizeLinear" || x === "Cast");
    if (next === undefined) return null;
    name = next.output[0] ?? "";
    type = typeOf(graph, name);
  }
  return null;
}

/** Returns the element type of a constant, or of one that nodes convert; null where it is not known. */
function typeOf(graph: Graph, name: string): TensorProto_DataType | null {
  const type = graph.constant(name)?.dataType;
  if (type !== undefined) return type;
  const producer = graph.producer(name);
  const [first = "", second = ""] = producer?.input ?? [];
  if (producer?.opType === "DequantizeLinear") return typeOf(graph, second);
  if (producer?.opType === "Cast") return integerOf(producer, "to", 0);
  return producer !== undefined && SAME_TYPE.has(producer.opType) ? typeOf(graph, first) : null;
}

/** Replaces a value by y + y · sign(sin(y · spread)) · nudge. */
function nudge(graph: Graph, name: string): void {
  const producer = graph.producer(name);
  if (producer === undefined) return;
  const constant = (stem: string, value: number): string =>
    graph.addInitializer(floatTensor(graph.freshName(stem), [], Float32Array.of(value)));
  const [spread, step] = [constant(`${name}_spread`, SPREAD), constant(`${name}_step`, NUDGE)];
  const changed = graph.freshName(`${name}_nudged`);
  graph.replaceUses(name, changed);
  let place = producer;
  const add = (opType: string, input: readonly string[], output: string = graph.freshName(`${name}_part`)): string => {
    place = graph.insertAfter(place, { opType, input, output: [output] });
    return output;
  };
  const sign = add("Sign", [add("Sin", [add("Mul", [name, spread])])]);
  add("Add", [name, add("Mul", [add("Mul", [name, sign]), step])], changed);
}
