import { create, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { joinWeights } from "../../compress/bundle/split-weights.ts";
import { readModel } from "../../compress/onnx/model.ts";
import {
  AttributeProto_AttributeType,
  GraphProtoSchema,
  ModelProtoSchema,
  TensorProto_DataType as T,
  TensorProtoSchema,
} from "../../compress/onnx/onnx.gen.js";
import type { GraphProto, TensorProto } from "../../compress/onnx/onnx.gen.js";
import { loadRuntime } from "../../compress/run/optional-peers.ts";
import { externalize } from "./externalize.ts";

const PATH = "itself";
const SIZES = new Map<T, number>([
  [T.FLOAT, 4],
  [T.UINT8, 1],
  [T.INT8, 1],
  [T.UINT16, 2],
  [T.INT16, 2],
  [T.INT32, 4],
  [T.INT64, 8],
  [T.FLOAT16, 2],
  [T.DOUBLE, 8],
  [T.UINT32, 4],
  [T.UINT64, 8],
]);

/** A tensor whose raw data is a run of changing bytes. */
function tensor(name: string, dataType: T, dims: readonly number[], docString = ""): TensorProto {
  const length = dims.reduce((a, b) => a * b, SIZES.get(dataType) ?? 1);
  const rawData = Uint8Array.from({ length }, (_, i) => (i * 31 + name.length) % 113);
  return create(TensorProtoSchema, { name, dataType, dims: dims.map(BigInt), docString, rawData });
}

const valueOf = (name: string, elemType: T = T.FLOAT): object => ({
  name,
  type: { value: { case: "tensorType", value: { elemType } } },
});

/** A graph that answers each tensor. */
function answers(tensors: readonly TensorProto[], prefix = "y"): GraphProto {
  return create(GraphProtoSchema, {
    name: "g",
    initializer: [...tensors],
    node: tensors.map(({ name }) => ({ opType: "Identity", input: [name], output: [`${prefix}${name}`] })),
    output: tensors.map(({ name, dataType }) => valueOf(`${prefix}${name}`, dataType)),
  });
}

function fileOf(graph: GraphProto): Uint8Array<ArrayBuffer> {
  const opsetImport = [{ domain: "", version: 17n }];
  return new Uint8Array(toBinary(ModelProtoSchema, create(ModelProtoSchema, { irVersion: 8n, opsetImport, graph })));
}

async function answersOf(graph: Uint8Array, file?: Uint8Array): Promise<Record<string, string>> {
  const { InferenceSession, Tensor } = await loadRuntime();
  const externalData = file === undefined ? [] : [{ path: PATH, data: file }];
  const session = await InferenceSession.create(graph, { externalData, logSeverityLevel: 4, intraOpNumThreads: 1 });
  const feeds = session.inputNames.map((name) => [name, new Tensor("bool", [true], [])] as const);
  const outputs = await session.run(Object.fromEntries(feeds));
  const texts = Object.entries(outputs).map(([name, { data }]) => {
    const { buffer, byteOffset, byteLength } = data as Float32Array;
    return [name, Buffer.from(buffer, byteOffset, byteLength).toString("base64")] as const;
  });
  await session.release();
  return Object.fromEntries(texts);
}

/** A Blob that counts the bytes read of it. */
class CountedBlob extends Blob {
  bytesRead = 0;
  override slice(start = 0, end = this.size): Blob {
    this.bytesRead += Math.min(end, this.size) - start;
    return super.slice(start, end);
  }
}

const aTensor = fc.record({
  dataType: fc.constantFrom(...SIZES.keys()),
  // On both sides of the least size of an external tensor, at any alignment.
  elements: fc.integer({ min: 1, max: 3_000 }),
  name: fc.string({ maxLength: 9 }),
  doc: fc.string({ maxLength: 9 }),
  rank: fc.integer({ min: 1, max: 3 }),
});
const tensors = fc
  .array(aTensor, { minLength: 1, maxLength: 6 })
  .map((all) =>
    all.map(({ dataType, elements, name, doc, rank }, i) =>
      tensor(`${name}${i}`, dataType, [...Array.from({ length: rank - 1 }, () => 1), elements], doc),
    ),
  );

describe("externalize", () => {
  test("names the ranges of the file that hold the weights, and changes nothing else", async () => {
    await fc.assert(
      fc.asyncProperty(tensors, async (all) => {
        const file = fileOf(answers(all));
        const graph = await externalize(new Blob([file]), PATH, 0);
        fc.pre(graph !== null);
        expect(graph.length).toBeLessThan(file.length);
        expect(Buffer.compare(joinWeights(graph, file), readModel(file).write())).toBe(0);
      }),
    );
  });

  test("the answers are the same, bit for bit, for any type at any offset", async () => {
    await fc.assert(
      fc.asyncProperty(tensors, async (all) => {
        const file = fileOf(answers(all));
        const graph = await externalize(new Blob([file]), PATH, 0);
        fc.pre(graph !== null);
        expect(await answersOf(graph, file)).toEqual(await answersOf(file));
      }),
      { numRuns: 25 },
    );
  });

  test("weights of the branches of an If stay inside: ONNX Runtime refuses external ones", async () => {
    const branch = (name: string): object => ({
      name,
      type: AttributeProto_AttributeType.GRAPH,
      g: answers([tensor(`w_${name}`, T.FLOAT, [1_000])], "z"),
    });
    const attribute = [branch("then_branch"), branch("else_branch")];
    const graph = create(GraphProtoSchema, {
      name: "main",
      input: [valueOf("x", T.BOOL)],
      initializer: [tensor("w", T.FLOAT, [4_000])],
      node: [
        { opType: "Identity", input: ["w"], output: ["yw"] },
        { opType: "If", input: ["x"], output: ["y"], attribute },
      ],
      output: [valueOf("yw"), valueOf("y")],
    });
    const file = fileOf(graph);
    const rewritten = await externalize(new Blob([file]), PATH, 0);
    expect(rewritten?.length).toBeLessThan(8_700);
    expect(await answersOf(rewritten ?? file, file)).toEqual(await answersOf(file));
  });

  test("a graph without the weights of 20 MB takes reads of under 1 MB", async () => {
    const all = ["a", "b"].map((name) => tensor(name, T.FLOAT, [2_500_000]));
    const blob = new CountedBlob([fileOf(answers(all))]);
    const graph = await externalize(blob, PATH);
    expect(graph?.length).toBeLessThan(400);
    expect(blob.bytesRead).toBeLessThan(1e6);
  });
});

describe("files that are left as they are", () => {
  const weights = tensor("w", T.FLOAT, [2_000]);
  const file = fileOf(answers([weights]));

  test.each<[string, TensorProto]>([
    ["values in float_data as well", { ...weights, floatData: [1] }],
    ["fewer bytes than its dims need", { ...weights, dims: [2_001n] }],
    ["a negative dim", { ...weights, dims: [-2_000n] }],
    ["an unknown type", { ...weights, dataType: 99 }],
    ["texts", { ...weights, dataType: T.STRING }],
    ["external data already", { ...weights, dataLocation: 1 }],
    ["a vector of int64, which may be a shape", tensor("w", T.INT64, [1_000])],
  ])("a tensor with %s", async (_, odd) => {
    expect(await externalize(new Blob([fileOf(answers([odd]))]), PATH, 0)).toBeNull();
  });

  test("a small file", async () => {
    expect(await externalize(new Blob([file]), PATH)).toBeNull();
  });

  test("a file above 2 GiB", async () => {
    const blob = new Blob([file]);
    Object.defineProperty(blob, "size", { value: 2 ** 31 });
    expect(await externalize(blob, PATH, 0)).toBeNull();
  });

  test("a truncated file, wherever it ends within the graph", async () => {
    const { length } = fileOf(answers([weights]));
    const after = 6; // the operator set follows the graph
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: length - after - 1 }), async (end) => {
        expect(await externalize(new Blob([file.subarray(0, end)]), PATH, 0)).toBeNull();
      }),
    );
  });

  test("bytes that are no model", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 3_000 }), async (bytes) => {
        expect(await externalize(new Blob([new Uint8Array(bytes)]), PATH, 0)).toBeNull();
      }),
    );
  });

  test("a length beyond the file", async () => {
    const bytes = file.slice();
    const at = bytes.findIndex((x, i) => x === 0x4a && bytes[i + 1] === 0xc0 && bytes[i + 2] === 0x3e);
    expect(at).toBeGreaterThan(0);
    bytes[at + 2] = 0x7f;
    expect(await externalize(new Blob([bytes]), PATH, 0)).toBeNull();
  });

  test("a million initializers", async () => {
    // Each a tag and a length of 0.
    const count = 1e6;
    const graph = new Uint8Array(count * 2).map((_, i) => (i % 2 === 0 ? 0x2a : 0));
    const head = Uint8Array.of(
      0x3a,
      0x80 + (2e6 % 128),
      0x80 + (Math.floor(2e6 / 128) % 128),
      Math.floor(2e6 / 2 ** 14),
    );
    expect(await externalize(new Blob([head, graph]), PATH, 0)).toBeNull();
  });
});

test("a file with any byte changed is either left as it is or means the same", async () => {
  const file = fileOf(answers([tensor("a", T.FLOAT, [300]), tensor("b", T.INT8, [2, 700])]));
  await fc.assert(
    fc.asyncProperty(fc.nat(file.length - 1), fc.nat(255), async (at, value) => {
      const bytes = file.slice();
      bytes[at] = value;
      const graph = await externalize(new Blob([bytes]), PATH, 0);
      if (graph === null) return;
      let meant: Uint8Array | null = null;
      try {
        meant = readModel(bytes).write();
      } catch {
        return; // refused with the same bytes in place
      }
      const same = Buffer.compare(joinWeights(graph, bytes), meant) === 0;
      expect([at, value, same]).toEqual([at, value, true]);
    }),
    { numRuns: 300 },
  );
});
