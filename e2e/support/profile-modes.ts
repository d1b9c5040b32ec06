// Cases of common operators in modes that ONNX's own cases and profile-shapes.ts lack, for the profile (profile-cases.ts):
// volumes and signals beside pictures, resizing by every mode, scatters that add, logic with broadcasts, types of OneHot.
import type { ConstantValues, NumericType } from "../../lib/test-support/onnx/onnx-graphs.ts";
import type { NodeSpec } from "../../lib/compress/onnx/graph.ts";
import type { LazyCase } from "./profile-cases.ts";
import { constant, nodeCase } from "./profile-node.ts";
import type { Operand } from "./profile-node.ts";

/** Spatial dims of a signal, a picture and a volume. */
const SPACES: readonly (readonly number[])[] = [[9], [6, 7], [4, 5, 6]];
const REDUCTIONS = ["add", "mul", "max", "min"];

/** Lists the cases. */
export function modeCases(): LazyCase[] {
  return [
    ...SPACES.flatMap((space) => [...convolutions(space), ...pools(space), ...norms(space)]),
    ...resizes(),
    ...scatters(),
    ...logic(),
    ...oneHots(),
    ...samples(),
  ];
}

function convolutions(space: readonly number[]): LazyCase[] {
  const x = float(1, 4, ...space);
  const each = (value: number): number[] => space.map(() => value);
  const weights = (outputs: number, group: number, size: number): Operand =>
    constant("float32", [outputs, 4 / group, ...each(size)]);
  const pads = [...each(1), ...each(1)];
  return [
    nodeCase("Conv", [x, weights(8, 1, 3)], { attributes: { pads } }),
    nodeCase("Conv", [x, weights(8, 1, 3), constant("float32", [8])], { attributes: { pads, strides: each(2) } }),
    nodeCase("Conv", [x, weights(8, 1, 1), constant("float32", [8])]),
    nodeCase("Conv", [x, weights(4, 4, 3)], { attributes: { pads, group: 4 } }),
    nodeCase("Conv", [x, weights(8, 2, 3)], {
      attributes: { group: 2, dilations: each(2), pads: [...each(2), ...each(2)] },
    }),
    nodeCase("Conv", [x, float(8, 4, ...each(2))], { attributes: { auto_pad: "SAME_UPPER" } }),
    nodeCase("ConvTranspose", [x, constant("float32", [4, 3, ...each(2)])], { attributes: { strides: each(2) } }),
    nodeCase("ConvTranspose", [x, constant("float32", [4, 3, ...each(3)]), constant("float32", [3])], {
      attributes: { strides: each(2), pads, output_padding: each(1) },
    }),
    nodeCase("ConvTranspose", [x, constant("float32", [4, 1, ...each(3)])], {
      attributes: { group: 4, dilations: each(2) },
    }),
  ];
}

function pools(space: readonly number[]): LazyCase[] {
  const x = float(2, 4, ...space);
  const each = (value: number): number[] => space.map(() => value);
  const [kernel_shape, pads, strides] = [each(3), [...each(1), ...each(1)], each(2)];
  return [
    ...["MaxPool", "AveragePool"].flatMap((opType) => [
      nodeCase(opType, [x], { attributes: { kernel_shape } }),
      nodeCase(opType, [x], { attributes: { kernel_shape, pads, strides } }),
      nodeCase(opType, [x], { attributes: { kernel_shape, strides, ceil_mode: 1 } }),
      nodeCase(opType, [x], { attributes: { kernel_shape, auto_pad: "SAME_UPPER" } }),
      nodeCase(opType, [x], { attributes: { kernel_shape, dilations: each(2) }, opset: 19 }),
    ]),
    nodeCase("AveragePool", [x], { attributes: { kernel_shape, pads, count_include_pad: 1 } }),
    nodeCase("MaxPool", [x], { attributes: { kernel_shape, strides }, outputs: 2 }),
    ...["GlobalAveragePool", "GlobalMaxPool"].map((opType) => nodeCase(opType, [x])),
  ];
}

