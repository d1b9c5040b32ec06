// Iterates over every tensor of a model, wherever the format allows one: a check that misses a place lets through there
// what it refuses elsewhere. Nesting is bounded by the decoder.
import { subgraphs } from "./graph.ts";
import type { AttributeProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto } from "./onnx.gen.js";

/** A tensor with the description of its place for an error message. */
export interface FoundTensor {
  readonly tensor: TensorProto;
  readonly where: string;
}

/** Iterates over the tensors of a model's graphs, functions and training steps, and of all attributes in them. */
export function* tensorsIn({ graph, functions, trainingInfo }: ModelProto): Generator<FoundTensor> {
  yield* inGraph(graph);
  for (const { name, attributeProto, node } of functions) {
    for (const attribute of attributeProto) yield* inAttribute(attribute, `the function "${name}"`);
    yield* inNodes(node);
  }
  for (const { initialization, algorithm } of trainingInfo) {
    yield* inGraph(initialization);
    yield* inGraph(algorithm);
  }
}

/** Describes a node in an error message. */
export function labelOf({ opType, name, output }: NodeProto): string {
  return `the ${opType} node "${name === "" ? (output[0] ?? "") : name}"`;
}

function* inGraph(graph: GraphProto | undefined): Generator<FoundTensor> {
  if (graph === undefined) return;
  for (const tensor of graph.initializer) yield { tensor, where: `the initializer "${tensor.name}"` };
  for (const sparse of graph.sparseInitializer)
    yield* inSparse(sparse, `the sparse initializer "${sparse.values?.name ?? ""}"`);
  yield* inNodes(graph.node);
}

function* inNodes(nodes: readonly NodeProto[]): Generator<FoundTensor> {
  for (const node of nodes) {
    for (const attribute of node.attribute) yield* inAttribute(attribute, labelOf(node));
    for (const inner of subgraphs(node)) yield* inGraph(inner);
  }
}

function* inAttribute(attribute: AttributeProto, owner: string): Generator<FoundTensor> {
  const where = `the attribute "${attribute.name}" of ${owner}`;
  const { t, tensors, sparseTensor, sparseTensors } = attribute;
  for (const tensor of t === undefined ? tensors : [t, ...tensors]) yield { tensor, where };
  for (const sparse of sparseTensor === undefined ? sparseTensors : [sparseTensor, ...sparseTensors])
    yield* inSparse(sparse, where);
}

function* inSparse({ values, indices }: SparseTensorProto, where: string): Generator<FoundTensor> {
  for (const tensor of [values, indices]) if (tensor !== undefined) yield { tensor, where };
}
