// ONNX's own operator cases, from Debian's libonnx-testdata: each is read, written back byte for byte, and runs the
// same after `simplify` and in the highest operator set. A slice in `npm test`, all in `npm run soak`.
import { fromBinary } from "@bufbuild/protobuf";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { expect, test } from "vitest";
import { slice } from "../slice.ts";
import { isSelvedgeError } from "../../core/errors.ts";
import { TensorProto_DataType as T, TensorProtoSchema } from "../../compress/onnx/onnx.gen.js";
import { readModel } from "../../compress/onnx/model.ts";
import { raiseOpset } from "../../compress/simplify/raise-opset.ts";
import { simplify } from "../../compress/simplify/simplify.ts";

const ROOT = "/usr/share/libonnx-testdata/data";
const TYPES: Readonly<Record<number, Tensor.Type>> = {
  [T.FLOAT]: "float32",
  [T.DOUBLE]: "float64",
  [T.INT32]: "int32",
  [T.INT64]: "int64",
  [T.UINT8]: "uint8",
  [T.INT8]: "int8",
  [T.BOOL]: "bool",
};
const ARRAYS = { float32: Float32Array, float64: Float64Array, int32: Int32Array, int64: BigInt64Array } as const;

if (!existsSync(ROOT)) throw new Error(`${ROOT} is missing: apt-get install libonnx-testdata`);
const CASES = readdirSync(ROOT)
  .sort()
  .flatMap((kind) => readdirSync(join(ROOT, kind)).map((name) => join(kind, name)))
  .filter((path) => existsSync(join(ROOT, path, "model.onnx")))
  .sort();

/** Takes every n-th case, so that each kind is included. */
const chosen = CASES.filter((_, i) => i % Math.ceil(CASES.length / slice(240, CASES.length)) === 0);

test("ONNX's operator cases are installed", () => {
  expect(CASES.length).toBeGreaterThanOrEqual(1288);
});

test("each is read and written back byte for byte", () => {
  for (const path of CASES) {
    const bytes = new Uint8Array(readFileSync(join(ROOT, path, "model.onnx")));
    expect(Buffer.compare(readModel(bytes).write(), bytes), path).toBe(0);
  }
});

const CHANGES = [
  { name: "simplify", change: simplify(), share: 1 / 2 },
  // Most of the cases are of that set or a later one.
  { name: "raising the operator set to 21", change: raiseOpset(21), share: 1 / 4 },
];

test.each(CHANGES)(
  "each that ONNX Runtime runs has the same outputs after $name, or is refused by name",
  { timeout: 300_000 },
  async ({ change, share }) => {
    let compared = 0;
    for (const path of chosen) {
      const bytes = new Uint8Array(readFileSync(join(ROOT, path, "model.onnx")));
      const feeds = inputsOf(bytes, join(ROOT, path, "test_data_set_0"));
      const before = feeds && (await outputsOf(bytes, feeds));
      if (before === undefined || path.includes("bernoulli") || path.includes("dropout")) continue;
      let simple: Uint8Array;
      try {
        simple = readModel(bytes).transform(change).write();
      } catch (error) {
        expect(isSelvedgeError(error) && error.message, path).toMatch(/cannot be raised|too old to be raised/);
        continue;
      }
      const after = await outputsOf(simple, feeds ?? {});
      expect(Object.keys(after ?? {}), `${path} runs no more`).toEqual(Object.keys(before));
      for (const [name, values] of Object.entries(before))
        for (const [i, value] of values.entries()) {
          const now = after?.[name]?.[i] ?? Number.NaN;
          const isSame = Object.is(value, now) || Math.abs(value - now) <= 1e-4 * Math.max(1, Math.abs(value));
          if (!isSame) expect.fail(`${path}: ${name}[${i}] was ${value} and is ${now}`);
        }
      compared += 1;
    }
    expect(compared).toBeGreaterThan(chosen.length * share);
  },
);

function inputsOf(bytes: Uint8Array, folder: string): Record<string, Tensor> | undefined {
  const { graph } = readModel(bytes);
  const stored = new Set(graph.proto.initializer.map((x) => x.name));
  const feeds: Record<string, Tensor> = {};
  for (const [i, { name }] of graph.proto.input.filter((x) => !stored.has(x.name)).entries()) {
    const path = join(folder, `input_${i}.pb`);
    if (!existsSync(path)) return undefined;
    const proto = fromBinary(TensorProtoSchema, readFileSync(path));
    const type = TYPES[proto.dataType];
    if (type === undefined || (proto.rawData.length === 0 && !proto.dims.includes(0n))) return undefined;
    const { buffer } = new Uint8Array(proto.rawData);
    const data = type in ARRAYS ? new ARRAYS[type as keyof typeof ARRAYS](buffer) : new Uint8Array(buffer);
    feeds[name] = new Tensor(type, type === "int8" ? new Int8Array(buffer) : data, proto.dims.map(Number));
  }
  return feeds;
}

/** Runs a model; undefined where ONNX Runtime does not, or outputs no numbers. */
async function outputsOf(
  bytes: Uint8Array,
  feeds: Record<string, Tensor>,
): Promise<Record<string, number[]> | undefined> {
  let session: InferenceSession | undefined;
  try {
    session = await InferenceSession.create(bytes, { logSeverityLevel: 4, intraOpNumThreads: 1 });
    const results = Object.entries(await session.run(feeds));
    if (results.some(([, x]) => x?.type === "string" || x?.data === undefined)) return undefined;
    return Object.fromEntries(results.map(([name, x]) => [name, Array.from(x.data as ArrayLike<number>, Number)]));
  } catch {
    return undefined;
  } finally {
    await session?.release();
  }
}
