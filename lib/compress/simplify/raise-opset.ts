// Raises a model's default operator set to one whose operators have kernels: below 11 a Clip keeps its bounds in
// attributes, and ONNX Runtime's WebGPU provider has no kernel for that.
//
// The changes of each version are taken from ONNX's operator changelog. Most only admit more types; the handlers below
// are for the rest. An operator that this file does not know is refused by name, never passed on unchecked.
import { SelvedgeError } from "../../core/errors.ts";
import { dropAttributes, floatOf, integerOf, integersAt, setAttribute, textOf } from "../onnx/graph.ts";
import type { Graph } from "../onnx/graph.ts";
import type { Transform } from "../onnx/model.ts";
import { TensorProto_DataType } from "../onnx/onnx.gen.js";
import type { NodeProto } from "../onnx/onnx.gen.js";
import { rankOf } from "../onnx/rank.ts";
import { floatTensor, int64Tensor } from "../onnx/tensor-proto.ts";

/** The lowest version that can be raised. */
const FROM_MIN = 7;
/** The highest target version. */
const TO_MAX = 21;

/** Operators with the same semantics from 7 to 21 wherever they exist. */
const SAME = new Set(
  (
    "Abs Acos Acosh Add AffineGrid And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool Bernoulli BitShift " +
    "BitwiseAnd BitwiseNot BitwiseOr BitwiseXor BlackmanWindow Cast CastLike Ceil Celu CenterCropPad Col2Im " +
    "Compress Concat ConcatFromSequence Constant ConstantOfShape Conv ConvInteger ConvTranspose Cos Cosh CumSum " +
    "DeformConv DepthToSpace DequantizeLinear Det Div DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand " +
    "EyeLike Flatten Floor GRU Gather GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalLpPool " +
    "GlobalMaxPool Greater GreaterOrEqual HammingWindow HannWindow HardSigmoid HardSwish Identity If " +
    "ImageDecoder InstanceNormalization IsInf IsNaN LRN LSTM LayerNormalization LeakyRelu Less LessOrEqual Log " +
    "Loop LpNormalization LpPool MatMul MatMulInteger Max MaxPool MaxRoiPool MaxUnpool Mean " +
    "MeanVarianceNormalization MelWeightMatrix Min Mish Mod Mul Multinomial Neg NegativeLogLikelihoodLoss " +
    "NonMaxSuppression NonZero Not OneHot Optional OptionalGetElement OptionalHasElement Or PRelu Pow " +
    "QLinearConv QLinearMatMul QuantizeLinear RNN RandomNormal RandomNormalLike RandomUniform RandomUniformLike " +
    "Range Reciprocal RegexFullMatch Relu Reshape ReverseSequence Round STFT ScatterElements ScatterND Selu " +
    "SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength SequenceMap Shape " +
    "Shrink Sigmoid Sign Sin Sinh Size SoftmaxCrossEntropyLoss Softplus Softsign SpaceToDepth SplitToSequence " +
    "Sqrt StringConcat StringNormalizer StringSplit Sub Sum Tan Tanh TfIdfVectorizer ThresholdedRelu Tile " +
    "Transpose Trilu Unique Where Xor"
  ).split(" "),
);

/** Rewrites one node from version `from` to the same semantics in `to`. */
type Raise = (node: NodeProto, graph: Graph, from: number, to: number) => void;

