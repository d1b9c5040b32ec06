// Sensitivity of the outputs to each weight: the error of the outputs where this weight alone is rounded to 8 bits, and
// to 4. The weights become inputs of the model, so that it is loaded once and a run can replace any of them; rounding
// is per output channel, symmetric: the minimum that every form does.
import { create } from "@bufbuild/protobuf";
import { einsumAxis, gemmAxis } from "../onnx/layer.ts";
import type { Feed } from "./feeds.ts";
import { sqnr } from "./metric.ts";
import type { Outputs } from "./metric.ts";
import { TensorProto_DataType, ValueInfoProtoSchema } from "../onnx/onnx.gen.js";
import type { NodeProto, TensorProto } from "../onnx/onnx.gen.js";
import type { OnnxModel } from "../onnx/model.ts";
import { openModel } from "./session.ts";
import { LARGE_BYTES, rawLength } from "../onnx/stored-bytes.ts";
import { floatsOf } from "../onnx/tensor-proto.ts";

const OPERATORS: ReadonlySet<string> = new Set(["Conv", "ConvTranspose", "MatMul", "Gemm", "Gather"]);
/** Recurrent layers, whose weights are their second and third input. */
const RECURRENT: ReadonlySet<string> = new Set(["LSTM", "GRU", "RNN"]);
/** Minimum number of elements; smaller weights are not worth measuring. */
const LEAST_ELEMENTS = 64;

/** Sensitivity of the outputs to one weight. */
export interface SensitivityRow {
  /** Name of the weight. */
  readonly name: string;
  /** Operator that uses it. */
  readonly operator: string;
  /** Its size in float32. */
  readonly bytes: number;
  /** Signal-to-noise ratio of the outputs, in dB, where this weight alone is stored in 8 bits. */
  readonly int8Db: number;
  /** The same for 4 bits. */
  readonly int4Db: number;
}

/**
 * Measures the sensitivity of the outputs to each weight, the largest weights first, within the time limit; for 8 and 4
 * bits by default. Ratios that were not requested are Infinity. From 128 MiB of weights on it is estimated from the
 * weights alone.
 */
export async function measureSensitivity(
  original: OnnxModel,
  feeds: readonly Feed[],
  options: {
    budgetMs: number;
    signal?: AbortSignal | undefined;
    bits?: readonly (4 | 8)[];
    /** Weights to measure. Default all. */
    names?: ReadonlySet<string>;
  },
): Promise<SensitivityRow[]> {
  const ends = performance.now() + options.budgetMs;
  const { bits = [8, 4], names } = options;
  const model = original.copy();
  const { proto } = model.graph;
  const weights = new Map<string, { tensor: TensorProto; user: NodeProto }>();
  const graphs = [...model.graph.all()];
  for (const graph of graphs)
    for (const tensor of graph.proto.initializer) {
      // Two branches may have a weight of one name each, and an input has one.
      if (names?.has(tensor.name) === false || weights.has(tensor.name) || graph.constant(tensor.name) !== tensor)
        continue;
      if (graphs.some((x) => x !== graph && x.proto.initializer.some((y) => y.name === tensor.name))) continue;
      const readers = graph.readers(tensor.name)?.map((x) => x.node);
      const user = readers?.find((x) => isLayer(x, tensor));
      const count = tensor.dims.reduce((product, x) => product * Number(x), 1);
      const isFloat = tensor.dataType === TensorProto_DataType.FLOAT && tensor.dims.length >= 2;
      if (user !== undefined && isFloat && count >= LEAST_ELEMENTS) weights.set(tensor.name, { tensor, user });
    }
  if (weights.size === 0 || feeds.length === 0) return [];
  const total = [...weights.values()].reduce((sum, { tensor }) => sum + rawLength(tensor), 0);
  if (total >= LARGE_BYTES) return estimateSensitivity([...weights.values()], bits, options.signal);
  for (const { proto: each } of graphs) each.initializer = each.initializer.filter((x) => !weights.has(x.name));
  const declared = new Set(proto.input.map((x) => x.name));
  for (const { tensor } of weights.values()) if (!declared.has(tensor.name)) proto.input.push(inputLike(tensor));
  model.graph.changed();
  const loaded = await openModel(model.write(), "cpu");
  try {
    const whole: Feed = Object.fromEntries([...weights].map(([name, { tensor }]) => [name, tensorLike(tensor)]));
    const reference: Outputs[] = [];
    for (const feed of feeds) reference.push(await loaded.run({ ...whole, ...feed }));
    const errorOf = async (tensor: TensorProto, user: NodeProto, bits: number): Promise<number> => {
      const now = {
        ...whole,
        [tensor.name]: tensorLike(tensor, rounded(tensor, user, bits)),
      };
      const pairs: { outputs: Outputs; reference: Outputs }[] = [];
      for (const [i, feed] of feeds.entries())
        pairs.push({ outputs: await loaded.run({ ...now, ...feed }), reference: reference[i] ?? {} });
      return sqnr(pairs);
    };
    const rows: SensitivityRow[] = [];
    const bySize = [...weights.values()].sort((a, b) => rawLength(b.tensor) - rawLength(a.tensor));
    for (const { tensor, user } of bySize) {
      if (performance.now() > ends || options.signal?.aborted === true) break;
      const [int8Db = Infinity, int4Db = Infinity] = [
        bits.includes(8) ? await errorOf(tensor, user, 8) : undefined,
        bits.includes(4) ? await errorOf(tensor, user, 4) : undefined,
      ];
      rows.push({ name: tensor.name, operator: user.opType, bytes: floatsOf(tensor).byteLength, int8Db, int4Db });
    }
    return rows.sort((a, b) => a.int4Db - b.int4Db);
  } finally {
    await loaded.release();
  }
}

