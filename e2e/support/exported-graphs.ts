// Graphs that exporters wrote of 20 architectures (optimum 2.1 with torch 2.13, and torch's dynamo exporter), their weights
// left out by pack-graphs.py: they judge the split of ONNX Runtime's binary. The profile knows functions of five of them
// (docs/onnxruntime.md).
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { brotliDecompressSync } from "node:zlib";
import { clearPlace } from "../../lib/compress/onnx/external-data.ts";
import { decodeModel } from "../../lib/compress/onnx/model.ts";
import { TensorProto_DataLocation } from "../../lib/compress/onnx/onnx.gen.js";
import { tensorsIn } from "../../lib/compress/onnx/tensors-in.ts";
import { seededFloats } from "../../lib/test-support/compress/fixtures.ts";
import { ROOT } from "./prepare.ts";

/** File of external data that all graphs name, each tensor at its beginning: as large as the largest. */
export const WEIGHTS = { path: "weights.bin", floats: 300_000 } as const;

/** Returns the graphs by the names of their architectures. */
export function exportedGraphs(): ReadonlyMap<string, Uint8Array> {
  const packed = brotliDecompressSync(readFileSync(join(ROOT, "e2e/support/exported-graphs.br")));
  const graphs = new Map<string, Uint8Array>();
  let at = 0;
  const next = (): Buffer => {
    const start = at + 4;
    at = start + packed.readUInt32LE(at);
    return packed.subarray(start, at);
  };
  while (at < packed.length) {
    const name = next().toString();
    graphs.set(name, next());
  }
  return graphs;
}

/** Returns the content of that file: small numbers. */
export function exportedWeights(): Uint8Array {
  const floats = seededFloats(WEIGHTS.floats, 3).map((x) => x / 8);
  return new Uint8Array(floats.buffer, floats.byteOffset, floats.byteLength);
}

/** Returns a graph with that content as one file. */
export function exportedModel(name: string): Uint8Array {
  const model = decodeModel(exportedGraphs().get(name) ?? new Uint8Array());
  const weights = exportedWeights();
  for (const { tensor } of tensorsIn(model.proto)) {
    if (tensor.dataLocation !== TensorProto_DataLocation.EXTERNAL) continue;
    const length = tensor.externalData.find((x) => x.key === "length")?.value;
    clearPlace(tensor, weights.subarray(0, Number(length)));
  }
  return model.write();
}
