// Checks ids against the tables that they index, in a worker, which has no protobuf library. ONNX Runtime checks them on
// the CPU alone, and names a node; its WebGPU kernels read another row, and the answer is wrong without an error.
//
// Not checked here: indices that the graph computes. Of positions, the rewrite `check-positions` for WebGPU takes care
// (webgpu-rewrites.ts).
import type { Tensor } from "../../core/tensor.ts";
import type { DeviceTensor } from "../../rpc/backend.ts";
import { fieldsOf, NOTHING, textOf } from "./onnx-fields.ts";
import type { OnnxField } from "./onnx-fields.ts";
import { GRAPH, MODEL, NODE, nodeOf, tensorOf } from "./rewrite-model.ts";

/** A table that an input indexes. */
export interface Table {
  readonly name: string;
  readonly rows: number;
}

/** Operators whose result is the table's rows by the second input. */
const GATHERS: ReadonlySet<string> = new Set(["Gather", "GatherBlockQuantized"]);
/** Attributes by which they index another axis. */
const AXES: ReadonlySet<string> = new Set(["axis", "gather_axis"]);
/** Operators whose result holds the same integers. */
const SAME: ReadonlySet<string> = new Set([
  "Cast",
  "Flatten",
  "Identity",
  "Reshape",
  "Squeeze",
  "Transpose",
  "Unsqueeze",
]);
/** Operators whose result has the rows of their input. */
const SAME_ROWS: ReadonlySet<string> = new Set(["Cast", "DequantizeLinear", "Identity"]);

/** Field numbers of an input's type in onnx.proto. */
const TYPE = { ofValue: 2, tensor: 1, element: 1 } as const;
/** Element types of ids: int32, int64. */
const INTEGERS: ReadonlySet<number> = new Set([6, 7]);

/** Returns the smallest table that each input indexes; none for a file that is no ONNX model. */
export function tablesOf(file: Uint8Array): ReadonlyMap<string, Table> {
  const tables = new Map<string, Table>();
  try {
    for (const { number, body } of fieldsOf(file)) if (number === MODEL.graph) addTables(body, tables);
  } catch {
    // ONNX Runtime refuses it for its own reason
  }
  return tables;
}

function addTables(graph: Uint8Array, tables: Map<string, Table>): void {
  const rows = new Map<string, number>();
  /** The value that each value holds the integers of. */
  const origins = new Map<string, string>();
  const fields = [...fieldsOf(graph)];
  // Most models of pictures and sounds have none.
  if (!fields.some((x) => x.number === GRAPH.input && isInteger(x.body))) return;
  for (const { number, body } of fields)
    if (number === GRAPH.initializer) {
      const { name, dims } = tensorOf(body);
      if (dims[0] !== undefined) rows.set(name, dims[0]);
    }
  for (const { number, body, whole } of fields) {
    if (number !== GRAPH.node) continue;
    const opType = textOf(body, NODE.opType);
    if (!SAME.has(opType) && !SAME_ROWS.has(opType) && !GATHERS.has(opType)) continue;
    const { input, output, attribute } = nodeOf(whole, body, new Set());
    const [first = "", second = ""] = input;
    const [result = ""] = output;
    if (SAME.has(opType)) origins.set(result, origins.get(first) ?? first);
    const height = rows.get(first);
    if (height === undefined) continue;
    if (SAME_ROWS.has(opType)) rows.set(result, height);
    if (!GATHERS.has(opType) || attribute.some(({ name, i }) => AXES.has(name) && i !== 0n)) continue;
    const ids = origins.get(second) ?? second;
    if (height < (tables.get(ids)?.rows ?? Infinity)) tables.set(ids, { name: first, rows: height });
  }
}

function isInteger(value: Uint8Array): boolean {
  const fieldOf = (holder: Uint8Array, number: number): OnnxField | undefined =>
    [...fieldsOf(holder)].find((x) => x.number === number);
  const tensor = fieldOf(fieldOf(value, TYPE.ofValue)?.body ?? NOTHING, TYPE.tensor)?.body ?? NOTHING;
  return INTEGERS.has(fieldOf(tensor, TYPE.element)?.value ?? 0);
}

/**
 * Checks the ids of a run.
 * @throws RangeError for one that its table has no row for
 */
export function checkIds(
  tables: ReadonlyMap<string, Table>,
  feeds: Readonly<Record<string, Tensor | DeviceTensor>>,
): void {
  for (const [input, table] of tables) {
    const feed = feeds[input];
    if (feed === undefined || "buffer" in feed) continue;
    const at = beyond(feed, table.rows);
    if (at === -1) continue;
    const where = `element ${at} is ${feed.data[at]}`;
    throw new RangeError(`input "${input}": ${where}, and the model's table "${table.name}" has ${table.rows} rows`);
  }
}

/** Returns the first place of an id without a row, or -1; negative ids count from the end. */
function beyond({ data, dtype }: Tensor, rows: number): number {
  if (dtype === "int32") return data.findIndex((id) => id >= rows || id < -rows);
  if (dtype !== "int64") return -1;
  const [end, start] = [BigInt(rows), BigInt(-rows)];
  return data.findIndex((id) => id >= end || id < start);
}
