// A transformer over bytes with seeded weights: untrained, but with everything that makes one hard to compress: an
// embedding tied to the output, attention with a mask of −10,000, layer norms, wide products, a few columns of larger
// weights. The layers' contributions are scaled down with their number, as at the start of training, so that an error
// is not amplified from layer to layer.
import { int64Tensor } from "../../../lib/compress/onnx/tensor-proto.ts";
import type { NodeSpec } from "../../../lib/compress/onnx/graph.ts";
import type { OnnxModel } from "../../../lib/compress/onnx/model.ts";
import { buildGraph } from "../../../models/graph.ts";
import type { Weights } from "../../../models/graph.ts";
import { Random } from "../../../lib/test-support/random.ts";

const [WIDTH, HEADS, LAYERS, WIDE] = [256, 4, 4, 1024] as const;
const CLASSES = 256;
/** Positions of one sample. */
export const POSITIONS = 64;

/** Builds the model: int32 bytes [batch, 64] to logits [batch, 64, 256]. */
export function byteLm(): OnnxModel {
  const random = new Random("byte-lm");
  const normal = (): number => Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next());
  const weights: Record<string, Weights> = {};
  const constants = [
    int64Tensor("split", [4], [0, POSITIONS, HEADS, WIDTH / HEADS]),
    int64Tensor("join", [3], [0, POSITIONS, WIDTH]),
  ];
  const nodes: NodeSpec[] = [];
  const add = (opType: string, input: string[], output: string, attributes: NodeSpec["attributes"] = {}): string => {
    nodes.push({ opType, input, output: [output], attributes });
    return output;
  };
  const weight = (name: string, dims: readonly number[], make: (i: number) => number): string => {
    weights[name] = { dims, data: Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, (_, i) => make(i)) };
    return name;
  };
  /** A matrix of which one column in 64 is larger. */
  const matrix = (name: string, rows: number, columns: number, size = 1): string =>
    weight(name, [rows, columns], (i) => ((size * normal()) / Math.sqrt(rows)) * ((i % columns) % 64 === 7 ? 3 : 1));
  const norm = (value: string, name: string, size = 1): string => {
    const [scale, bias] = [
      weight(`${name}.scale`, [WIDTH], () => size * (1 + normal() / 10)),
      weight(`${name}.bias`, [WIDTH], () => 0),
    ];
    return add("LayerNormalization", [value, scale, bias], `${name}.out`, { axis: -1 });
  };
  weight("mask", [POSITIONS, POSITIONS], (i) => (i % POSITIONS > Math.floor(i / POSITIONS) ? -10_000 : 0));
  weight("root", [], () => 1 / Math.sqrt(WIDTH / HEADS));
  weight("embedding", [CLASSES, WIDTH], () => normal());
  let x = add("Gather", ["embedding", "bytes"], "embedded");
  x = add("Add", [x, weight("places", [POSITIONS, WIDTH], () => normal() / 4)], "placed");
  for (let layer = 0; layer < LAYERS; layer++) {
    const at = (name: string): string => `${layer}.${name}`;
    const inner = norm(x, at("norm1"));
    const head = (name: string, perm: number[]): string => {
      const value = add("MatMul", [inner, matrix(at(name), WIDTH, WIDTH)], at(`${name}.flat`));
      return add("Transpose", [add("Reshape", [value, "split"], at(`${name}.split`))], at(`${name}.heads`), { perm });
    };
    const [query, key, content] = [head("query", [0, 2, 1, 3]), head("key", [0, 2, 3, 1]), head("value", [0, 2, 1, 3])];
    const scores = add("Mul", [add("MatMul", [query, key], at("scores")), "root"], at("scaled"));
    const shares = add("Softmax", [add("Add", [scores, "mask"], at("masked"))], at("shares"), { axis: -1 });
    const mixed = add("Transpose", [add("MatMul", [shares, content], at("mixed"))], at("turned"), {
      perm: [0, 2, 1, 3],
    });
    const joined = add("Reshape", [mixed, "join"], at("joined"));
    x = add(
      "Add",
      [x, add("MatMul", [joined, matrix(at("output"), WIDTH, WIDTH, 1 / Math.sqrt(2 * LAYERS))], at("projected"))],
      at("middle"),
    );
    const wide = add("MatMul", [norm(x, at("norm2")), matrix(at("wide"), WIDTH, WIDE)], at("widened"));
    const narrow = add(
      "MatMul",
      [add("Relu", [wide], at("relu")), matrix(at("narrow"), WIDE, WIDTH, 1 / Math.sqrt(2 * LAYERS))],
      at("narrowed"),
    );
    x = add("Add", [x, narrow], at("out"));
  }
  // So small that the output is not only the input byte, which a tied embedding favours.
  const turned = add("Transpose", ["embedding"], "turned", { perm: [1, 0] });
  add("MatMul", [norm(x, "last", 0.02), turned], "logits");
  const batch = ["batch", POSITIONS];
  return buildGraph(
    {
      inputs: [{ name: "bytes", dtype: "int32", dims: batch, batchAxis: 0 }],
      outputs: [{ name: "logits", dtype: "float32", dims: [...batch, CLASSES], batchAxis: 0 }],
    },
    nodes,
    weights,
    constants,
  );
}
