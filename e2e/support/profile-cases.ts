// The cases from which the usual functions of ONNX Runtime are found out (profile-functions.ts): ONNX's own operator cases
// from Debian's libonnx-testdata, each also with its parameters as constants, with other types and in older operator
// sets, and typical blocks (profile-blocks.ts). None is one of this repository's models: those are benchmarked.
import { create, fromBinary } from "@bufbuild/protobuf";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setAttribute } from "../../lib/compress/onnx/graph.ts";
import type { AttributeValue } from "../../lib/compress/onnx/graph.ts";
import {
  StringStringEntryProtoSchema,
  TensorProto_DataLocation,
  TensorProto_DataType as T,
  TensorProtoSchema,
} from "../../lib/compress/onnx/onnx.gen.js";
import type { TensorProto } from "../../lib/compress/onnx/onnx.gen.js";
import { decodeModel } from "../../lib/compress/onnx/model.ts";
import type { OnnxModel } from "../../lib/compress/onnx/model.ts";
import { elementCount } from "../../lib/compress/onnx/tensor-proto.ts";
import { float16Value } from "../../lib/compress/onnx/float16.ts";
import { bytesOf, DTYPES, tensorOf } from "../../lib/test-support/onnx/onnx-graphs.ts";
import type { NumericType, ConstantValues } from "../../lib/test-support/onnx/onnx-graphs.ts";

/** A model with the inputs of one run. */
export interface Case {
  readonly model: OnnxModel;
  readonly inputs: Readonly<Record<string, ConstantValues>>;
  /** Further inputs, tried one after the other where the model does not run with these. Default: none. */
  readonly others?: readonly Readonly<Record<string, ConstantValues>>[];
  /** A second file with the weights; absent where they are in the model. */
  readonly weights?: Uint8Array;
  /** ONNX Runtime's session entries. */
  readonly session?: Readonly<Record<string, string>>;
}

/** A case that is made when its turn comes, as there are some ten thousand. */
export interface LazyCase {
  readonly title: string;
  /** Whether it runs on the GPU as well, where most of the variants add nothing but time. */
  readonly onGpu: boolean;
  /** Returns null where the variant does not exist. */
  make(): Case | null | Promise<Case>;
}

const ROOT = "/usr/share/libonnx-testdata/data";
/**
 * Cases that stay out, so that the first part stays small: operators of training, strings, sequences and signal processing,
 * and others that few models have. A model that has one gets the second part before it is loaded.
 */
const LEFT_OUT = new RegExp(
  `^test_(${[
    ..."ada affine_grid ai_onnx_ml bernoulli bitshift bitwise blackmanwindow center_crop col2im compress deform det_".split(
      " ",
    ),
    ..."dft eyelike hammingwindow hannwindow hardmax image_decoder lppool maxunpool melweight momentum mvn nesterov".split(
      " ",
    ),
    ..."nllloss optional regex scan sce sequence stft string strnorm tfidf training unique".split(" "),
  ].join("|")})`,
);
/** Cases in types that few models compute in, unless they are about types. */
const RARE_TYPE = /_(u?int(8|16)|uint(32|64)|float64|double|bfloat16|e4m3|e5m2|float8\w*|u?int4|float4\w*)/i;
const OF_TYPES = /^test_(cast|quantizelinear|dequantizelinear|dynamicquantize|qlinear|convinteger|matmulinteger)/;
/** The same of casts. */
const RARE_CAST = /FLOAT8|FLOAT4|U?INT4|U?INT2|BFLOAT16|STRING|e4m3|e5m2|float4|int4|int2|16bit|uint16|int16/i;

/** Older operator sets that models are exported in. */
const OPSETS = [7, 9, 10, 12, 15, 17] as const;
/** Types that a case of float32 is tried in. */
const OTHER_TYPES = ["int32", "int64"] as const;
/** How many cases of an operator are varied. */
const VARIED_MAX = 3;
/** Parameters that are inputs from an operator set on, and were attributes before it. */
const ATTRIBUTES: Readonly<Record<string, { readonly before: number; readonly names: readonly string[] }>> = {
  Clip: { before: 11, names: ["min", "max"] },
  Dropout: { before: 12, names: ["ratio"] },
  Pad: { before: 11, names: ["pads", "value"] },
  ReduceL1: { before: 18, names: ["axes"] },
  ReduceL2: { before: 18, names: ["axes"] },
  ReduceLogSum: { before: 18, names: ["axes"] },
  ReduceLogSumExp: { before: 18, names: ["axes"] },
  ReduceMax: { before: 18, names: ["axes"] },
  ReduceMean: { before: 18, names: ["axes"] },
  ReduceMin: { before: 18, names: ["axes"] },
  ReduceProd: { before: 18, names: ["axes"] },
  ReduceSum: { before: 13, names: ["axes"] },
  ReduceSumSquare: { before: 18, names: ["axes"] },
  Slice: { before: 10, names: ["starts", "ends", "axes"] },
  Split: { before: 13, names: ["split"] },
  Squeeze: { before: 13, names: ["axes"] },
  TopK: { before: 10, names: ["k"] },
  Unsqueeze: { before: 13, names: ["axes"] },
};

