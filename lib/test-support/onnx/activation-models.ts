// Models whose memory is mostly values between operators: small weights over large images and long sequences. For
// measurements of predicted memory; the models that a factor was fitted to are marked, so that it is judged on others.
import type { NodeSpec } from "../../compress/onnx/graph.ts";
import type { OnnxModel } from "../../compress/onnx/model.ts";
import { modelOf } from "./onnx-graphs.ts";
import type { ConstantValues } from "./onnx-graphs.ts";

/** A model of one input, `x`. */
export interface ActivationModel {
  readonly dims: readonly number[];
  readonly make: () => OnnxModel;
}

/** Builds a graph node by node; methods return the name of what they make. */
class Builder {
  readonly #dims: readonly number[];
  readonly #constants: Record<string, ConstantValues> = {};
  readonly #nodes: NodeSpec[] = [];
  #channels: Map<string, number> = new Map();

  constructor(...dims: readonly number[]) {
    this.#dims = dims;
    this.#channels.set("x", dims[1] ?? 1);
  }

  /** Adds a node of one output. */
  add(opType: string, input: readonly string[], attributes: NodeSpec["attributes"] = {}): string {
    const output = `v${this.#nodes.length}`;
    this.#nodes.push({ opType, input, output: [output], attributes });
    this.#channels.set(output, this.#channels.get(input[0] ?? "") ?? 1);
    return output;
  }

