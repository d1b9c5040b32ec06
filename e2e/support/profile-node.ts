// Builds a case of the profile (profile-cases.ts) that is a graph of one node.
import { modelOf } from "../../lib/test-support/onnx/onnx-graphs.ts";
import type { ConstantValues, NumericType } from "../../lib/test-support/onnx/onnx-graphs.ts";
import type { NodeSpec } from "../../lib/compress/onnx/graph.ts";
import type { LazyCase } from "./profile-cases.ts";

/** An operand of a node: an input, a constant of the graph, or null where it is optional and left out. */
export type Operand = (ConstantValues & { readonly isConstant?: boolean }) | null;

/** The rest of a node, and of its graph. */
export interface NodeOptions {
  readonly attributes?: NodeSpec["attributes"];
  /** Version of the operator set. Default 17. */
  readonly opset?: number;
  /** Number of outputs. Default 1. */
  readonly outputs?: number;
  /** Whether the first dim is free, as `isFree` of {@link modelOf}. Default false. */
  readonly isFree?: boolean;
}

/** Returns a case of one node with its operands in their order. */
export function nodeCase(
  opType: string,
  operands: readonly Operand[],
  { attributes = {}, opset = 17, outputs = 1, isFree = false }: NodeOptions = {},
): LazyCase {
  const named = operands.map((x, i) => [x === null ? "" : `${x.isConstant === true ? "c" : "x"}${i}`, x] as const);
  const ofKind = (isConstant: boolean): Record<string, ConstantValues> =>
    Object.fromEntries(
      named.flatMap(([name, x]) => (x !== null && (x.isConstant === true) === isConstant ? [[name, x]] : [])),
    );
  const output = Array.from({ length: outputs }, (_, i) => `y${i}`);
  const [inputs, constants] = [ofKind(false), ofKind(true)];
  const node = { opType, input: named.map(([name]) => name), output, attributes };
  const title = operands.map((x) => (x === null ? "none" : `${textOf(x)} [${x.dims.join(", ")}]`)).join(", ");
  return {
    title: `${opType} of ${title} with ${JSON.stringify(attributes)}, operator set ${opset}`,
    onGpu: false,
    make: () => ({ model: modelOf({ inputs, constants, outputs: output, nodes: [node], opset, isFree }), inputs }),
  };
}

/** Returns a constant operand, filled with small numbers unless `values` are given. */
export function constant(dtype: NumericType, dims: readonly number[], values?: readonly number[]): Operand {
  return { dtype, dims, ...(values && { values }), isConstant: true };
}

function textOf({ dtype, isConstant = false }: NonNullable<Operand>): string {
  return isConstant ? `constant ${dtype}` : dtype;
}