const RAISE: Readonly<Record<string, Raise>> = {
  BatchNormalization(node, graph, from, to) {
    if (from < 14 && to >= 14) {
      // Its other outputs were for training, and mean something else since 14.
      if (node.output.slice(1).some((x) => x !== "" && isUsed(graph, x)))
        throw refused(node, "its statistics are used");
      node.output = node.output.slice(0, 1);
    }
    if (from >= 9 || to < 9) return;
    if (integerOf(node, "spatial", 1) !== 1) throw refused(node, "its statistics are not per channel (spatial = 0)");
    dropAttributes(node, "spatial");
  },
  Clip(node, graph, from, to) {
    if (from >= 11 || to < 11) return;
    // The bounds become inputs and must have the value's type; without inferred types only float32 models are certain.
    if (usesOtherFloats(graph))
      throw refused(node, "the model is not float32 throughout, so its bounds' type is unknown");
    const bound = (name: "min" | "max"): string =>
      node.attribute.some((x) => x.name === name)
        ? graph.addInitializer(scalar(graph, `${node.output[0] ?? ""}/${name}`, floatOf(node, name, 0)))
        : "";
    const bounds = [bound("min"), bound("max")];
    while (bounds.at(-1) === "") bounds.pop();
    node.input = [node.input[0] ?? "", ...bounds];
    dropAttributes(node, "min", "max");
  },
  Dropout(node, graph, from, to) {
    if (from >= 12 || to < 12) return;
    // At inference a Dropout passes its input through; only the type of the mask, which is hardly ever read, changed in
    // 10.
    const mask = node.output[1];
    if (mask !== undefined && mask !== "" && isUsed(graph, mask) && from < 10) throw refused(node, "its mask is used");
    if (node.attribute.some((x) => x.name === "ratio")) {
      const ratio = scalar(graph, `${node.output[0] ?? ""}/ratio`, floatOf(node, "ratio", 0.5));
      node.input = [node.input[0] ?? "", graph.addInitializer(ratio)];
    }
    dropAttributes(node, "ratio");
  },
  DFT(node, graph, from, to) {
    if (from >= 20 || to < 20) return;
    const axis = int64Tensor(graph.freshName(`${node.output[0] ?? ""}/axis`), [], [integerOf(node, "axis", 1)]);
    node.input = [node.input[0] ?? "", node.input[1] ?? "", graph.addInitializer(axis)];
    dropAttributes(node, "axis");
  },
  GridSample(node, _graph, from, to) {
    const mode = textOf(node, "mode", "bilinear");
    if (from < 20 && to >= 20) setAttribute(node, "mode", { bilinear: "linear", bicubic: "cubic" }[mode] ?? mode);
  },
  GroupNormalization(node, _graph, from, to) {
    if (from < 21 && to >= 21) throw refused(node, "its scale is per group, and since 21 per channel");
  },
  Hardmax: lastAxis,
  LogSoftmax: lastAxis,
  Softmax: lastAxis,
  Pad(node, graph, from, to) {
    if (from >= 11 || to < 11) return;
    attributesToInputs(node, graph, ["pads"]);
    if (textOf(node, "mode", "constant") === "constant" && floatOf(node, "value", 0) !== 0) {
      if (usesOtherFloats(graph))
        throw refused(node, "the model is not float32 throughout, so its fill value's type is unknown");
      node.input.push(graph.addInitializer(scalar(graph, `${node.output[0] ?? ""}/value`, floatOf(node, "value", 0))));
    }
    dropAttributes(node, "value");
  },
  ReduceL1: axesAsInput,
  ReduceL2: axesAsInput,
  ReduceLogSum: axesAsInput,
  ReduceLogSumExp: axesAsInput,
  ReduceMax: axesAsInput,
  ReduceMean: axesAsInput,
  ReduceMin: axesAsInput,
  ReduceProd: axesAsInput,
  ReduceSumSquare: axesAsInput,
  ReduceSum(node, graph, from, to) {
    if (from < 13 && to >= 13) attributesToInputs(node, graph, ["axes"]);
  },
  Resize(node, graph, from, to) {
    if (from < 11 && to >= 11) resizeFrom10(node, graph);
    const mode = textOf(node, "coordinate_transformation_mode", "half_pixel");
    if (from < 13 && to >= 13 && mode === "tf_half_pixel_for_nn")
      throw refused(node, "it scales coordinates by tf_half_pixel_for_nn, which was removed in 13");
  },
  RoiAlign(node, _graph, from, to) {
    const isTold = node.attribute.some((x) => x.name === "coordinate_transformation_mode");
    if (from < 16 && to >= 16 && !isTold) setAttribute(node, "coordinate_transformation_mode", "output_half_pixel");
  },
  Scan(node, _graph, from) {
    if (from < 9) throw refused(node, "it scans over a batch axis, which was removed in 9");
  },
  Scatter(node, _graph, from, to) {
    if (from < 11 && to >= 11) node.opType = "ScatterElements";
  },
  Slice(node, graph, from, to) {
    if (from >= 10 || to < 10) return;
    if (integersAt(node, "axes") === undefined) {
      const starts = integersAt(node, "starts") ?? [];
      setAttribute(
        node,
        "axes",
        starts.map((_, i) => i),
      );
    }
    attributesToInputs(node, graph, ["starts", "ends", "axes"]);
  },
  Split(node, graph, from, to) {
    if (from < 13 && to >= 13) attributesToInputs(node, graph, ["split"]);
    const isGiven = (node.input[1] ?? "") !== "" || node.attribute.some((x) => x.name === "split");
    if (from < 18 && to >= 18 && !isGiven) setAttribute(node, "num_outputs", node.output.length);
  },
  Squeeze(node, graph, from, to) {
    if (from < 13 && to >= 13) attributesToInputs(node, graph, ["axes"]);
  },
  TopK(node, graph, from, to) {
    if (from >= 10 || to < 10) return;
    setAttribute(node, "k", [integerOf(node, "k", 1)]);
    attributesToInputs(node, graph, ["k"]);
  },
  Unsqueeze(node, graph, from, to) {
    if (from < 13 && to >= 13) attributesToInputs(node, graph, ["axes"]);
  },
  Upsample(node, graph, from, to) {
    if (to < 10) throw refused(node, "it is raised to 10 or higher only");
    if (from < 9) {
      const scales = node.attribute.find((x) => x.name === "scales")?.floats ?? [];
      const name = graph.freshName(`${node.output[0] ?? ""}/scales`);
      node.input.push(graph.addInitializer(floatTensor(name, [scales.length], Float32Array.from(scales))));
      dropAttributes(node, "scales");
    }
    node.opType = "Resize";
    if (to >= 11) resizeFrom10(node, graph);
  },
};