function norms(space: readonly number[]): LazyCase[] {
  const x = float(2, 4, ...space);
  const four = constant("float32", [4]);
  const width = constant("float32", [space.at(-1) ?? 1]);
  return [
    nodeCase("BatchNormalization", [x, four, four, four, constant("float32", [4], [1, 2, 1, 2])]),
    nodeCase("InstanceNormalization", [x, four, four]),
    nodeCase("GroupNormalization", [x, four, four], { attributes: { num_groups: 2 }, opset: 21 }),
    nodeCase("LayerNormalization", [x, width, width], { attributes: { axis: -1 } }),
    nodeCase("LpNormalization", [x], { attributes: { axis: 1, p: 2 } }),
    nodeCase("PRelu", [x, constant("float32", [4, ...space.map(() => 1)])]),
    nodeCase("Softmax", [x], { attributes: { axis: 1 } }),
    ...["constant", "edge", "reflect"].map((mode) => {
      const sides = [0, 0, ...space.map(() => 1)];
      return nodeCase("Pad", [x, constant("int64", [2 * sides.length], [...sides, ...sides])], {
        attributes: { mode },
      });
    }),
    nodeCase("Transpose", [x], { attributes: { perm: [0, ...space.map((_, i) => 2 + i), 1] } }),
  ];
}

/** Resizing by each mode and way of placing points, of signals, pictures and volumes, up and down. */
function resizes(): LazyCase[] {
  const places = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric"];
  const coordinate = (place: string, rest: NodeSpec["attributes"]): NodeSpec["attributes"] => ({
    coordinate_transformation_mode: place,
    ...rest,
  });
  const cases: LazyCase[] = [];
  for (const dtype of ["float32", "uint8", "int8", "int32"] as const)
    for (const space of SPACES)
      for (const factor of [2, 0.5])
        for (const mode of modesOf(dtype, space)) {
          const dims = [1, 3, ...space];
          const x = { dtype, dims };
          const scales = constant("float32", [dims.length], [1, 1, ...space.map(() => factor)]);
          const sizes = constant("int64", [dims.length], [1, 3, ...space.map((size) => Math.floor(size * factor))]);
          for (const place of dtype === "float32" ? places : ["half_pixel", "align_corners"])
            cases.push(
              nodeCase("Resize", [x, null, scales], { attributes: coordinate(place, { mode }), opset: 19 }),
              nodeCase("Resize", [x, null, null, sizes], { attributes: coordinate(place, { mode }), opset: 19 }),
            );
          if (mode !== "nearest") {
            const attributes = { mode, antialias: 1 };
            cases.push(
              nodeCase("Resize", [x, null, scales], { attributes, opset: 18 }),
              nodeCase("Resize", [x, null, null, sizes], { attributes, opset: 18 }),
              nodeCase("Resize", [x, null, null, sizes], {
                attributes: { ...attributes, exclude_outside: 1, cubic_coeff_a: { float: -0.5 } },
                opset: 18,
              }),
            );
          }
        }
  const [picture, two] = [float(1, 3, 6, 8), constant("float32", [2], [2, 2])];
  const four = constant("float32", [4], [1, 1, 2, 2]);
  const last = float(1, 6, 8, 3);
  return [
    ...cases,
    // Channels last, as TensorFlow's exporter writes it; and two axes alone.
    ...["nearest", "linear"].flatMap((mode) => [
      nodeCase("Resize", [last, null, constant("float32", [4], [1, 2, 2, 1])], { attributes: { mode }, opset: 13 }),
      nodeCase("Resize", [picture, null, two], { attributes: { mode, axes: [2, 3] }, opset: 18 }),
      nodeCase("Resize", [picture, null, null, constant("int64", [2], [3, 4])], {
        attributes: { mode, axes: [2, 3], keep_aspect_ratio_policy: "not_larger" },
        opset: 18,
      }),
      nodeCase("Resize", [picture, four], { attributes: { mode }, opset: 10 }),
      nodeCase("Upsample", [picture, four], { attributes: { mode }, opset: 9 }),
    ]),
    ...["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"].map((nearest_mode) =>
      nodeCase("Resize", [picture, null, four], { attributes: { mode: "nearest", nearest_mode }, opset: 13 }),
    ),
  ];
}

/** Lists the modes that ONNX Runtime takes: cubic for pictures of floats alone. */
function modesOf(dtype: NumericType, space: readonly number[]): readonly string[] {
  return ["nearest", "linear", ...(dtype === "float32" && space.length === 2 ? ["cubic"] : [])];
}

