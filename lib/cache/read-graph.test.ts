// Graphs of hand-written protobuf messages: what is read of them, what is skipped, and how files that are none are named.
import { describe, expect, test } from "vitest";
import { isSelvedgeError } from "../core/errors.ts";
import type { SelvedgeError } from "../core/errors.ts";
import type { Port } from "../core/tensor.ts";
import { DTYPES, each, portOf, readGraph, readLocations, varint, FileWindow } from "./read-graph.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const join = (...parts: readonly Uint8Array[]): Bytes => new Uint8Array(Buffer.concat(parts));
/** Encodes a number of 64 bits as a varint. */
const numberOf = (value: number | bigint): Bytes => {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  return Uint8Array.from([...bytes, Number(rest)]);
};
/** A field that is a number. */
const num = (field: number, value: number | bigint): Bytes => join(numberOf(8 * field), numberOf(value));
/** A field that is a text or a message. */
const len = (field: number, ...parts: readonly (Uint8Array | string)[]): Bytes => {
  const bytes = join(...parts.map((x) => (typeof x === "string" ? new TextEncoder().encode(x) : x)));
  return join(numberOf(8 * field + 2), numberOf(bytes.length), bytes);
};
/** Fields of other wire types: 8 bytes, 4 bytes and a number, none of which ends a message. */
const OTHERS = join(
  numberOf(8 * 90 + 1),
  new Uint8Array(8).fill(255),
  numberOf(8 * 91 + 5),
  new Uint8Array(4).fill(255),
  num(92, 5),
);

const INITIALIZER = 5;
const INPUT = 11;
const OUTPUT = 12;
const NODE = 1;
const model = (...fields: readonly Uint8Array[]): Bytes => join(num(1, 8), len(7, ...fields), len(2, "torch"));
const blob = (bytes: Bytes): Blob => new Blob([bytes]);
/** A value's description: its name, its element type, and its dims as messages. */
const value = (name: string, element: number, ...dims: readonly Uint8Array[]): Bytes =>
  join(len(1, name), len(2, len(1, num(1, element), len(2, ...dims.map((x) => len(1, x))))));
const size = (x: number | bigint): Bytes => num(1, x);
const named = (x: string): Bytes => len(2, x);

/** A file that counts its reads, and notes the places of them. */
class CountedBlob extends Blob {
  readonly reads: [start: number, end: number][] = [];

  override slice(start = 0, end = this.size): Blob {
    this.reads.push([start, end]);
    return super.slice(start, end);
  }
}
/** A file that is too large to be read whole: a field follows of which nothing is read, and which is not there. */
function large(bytes: Bytes): CountedBlob {
  const file = new CountedBlob([bytes, numberOf(8 * 30 + 2), numberOf(2 ** 24)]);
  Object.defineProperty(file, "size", { value: file.size + 2 ** 24 });
  return file;
}

async function errorOf(promise: Promise<unknown>): Promise<SelvedgeError> {
  const error: unknown = await promise.then(
    () => null,
    (caught: unknown) => caught,
  );
  if (!isSelvedgeError(error)) throw new Error(`not the error that is expected: ${String(error)}`);
  return error;
}

describe("numbers", () => {
  test.each([0, 1, 127, 128, 300, 16_384, 2 ** 31, 2 ** 53 - 1, -1, -2, -128, -129, -(2 ** 31), -(2 ** 53) + 1])(
    "%d is read from any place, with the place after it",
    (number) => {
      const bytes = join(Uint8Array.of(255, 255), numberOf(number), Uint8Array.of(7));
      expect(varint(bytes, 2)).toEqual({ value: number, at: bytes.length - 1 });
    },
  );

  test("one of nine bytes is above 0, and the lowest of 64 bits is below it", () => {
    expect(varint(numberOf(2n ** 62n), 0)).toEqual({ value: 2 ** 62, at: 9 });
    expect(varint(numberOf(-(2n ** 63n)), 0)).toEqual({ value: -(2 ** 63), at: 10 });
  });

  test("one that is cut, or of more than ten bytes, is none", () => {
    expect(() => varint(Uint8Array.of(128, 128), 0)).toThrow(new RangeError("it ends within a number"));
    expect(() => varint(Uint8Array.of(1), 1)).toThrow("it ends within a number");
    expect(() => varint(new Uint8Array(12).fill(128, 0, 10), 0)).toThrow("it ends within a number");
  });
});

