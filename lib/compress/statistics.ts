// What values do over samples: gathered inside the graph, so that of each value only a number or a row comes out, one
// sample at a time. The nodes that gather are put in for the measurement and taken out after it.
import type { NodeProto } from "./onnx.gen.js";
import type { OnnxModel } from "./onnx.ts";
import { inferValues, openWith } from "./infer.ts";
import { loadRuntime } from "./runtime.ts";
import type { Feed } from "./samples.ts";
import { int64Tensor } from "./weights.ts";

/** Gives the largest size of each float32 value that a node makes. */
export async function measurePeaks(model: OnnxModel, feeds: readonly Feed[]): Promise<Map<string, number>> {
  const { graph } = model;
  const values = await inferValues(model);
  const isFloat = (name: string): boolean => values.get(name)?.type === "float32" && graph.constant(name) === undefined;
  const peaks = new Map<string, number>();
  const tap: Tap = (value, last) => {
    const [size, peak] = [graph.freshName(`${value}/size`), graph.freshName(`${value}/peak`)];
    graph.insertAfter(last, { opType: "ReduceMax", input: [size], output: [peak], attributes: { keepdims: 0 } });
    graph.insertAfter(last, { opType: "Abs", input: [value], output: [size] });
    return peak;
  };
  const names = graph.nodes.flatMap((x) => x.output).filter(isFloat);
  await gather(model, feeds, names, tap, (value, data) => {
    peaks.set(value, Math.max(peaks.get(value) ?? 0, data[0] ?? 0));
  });
  return peaks;
}

/** Gives the sum of squares of each input of the products by constant matrices, by the matrix's name. */
export async function measureImportance(model: OnnxModel, feeds: readonly Feed[]): Promise<Map<string, Float64Array>> {
  const { graph } = model;
  const weights = new Map<string, string[]>();
  for (const { opType, domain, input } of graph.nodes) {
    if (domain !== "" || (opType !== "MatMul" && opType !== "Gemm")) continue;
    const [value = "", weight = ""] = input;
    const source = graph.producer(weight);
    const name = source?.opType === "Transpose" ? (source.input[0] ?? "") : weight;
    if (graph.constant(name)?.dims.length === 2 && graph.constant(value) === undefined)
      weights.set(value, [...(weights.get(value) ?? []), name]);
  }
  const importance = new Map<string, Float64Array>();
  const tap: Tap = (value, last) => {
    const name = (what: string): string => graph.freshName(`${value}/${what}`);
    const [square, rows, sum] = [name("square"), name("rows"), name("energy")];
    const [name0 = ""] = weights.get(value) ?? [];
    const dims = graph.constant(name0)?.dims.map(Number) ?? [];
    const isByRow = graph
      .consumers(name0)
      .some((x) => x.opType === "Transpose" || x.attribute.some((y) => y.name === "transB" && y.i === 1n));
    const columns = dims[isByRow ? 1 : 0] ?? 1;
    const shape = graph.addInitializer(int64Tensor(name("shape"), [2], [-1, columns]));
    const axes = graph.addInitializer(int64Tensor(name("axes"), [1], [0]));
    graph.insertAfter(last, { opType: "ReduceSum", input: [rows, axes], output: [sum], attributes: { keepdims: 0 } });
    graph.insertAfter(last, { opType: "Reshape", input: [square, shape], output: [rows] });
    graph.insertAfter(last, { opType: "Mul", input: [value, value], output: [square] });
    return sum;
  };
  await gather(model, feeds, [...weights.keys()], tap, (value, data) => {
    for (const name of weights.get(value) ?? []) {
      const total = importance.get(name) ?? new Float64Array(data.length);
      if (total.length !== data.length) continue;
      for (let i = 0; i < data.length; i++) total[i] = (total[i] ?? 0) + (data[i] ?? 0);
      importance.set(name, total);
    }
  });
  // An input that was 0 on all samples may not be on the next: it keeps a little weight.
  for (const total of importance.values()) {
    const floor = (total.reduce((a, b) => a + b, 0) / total.length) * 1e-3 || 1;
    for (let i = 0; i < total.length; i++) total[i] = Math.max(total[i] ?? 0, floor);
  }
  return importance;
}

/** Puts nodes behind the last one that measure a value, and names what they make. */
type Tap = (value: string, last: NodeProto) => string;

async function gather(
  model: OnnxModel,
  feeds: readonly Feed[],
  values: readonly string[],
  tap: Tap,
  take: (value: string, data: ArrayLike<number>) => void,
): Promise<void> {
  const { graph } = model;
  const [nodes, initializers] = [[...graph.nodes], [...graph.proto.initializer]];
  const last = nodes.at(-1);
  if (last === undefined || values.length === 0 || feeds.length === 0) return;
  const taps = new Map(values.map((value) => [tap(value, last), value]));
  const { Tensor } = await loadRuntime();
  try {
    const session = await openWith(model, [...taps.keys()]);
    try {
      for (const feed of feeds) {
        const tensors = Object.entries(feed).map(
          ([name, { dtype, dims, data }]) =>
            [name, new Tensor(dtype as "float32", data as Float32Array, dims)] as const,
        );
        const results = await session.run(Object.fromEntries(tensors), [...taps.keys()]);
        for (const [name, value] of taps) take(value, (results[name]?.data as Float32Array | undefined) ?? []);
      }
    } finally {
      await session.release();
    }
  } finally {
    graph.proto.node = nodes;
    graph.proto.initializer = initializers;
    graph.changed();
  }
}