/**
 * Raises the default operator set to `version`, 8 to 21; a model that is already there is unchanged.
 * @throws SelvedgeError `model-invalid`, naming the operator that cannot be raised.
 */
export function raiseOpset(version: number): Transform {
  if (!Number.isInteger(version) || version <= FROM_MIN || version > TO_MAX)
    throw new RangeError(`raiseOpset takes an integer from ${FROM_MIN + 1} to ${TO_MAX}, not ${version}`);
  return (model) => {
    const from = model.opset;
    if (from >= version) return;
    if (from < FROM_MIN)
      throw new SelvedgeError(
        "model-invalid",
        `operator set ${from} is too old to be raised; ${FROM_MIN} is the oldest`,
        {
          opset: from,
        },
      );
    for (const graph of model.graph.all()) {
      for (const node of [...graph.nodes]) {
        if (node.domain !== "" && node.domain !== "ai.onnx") continue;
        const raise = Object.hasOwn(RAISE, node.opType) ? RAISE[node.opType] : undefined;
        if (raise !== undefined) raise(node, graph, from, version);
        else if (!SAME.has(node.opType)) throw refused(node, "its changes are not known here");
      }
      graph.changed();
    }
    for (const entry of model.proto.opsetImport)
      if (entry.domain === "" || entry.domain === "ai.onnx") entry.version = BigInt(version);
    // Since IR 4 initializers may be constants, not inputs; later IR versions are those ONNX released with each
    // operator set.
    const ir = version >= 21 ? 10n : version >= 19 ? 9n : version >= 15 ? 8n : 7n;
    if (model.proto.irVersion < ir) model.proto.irVersion = ir;
  };
}

