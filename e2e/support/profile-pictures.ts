// Models of pictures as exporters write them, for the profile (profile-exports.ts): windows, patches, boxes, and one of fixed
// sizes.
import { attend, BOOL, HEADS, INT32, INT64, LAST } from "./profile-exporter.ts";
import type { Export } from "./profile-exporter.ts";

/** Attention over fixed sizes, its products over three dims. */
export const STATIC: Export = (e) => {
  const { b } = e;
  const pixels = b.input([1, 3, 24, 40]);
  const sizes = { kernel_shape: [8, 8], strides: [8, 8] };
  const patches = b.add("Conv", [pixels, b.weight(e.width, 3, 8, 8), b.weight(e.width)], sizes);
  const listed = e.transpose(e.reshape(patches, b.constant([1, e.width, 15])), 0, 2, 1);
  let x = b.add("Add", [b.add("Concat", [b.weight(1, 1, e.width), listed], { axis: 1 }), b.weight(1, 16, e.width)]);
  for (let i = 0; i < 2; i += 1) {
    const normed = e.norm(x, e.width);
    const split = (): string => {
      const heads = e.reshape(e.linear(normed, e.width, e.width), b.constant([1, -1, HEADS, e.each]));
      return e.transpose(heads, 0, 2, 1, 3);
    };
    const [value, key, query] = [split(), split(), split()];
    const turned = e.transpose(b.add("Reshape", [key, b.constant([-1, 16, e.each])]), 0, 2, 1);
    const back = b.add("Reshape", [turned, b.constant([1, HEADS, e.each, 16])]);
    const scale = b.scalar(0.6);
    const scores = b.add("MatMul", [b.add("Mul", [query, scale]), b.add("Mul", [back, scale])]);
    const mixed = b.add("MatMul", [b.add("Softmax", [scores], { axis: -1 }), value]);
    const joined = e.reshape(e.transpose(mixed, 0, 2, 1, 3), b.constant([1, 16, e.width]));
    x = b.add("Add", [e.linear(joined, e.width, e.width), x]);
    x = b.add("Add", [e.linear(b.gelu(e.linear(e.norm(x, e.width), e.width, 2 * e.width)), 2 * e.width, e.width), x]);
  }
  const first = e.squeeze(e.slice(x, 1, 0, 1), 1);
  return [b.add("Gemm", [first, b.weight(7, e.width), b.weight(7)], { transB: 1 })];
};

/** Windows over an image whose sides are padded to whole ones, rolled, and joined again. */
export const WINDOWS: Export = (e) => {
  const { b } = e;
  const pixels = b.open({ batch: 2, "=": 3, height: 24, width: 40 });
  const patches = b.add("Conv", [pixels, b.weight(e.width, 3, 4, 4), b.weight(e.width)], {
    kernel_shape: [4, 4],
    strides: [4, 4],
  });
  const [height, width] = [e.size(patches, 2), e.size(patches, 3)];
  const flat = e.transpose(e.view(patches, e.sizes(patches, 0), e.sizes(patches, 1), -1), 0, 2, 1);
  const normed = e.norm(flat, e.width);
  const image = e.view(normed, e.sizes(normed, 0), e.unsqueeze(height, 0), e.unsqueeze(width, 0), e.width);
  const missing = (size: string): string =>
    b.add("Mod", [b.add("Sub", [b.constant(4), b.add("Mod", [size, b.constant(4)])]), b.constant(4)]);
  const given = e.list(0, 0, 0, e.unsqueeze(missing(width), 0), 0, e.unsqueeze(missing(height), 0));
  const filled = b.add("Concat", [given, e.cast(b.add("ConstantOfShape", [b.constant([2])]), INT64)], { axis: 0 });
  const pairs = e.slice(e.reshape(filled, b.constant([-1, 2])), 0, -1, -LAST, -1);
  const pads = e.cast(b.add("Reshape", [e.transpose(pairs, 1, 0), b.constant([-1])]), INT64);
  const padded = b.add("Pad", [image, pads, b.scalar(0)], { mode: "constant" });
  const roll = (x: string, axis: number, by: number): string =>
    b.add("Concat", [e.slice(x, axis, by, LAST), e.slice(x, axis, 0, by)], { axis });
  const rolled = roll(roll(padded, 1, 2), 2, 2);
  const [tall, wide] = [e.sizes(rolled, 1), e.sizes(rolled, 2)];
  const [down, across] = [b.add("Div", [tall, b.constant([4])]), b.add("Div", [wide, b.constant([4])])];
  const cut = e.transpose(e.view(rolled, e.sizes(rolled, 0), down, 4, across, 4, e.width), 0, 1, 3, 2, 4, 5);
  const windows = e.reshape(cut, b.constant([-1, 16, e.width]));
  const split = (...perm: readonly number[]): string =>
    e.transpose(
      e.view(e.linear(windows, e.width, e.width), e.sizes(windows, 0), e.sizes(windows, 1), HEADS, e.each),
      ...perm,
    );
  const [query, key, value] = [split(0, 2, 1, 3), split(0, 2, 1, 3), split(0, 2, 1, 3)];
  const unit = (x: string): string => {
    const length = b.add("Clip", [b.reduce("ReduceL2", x, [-1]), b.scalar(1e-4)]);
    return b.add("Div", [x, b.add("Expand", [length, b.add("Shape", [x])])]);
  };
  const scores = b.add("MatMul", [unit(query), e.transpose(unit(key), 0, 1, 3, 2)]);
  const table = b.add("Gather", [b.weight(49, HEADS), b.constant(Array.from({ length: 256 }, (_, i) => i % 49))]);
  const bias = e.unsqueeze(e.transpose(e.reshape(table, b.constant([16, 16, -1])), 2, 0, 1), 0);
  const masked = b.add("Add", [b.add("Add", [scores, bias]), b.weight(1, 1, 16, 16)]);
  const mixed = e.transpose(b.add("MatMul", [b.add("Softmax", [masked], { axis: -1 }), value]), 0, 2, 1, 3);
  const joined = e.view(mixed, e.sizes(mixed, 0), e.sizes(mixed, 1), e.width);
  const placed = e.transpose(e.view(joined, -1, down, across, 4, 4, e.width), 0, 1, 3, 2, 4, 5);
  const whole = roll(roll(e.view(placed, -1, tall, wide, e.width), 1, -2), 2, -2);
  const seen = b.add("Slice", [whole, b.constant([0]), e.unsqueeze(height, 0), b.constant([1]), b.constant([1])]);
  const back = b.add("Slice", [seen, b.constant([0]), e.unsqueeze(width, 0), b.constant([2]), b.constant([1])]);
  const every = [0, 1].flatMap((x) => [0, 1].map((y) => e.slice(e.slice(back, 1, x, LAST, 2), 2, y, LAST, 2)));
  const merged = e.view(b.add("Concat", every, { axis: -1 }), e.sizes(pixels, 0), -1, 4 * e.width);
  return [b.add("MatMul", [e.norm(merged, 4 * e.width), b.weight(4 * e.width, 2 * e.width)])];
};

