import { zipSync } from "fflate";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import sharp from "sharp";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { BundleInput } from "../../core/bundle.ts";
import type { Dtype } from "../../core/tensor.ts";
import { syntheticInputs } from "./synthetic-inputs.ts";
import { firstFeeds, openSamples } from "./samples.ts";
import type { Feed } from "./samples.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "selvedge-samples-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const input = (name: string, dims: readonly (number | string)[], dtype: Dtype = "float32"): BundleInput => ({
  name,
  dtype,
  dims,
  batchAxis: null,
});

/** Writes an array as NumPy does. */
function npy(descr: string, shape: readonly number[], data: ArrayBufferView): Uint8Array {
  const dims = `(${shape.join(", ")}${shape.length === 1 ? "," : ""})`;
  const header = `{'descr': '${descr}', 'fortran_order': False, 'shape': ${dims}, }`.padEnd(117) + "\n";
  const head = Uint8Array.from([0x93, ...new TextEncoder().encode("NUMPY"), 1, 0, header.length, 0]);
  const values = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return Uint8Array.from([...head, ...new TextEncoder().encode(header), ...values]);
}

const floats = (...shape: number[]): Uint8Array =>
  npy(
    "<f4",
    shape,
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => i),
  );

function write(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
  return path;
}

async function read(path: string, inputs: readonly BundleInput[], limit = 1_000): Promise<Feed[]> {
  return firstFeeds(await openSamples(path, inputs, limit), limit);
}

describe("an array is split into samples", () => {
  test.each<[string, readonly (number | string)[], number[], number, number[]]>([
    ["along a batch of any size", ["batch", 4], [6, 4], 6, [1, 4]],
    ["along a batch of one", [1, 4], [6, 4], 6, [1, 4]],
    ["along an axis more", [1, 4], [6, 1, 4], 6, [1, 4]],
    ["by a batch of two", [2, 4], [6, 4], 3, [2, 4]],
    ["without a batch", [4], [6, 4], 6, [4]],
    ["as one sample of any length", ["length"], [6], 1, [6]],
    ["one axis more before any length", ["length"], [3, 6], 3, [6]],
    ["and arranged where the count fits", ["batch", 1, 2, 2], [6, 4], 6, [1, 1, 2, 2]],
    ["as one where the batch was left out", [1, 3, 2, 2], [3, 2, 2], 1, [1, 3, 2, 2]],
    ["of single numbers", [], [6], 6, []],
    ["with time first", ["time", 1, 4], [3, 5, 1, 4], 3, [5, 1, 4]],
  ])("%s", async (_, dims, shape, count, each) => {
    const feeds = await read(write("x.npy", floats(...shape)), [input("x", dims)]);
    expect(feeds).toHaveLength(count);
    expect(feeds[0]?.["x"]?.dims).toEqual(each);
    const step = each.reduce((a, b) => a * b, 1);
    expect(Array.from(feeds.at(-1)?.["x"]?.data as Float32Array)[0]).toBe((count - 1) * step);
  });

  test.each<[readonly (number | string)[], number[], string]>([
    [["n", 6, 8, 3], [5, 3, 6, 8], "(1, 2, 0)"],
    [["n", 3, "height", "width"], [5, 6, 8, 3], "(2, 0, 1)"],
    [[1, 40, 7], [9, 7, 40], "(1, 0)"],
  ])("with the axes of each sample in another order is refused: %j takes no %j", async (dims, shape, axes) => {
    const given = read(write("x.npy", floats(...shape)), [input("x", dims)]);
    await expect(given).rejects.toThrow(`np.transpose(sample, ${axes})`);
  });

  test("too few for a batch, or of another size, are refused with both sizes", async () => {
    await expect(read(write("x.npy", floats(3, 4)), [input("x", [8, 4])])).rejects.toThrow(
      /takes 8 items.*there are 3/,
    );
    await expect(read(write("x.npy", floats(3, 5)), [input("x", ["n", 4])])).rejects.toThrow(/\[n, 4\].*\[3, 5\]/);
  });
});