describe("fields of a message in memory", () => {
  const read = (bytes: Uint8Array, takesCut?: boolean): [number, number | string][] => {
    const found: [number, number | string][] = [];
    each(
      bytes,
      (field, x) => {
        found.push([field, typeof x === "number" ? x : new TextDecoder().decode(x)]);
      },
      takesCut,
    );
    return found;
  };

  test("are numbers and bytes; those of 8 and 4 bytes count as 0", () => {
    const all = [
      [90, 0],
      [91, 0],
      [92, 5],
    ];
    expect(read(join(num(1, -3), OTHERS, len(300, "name"), len(2)))).toEqual([[1, -3], ...all, [300, "name"], [2, ""]]);
    expect(read(new Uint8Array())).toEqual([]);
  });

  test("end before one that is cut, or with what is there of it", () => {
    const bytes = join(num(1, 9), len(2, "abcdef"));
    expect(read(bytes)).toEqual([
      [1, 9],
      [2, "abcdef"],
    ]);
    expect(read(bytes.subarray(0, -2))).toEqual([[1, 9]]);
    expect(read(bytes.subarray(0, -2), true)).toEqual([
      [1, 9],
      [2, "abcd"],
    ]);
    const fixed = join(numberOf(8 * 3 + 5), new Uint8Array(4));
    expect(read(fixed)).toEqual([[3, 0]]);
    expect(read(fixed.subarray(0, -1))).toEqual([]);
  });

  test.each([3, 4, 6, 7])("of wire type %d are none", (wire) => {
    expect(() => read(numberOf(8 * 1 + wire))).toThrow(new RangeError(`it has wire type ${wire}`));
  });
});

describe("the port that a value describes", () => {
  const dimsOf = (...dims: readonly Uint8Array[]): unknown => portOf(value("x", 1, ...dims))[0]?.dims;

  test("has the element type of its number, and is left out where no typed array holds it", () => {
    expect(DTYPES.map((_, i) => portOf(value("x", i))[0]?.dtype)).toEqual([
      ...[undefined, "float32", "uint8", "int8", "uint16", "int16", "int32", "int64", "string", "bool"],
      ...["float16", "float64", "uint32", "uint64"],
    ]);
    for (const element of [0, 14, 16, 22]) expect(portOf(value("x", element))).toEqual([]);
  });

  test("has its sizes and names, and a name of its own where a dim has neither", () => {
    const port: Port = { name: "x", dtype: "float32", dims: ["n", 3, "x_2", "x_3"], batchAxis: 0 };
    expect(portOf(value("x", 1, named("n"), size(3), OTHERS, named("")))).toEqual([port]);
    expect(dimsOf(size(0), size(-1), size(2 ** 31), size(2 ** 31 - 1), size(1))).toEqual([
      ...["x_0", "x_1", "x_2"],
      ...[2 ** 31 - 1, 1],
    ]);
    expect(dimsOf(join(len(1, "4"), num(2, 4))), "of other kinds than sizes and names").toEqual(["x_0"]);
  });

  test("has a batch axis where its first dim is free", () => {
    const axis = (...dims: readonly Uint8Array[]): unknown => portOf(value("x", 1, ...dims))[0]?.batchAxis;
    expect([axis(named("n"), size(3)), axis(new Uint8Array(), size(3)), axis(size(3), named("n")), axis()]).toEqual([
      ...[0, 0, null, null],
    ]);
  });

  test("without a type is float32 without dims, as of an output that declares none", () => {
    expect(portOf(len(1, "y"))).toEqual([{ name: "y", dtype: "float32", dims: [], batchAxis: null }]);
    expect(portOf(new Uint8Array())).toMatchObject([{ name: "" }]);
  });

  test("is none for a sequence, whose element has a type of its own", () => {
    expect(portOf(join(len(1, "x"), len(2, len(4, len(1, num(1, 1))))))).toEqual([]);
  });

  test("is read past fields of other kinds and numbers", () => {
    const dims = join(OTHERS, len(1, OTHERS, size(2)), num(3, 1));
    const tensor = join(OTHERS, len(1, "no number"), num(1, 7), num(2, 1), len(3, len(1, size(9))), len(2, dims));
    const type = join(num(1, 4), OTHERS, len(1, tensor), len(6, "denotation"));
    const bytes = join(num(1, 1), num(2, 1), OTHERS, len(3, "doc"), len(1, "x"), len(2, type));
    expect(portOf(bytes)).toEqual([{ name: "x", dtype: "int64", dims: [2], batchAxis: null }]);
  });
});