/** Whether a node reads a tensor as its weight. */
function isLayer(node: NodeProto, { name, dims }: TensorProto): boolean {
  const { domain, opType, input } = node;
  if (domain !== "") return false;
  if (opType === "Einsum") return einsumAxis(node, input.indexOf(name), dims.length) !== undefined;
  return RECURRENT.has(opType) ? input[1] === name || input[2] === name : OPERATORS.has(opType);
}

/**
 * Estimates the sensitivity to weights that are too many to be inputs: the error of each weight itself, and not of what
 * the model makes of it. One weight is in memory at a time, and between two the process answers Ctrl-C.
 */
async function estimateSensitivity(
  weights: readonly { readonly tensor: TensorProto; readonly user: NodeProto }[],
  bits: readonly (4 | 8)[],
  signal: AbortSignal | undefined,
): Promise<SensitivityRow[]> {
  const rows: SensitivityRow[] = [];
  for (const { tensor, user } of weights) {
    await new Promise((resolve) => setImmediate(resolve));
    if (signal?.aborted === true) return [];
    const values = floatsOf(tensor);
    const dims = tensor.dims.map(Number);
    const errorOf = (width: 4 | 8): number => {
      if (!bits.includes(width)) return Infinity;
      const outputs = { w: { dims, data: rounded(tensor, user, width, values) } };
      return sqnr([{ outputs, reference: { w: { dims, data: values } } }]);
    };
    const { name } = tensor;
    rows.push({ name, operator: user.opType, bytes: values.byteLength, int8Db: errorOf(8), int4Db: errorOf(4) });
  }
  return rows.sort((a, b) => a.int4Db - b.int4Db);
}

/** Rounds a weight to so many bits, with a scale per output channel. */
function rounded(
  tensor: TensorProto,
  user: NodeProto,
  bits: number,
  values: Float32Array = floatsOf(tensor),
): Float32Array {
  const dims = tensor.dims.map(Number);
  const axis = channelAxis(user, tensor);
  const [channels, inner] = [dims[axis] ?? 1, dims.slice(axis + 1).reduce((a, b) => a * b, 1)];
  const peaks = new Float32Array(channels);
  const each = (use: (i: number, channel: number) => void): void => {
    for (let i = 0; i < values.length;)
      for (let channel = 0; channel < channels; channel++) for (const end = i + inner; i < end; i++) use(i, channel);
  };
  each((i, channel) => {
    const size = Math.abs(values[i] ?? 0);
    if (size > (peaks[channel] ?? 0)) peaks[channel] = size;
  });
  const most = 2 ** (bits - 1) - 1;
  const result = new Float32Array(values.length);
  each((i, channel) => {
    const scale = (peaks[channel] ?? 0) / most;
    result[i] = scale === 0 ? 0 : Math.round((values[i] ?? 0) / scale) * scale;
  });
  return result;
}

function channelAxis(user: NodeProto, { name, dims: { length: rank } }: TensorProto): number {
  if (user.opType === "Einsum") return einsumAxis(user, user.input.indexOf(name), rank) ?? 0;
  if (user.opType === "MatMul") return rank - 1;
  if (user.opType === "Gemm") return gemmAxis(user);
  return user.opType === "ConvTranspose" || RECURRENT.has(user.opType) ? 1 : 0;
}

function tensorLike(tensor: TensorProto, values: Float32Array = floatsOf(tensor)): Feed[string] {
  return { dtype: "float32", dims: tensor.dims.map(Number), data: values };
}

function inputLike({ name, dims }: TensorProto) {
  const dim = dims.map((value) => ({ value: { case: "dimValue" as const, value } }));
  const value = { elemType: TensorProto_DataType.FLOAT, shape: { dim } };
  return create(ValueInfoProtoSchema, { name, type: { value: { case: "tensorType" as const, value } } });
}