const NAMES = new Map<number, NumericType>(Object.entries(DTYPES).map(([name, type]) => [type, name as NumericType]));

/** Lists ONNX's own cases with their variants. */
export function operatorCases(): LazyCase[] {
  if (!existsSync(ROOT)) throw new Error(`${ROOT} is missing: apt-get install libonnx-testdata`);
  const varied = new Map<string, number>();
  return ["node", "simple", "pytorch-operator", "pytorch-converted"].flatMap((kind) =>
    readdirSync(join(ROOT, kind))
      .filter((name) => existsSync(join(ROOT, kind, name, "model.onnx")) && isCommon(name))
      .sort()
      .flatMap((name) => {
        const folder = join(ROOT, kind, name);
        const opTypes = decodeModel(readFileSync(join(folder, "model.onnx"))).graph.nodes.map(({ opType }) => opType);
        const [opType = ""] = opTypes;
        const count = (varied.get(opType) ?? 0) + 1;
        if (opTypes.length === 1) varied.set(opType, count);
        return variantsOf(name, folder, opTypes.length === 1 && count <= VARIED_MAX);
      }),
  );
}

function isCommon(name: string): boolean {
  // The bodies of functions are graphs of the same operators.
  if (LEFT_OUT.test(name) || name.includes("_expanded")) return false;
  return OF_TYPES.test(name) ? !RARE_CAST.test(name) : !RARE_TYPE.test(name);
}

function variantsOf(name: string, folder: string, isVaried: boolean): LazyCase[] {
  const read = (): Case | null => readCase(folder);
  const variant = (what: string, change: (given: Case) => Case | null): LazyCase => ({
    title: `${name} ${what}`,
    onGpu: false,
    make() {
      const given = read();
      return given === null ? null : change(given);
    },
  });
  const asIs: LazyCase = { title: name, onGpu: true, make: read };
  // The branch of an If whose condition is known is taken when the session is made.
  const isBranch = name.startsWith("test_if");
  const twice = [asIs, variant("with constants", (x) => withConstants(x, isBranch ? 0 : 1))];
  if (!isVaried) return twice;
  return [
    ...twice,
    ...OTHER_TYPES.map((dtype) => variant(dtype, (x) => withType(x, dtype))),
    ...OPSETS.map((opset) => variant(`of operator set ${opset}`, (x) => withOpset(x, opset))),
  ];
}

/** Reads a case; null where an input is no numeric tensor. */
function readCase(folder: string): Case | null {
  const model = decodeModel(new Uint8Array(readFileSync(join(folder, "model.onnx"))));
  const inputs: Record<string, ConstantValues> = {};
  for (const [i, { name, type }] of (model.proto.graph?.input ?? []).entries()) {
    if (type?.value.case !== "tensorType") return null;
    const path = join(folder, `test_data_set_0/input_${i}.pb`);
    const values = existsSync(path) ? valuesOf(fromBinary(TensorProtoSchema, readFileSync(path))) : null;
    if (values === null) return null;
    inputs[name] = values;
  }
  return { model, inputs };
}

function valuesOf(tensor: TensorProto): ConstantValues | null {
  const dtype = NAMES.get(tensor.dataType);
  if (dtype === undefined) return null;
  const dims = tensor.dims.map(Number);
  return { dtype, dims, values: numbersOf(tensor, dtype).slice(0, elementCount(tensor)) };
}

function numbersOf(tensor: TensorProto, dtype: NumericType): number[] {
  const { rawData, int32Data, int64Data, uint64Data, floatData, doubleData } = tensor;
  if (rawData.length === 0) {
    const given = [...int32Data, ...int64Data.map(Number), ...uint64Data.map(Number), ...floatData, ...doubleData];
    return dtype === "float16" ? given.map(float16Value) : given;
  }
  const { buffer } = Uint8Array.from(rawData);
  switch (dtype) {
    case "float32":
      return [...new Float32Array(buffer)];
    case "float64":
      return [...new Float64Array(buffer)];
    case "float16":
      return Array.from(new Uint16Array(buffer), float16Value);
    case "int8":
      return [...new Int8Array(buffer)];
    case "uint8":
    case "bool":
      return [...new Uint8Array(buffer)];
    case "int16":
      return [...new Int16Array(buffer)];
    case "uint16":
      return [...new Uint16Array(buffer)];
    case "int32":
      return [...new Int32Array(buffer)];
    case "uint32":
      return [...new Uint32Array(buffer)];
    case "int64":
      return Array.from(new BigInt64Array(buffer), Number);
    case "uint64":
      return Array.from(new BigUint64Array(buffer), Number);
  }
}