function axesAsInput(node: NodeProto, graph: Graph, from: number, to: number): void {
  if (from < 18 && to >= 18) attributesToInputs(node, graph, ["axes"]);
}

function isUsed(graph: Graph, value: string): boolean {
  return graph.isOutput(value) || graph.consumers(value).length > 0;
}

/** Below 13, softmax and similar operators flattened all axes from `axis` on; since 13 they work along `axis` alone. */
function lastAxis(node: NodeProto, graph: Graph, from: number, to: number): void {
  if (from >= 13 || to < 13) return;
  const axis = integerOf(node, "axis", 1);
  const input = node.input[0] ?? "";
  const output = node.output[0] ?? "";
  const rank = rankOf(graph, input);
  if (axis === -1 || (rank !== undefined && axis === rank - 1)) {
    setAttribute(node, "axis", -1);
    return;
  }
  // Flatten, apply along the last axis, and restore the shape.
  const flat = graph.freshName(`${output}/flat`);
  const result = graph.freshName(`${output}/result`);
  const shape = graph.freshName(`${output}/shape`);
  graph.insertBefore(node, { opType: "Flatten", input: [input], output: [flat], attributes: { axis } });
  graph.insertBefore(node, { opType: "Shape", input: [input], output: [shape] });
  node.input = [flat];
  node.output = [result];
  setAttribute(node, "axis", -1);
  graph.insertAfter(node, { opType: "Reshape", input: [result, shape], output: [output] });
}

/** Resize of version 10 scales coordinates asymmetrically and, for "nearest", rounds down. */
function resizeFrom10(node: NodeProto, graph: Graph): void {
  const [input = "", scales = ""] = node.input;
  const roi = graph.freshName(`${node.output[0] ?? ""}/roi`);
  graph.addInitializer(floatTensor(roi, [0], new Float32Array(0)));
  node.input = [input, roi, scales];
  setAttribute(node, "coordinate_transformation_mode", "asymmetric");
  if (textOf(node, "mode", "nearest") === "nearest") setAttribute(node, "nearest_mode", "floor");
}

function attributesToInputs(node: NodeProto, graph: Graph, names: readonly string[]): void {
  for (const name of names) {
    // Not as numbers: the end of an open slice is INT64_MAX.
    const values = node.attribute.find((x) => x.name === name)?.ints;
    if (values === undefined) continue;
    const constant = graph.freshName(`${node.output[0] ?? ""}/${name}`);
    node.input.push(graph.addInitializer(int64Tensor(constant, [values.length], values)));
  }
  dropAttributes(node, ...names);
}

function scalar(graph: Graph, stem: string, value: number): ReturnType<typeof floatTensor> {
  return floatTensor(graph.freshName(stem), [], Float32Array.of(value));
}

function usesOtherFloats(graph: Graph): boolean {
  const others: readonly number[] = [
    TensorProto_DataType.FLOAT16,
    TensorProto_DataType.DOUBLE,
    TensorProto_DataType.BFLOAT16,
  ];
  let root = graph;
  while (root.parent !== null) root = root.parent;
  for (const { proto } of root.all()) {
    if (proto.initializer.some((x) => others.includes(x.dataType))) return true;
    for (const { type } of [...proto.input, ...proto.output, ...proto.valueInfo])
      if (type?.value.case === "tensorType" && others.includes(type.value.value.elemType)) return true;
    for (const node of proto.node)
      for (const attribute of node.attribute) {
        if (attribute.t !== undefined && others.includes(attribute.t.dataType)) return true;
        if (node.opType === "Cast" && attribute.name === "to" && others.includes(Number(attribute.i))) return true;
      }
  }
  return false;
}

function refused(node: NodeProto, why: string): SelvedgeError {
  const name = node.name === "" ? (node.output[0] ?? "") : node.name;
  return new SelvedgeError("model-invalid", `the operator ${node.opType} of "${name}" cannot be raised: ${why}`, {
    operator: node.opType,
    node: name,
  });
}