/** Patches with a class token, and embeddings of positions that are resized to the image. */
export const PATCHES: Export = (e) => {
  const { b } = e;
  const pixels = b.open({ batch: 2, channels: 3, height: 32, width: 48 });
  const patches = b.add("Conv", [pixels, b.weight(e.width, 3, 8, 8), b.weight(e.width)], {
    kernel_shape: [8, 8],
    strides: [8, 8],
  });
  const flat = e.transpose(e.view(patches, e.sizes(patches, 0), e.sizes(patches, 1), -1), 0, 2, 1);
  const first = e.expand(b.weight(1, 1, e.width), e.list(e.sizes(pixels, 0), -1, -1), 3);
  const tokens = b.add("Concat", [first, flat], { axis: 1 });
  const places = b.weight(1, 17, e.width);
  const [one, rest] = [e.slice(places, 1, 0, 1), e.slice(places, 1, 1, LAST)];
  const square = e.transpose(e.reshape(rest, b.constant([1, 4, 4, e.width])), 0, 3, 1, 2);
  const side = (axis: number): string => {
    const floor = b.add("Floor", [b.add("Div", [e.float(e.sizes(pixels, axis)), b.constant([8], b.dtype)])]);
    return e.cast(floor, INT64);
  };
  const sizes = e.list(e.slice(b.add("Shape", [square]), 0, 0, 2), side(2), side(3));
  const resized = (mode: string): string =>
    b.add("Resize", [square, "", "", sizes], {
      mode,
      coordinate_transformation_mode: mode === "cubic" ? "half_pixel" : "align_corners",
      ...(mode === "cubic" && { cubic_coeff_a: { float: -0.75 } }),
    });
  const both = b.add("Add", [resized("cubic"), resized("linear")]);
  const listed = b.add("Reshape", [e.transpose(both, 0, 2, 3, 1), b.constant([1, -1, e.width])]);
  const x = b.add("Add", [tokens, b.add("Concat", [one, listed], { axis: 1 })]);
  const layer = b.add("Mul", [attend(e, e.norm(x, e.width), null), b.weight(e.width)]);
  const last = e.norm(b.add("Add", [layer, x]), e.width);
  const other = b.reduce("ReduceMean", e.slice(last, 1, 1, LAST), [1], 0);
  const map = e.view(e.transpose(e.slice(last, 1, 1, LAST), 0, 2, 1), e.sizes(pixels, 0), -1, side(2), side(3));
  const up = b.add("Resize", [map, "", b.constant([1, 1, 2, 2], "float32")], {
    mode: "linear",
    coordinate_transformation_mode: "half_pixel",
  });
  return [b.add("Concat", [b.add("Gather", [last, b.constant(0)], { axis: 1 }), other], { axis: 1 }), up];
};

