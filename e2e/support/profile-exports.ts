// Parts that exporters write around the layers of a model whose dims are open, for the profile (profile-cases.ts): sizes that are
// computed from shapes, positions, masks, windows, and embeddings of positions in other sizes. With fixed dims ONNX Runtime
// computes all of it once, ahead of a run, and its ways of doing so in a run are not seen.
import { create } from "@bufbuild/protobuf";
import { makeNode } from "../../lib/compress/onnx/graph.ts";
import {
  AttributeProto_AttributeType,
  AttributeProtoSchema,
  StringStringEntryProtoSchema,
  ValueInfoProtoSchema,
} from "../../lib/compress/onnx/onnx.gen.js";
import type { AttributeProto, ModelProto } from "../../lib/compress/onnx/onnx.gen.js";
import { modelOf } from "../../lib/test-support/onnx/onnx-graphs.ts";
import { Builder } from "./profile-builder.ts";
import { withNodes } from "./profile-blocks.ts";
import type { Case, LazyCase } from "./profile-cases.ts";
import { attend, BOOL, Exporter, HEADS } from "./profile-exporter.ts";
import type { Export, Way } from "./profile-exporter.ts";
import { BOXES, PATCHES, STATIC, WINDOWS } from "./profile-pictures.ts";
import { BUCKETS, DECODER, ENCODER, positions, ROTARY } from "./profile-texts.ts";

/** A branch on sizes, whose graphs read values from outside (see addBranches). */
const BRANCH: Export = (e) => {
  const { b } = e;
  const [x, y] = [
    b.open({ batch: 2, sequence: e.length, "=": e.width }),
    b.open({ batch: 2, other: e.length, "=": e.width }),
  ];
  const isEqual = b.add("Equal", [e.size(x, 1), e.size(y, 1)]);
  const one = b.add("If", [isEqual, x, y]);
  const other = b.add("If", [e.cast(b.add("Not", [isEqual]), BOOL), x, y]);
  return [b.add("Add", [one, other])];
};

/** Inputs that fail a run: reading beyond an end, sizes that do not fit, a sound shorter than a filter. */
const FAILING: Readonly<Record<string, Export>> = {
  "index beyond the end": ({ b }) => [b.add("Gather", [b.weight(4, 8), b.open({ n: 2 }, "int64", [1, 9])])],
  "sizes that do not fit": (e) => [e.reshape(e.b.open({ n: 3, m: 5 }), e.b.constant([4, -1]))],
  "a filter that is too long": ({ b }) => [b.add("Conv", [b.open({ n: 1, "=": 4, time: 3 }), b.weight(4, 4, 9)])],
  "dims that do not match": ({ b }) => [b.add("Add", [b.open({ n: 3 }), b.open({ m: 5 })])],
  "matrices that do not match": ({ b }) => [b.add("MatMul", [b.open({ n: 3, k: 5 }), b.open({ j: 4, m: 2 })])],
  "parts that do not match": ({ b }) => [
    b.add("Concat", [b.open({ n: 3, k: 5 }), b.open({ j: 4, m: 2 })], { axis: 0 }),
  ],
  "more than there is": ({ b }) => b.addAll("TopK", [b.open({ n: 3 }), b.open({ k: 1 }, "int64", [9])], 2),
};

/** Convolutions over the samples of a sound, and over time. */
const SOUND: Export = (e) => {
  const { b } = e;
  const samples = b.open({ batch: 2, samples: 1_600 });
  const over = (x: string, from: number, to: number, size: number, stride: number, group = 1): string =>
    b.add("Conv", [x, b.weight(to, from / group, size), ...(stride > 2 ? [] : [b.weight(to)])], {
      kernel_shape: [size],
      strides: [stride],
      group,
      ...(group > 1 && { pads: [size / 2, size / 2] }),
    });
  const first = over(e.unsqueeze(samples, 1), 1, e.width, 10, 5);
  const flat = e.view(first, e.sizes(first, 0), HEADS, -1);
  const normed = b.add("InstanceNormalization", [flat, b.weight(HEADS), b.weight(HEADS)]);
  const scaled = b.add("Mul", [b.add("Reshape", [normed, b.add("Shape", [first])]), b.weight(e.width, 1)]);
  const deep = b.gelu(over(b.gelu(over(b.gelu(scaled), e.width, e.width, 3, 2)), e.width, e.width, 2, 2));
  const steps = e.norm(e.transpose(deep, 0, 2, 1), e.width);
  const near = e.transpose(steps, 0, 2, 1);
  const placed = e.slice(over(near, e.width, e.width, 16, 1, HEADS), 2, 0, -1);
  const x = b.add("Add", [steps, e.transpose(b.gelu(placed), 0, 2, 1)]);
  const [left = "", right = ""] = b.addAll("Split", [deep, b.constant([e.width / 2, e.width / 2])], 2, { axis: 1 });
  const gated = b.add("Mul", [left, b.add("Sigmoid", [right])]);
  return [b.add("LogSoftmax", [e.linear(attend(e, x, null), e.width, 12)], { axis: -1 }), gated];
};