describe("the graph of a file", () => {
  const node = (op: string, inputs: readonly string[], outputs: readonly string[]): Bytes =>
    join(...inputs.map((x) => len(1, x)), ...outputs.map((x) => len(2, x)), len(4, op));

  test("has inputs, outputs and nodes in their order, and nothing of other fields", async () => {
    const bytes = model(
      OTHERS,
      len(2, "main"),
      len(NODE, OTHERS, len(3, "its name"), num(1, 3), node("MatMul", ["a", "w"], ["h"]), len(7, "ai.onnx")),
      len(NODE, node("Split", ["h"], ["y", "z"])),
      len(INPUT, value("a", 1, named("n"), size(4))),
      len(INPUT, value("b", 7)),
      len(13, value("h", 1, size(4))),
      len(OUTPUT, value("y", 1)),
      len(OUTPUT, len(1, "z")),
    );
    for (const file of [blob(bytes), large(bytes)])
      expect(await readGraph(file)).toEqual({
        inputs: [
          { name: "a", dtype: "float32", dims: ["n", 4], batchAxis: 0 },
          { name: "b", dtype: "int64", dims: [], batchAxis: null },
        ],
        outputs: [
          { name: "y", dtype: "float32", dims: [], batchAxis: null },
          { name: "z", dtype: "float32", dims: [], batchAxis: null },
        ],
        nodes: [
          { opType: "MatMul", input: ["a", "w"], output: ["h"] },
          { opType: "Split", input: ["h"], output: ["y", "z"] },
        ],
      });
  });

  test("has no input that has a value in the file, wherever the name of that stands", async () => {
    const inputs = ["a", "w", "v"].map((x) => len(INPUT, value(x, 1)));
    const raw = len(9, new Uint8Array(3_000));
    const bytes = model(...inputs, len(INITIALIZER, len(8, "w"), raw), len(INITIALIZER, num(1, 750), raw, len(8, "v")));
    for (const file of [blob(bytes), large(bytes)])
      expect((await readGraph(file)).inputs.map((x) => x.name)).toEqual(["a"]);
    const unnamed = model(...inputs, len(INITIALIZER, raw));
    expect((await readGraph(blob(unnamed))).inputs.map((x) => x.name)).toEqual(["a", "w", "v"]);
  });

  test("is read in few pieces of a large file, and weights are not looked at where there is one input", async () => {
    const weight = len(INITIALIZER, len(9, new Uint8Array(100_000)), len(8, "w"));
    const parts = [len(INPUT, value("a", 1)), ...Array.from({ length: 5 }, () => weight)];
    const one = large(model(...parts));
    await readGraph(one);
    const two = large(model(len(INPUT, value("w", 1)), ...parts));
    expect((await readGraph(two)).inputs.map((x) => x.name)).toEqual(["a"]);
    expect(one.reads.length).toBeLessThan(10);
    expect(two.reads.length).toBeGreaterThan(one.reads.length + 4);
    for (const [start, end] of [...one.reads, ...two.reads]) expect(end - start).toBeLessThanOrEqual(2 ** 14);
  });

  test("has nodes with a large constant without that, of which a MiB is read", async () => {
    const constant = (bytes: number): Bytes =>
      len(NODE, len(4, "Constant"), len(2, "c"), len(5, new Uint8Array(bytes)), len(1, "x"));
    const bytes = model(constant(2 ** 20), constant(1_000), len(OUTPUT, len(1, "c")));
    const file = large(bytes);
    const { nodes, outputs } = await readGraph(file);
    expect(nodes).toEqual([
      { opType: "Constant", input: [], output: ["c"] },
      { opType: "Constant", input: ["x"], output: ["c"] },
    ]);
    expect(outputs).toHaveLength(1);
    expect(Math.max(...file.reads.map(([start, end]) => end - start))).toBe(2 ** 20);
  });

  test.each<[string, string, Bytes]>([
    ["without a graph", "it has no graph", join(num(1, 8), len(2, "torch"))],
    ["that is empty", "it has no graph", new Uint8Array()],
    ["cut in a field", "it ends within a field", model(len(2, "main")).subarray(0, 7)],
    ["cut in a number", "it ends within a number", join(num(1, 8), Uint8Array.of(0x3a, 0x80))],
    ["with an unknown wire type", "it has wire type 7", Uint8Array.of(15)],
    [
      "with a number beyond the end of its message",
      "it ends within a number",
      join(len(7, Uint8Array.of(8, 128)), num(1, 8)),
    ],
    [
      "with a field beyond the end of its message",
      "it ends within a field",
      join(len(7, Uint8Array.of(10, 2, 0)), num(1, 8)),
    ],
  ])("of one %s is an error that says so", async (_, reason, bytes) => {
    const error = await errorOf(readGraph(blob(bytes)));
    expect(error).toMatchObject({ code: "model-invalid", details: {} });
    expect(error.message).toBe(
      `The model's inputs and outputs could not be read, which image and labels need: not a whole ONNX file (${reason}).`,
    );
    expect(error.cause).toBeInstanceOf(RangeError);
  });

  test("of a file that the browser can't read any more has the browser's error", async () => {
    const lost = new DOMException("gone", "NotFoundError");
    const file = new Blob([model()]);
    file.slice = () => Object.assign(new Blob(), { arrayBuffer: () => Promise.reject(lost) });
    await expect(readGraph(file)).rejects.toBe(lost);
    await expect(readLocations(file)).rejects.toBe(lost);
  });
});