describe("several inputs", () => {
  const inputs = [input("ids", ["batch", 2], "int64"), input("flag", [], "bool"), input("x", ["batch", 3])];
  const arrays = {
    "ids.npy": npy("<i8", [4, 2], BigInt64Array.of(1n, 2n, 3n, 4n, 5n, 6n, 7n, 8n)),
    "flag.npy": npy("|b1", [4], Uint8Array.of(1, 0, 1, 0)),
    "x.npy": floats(1, 3),
  };

  test("come from an archive, in their own types; a single sample of one of them is used for all", async () => {
    const feeds = await read(write("all.npz", zipSync(arrays)), inputs);
    expect(feeds).toHaveLength(4);
    expect(feeds[2]).toEqual({
      ids: { dtype: "int64", dims: [1, 2], data: BigInt64Array.of(5n, 6n) },
      flag: { dtype: "bool", dims: [], data: Uint8Array.of(1) },
      x: { dtype: "float32", dims: [1, 3], data: Float32Array.of(0, 1, 2) },
    });
  });

  test("come from a folder with a file for each", async () => {
    for (const [name, bytes] of Object.entries(arrays)) write(`each/${name}`, bytes);
    expect(await read(join(folder, "each"), inputs)).toHaveLength(4);
  });

  test("are matched by their order where an archive has no names", async () => {
    const path = write("arr.npz", zipSync({ "arr_0.npy": floats(2, 2), "arr_1.npy": floats(2, 3) }));
    expect((await read(path, [input("a", ["n", 2]), input("b", ["n", 3])]))[1]?.["b"]?.data).toEqual(
      Float32Array.of(3, 4, 5),
    );
  });

  test("a missing one, and unlike counts, are refused by name", async () => {
    const path = write("some.npz", zipSync({ "ids.npy": arrays["ids.npy"], "x.npy": floats(3, 3) }));
    await expect(read(path, inputs)).rejects.toThrow(/"flag", only ids, x/);
    await expect(read(path, [inputs[0]!, inputs[2]!])).rejects.toThrow(/counts differ: "ids" has 4, "x" has 3/);
    await expect(read(write("x.npy", floats(2, 2)), inputs)).rejects.toThrow(/"ids", "flag", "x".*\.npz/);
  });
});

describe("JSON lines", () => {
  test("hold a sample each: named, bare, texts, true and false", async () => {
    const path = write("x.jsonl", '{"x": [[1, 2]], "s": ["a"], "b": true}\n\n{"x": [3, 4], "s": ["b"], "b": false}\n');
    const feeds = await read(path, [input("x", ["n", 2]), input("s", [1], "string"), input("b", [], "bool")]);
    expect(feeds.map((x) => x["s"]?.data)).toEqual([["a"], ["b"]]);
    expect(feeds[1]).toMatchObject({ x: { dims: [1, 2], data: Float32Array.of(3, 4) }, b: { data: Uint8Array.of(0) } });
    expect(await read(write("bare.jsonl", "[1,2]\n[3,4]"), [input("x", [1, 2])])).toHaveLength(2);
  });

  test.each<[string, string, RegExp]>([
    ["no JSON", "[1, 2]\nnot", /line 2 .* not JSON/],
    ["rows of unlike length", "[[1, 2], [3]]", /lists of "x"/],
    ["a word for a number", '["one", 2]', /"x" has type float32, but a sample is text/],
    ["nothing for the input", '{"y": [1, 2]}', /no values for the input "x"/],
    ["no line", "", /contains no samples/],
  ])("%s is refused", async (_, text, message) => {
    await expect(read(write("x.jsonl", text), [input("x", [1, 2])])).rejects.toThrow(message);
  });
});

test("a module yields samples for each iteration; a spent generator is refused", async () => {
  const path = write(
    "list.mjs",
    "export async function* samples() { for (let i = 0; i < 5; i++) yield { x: [i, i] }; }",
  );
  const samples = await openSamples(path, [input("x", [1, 2])], 3);
  expect(samples.n).toBe(3);
  for (let time = 0; time < 2; time++) expect(await firstFeeds(samples, 10)).toHaveLength(3);
  const spent = write("spent.mjs", "export const samples = (function* () { yield [1, 2]; })();");
  await expect(read(spent, [input("x", [1, 2])])).rejects.toThrow(/export its function/);
  await expect(read(write("none.mjs", "export const y = 1;"), [input("x", [1])])).rejects.toThrow(
    /exports no "samples"/,
  );
});

test("images are converted as the bundle says, and to pixels in 0…1 by default", async () => {
  for (const [i, value] of [0, 255].entries()) {
    const image = { width: 4, height: 2, channels: 3, background: { r: value, g: value, b: value } } as const;
    write(`images/${i}.png`, await sharp({ create: image }).png().toBuffer());
  }
  const plain = input("x", ["n", 3, 2, 4]);
  const samples = await openSamples(join(folder, "images"), [plain], 10);
  expect(samples.notes.join()).toMatch(/--image/);
  expect((await firstFeeds(samples, 10)).map((x) => [...(x["x"]?.data as Float32Array)][0])).toEqual([0, 1]);
  const image = {
    resize: { mode: "exact", width: 4, height: 2 },
    channels: "rgb",
    mean: [1, 1, 1],
    layout: "nchw",
  } as const;
  const told = await openSamples(join(folder, "images"), [{ ...plain, image }], 10);
  expect(told.notes).toEqual([]);
  expect((await firstFeeds(told, 1))[0]?.["x"]?.data[0]).toBe(-1);
  await expect(read(join(folder, "images"), [input("x", ["n", 5])])).rejects.toThrow(/give --image/);
});