  constant(dims: readonly number[], scale: number): string {
    const name = `c${Object.keys(this.#constants).length}`;
    const count = dims.reduce((a, b) => a * b, 1);
    this.#constants[name] = {
      dtype: "float32",
      dims,
      values: Array.from({ length: count }, (_, i) => scale * Math.sin(i + 1)),
    };
    return name;
  }

  integers(...values: readonly number[]): string {
    const name = `c${Object.keys(this.#constants).length}`;
    this.#constants[name] = { dtype: "int64", dims: [values.length], values };
    return name;
  }

  /** Adds a convolution with padding. */
  conv(input: string, to: number, size: number, stride = 1): string {
    const from = this.#channels.get(input) ?? 1;
    const weight = this.constant([to, from, size, size], 1 / Math.sqrt(from * size * size));
    const pad = size >> 1;
    const attributes = { kernel_shape: [size, size], strides: [stride, stride], pads: [pad, pad, pad, pad] };
    const output = this.add("Conv", [input, weight, this.constant([to], 0.1)], attributes);
    this.#channels.set(output, to);
    return output;
  }

  /** Adds a transposed convolution that doubles the size. */
  up(input: string, to: number): string {
    const from = this.#channels.get(input) ?? 1;
    const weight = this.constant([from, to, 2, 2], 1 / Math.sqrt(from));
    const output = this.add("ConvTranspose", [input, weight], { kernel_shape: [2, 2], strides: [2, 2] });
    this.#channels.set(output, to);
    return output;
  }

  relu(input: string): string {
    return this.add("Relu", [input]);
  }

  silu(input: string): string {
    return this.add("Mul", [input, this.add("Sigmoid", [input])]);
  }

  concat(...inputs: readonly string[]): string {
    const output = this.add("Concat", inputs, { axis: 1 });
    this.#channels.set(
      output,
      inputs.reduce((sum, x) => sum + (this.#channels.get(x) ?? 0), 0),
    );
    return output;
  }

  /** Adds a layer of a transformer over [1, length, width], as exporters write it. */
  layer(input: string, length: number, width: number, heads: number): string {
    const scale = 1 / Math.sqrt(width);
    const norm = (x: string): string =>
      this.add("LayerNormalization", [x, this.constant([width], 1), this.constant([width], 0.1)], { axis: -1 });
    const dense = (x: string, from: number, to: number): string =>
      this.add("Add", [this.add("MatMul", [x, this.constant([from, to], scale)]), this.constant([to], 0.1)]);
    const split = (x: string, perm: readonly number[]): string =>
      this.add("Transpose", [this.add("Reshape", [x, this.integers(1, length, heads, width / heads)])], { perm });
    const before = norm(input);
    const [query, key, value] = [
      [0, 2, 1, 3],
      [0, 2, 3, 1],
      [0, 2, 1, 3],
    ].map((perm) => split(dense(before, width, width), perm)) as [string, string, string];
    const scores = this.add("Mul", [this.add("MatMul", [query, key]), this.constant([1], Math.sqrt(heads / width))]);
    const mixed = this.add("MatMul", [this.add("Softmax", [scores], { axis: -1 }), value]);
    const joined = this.add("Reshape", [
      this.add("Transpose", [mixed], { perm: [0, 2, 1, 3] }),
      this.integers(1, length, width),
    ]);
    const attended = this.add("Add", [input, dense(joined, width, width)]);
    const inner = dense(norm(attended), width, 4 * width);
    const gelu = this.add("Mul", [
      this.add("Mul", [
        inner,
        this.add("Add", [
          this.add("Erf", [this.add("Div", [inner, this.constant([1], 1.414)])]),
          this.constant([1], 1),
        ]),
      ]),
      this.constant([1], 0.5),
    ]);
    return this.add("Add", [attended, dense(gelu, 4 * width, width)]);
  }

  model(output: string): OnnxModel {
    const nodes = this.#nodes.map((x) => ({ ...x, output: x.output.map((name) => (name === output ? "y" : name)) }));
    const inputs = { x: { dtype: "float32" as const, dims: this.#dims } };
    return modelOf({ inputs, constants: this.#constants, outputs: ["y"], nodes, opset: 17 });
  }
}

function upscaler(height: number, width: number, channels: number, factor: number): ActivationModel {
  const dims = [1, 1, height, width];
  const make = (): OnnxModel => {
    const build = new Builder(...dims);
    const first = build.relu(build.conv("x", channels, 5));
    const second = build.relu(build.conv(first, channels / 2, 3));
    const last = build.conv(second, factor * factor, 3);
    return build.model(build.add("DepthToSpace", [last], { blocksize: factor }));
  };
  return { dims, make };
}

function transformer(length: number, width: number, heads: number, layers: number): ActivationModel {
  const dims = [1, length, width];
  const make = (): OnnxModel => {
    const build = new Builder(...dims);
    let at = "x";
    for (let i = 0; i < layers; i += 1) at = build.layer(at, length, width, heads);
    return build.model(build.add("ReduceMean", [at], { axes: [1], keepdims: 0 }));
  };
  return { dims, make };
}

function unet(size: number, channels: number, depth: number): ActivationModel {
  const dims = [1, 3, size, size];
  const make = (): OnnxModel => {
    const build = new Builder(...dims);
    const skips: string[] = [];
    let at = build.relu(build.conv("x", channels, 3));
    for (let i = 1; i <= depth; i += 1) {
      skips.push(at);
      at = build.relu(build.conv(at, channels << i, 3, 2));
    }
    for (let i = depth - 1; i >= 0; i -= 1) {
      const joined = build.concat(build.up(at, channels << i), skips[i] ?? "");
      at = build.relu(build.conv(joined, channels << i, 3));
    }
    return build.model(build.add("Sigmoid", [build.conv(at, 1, 1)]));
  };
  return { dims, make };
}

function detector(size: number, channels: number): ActivationModel {
  const dims = [1, 3, size, size];
  const make = (): OnnxModel => {
    const build = new Builder(...dims);
    let at = build.silu(build.conv("x", channels, 3, 2));
    for (let i = 1; i <= 3; i += 1) {
      at = build.silu(build.conv(at, channels << i, 3, 2));
      for (let j = 0; j < 2; j += 1) {
        const inner = build.silu(build.conv(build.silu(build.conv(at, channels << (i - 1), 1)), channels << i, 3));
        at = build.add("Add", [at, inner]);
      }
    }
    const head = build.conv(at, 84, 1);
    return build.model(build.add("Reshape", [head, build.integers(1, 84, -1)]));
  };
  return { dims, make };
}

/**
 * Models that the prediction of memory is judged on. It was fitted to others of these kinds: an upscaler and a detector of
 * 512 pixels, and a transformer of 512 tokens.
 */
export const JUDGED: Readonly<Record<string, ActivationModel>> = {
  "U-Net 640": unet(640, 16, 2),
  "U-Net 384": unet(384, 24, 3),
  "detector 640": detector(640, 32),
  "upscaler 720 × 480": upscaler(480, 720, 48, 3),
  "transformer 1024": transformer(1_024, 128, 8, 2),
  "detector 416": detector(416, 48),
  "transformer 512 × 192": transformer(512, 192, 6, 3),
};