describe("files of external data", () => {
  const entry = (key: string, text: string): Bytes => len(13, len(1, key), len(2, text));
  const weight = (...fields: readonly Uint8Array[]): Bytes => len(INITIALIZER, len(8, "w"), ...fields, num(14, 1));
  const locations = (...fields: readonly Uint8Array[]): Promise<string[]> => readLocations(blob(model(...fields)));

  test("are those that weights name, each once, without the dot of their own folder", async () => {
    const found = await locations(
      weight(entry("offset", "64"), entry("location", "b.data"), entry("length", "4")),
      weight(entry("location", "./././a/b.data")),
      weight(entry("location", "b.data")),
      weight(len(13, num(1, 1), num(2, 1), OTHERS, len(2, "c.data"), len(1, "location"))),
      weight(len(12, len(1, "location"), len(2, "other.data"))),
      len(15, len(13, len(1, "location"), len(2, "quantization.data"))),
    );
    expect(found).toEqual(["b.data", "a/b.data", "c.data"]);
    expect(await locations(), "a graph without weights").toEqual([]);
  });

  const constant = (rest: number, location = "c.data"): Bytes => {
    const tensor = join(num(2, 1), entry("offset", "0"), entry("location", location));
    return len(
      NODE,
      OTHERS,
      len(4, "Constant"),
      len(5, len(1, "value"), num(5, 1), len(5, tensor)),
      len(6, new Uint8Array(rest)),
    );
  };

  test("are also those of constants in nodes of up to 4 KiB", async () => {
    const sizeIn = (node: Bytes): number => varint(node, 1).value;
    const rest = 4_096 - (sizeIn(constant(200)) - 200);
    const [at, over] = [constant(rest), constant(rest + 1)];
    expect([sizeIn(at), sizeIn(over)]).toEqual([4_096, 4_097]);
    expect(await locations(constant(0), weight(entry("location", "w.data")))).toEqual(["c.data", "w.data"]);
    expect(await locations(at)).toEqual(["c.data"]);
    expect(await locations(over)).toEqual([]);
    const other = len(
      NODE,
      len(5, len(6, len(13, len(1, "location"), len(2, "graph.data")))),
      len(3, "name"),
      num(5, 1),
    );
    expect(await locations(other, len(NODE, len(5, len(5, entry("offset", "c.data")))))).toEqual([]);
  });

  test.each(["/x", "\\x", "C:x", "https://a/x", "a?b", "a#b", "..", "../x", "a/../x", "a\\..\\x", "a//x", "a/", ""])(
    "%j leaves the folder, which is an error",
    async (path) => {
      for (const field of [weight(entry("location", path)), constant(0, path)]) {
        const error = await errorOf(locations(weight(entry("location", "fine.data")), field));
        expect(error).toMatchObject({ code: "model-invalid", details: { path, reason: "external-path" } });
        expect(error.message).toBe(
          `The model keeps weights in "${path}", which is outside of its folder: save it again with its data beside it.`,
        );
      }
    },
  );

  test.each(["a..b", "...", "a1:b", "model.onnx_data", "x/y.z", " "])("%j is in the folder", async (path) => {
    expect(await locations(weight(entry("location", path)))).toEqual([path]);
  });

  test("a file that is not whole has none, since ONNX Runtime reports it", async () => {
    const bytes = model(weight(entry("location", "w.data")), len(2, "main"));
    expect(await readLocations(blob(bytes.subarray(0, -9)))).toEqual([]);
    expect(await readLocations(blob(Uint8Array.of(1, 2, 3)))).toEqual([]);
    expect(await readLocations(blob(join(len(8, weight(entry("location", "w.data"))))))).toEqual([]);
  });

  test("are found in a file that is too large to be read whole", async () => {
    const file = large(model(weight(entry("location", "w.data")), constant(0)));
    expect(await readLocations(file)).toEqual(["w.data", "c.data"]);
    for (const [start, end] of file.reads) expect(end - start).toBeLessThanOrEqual(2 ** 14);
  });
});