const EXPORTS: Readonly<Record<string, Export>> = {
  encoder: ENCODER,
  "positions of int32": positions("int32"),
  "positions of int64": positions("int64"),
  decoder: DECODER,
  "rotary decoder": ROTARY,
  "distances in buckets": BUCKETS,
  windows: WINDOWS,
  patches: PATCHES,
  boxes: BOXES,
  sound: SOUND,
  "fixed sizes": STATIC,
  branches: BRANCH,
  ...FAILING,
};
const PLAIN_WAYS: readonly Way[] = [13, 14, 17, 18, 20].flatMap((opset) =>
  [false, true].flatMap((isNew) => [false, true].map((hasNodes) => ({ opset, isNew, hasNodes }))),
);
const WAYS: readonly Way[] = [
  ...PLAIN_WAYS,
  ...[false, true].flatMap((isNew) => [
    { opset: 17, isNew, isWide: true },
    ...(["8 bits", "4 bits"] as const).flatMap((weights) => [
      { opset: 17, isNew, weights },
      { opset: 18, isNew, weights, isWide: true },
    ]),
    { opset: 17, isNew, weights: "4 bits" as const, dtype: "float16" as const },
    { opset: 17, isNew, dtype: "float16" as const },
    { opset: 20, isNew, dtype: "float16" as const, isWide: true },
  ]),
];

/** Lists the cases. */
export function exportCases(): LazyCase[] {
  return Object.entries(EXPORTS).flatMap(([name, write]) =>
    WAYS.map((way) => ({
      title: `${name} as exported, ${JSON.stringify(way)}`,
      onGpu: way.opset >= 17 && way.dtype === undefined && way.hasNodes !== true,
      make: () => (way.hasNodes === true ? withNodes(exported(write, way)) : exported(write, way)),
    })),
  );
}

function exported(write: Export, way: Way): Case {
  const { opset, dtype = "float32" } = way;
  const build = new Builder(dtype, opset);
  const outputs = write(new Exporter(build, way));
  const { inputs, constants, nodes, declared } = build;
  const model = modelOf({ inputs, constants, nodes, outputs, opset, declared });
  addBranches(model.proto);
  if (way.isNew === true) addMetadata(model.proto);
  return { model, inputs };
}

/** Adds to each If its graphs: of the two values that stand behind its condition. */
function addBranches({ graph }: ModelProto): void {
  for (const node of graph?.node ?? []) {
    if (node.opType !== "If") continue;
    const [condition = "", x = "", y = ""] = node.input;
    node.input = [condition];
    const branch = (name: string, opType: string, input: readonly string[]): AttributeProto => {
      const output = `${node.output[0] ?? ""} ${name}`;
      const g = { name, node: [makeNode({ opType, input, output: [output] })], output: [{ name: output }] };
      return create(AttributeProtoSchema, { name, type: AttributeProto_AttributeType.GRAPH, g });
    };
    node.attribute.push(branch("then_branch", "Mul", [x, y]), branch("else_branch", "Identity", [x]));
  }
}

/** Adds what newer exporters write beside a graph, which is read like the rest. */
function addMetadata(proto: ModelProto): void {
  const entries = () => [create(StringStringEntryProtoSchema, { key: "namespace", value: "model: encoder.layer" })];
  proto.irVersion = 10n;
  proto.producerName = "exporter";
  proto.metadataProps = entries();
  if (proto.graph === undefined) return;
  proto.graph.docString = "A graph";
  proto.graph.metadataProps = entries();
  for (const node of proto.graph.node) {
    node.docString = "A node";
    node.metadataProps = entries();
  }
  for (const { name, dataType, dims } of proto.graph.initializer) {
    const shape = { dim: dims.map((x) => ({ value: { case: "dimValue" as const, value: x } })) };
    proto.graph.valueInfo.push(
      create(ValueInfoProtoSchema, {
        name,
        type: { value: { case: "tensorType", value: { elemType: dataType, shape } } },
        metadataProps: entries(),
      }),
    );
  }
}