test("a missing path, or one of another kind, is refused", async () => {
  await expect(read(join(folder, "no.npz"), [input("x", [1])])).rejects.toThrow(/does not exist/);
  await expect(read(write("x.csv", "1,2"), [input("x", [1])])).rejects.toThrow(/not a \.npy/);
  await expect(read(write("bad.npz", "PK"), [input("x", [1])])).rejects.toThrow(/not a \.npz archive/);
});

test("only as many feeds are held as fit into the memory limit, but at least one", async () => {
  const samples = await openSamples(write("x.npy", floats(10, 4)), [input("x", [1, 4])], 10);
  expect(await firstFeeds(samples, 10, 40)).toHaveLength(2);
  expect(await firstFeeds(samples, 10, 1)).toHaveLength(1);
});

test("synthetic inputs follow the declaration, and common exporters' names", () => {
  const inputs = [
    input("ids", ["batch", "seq"], "int64"),
    input("attention_mask", ["batch", "seq"], "int64"),
    input("image", ["n", 3, "h", 8]),
    input("s", ["n"], "string"),
  ];
  const tries = [...syntheticInputs(inputs, { typical: { h: 6 }, bound: 10 })];
  expect(tries[0]?.[0]).toMatchObject({
    ids: { dims: [1, 32] },
    attention_mask: { data: new BigInt64Array(32).fill(1n) },
    image: { dims: [1, 3, 6, 8] },
    s: { dims: [1], data: ["text"] },
  });
  const largest = (feed: Feed | undefined): number =>
    Math.max(...Array.from(feed?.["ids"]?.data as BigInt64Array, Number));
  expect(largest(tries[0]?.[0])).toBeLessThan(10);
  expect(tries.map((x) => x[0]?.["ids"]?.dims[1])).toContain(224);
  expect(tries.map((x) => largest(x[0]))).toContain(0);
});

test("texts are read where a bundle says how: a folder, lines, or with other inputs", async () => {
  const inputs = [input("ids", [1, "length"], "int32"), input("weight", [1])];
  const readers = {
    ids: ([text = ""]: readonly string[]) => ({
      ids: { dtype: "int32", dims: [1, text.length], data: Int32Array.from(text, (x) => x.charCodeAt(0)) } as const,
    }),
  };
  const all = async (path: string, ports = inputs): Promise<Feed[]> =>
    firstFeeds(await openSamples(path, ports, 10, readers), 10);
  writeFileSync(join(folder, "x.jsonl"), '{"ids": "ab", "weight": 1}\n{"ids": [[7]], "weight": 2}\n');
  const lines = await all(join(folder, "x.jsonl"));
  expect(lines.map((x) => x["ids"]?.data)).toEqual([Int32Array.of(97, 98), Int32Array.of(7)]);
  mkdirSync(join(folder, "texts"));
  writeFileSync(join(folder, "texts", "a.txt"), "c");
  writeFileSync(join(folder, "texts", "b.txt"), "de");
  const texts = await all(join(folder, "texts"), inputs.slice(0, 1));
  expect(texts.map((x) => x["ids"]?.dims)).toEqual([
    [1, 1],
    [1, 2],
  ]);
});

describe("a language model's inputs beside its ids", () => {
  const inputs = [
    input("input_ids", ["batch_size", "sequence_length"], "int64"),
    input("attention_mask", ["batch_size", "past_sequence_length + sequence_length"], "int64"),
    input("position_ids", ["batch_size", "sequence_length"], "int64"),
    input("past_key_values.0.key", ["batch_size", 2, "past_sequence_length", 64]),
    input("use_cache_branch", [1], "bool"),
  ];
  const readers = {
    input_ids: ([text = ""]: readonly string[]) => ({
      input_ids: { dtype: "int64", dims: [1, text.length], data: new BigInt64Array(text.length) } as const,
    }),
  };
  const first = async (name: string, text: string): Promise<Feed | undefined> =>
    (await firstFeeds(await openSamples(write(name, text), inputs, 1, readers), 1))[0];

  test.each([
    ["a line of text", "lm.txt", "abc\n"],
    ["ids in JSON", "lm.jsonl", '{"input_ids": [[5, 6, 7]]}\n'],
  ])("follow from %s: mask, positions, and a past without a token (tool-text-alone)", async (_, name, text) => {
    expect(await first(name, text)).toMatchObject({
      attention_mask: { dims: [1, 3], data: BigInt64Array.of(1n, 1n, 1n) },
      position_ids: { dims: [1, 3], data: BigInt64Array.of(0n, 1n, 2n) },
      "past_key_values.0.key": { dims: [1, 2, 0, 64] },
      use_cache_branch: { dims: [1], data: Uint8Array.of(0) },
    });
  });

  test("are asked for where a past is given, which they depend on", async () => {
    const past = '{"input_ids": [[5]], "past_key_values.0.key": {"dims": [1, 2, 0, 64], "data": []}}';
    await expect(first("past.jsonl", past)).rejects.toThrow('no values for the input "attention_mask"');
  });
});