describe("a window on a file", () => {
  const bytes = new Uint8Array(2 ** 24 + 1);
  for (let i = 0; i < bytes.length; i += 1) bytes[i] = i % 251;
  const part = (start: number, end: number): number[] => [...bytes.subarray(start, end)];

  test("holds a file of up to 16 MiB whole, from the first read on", async () => {
    const file = new CountedBlob([bytes.subarray(0, 2 ** 24)]);
    const window = new FileWindow(file);
    expect([...(await window.bytes(1_000_000, 5))]).toEqual(part(1_000_000, 1_000_005));
    expect([...(await window.bytes(3, 2))]).toEqual(part(3, 5));
    expect(file.reads).toEqual([[0, 2 ** 24]]);
  });

  test("of a larger one holds 16 KiB from the place that was read, or as much as is wanted at once", async () => {
    const file = new CountedBlob([bytes]);
    const window = new FileWindow(file);
    const read = async (start: number, count: number): Promise<number> => {
      const found = await window.bytes(start, count);
      expect([...found]).toEqual(part(start, start + count));
      return file.reads.length;
    };
    expect(await read(100, 10)).toBe(1);
    expect(await read(105, 2 ** 14 - 5), "up to its end").toBe(1);
    expect(await read(106, 2 ** 14 - 5), "a byte past its end").toBe(2);
    expect(await read(105, 1), "a byte before it").toBe(3);
    expect(await read(0, 2 ** 15)).toBe(4);
    expect(await read(2 ** 24 - 2, 10), "at the end of the file").toBe(5);
    expect(file.reads).toEqual([
      [100, 100 + 2 ** 14],
      [106, 106 + 2 ** 14],
      [105, 105 + 2 ** 14],
      [0, 2 ** 15],
      [2 ** 24 - 2, 2 ** 24 + 1],
    ]);
    expect(await window.bytes(2 ** 24 - 2, 10)).toHaveLength(3);
  });
});