/** Positions of pixels by sine and cosine, sampled features, and the best of many boxes. */
export const BOXES: Export = (e) => {
  const { b } = e;
  const map = b.open({ batch: 2, "=": e.width, height: 6, width: 8 });
  const mask = b.open(
    { batch: 2, height: 6, width: 8 },
    "int64",
    Array.from({ length: 96 }, (_, i) => Number(i % 8 < 6)),
  );
  const isSeen = e.cast(mask, BOOL);
  const seen = e.float(isSeen);
  const sines = [1, 2].map((axis) => {
    const counted = b.add("CumSum", [seen, b.constant(axis)]);
    const whole = b.add("Add", [e.slice(counted, axis, -1, LAST), b.scalar(1e-4)]);
    const part = b.add("Mul", [b.add("Div", [counted, whole]), b.scalar(2 * Math.PI)]);
    const exponent = b.add("Div", [
      e.float(
        b.add("Mul", [b.constant(2), b.add("Div", [e.range(b.constant(0), b.constant(e.width / 2)), b.constant(2)])]),
      ),
      b.scalar(e.width / 2),
    ]);
    const angles = b.add("Div", [e.unsqueeze(part, -1), b.add("Pow", [b.scalar(20), exponent])]);
    const [even, odd] = [e.slice(angles, 3, 0, LAST, 2), e.slice(angles, 3, 1, LAST, 2)];
    const stacked = b.add("Concat", [e.unsqueeze(b.add("Sin", [even]), 4), e.unsqueeze(b.add("Cos", [odd]), 4)], {
      axis: 4,
    });
    return e.view(stacked, e.sizes(stacked, 0), e.sizes(stacked, 1), e.sizes(stacked, 2), -1);
  });
  const place = e.transpose(b.add("Concat", sines, { axis: 3 }), 0, 3, 1, 2);
  const flat = e.transpose(e.view(b.add("Add", [map, place]), e.sizes(map, 0), e.sizes(map, 1), -1), 0, 2, 1);
  const text = attend(e, flat, null);
  const boxes = b.add("Sigmoid", [e.linear(text, e.width, 4)]);
  const inner = b.add("Clip", [boxes, b.scalar(0), b.scalar(1)]);
  const inverse = b.add("Log", [
    b.add("Div", [
      b.add("Clip", [inner, b.scalar(1e-3)]),
      b.add("Clip", [b.add("Sub", [b.scalar(1), inner]), b.scalar(1e-3)]),
    ]),
  ]);
  const scores = e.linear(text, e.width, 5);
  const best = b.reduce("ReduceMax", scores, [-1], 0);
  const [, places = ""] = b.addAll("TopK", [best, b.constant([4])], 2, { axis: 1 });
  const pick = (x: string, width: number): string => {
    const wide = e.expand(e.unsqueeze(places, -1), e.list(-1, -1, width), 3);
    return b.add("GatherElements", [x, wide], { axis: 1 });
  };
  const queries = b.add("Tile", [e.unsqueeze(b.weight(4, e.width), 0), e.list(e.sizes(map, 0), 1, 1)]);
  const reference = b.add("Sigmoid", [pick(inverse, 4)]);
  const [cx = "", cy = "", w = "", h = ""] = b.addAll("Split", [reference, b.constant([1, 1, 1, 1])], 4, { axis: -1 });
  const half = (x: string): string => b.add("Mul", [x, b.scalar(0.5)]);
  const corners = ["Sub", "Add"].flatMap((opType) => [b.add(opType, [cx, half(w)]), b.add(opType, [cy, half(h)])]);
  const grid = b.add("Sub", [
    b.add("Mul", [b.scalar(2), e.unsqueeze(b.add("Concat", [cx, cy], { axis: -1 }), 2)]),
    b.scalar(1),
  ]);
  const sample = (): string =>
    b.add("GridSample", [map, grid], {
      mode: b.opset >= 20 ? "linear" : "bilinear",
      padding_mode: "zeros",
      align_corners: 0,
    });
  const sampled = b.opset >= 16 ? sample() : grid;
  const [down, across] = [e.range(b.constant(0), e.size(map, 2)), e.range(b.constant(0), e.size(map, 3))];
  const shape = e.list(e.sizes(map, 2), e.sizes(map, 3));
  const mesh = [b.add("Expand", [e.view(down, -1, 1), shape]), b.add("Expand", [e.view(across, 1, -1), shape])];
  const anchors = b.add("Add", [
    e.float(
      b.add(
        "Concat",
        mesh.map((x) => e.unsqueeze(x, -1)),
        { axis: -1 },
      ),
    ),
    b.scalar(0.5),
  ]);
  const isGood = b.add("And", [b.add("Greater", [anchors, b.scalar(0.1)]), b.add("Less", [anchors, b.scalar(7.5)])]);
  const rows = e.cast(b.reduce("ReduceMin", e.cast(isGood, INT32), [-1]), BOOL);
  const shown = b.add("Where", [rows, anchors, b.scalar(LAST)]);
  const picked = b.add("Einsum", [pick(text, e.width), queries], { equation: "bqc,bkc->bqk" });
  const none = b.add("Where", [e.unsqueeze(b.add("Not", [isSeen]), 1), b.scalar(0), map]);
  const indices = b.add("NonZero", [isSeen]);
  return [b.add("Concat", corners, { axis: -1 }), sampled, shown, picked, none, e.transpose(indices, 1, 0), scores];
};
