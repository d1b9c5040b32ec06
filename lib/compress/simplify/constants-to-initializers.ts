// Turns constants into initializers that hold all their values, where runtimes and the other transforms look for
// weights: Constant nodes (Paddle's exporter writes every weight as one), numbers in their attributes, and sparse
// initializers, which ONNX Runtime fills up too when it loads a model.
import type { Graph } from "../onnx/graph.ts";
import type { Transform } from "../onnx/model.ts";
import type { NodeProto, SparseTensorProto, TensorProto } from "../onnx/onnx.gen.js";
import { bitsOf, elementCount, floatTensor, int64Tensor, integersOf, rawTensor } from "../onnx/tensor-proto.ts";

/** Maximum size in bytes to which a sparse constant is filled up. */
const DENSE_MAX_BYTES = 2 ** 28;

/** Turns constants into initializers, in subgraphs too; a Constant that is an output of its graph stays a node. */
export function constantsToInitializers(): Transform {
  return (model) => {
    for (const graph of model.graph.all()) {
      fillUp(graph);
      const moved = new Set<NodeProto>();
      for (const node of graph.nodes) {
        if (node.opType !== "Constant" || node.domain !== "") continue;
        const name = node.output[0];
        if (name === undefined || graph.isOutput(name)) continue;
        const tensor = valueOf(node, name);
        if (tensor === undefined) continue;
        tensor.name = name;
        graph.proto.initializer.push(tensor);
        moved.add(node);
      }
      graph.remove(moved);
    }
  };
}

function valueOf({ attribute: [attribute] }: NodeProto, name: string): TensorProto | undefined {
  switch (attribute?.name) {
    case "value":
      return attribute.t;
    case "sparse_value":
      return attribute.sparseTensor && dense(attribute.sparseTensor, name);
    case "value_float":
      return floatTensor(name, [], Float32Array.of(attribute.f));
    case "value_floats":
      return floatTensor(name, [attribute.floats.length], Float32Array.from(attribute.floats));
    case "value_int":
      return int64Tensor(name, [], [attribute.i]);
    case "value_ints":
      return int64Tensor(name, [attribute.ints.length], attribute.ints);
    default:
      return undefined;
  }
}

function fillUp(graph: Graph): void {
  graph.proto.sparseInitializer = graph.proto.sparseInitializer.filter((sparse) => {
    const tensor = dense(sparse, sparse.values?.name ?? "");
    if (tensor === undefined) return true;
    graph.proto.initializer.push(tensor);
    return false;
  });
  graph.changed();
}

/**
 * Makes a tensor of all values. Its indices count through the whole tensor, or are a row of one for each axis. Undefined
 * where it is very large, or its values are stored otherwise than as bytes or float32.
 */
function dense({ values, indices, dims }: SparseTensorProto, name: string): TensorProto | undefined {
  if (values === undefined || indices === undefined) return undefined;
  const size = bitsOf(values.dataType) / 8;
  const count = dims.reduce((product, x) => product * Number(x), 1);
  if (!Number.isInteger(size) || size === 0 || !(count * size <= DENSE_MAX_BYTES)) return undefined;
  const isTyped = values.floatData.length > 0;
  const stored = isTyped ? new Uint8Array(Float32Array.from(values.floatData).buffer) : values.rawData;
  const given = elementCount(values);
  if (stored.length !== given * size) return undefined;
  const at = integersOf(indices);
  const axes = at.length === given && indices.dims.length < 2 ? 0 : dims.length;
  const bytes = new Uint8Array(count * size);
  for (let i = 0; i < given; i++) {
    const place =
      axes === 0
        ? (at[i] ?? 0)
        : dims.reduce((sum, dim, axis) => sum * Number(dim) + (at[i * axes + axis] ?? Number.NaN), 0);
    if (!(place >= 0 && place < count)) return undefined;
    bytes.set(stored.subarray(i * size, (i + 1) * size), place * size);
  }
  return rawTensor(name, values.dataType, dims.map(Number), bytes);
}