/** Turns all inputs but the first ones into initializers, as weights are. */
function withConstants({ model, inputs }: Case, kept: number): Case | null {
  const others = Object.keys(inputs).slice(kept);
  const { graph } = model.proto;
  if (others.length === 0 || graph === undefined) return null;
  for (const name of others) {
    const values = inputs[name];
    if (values !== undefined) graph.initializer.push(tensorOf(name, values));
  }
  graph.input = graph.input.filter(({ name }) => !others.includes(name));
  return { model, inputs: Object.fromEntries(Object.entries(inputs).slice(0, kept)) };
}

/** Exchanges float32 for another type, in inputs and constants; the types of outputs follow from them. */
function withType({ model, inputs }: Case, dtype: NumericType): Case | null {
  const { graph } = model.proto;
  if (graph === undefined || !Object.values(inputs).some((x) => x.dtype === "float32")) return null;
  for (const { type } of graph.input)
    if (type?.value.case === "tensorType" && type.value.value.elemType === T.FLOAT)
      type.value.value.elemType = DTYPES[dtype];
  graph.initializer = graph.initializer.map((x) => {
    const values = valuesOf(x);
    return values?.dtype === "float32" ? tensorOf(x.name, { ...values, dtype }) : x;
  });
  for (const output of graph.output) delete output.type;
  graph.valueInfo = [];
  const changed = Object.entries(inputs).map(([name, x]) => [name, x.dtype === "float32" ? { ...x, dtype } : x]);
  return { model, inputs: Object.fromEntries(changed) as Case["inputs"] };
}

/** Declares an older operator set, parameters being attributes where they were. */
function withOpset({ model, inputs }: Case, version: number): Case | null {
  const { graph } = model.proto;
  if (graph === undefined || version >= model.opset) return null;
  for (const each of model.proto.opsetImport) if (each.domain === "") each.version = BigInt(version);
  const left = { ...inputs };
  for (const node of graph.node) {
    const known = ATTRIBUTES[node.opType];
    if (known === undefined || version >= known.before) continue;
    for (const [i, parameter] of known.names.entries()) {
      const name = node.input[1 + i] ?? "";
      const values = left[name];
      if (values?.values === undefined) continue;
      setAttribute(node, parameter, attributeOf(values, values.values));
      graph.input = graph.input.filter((x) => x.name !== name);
      Reflect.deleteProperty(left, name);
    }
    node.input = node.input.slice(0, 1);
  }
  return { model, inputs: left };
}

function attributeOf({ dtype, dims }: ConstantValues, values: readonly number[]): AttributeValue {
  if (dtype.startsWith("float")) return { float: values[0] ?? 0 };
  return dims.length === 0 ? (values[0] ?? 0) : values;
}

/** Name of the second file of a case. */
const WEIGHTS = "weights.bin";

/** Moves the weights of a case to a second file, as those of bundles and of large models are. */
export function withExternalData({ model, inputs, session }: Case): Case {
  const parts: Uint8Array[] = [];
  let offset = 0;
  for (const tensor of model.proto.graph?.initializer ?? []) {
    if (tensor.rawData.length <= 64) continue;
    const entries = { location: WEIGHTS, offset: String(offset), length: String(tensor.rawData.length) };
    tensor.externalData = Object.entries(entries).map(([key, value]) =>
      create(StringStringEntryProtoSchema, { key, value }),
    );
    tensor.dataLocation = TensorProto_DataLocation.EXTERNAL;
    parts.push(tensor.rawData);
    offset += tensor.rawData.length;
    tensor.rawData = new Uint8Array();
  }
  return { model, inputs, weights: Buffer.concat(parts), ...(session && { session }) };
}

/** Writes a case as the worker reads it. */
export function wireOf(made: Case | null): object | null {
  if (made === null) return null;
  const { model, inputs, others = [], weights = null, session = {} } = made;
  const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");
  const feeds = [inputs, ...others].map((feed) =>
    Object.entries(feed).map(([name, x]) => ({ name, dtype: x.dtype, dims: x.dims, data: base64(bytesOf(x)) })),
  );
  return { model: base64(model.write()), feeds, weights: weights && base64(weights), session };
}
