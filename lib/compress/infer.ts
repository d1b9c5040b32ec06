// Asks ONNX Runtime what it infers: the type and dims of each value of the main graph, and the values of what depends on
// constants alone. It knows every operator; tables of our own would be a second, poorer runtime.
import { create } from "@bufbuild/protobuf";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { InferenceSession } from "onnxruntime-node";
import { SelvedgeError } from "../errors.ts";
import { writeModelFile } from "./files.ts";
import { TensorProto_DataType, TensorProtoSchema, ValueInfoProtoSchema } from "./onnx.gen.js";
import type { NodeProto, TensorProto, ValueInfoProto } from "./onnx.gen.js";
import { OnnxModel } from "./onnx.ts";
import type { Graph } from "./graph.ts";
import { subgraphs, uses } from "./graph.ts";
import { rankOf } from "./rank.ts";
import { loadRuntime } from "./runtime.ts";
import { elementCount } from "./weights.ts";

/** What is known of a value. */
export interface ValueFacts {
  /** Element type by ONNX Runtime's name, as "float32". */
  readonly type: string;
  /** A number for a fixed size, a text for a symbolic one; undefined where the rank is not known. */
  readonly dims: readonly (number | string)[] | undefined;
}

/** Types of constants that are folded, by ONNX Runtime's name. */
const FOLDED_TYPES: ReadonlyMap<string, TensorProto_DataType> = new Map([
  ["float32", TensorProto_DataType.FLOAT],
  ["int64", TensorProto_DataType.INT64],
  ["int32", TensorProto_DataType.INT32],
  ["bool", TensorProto_DataType.BOOL],
  ["uint8", TensorProto_DataType.UINT8],
]);
/** Results above this are not folded where they are larger than what they are made of: the file must not grow. */
const GROWTH_MAX_ELEMENTS = 1024;
/** A model this large goes to ONNX Runtime by a file, whose weights it maps: bytes would be held twice more. */
const ON_DISK_BYTES = 2 ** 27;
const IMPURE: ReadonlySet<string> = new Set(
  "RandomNormal RandomUniform RandomNormalLike RandomUniformLike Multinomial Bernoulli Dropout".split(" "),
);

/**
 * Gives the types and dims of the main graph's tensors. The model is loaded once, unoptimised.
 * @throws SelvedgeError `model-invalid` where ONNX Runtime refuses the model, with its reason.
 */
export async function inferValues(model: OnnxModel): Promise<Map<string, ValueFacts>> {
  const { proto } = model.graph;
  const stated = new Set(proto.output.map((x) => x.name));
  const names = proto.node.flatMap((x) => x.output).filter((x) => x !== "" && !stated.has(x));
  const session = await openWith(model, names);
  try {
    const facts = new Map<string, ValueFacts>();
    for (const value of [...session.inputMetadata, ...session.outputMetadata])
      if (value.isTensor)
        facts.set(value.name, { type: value.type, dims: dimsOf(model.graph, value.name, value.shape) });
    return facts;
  } finally {
    await session.release();
  }
}

/** ONNX Runtime tells no dims both for a scalar and where it knows no rank. */
function dimsOf(graph: Graph, name: string, told: readonly (number | string)[]): ValueFacts["dims"] {
  return told.length > 0 || rankOf(graph, name) === 0 ? told : undefined;
}

/** Computes what depends on constants alone, once, and stores it; the main graph's nodes that made it go. */
export async function foldConstants(model: OnnxModel): Promise<void> {
  const { graph } = model;
  const folded = new Set<NodeProto>();
  const known = new Set<string>();
  const isKnown = (name: string): boolean => name === "" || known.has(name) || graph.constant(name) !== undefined;
  for (const node of graph.nodes) {
    if (node.domain !== "" || IMPURE.has(node.opType) || subgraphs(node).length > 0) continue;
    if (node.output.length !== 1 || node.opType === "DequantizeLinear" || !node.input.every(isKnown)) continue;
    if (node.input.length === 0 && node.opType !== "Constant") continue;
    if (growsTooLarge(graph, node)) continue;
    folded.add(node);
    known.add(node.output[0] ?? "");
  }
  // Only what something else uses is worth storing.
  const wanted = [...known].filter((name) => graph.isOutput(name) || graph.consumers(name).some((x) => !folded.has(x)));
  const names = wanted.filter((x) => !graph.isOutput(x));
  if (names.length === 0) return;
  const results = await compute(model, [...folded], names);
  for (const [name, tensor] of results) {
    const node = graph.producer(name);
    if (node === undefined) continue;
    graph.remove(new Set([node]));
    graph.addInitializer(tensor);
  }
}

/** Tells whether a node may make much of little: a table of constants, or a weight in another form that others use too. */
function growsTooLarge(graph: Graph, node: NodeProto): boolean {
  if (["Expand", "Tile", "ConstantOfShape", "Range", "EyeLike", "OneHot", "Resize", "Upsample"].includes(node.opType))
    return true;
  return node.input.some((name) => {
    const constant = graph.constant(name);
    return constant !== undefined && elementCount(constant) > GROWTH_MAX_ELEMENTS && graph.consumers(name).length > 1;
  });
}

/** Runs nodes that need no input and gives their results as constants. */
async function compute(
  model: OnnxModel,
  nodes: readonly NodeProto[],
  names: readonly string[],
): Promise<Map<string, TensorProto>> {
  const { graph, proto } = model;
  const needed = new Set(nodes.flatMap((x) => [...uses(x)]));
  const part = new OnnxModel({
    ...proto,
    functions: [],
    graph: {
      ...graph.proto,
      node: [...nodes],
      input: [],
      output: names.map(untyped),
      initializer: graph.proto.initializer.filter((x) => needed.has(x.name)),
      valueInfo: [],
    },
  });
  const results = new Map<string, TensorProto>();
  let session: InferenceSession | undefined;
  try {
    session = await openWith(part, []);
    for (const [name, value] of Object.entries(await session.run({}))) {
      const dataType = FOLDED_TYPES.get(value.type);
      if (dataType === undefined || !ArrayBuffer.isView(value.data)) continue;
      const { buffer, byteOffset, byteLength } = value.data;
      const rawData = new Uint8Array(buffer, byteOffset, byteLength).slice();
      results.set(name, create(TensorProtoSchema, { name, dataType, dims: value.dims.map(BigInt), rawData }));
    }
  } catch {
    // What ONNX Runtime can't compute now it can't compute later either; the check says so, with its reason.
    return new Map();
  } finally {
    await session?.release();
  }
  return results;
}

/** @internal Opens a model, unoptimised, with more of its values as outputs. */
export async function openWith(model: OnnxModel, names: readonly string[]): Promise<InferenceSession> {
  const { InferenceSession: Session } = await loadRuntime();
  const { proto } = model.graph;
  const outputs = proto.output;
  const options = { graphOptimizationLevel: "disabled", logSeverityLevel: 4 } as const;
  proto.output = [...outputs, ...names.map(untyped)];
  let folder: string | undefined;
  try {
    if (model.byteLength < ON_DISK_BYTES) return await Session.create(model.write(), options);
    folder = await mkdtemp(join(tmpdir(), "selvedge-"));
    const path = join(folder, "model.onnx");
    await writeModelFile(path, model, { external: true });
    return await Session.create(path, options);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new SelvedgeError("model-invalid", `ONNX Runtime does not load the model: ${reason}`, {}, error);
  } finally {
    proto.output = outputs;
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  }
}

function untyped(name: string): ValueInfoProto {
  return create(ValueInfoProtoSchema, { name });
}
