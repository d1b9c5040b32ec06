// Deduplicates equal constants: exporters write a tied weight twice, also as the table and, turned, as the weights of the
// last product, and the same scales and shapes many times.
import { createHash } from "node:crypto";
import type { Graph } from "../onnx/graph.ts";
import { TensorProto_DataType } from "../onnx/onnx.gen.js";
import type { TensorProto } from "../onnx/onnx.gen.js";
import type { Transform } from "../onnx/model.ts";
import { rawLength, rawPiece, StoredBytes } from "../onnx/stored-bytes.ts";

/** Minimum size in bytes: sharing smaller constants saves almost nothing. */
const LEAST_BYTES = 64;
/** The same for a table: a smaller one is not worth a Transpose. */
const TABLE_LEAST_BYTES = 2 ** 14;
/** Values of a row that are compared before all are read. */
const FIRST = 16;
/** Side of the squares in which two matrices are compared: both stay in the cache. */
const TILE = 64;

/** Makes the users of equal constants read a single one, in subgraphs that of an outer graph too. */
export function shareConstants(): Transform {
  return (model) => {
    shareIn(model.graph, new Map());
    shareTurned(model.graph);
  };
}

function shareIn(graph: Graph, outer: ReadonlyMap<string, string>): void {
  const known = new Map(outer);
  for (const tensor of [...graph.proto.initializer]) {
    if (rawLength(tensor) < LEAST_BYTES || graph.constant(tensor.name) !== tensor) continue;
    const key = keyOf(tensor);
    const same = known.get(key);
    if (same === undefined) known.set(key, tensor.name);
    else if (!graph.isOutput(tensor.name) && graph.constant(same) !== undefined) {
      graph.replaceUses(tensor.name, same);
      graph.proto.initializer = graph.proto.initializer.filter((x) => x !== tensor);
      graph.changed();
    }
  }
  for (const inner of graph.all()) if (inner.parent === graph) shareIn(inner, known);
}

function keyOf({ dataType, dims, rawData }: TensorProto): string {
  return `${dataType} ${dims.join(",")} ${createHash("sha256").update(rawData).digest("hex")}`;
}

/** Makes products multiply by the Transpose of a table where their weights are its values, turned. */
function shareTurned(graph: Graph): void {
  const matrices = graph.proto.initializer.filter((x) => isLargeMatrix(graph, x));
  const reads = (opType: string, at: number, { name }: TensorProto): boolean => {
    const readers = graph.readers(name) ?? [];
    const isRead = readers.every((x) => x.node.opType === opType && x.node.input.indexOf(name) === at);
    return isRead && readers.length > 0 && readers.every((x) => x.graph === graph);
  };
  const tables = matrices.filter((x) => reads("Gather", 0, x));
  for (const tensor of matrices) {
    if (tables.length === 0 || !reads("MatMul", 1, tensor)) continue;
    const table = tables.find((x) => isTurned(x, tensor));
    const [first] = graph.consumers(tensor.name);
    if (table === undefined || first === undefined) continue;
    graph.proto.initializer = graph.proto.initializer.filter((x) => x !== tensor);
    const attributes = { perm: [1, 0] };
    graph.insertBefore(first, { opType: "Transpose", input: [table.name], output: [tensor.name], attributes });
    graph.changed();
  }
}

function isLargeMatrix(graph: Graph, tensor: TensorProto): boolean {
  const { dataType, dims, name } = tensor;
  if (dataType !== TensorProto_DataType.FLOAT || dims.length !== 2 || graph.isOutput(name)) return false;
  return graph.constant(name) === tensor && rawLength(tensor) >= TABLE_LEAST_BYTES;
}

/** Whether one matrix is the other, turned. Few values are read unless they are. */
function isTurned(a: TensorProto, b: TensorProto): boolean {
  const [rows = 0, columns = 0] = a.dims.map(Number);
  if (Number(b.dims[0]) !== columns || Number(b.dims[1]) !== rows) return false;
  const first = wordsOf(a, 0, Math.min(FIRST, columns));
  if (first.some((x, i) => wordsOf(b, i * rows, 1)[0] !== x)) return false;
  const [these, those] = [wordsOf(a, 0, rows * columns), wordsOf(b, 0, rows * columns)];
  for (let row = 0; row < rows; row += TILE)
    for (let column = 0; column < columns; column += TILE)
      for (let i = row; i < Math.min(rows, row + TILE); i++)
        for (let j = column; j < Math.min(columns, column + TILE); j++)
          if (these[i * columns + j] !== those[j * rows + i]) return false;
  return true;
}

/** Reads values of a float32 tensor as their bits. */
function wordsOf(tensor: TensorProto, from: number, count: number): Uint32Array {
  const piece = rawPiece(tensor);
  const [start, end] = [4 * from, 4 * (from + count)];
  const bytes = piece instanceof StoredBytes ? piece.read(start, end) : piece.slice(start, end);
  return new Uint32Array(bytes.buffer, bytes.byteOffset, count);
}