function scatters(): LazyCase[] {
  return (["float32", "int32", "int64"] as const).flatMap((dtype) => {
    const x = { dtype, dims: [3, 4, 5] };
    const [rows, elements] = [indices([2, 1]), indices([2, 3, 4])];
    return REDUCTIONS.flatMap((reduction) => [
      nodeCase("ScatterND", [x, rows, { dtype, dims: [2, 4, 5] }], { attributes: { reduction }, opset: 18 }),
      nodeCase("ScatterND", [x, indices([2, 3]), { dtype, dims: [2] }], { attributes: { reduction }, opset: 18 }),
      ...[0, 1, 2].map((axis) =>
        nodeCase("ScatterElements", [x, elements, { dtype, dims: [2, 3, 4] }], {
          attributes: { axis, reduction },
          opset: 18,
        }),
      ),
    ]);
  });
}

function logic(): LazyCase[] {
  const x = bool(2, 4, 3, 8);
  const others = [[], [1], [8], [3, 1], [4, 1, 1], [2, 4, 3, 8], [2, 1, 3, 8]];
  return [
    ...["And", "Or", "Xor"].flatMap((opType) =>
      others.flatMap((dims) => [
        nodeCase(opType, [x, bool(...dims)]),
        nodeCase(opType, [bool(...dims), x]),
        nodeCase(opType, [x, constant("bool", dims)]),
      ]),
    ),
    ...(["float32", "int32", "int64", "bool"] as const).flatMap((dtype) =>
      others.flatMap((dims) => [
        nodeCase("Equal", [
          { dtype, dims: [2, 4, 3, 8] },
          { dtype, dims },
        ]),
        nodeCase("Equal", [
          { dtype, dims },
          { dtype, dims: [2, 4, 3, 8] },
        ]),
      ]),
    ),
    ...(["float32", "float64"] as const).flatMap((dtype) => [
      nodeCase("IsNaN", [{ dtype, dims: [2, 3] }]),
      nodeCase("IsInf", [{ dtype, dims: [2, 3] }]),
      nodeCase("IsInf", [{ dtype, dims: [2, 3] }], { attributes: { detect_negative: 0 } }),
    ]),
  ];
}

function oneHots(): LazyCase[] {
  const cases: LazyCase[] = [];
  for (const of of ["int32", "int64", "float32"] as const)
    for (const depth of ["int32", "int64", "float32"] as const)
      for (const out of ["float32", "int32", "int64"] as const)
        for (const axis of [-1, 0, 1])
          cases.push(
            nodeCase("OneHot", [indices([2, 3], of), constant(depth, [], [5]), constant(out, [2], [0, 1])], {
              attributes: { axis },
            }),
          );
  return cases;
}

/** Sampling at points that the graph computes, and others that place elements. */
function samples(): LazyCase[] {
  const grids = [
    [float(1, 2, 5, 6), float(1, 3, 4, 2)],
    [float(1, 2, 4, 5, 6), float(1, 2, 3, 4, 3)],
  ] as const;
  return [
    ...grids.flatMap(([x, grid]) =>
      ["bilinear", "nearest", "bicubic", "linear", "cubic"].flatMap((mode) =>
        ["zeros", "border", "reflection"].flatMap((padding_mode) =>
          [0, 1].map((align_corners) => {
            const opset = mode.startsWith("bi") ? 16 : 20;
            return nodeCase("GridSample", [x, grid], { attributes: { mode, padding_mode, align_corners }, opset });
          }),
        ),
      ),
    ),
    ...["DCR", "CRD"].flatMap((mode) => [
      nodeCase("DepthToSpace", [float(1, 8, 2, 3)], { attributes: { blocksize: 2, mode } }),
      nodeCase("DepthToSpace", [{ dtype: "uint8", dims: [1, 8, 2, 3] }], { attributes: { blocksize: 2, mode } }),
    ]),
    nodeCase("SpaceToDepth", [float(1, 2, 4, 6)], { attributes: { blocksize: 2 } }),
    nodeCase("ReverseSequence", [float(4, 3), constant("int64", [3], [2, 4, 1])], {
      attributes: { time_axis: 0, batch_axis: 1 },
    }),
    nodeCase("LRN", [float(1, 6, 4, 4)], { attributes: { size: 3 } }),
  ];
}

const float = (...dims: readonly number[]): ConstantValues => ({ dtype: "float32", dims });
const bool = (...dims: readonly number[]): ConstantValues => ({ dtype: "bool", dims });

function indices(dims: readonly number[], dtype: NumericType = "int64"): ConstantValues {
  return { dtype, dims, values: Array.from({ length: dims.reduce((a, b) => a * b, 1) }, (_, i) => i % 3) };
}
