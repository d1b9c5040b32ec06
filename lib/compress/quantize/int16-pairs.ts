// Stores a float32 weight in 16 bits per value, as float16 does, but more accurately where the values of an output have
// similar magnitudes: 16-bit integers with a scale for each output, about 90 dB against 73. As two int8 tensors, a high
// and a low byte, since browser builds of ONNX Runtime have no kernel for int16.
import { halfAbove, roundToEven } from "../onnx/float16.ts";
import type { Graph } from "../onnx/graph.ts";
import type { TensorProto } from "../onnx/onnx.gen.js";
import { addScales } from "./quantize-blocks.ts";
import { floatsOf, floatTensor, int8Tensor } from "../onnx/tensor-proto.ts";

/** The largest number with a high byte of 127 and a low one of 127. */
const LARGEST = 127 * 256 + 127;

/**
 * Adds the stored weight and the nodes that restore it to float32, at the front of the graph; returns the float32
 * value's name.
 */
export function storeInt16Pairs(graph: Graph, tensor: TensorProto, axis: number): string | undefined {
  const [first] = graph.nodes;
  const dims = tensor.dims.map(Number);
  const channels = dims[axis] ?? 1;
  const inner = dims.slice(axis + 1).reduce((a, b) => a * b, 1);
  const values = floatsOf(tensor);
  const peaks = new Float32Array(channels);
  for (let i = 0; i < values.length; i++) {
    const channel = Math.floor(i / inner) % channels;
    peaks[channel] = Math.max(peaks[channel] ?? 0, Math.abs(values[i] ?? 0));
  }
  if (first === undefined || !peaks.every(Number.isFinite)) return undefined;
  // The scale of the high byte, 256 times that of the low one.
  const scales = peaks.map((peak) => halfAbove(Math.max((peak * 256) / LARGEST, 2 ** -118)));
  const [high, low] = [new Int8Array(values.length), new Int8Array(values.length)];
  for (let i = 0; i < values.length; i++) {
    const scale = (scales[Math.floor(i / inner) % channels] ?? 1) / 256;
    const code = Math.max(-LARGEST, Math.min(LARGEST, roundToEven((values[i] ?? 0) / scale)));
    high[i] = Math.round(code / 256);
    low[i] = code - 256 * (high[i] ?? 0);
  }
  const name = (what: string): string => graph.freshName(`${tensor.name}/${what}`);
  const add = (what: string, bytes: Int8Array): string => graph.addInitializer(int8Tensor(name(what), dims, bytes));
  const [coarse, fine, wide, rest, whole] = [name("coarse"), name("fine"), name("wide"), name("rest"), name("float32")];
  const part = graph.addInitializer(floatTensor(name("part"), [], Float32Array.of(1 / 256)));
  const put = (opType: string, input: string[], output: string, attributes = {}): void => {
    graph.insertBefore(first, { opType, input, output: [output], attributes });
  };
  addScales(graph, coarse, [channels], scales);
  put("Mul", [coarse, part], fine);
  put("DequantizeLinear", [add("high", high), coarse], wide, { axis });
  put("DequantizeLinear", [add("low", low), fine], rest, { axis });
  put("Add", [wide, rest], whole);
  return whole;
}
