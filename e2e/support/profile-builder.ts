// Writes the graphs of profile cases (profile-blocks.ts, profile-exports.ts) node by node.
import type { NodeSpec } from "../../lib/compress/onnx/graph.ts";
import type { NumericType, ConstantValues } from "../../lib/test-support/onnx/onnx-graphs.ts";

/** Builds a graph node by node; values are named by numbers. */
export class Builder {
  readonly inputs: Record<string, ConstantValues> = {};
  readonly constants: Record<string, ConstantValues> = {};
  /** Declared dims of inputs that are open. */
  readonly declared: Record<string, readonly (number | string)[]> = {};
  readonly nodes: NodeSpec[] = [];
  readonly dtype: NumericType;
  readonly opset: number;
  #count = 0;

  constructor(dtype: NumericType, opset: number) {
    this.dtype = dtype;
    this.opset = opset;
  }

  input(dims: readonly number[], dtype: NumericType = this.dtype, values?: readonly number[]): string {
    const name = `input${this.#count++}`;
    this.inputs[name] = { dtype, dims, ...(values === undefined ? {} : { values }) };
    return name;
  }

  /** An input whose dims have names: each with the size that it has in the run. */
  open(dims: Readonly<Record<string, number>>, dtype: NumericType = this.dtype, values?: readonly number[]): string {
    const name = this.input(Object.values(dims), dtype, values);
    this.declared[name] = Object.entries(dims).map(([key, size]) => (key.startsWith("=") ? size : key));
    return name;
  }

  weight(...dims: readonly number[]): string {
    const name = `weight${this.#count++}`;
    const count = dims.reduce((a, b) => a * b, 1);
    const values = Array.from({ length: count }, (_, i) => 0.5 + Math.sin(i * 1.7) / 4);
    this.constants[name] = { dtype: this.dtype, dims, values };
    return name;
  }

  /** A weight in 8 bits. */
  bytes(dtype: "int8" | "uint8", ...dims: readonly number[]): string {
    const name = this.weight(...dims);
    this.constants[name] = { dtype, dims };
    return name;
  }

  /** A constant of given numbers: a scalar for a number. */
  constant(values: number | readonly number[], dtype: NumericType = "int64"): string {
    const name = `constant${this.#count++}`;
    const dims = typeof values === "number" ? [] : [values.length];
    this.constants[name] = { dtype, dims, values: typeof values === "number" ? [values] : values };
    return name;
  }

  /** Indices of one element. */
  place(...indices: readonly number[]): string {
    const name = this.constant(indices);
    this.constants[name] = { dtype: "int64", dims: [1, indices.length], values: indices };
    return name;
  }

  scalar(value: number): string {
    return this.constant(value, this.dtype);
  }

  add(opType: string, input: readonly string[], attributes: NodeSpec["attributes"] = {}, domain = ""): string {
    return this.addAll(opType, input, 1, attributes, domain)[0] ?? "";
  }

  addAll(
    opType: string,
    input: readonly string[],
    outputs: number,
    attributes: NodeSpec["attributes"] = {},
    domain = "",
  ): string[] {
    const output = Array.from({ length: outputs }, () => `value${this.#count++}`);
    this.nodes.push({ opType, domain, input, output, attributes });
    return output;
  }

  /** Reduces along axes, which are an input from operator set 18 on (13 for sums). */
  reduce(opType: string, x: string, axes: readonly number[], keepdims = 1): string {
    return this.opset >= (opType === "ReduceSum" ? 13 : 18)
      ? this.add(opType, [x, this.constant(axes)], { keepdims })
      : this.add(opType, [x], { axes, keepdims });
  }

  conv(x: string, from: number, to: number, kernel: number, stride = 1, group = 1): string {
    return this.#conv([x, this.weight(to, from / group, kernel, kernel), this.weight(to)], kernel, stride, group);
  }

  /** A convolution without a bias, as it stands before a normalization. */
  bareConv(x: string, from: number, to: number, kernel: number, stride = 1, group = 1): string {
    return this.#conv([x, this.weight(to, from / group, kernel, kernel)], kernel, stride, group);
  }

  #conv(inputs: readonly string[], kernel: number, stride: number, group: number): string {
    const pad = (kernel - 1) / 2;
    return this.add("Conv", inputs, {
      kernel_shape: [kernel, kernel],
      strides: [stride, stride],
      pads: [pad, pad, pad, pad],
      group,
    });
  }

  norm(x: string, channels: number): string {
    return this.add("BatchNormalization", [x, ...[0, 1, 2, 3].map(() => this.weight(channels))]);
  }

  /** LayerNormalization as exporters wrote it before operator set 17. */
  layerNorm(x: string, width: number): string {
    const centred = this.add("Sub", [x, this.reduce("ReduceMean", x, [-1])]);
    const square = this.add("Pow", [centred, this.scalar(2)]);
    const variance = this.add("Add", [this.reduce("ReduceMean", square, [-1]), this.scalar(1e-5)]);
    const scaled = this.add("Div", [centred, this.add("Sqrt", [variance])]);
    return this.add("Add", [this.add("Mul", [scaled, this.weight(width)]), this.weight(width)]);
  }

  linear(x: string, from: number, to: number): string {
    return this.add("Add", [this.add("MatMul", [x, this.weight(from, to)]), this.weight(to)]);
  }

  /** GELU as exporters write it. */
  gelu(x: string): string {
    const erf = this.add("Erf", [this.add("Div", [x, this.scalar(Math.SQRT2)])]);
    const half = this.add("Mul", [x, this.add("Add", [erf, this.scalar(1)])]);
    return this.add("Mul", [half, this.scalar(0.5)]);
  }

  /** GELU by its approximation with Tanh. */
  fastGelu(x: string): string {
    const cube = this.add("Mul", [this.add("Pow", [x, this.scalar(3)]), this.scalar(0.044715)]);
    const inner = this.add("Tanh", [this.add("Mul", [this.add("Add", [x, cube]), this.scalar(0.7978845608)])]);
    const half = this.add("Mul", [x, this.scalar(0.5)]);
    return this.add("Mul", [half, this.add("Add", [inner, this.scalar(1)])]);
  }

  heads(x: string, sequence: number, heads: number, width: number, perm: readonly number[]): string {
    return this.add("Transpose", [this.add("Reshape", [x, this.constant([1, sequence, heads, width])])], { perm });
  }
}
