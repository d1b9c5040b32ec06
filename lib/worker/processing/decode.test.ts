import { describe, expect, test } from "vitest";
import fc from "fast-check";
import type { DecodeSpec, PoolSpec } from "../../core/bundle.ts";
import type { Tensor } from "../../core/tensor.ts";
import { createDecoder } from "./decode.ts";
import type { DecodeRun } from "./decode-run.ts";
import { softmax } from "./values.ts";

/** A request of which nothing is known but the output. */
const NOTHING: DecodeRun = {
  ...{ input: () => undefined, output: () => undefined, picture: () => null, tokens: () => null },
};

const floats = (dims: number[], values: number[]): Tensor => ({
  dtype: "float32",
  dims,
  data: new Float32Array(values),
});
const decode = (spec: DecodeSpec, output: Tensor, assets: Record<string, string> = {}): unknown[] =>
  createDecoder("y", spec, assets)(output);

describe("softmax", () => {
  test("returns one distribution per item", () => {
    const [first, second] = decode({ op: "softmax" }, floats([2, 2], [0, 0, Math.log(3), 0])) as {
      probabilities: Float32Array;
    }[];
    expect([...(first?.probabilities ?? [])]).toEqual([0.5, 0.5]);
    expect(second?.probabilities[0]).toBeCloseTo(0.75);
  });

  test("sums to 1 and keeps the order, for any finite values", () => {
    const row = fc.float32Array({ minLength: 1, maxLength: 50, noNaN: true, noDefaultInfinity: true });
    fc.assert(
      fc.property(row, (values) => {
        const result = softmax(values);
        const sum = result.reduce((a, b) => a + b, 0);
        expect(sum).toBeCloseTo(1, 4);
        const best = Math.max(...values);
        expect(result[values.indexOf(best)]).toBe(Math.max(...result));
      }),
    );
  });
});

describe("argmax", () => {
  test("returns the first of the largest, with its value", () => {
    expect(decode({ op: "argmax" }, floats([1, 4], [1, 7, 7, 2]))).toEqual([{ kind: "index", index: 1, score: 7 }]);
  });

  test("takes [class] as one item, and axes of one in between", () => {
    expect(decode({ op: "argmax" }, floats([3], [0, 1, 2]))).toHaveLength(1);
    expect(decode({ op: "argmax" }, floats([2, 1, 1, 3], [0, 1, 2, 2, 1, 0]))).toMatchObject([
      { index: 2 },
      { index: 0 },
    ]);
  });

  test("does not let NaN win", () => {
    expect(decode({ op: "argmax" }, floats([1, 3], [NaN, 1, NaN]))).toMatchObject([{ index: 1 }]);
  });

  test("reads int64 and float16", () => {
    const big: Tensor = { dtype: "int64", dims: [1, 2], data: new BigInt64Array([1n, 2n]) };
    const half: Tensor = { dtype: "float16", dims: [1, 3], data: new Uint16Array([0x3c00, 0xc000, 0x3e00]) };
    expect(decode({ op: "argmax" }, big)).toMatchObject([{ index: 1, score: 2 }]);
    expect(decode({ op: "argmax" }, half)).toMatchObject([{ index: 2, score: 1.5 }]);
  });

  test("refuses an output with a middle axis", () => {
    expect(() => decode({ op: "argmax" }, floats([1, 2, 2], [1, 2, 3, 4]))).toThrow(/must be \[batch, class\]/);
  });
});

describe("labels", () => {
  const assets = { "labels.txt": "cat\ndog\ncow\n" };

  test("returns the same as sorting all classes, for any scores and any count", () => {
    const scores = fc.array(fc.oneof(fc.constantFrom(0, 1, NaN, Infinity), fc.float()), {
      minLength: 1,
      maxLength: 40,
    });
    const table = Array.from({ length: 40 }, (_, i) => `class ${i}`);
    const rank = (x: number): number => (Number.isNaN(x) ? -Infinity : x);
    fc.assert(
      fc.property(scores, fc.integer({ min: 1, max: 50 }), (values, top) => {
        const output = floats([1, values.length], values);
        const order = [...(output.data as Float32Array).entries()].sort(([i, a], [j, b]) => {
          if (Number.isNaN(a) !== Number.isNaN(b)) return Number.isNaN(a) ? 1 : -1;
          return rank(a) === rank(b) ? i - j : rank(b) - rank(a);
        });
        const labels = order.slice(0, top).map(([index, score]) => ({ label: table[index], index, score }));
        const spec = { op: "labels", asset: "labels.txt", top } as const;
        const asset = table.slice(0, values.length).join("\n");
        expect(decode(spec, output, { "labels.txt": asset })).toEqual([{ kind: "labels", labels }]);
      }),
    );
  });

  test("returns the best, in order, with unchanged scores", () => {
    const spec = { op: "labels", asset: "labels.txt", top: 2 } as const;
    expect(decode(spec, floats([1, 3], [0.25, 0.5, 0.25]), assets)).toEqual([
      {
        kind: "labels",
        labels: [
          { label: "dog", index: 1, score: 0.5 },
          { label: "cat", index: 0, score: 0.25 },
        ],
      },
    ]);
  });

  test("takes logits through softmax", () => {
    const spec = { op: "labels", asset: "labels.txt", logits: true, top: 1 } as const;
    const [answer] = decode(spec, floats([1, 3], [0, Math.log(2), 0]), assets) as { labels: { score: number }[] }[];
    expect(answer?.labels[0]?.score).toBeCloseTo(0.5);
  });

  test("fails where the table is missing or too short", () => {
    const spec = { op: "labels", asset: "labels.txt" } as const;
    expect(() => createDecoder("y", spec, {})).toThrow(/"labels.txt", which is missing from the bundle/);
    expect(() => decode(spec, floats([1, 4], [1, 2, 3, 4]), assets)).toThrow(/4 classes, "labels.txt" is for 3/);
  });
});

describe("ctc", () => {
  const assets = { "characters.txt": "a\nb\n \n" };
  const spec = { op: "ctc", asset: "characters.txt" } as const;
  const steps = (classes: number[], score = 0.5): number[] =>
    classes.flatMap((best) => [0, 1, 2, 3].map((index) => (index === best ? score : 0.1)));

  test("merges repeats, and keeps those that a blank separates", () => {
    const output = floats([1, 8, 4], steps([0, 1, 1, 0, 1, 3, 2, 2]));
    expect(decode(spec, output, assets)).toMatchObject([{ kind: "text", text: "aa b" }]);
  });

  test("reads each item of a batch by itself", () => {
    const output = floats([2, 2, 4], [...steps([1, 2]), ...steps([2, 0])]);
    expect(decode(spec, output, assets)).toMatchObject([{ text: "ab" }, { text: "b" }]);
  });

  test("its confidence is the mean of the kept steps", () => {
    const output = floats([1, 4, 4], [...steps([1], 0.75), ...steps([1], 1), ...steps([0], 1), ...steps([2], 0.25)]);
    expect(decode(spec, output, assets)).toEqual([{ kind: "text", text: "ab", confidence: 0.5 }]);
  });

  test("returns no text and confidence 0 where all is blank", () => {
    expect(decode(spec, floats([1, 2, 4], steps([0, 0])), assets)).toEqual([{ kind: "text", text: "", confidence: 0 }]);
  });

  test("fails where the table is too short for the classes, or the rank is wrong", () => {
    const short = { "characters.txt": "a\nb" };
    expect(() => decode(spec, floats([1, 1, 4], steps([1])), short)).toThrow(/4 classes, "characters.txt" is for 3/);
    expect(() => decode(spec, floats([1, 4], steps([1])), assets)).toThrow(/\[batch, time, class\]/);
  });
});

describe("exactness", () => {
  const top = (dtype: Tensor["dtype"], data: Tensor["data"]): unknown =>
    decode({ op: "argmax" }, { dtype, dims: [1, data.length], data } as Tensor)[0];
  const assets = { "labels.txt": "a\nb\nc" };
  const labels = (output: Tensor): unknown => decode({ op: "labels", asset: "labels.txt", top: 3 }, output, assets)[0];

  test.each<[Tensor["dtype"], Tensor["data"], number, number]>([
    ["int32", Int32Array.of(16777216, 16777217, 5), 1, 16777217],
    ["uint32", Uint32Array.of(4294967294, 4294967295, 4294967294), 1, 4294967295],
    ["int64", BigInt64Array.of(2n ** 53n, 2n ** 53n + 1n, 2n ** 53n + 999n), 2, 2 ** 53 + 1_000],
    ["uint64", BigUint64Array.of(2n ** 63n, 2n ** 63n + 1n, 0n), 1, 2 ** 63],
    ["float64", Float64Array.of(0.1, 0.1 + 1e-12, 0), 1, 0.1 + 1e-12],
  ])("%s is compared as it came, not as float32 (processing-M6)", (dtype, data, index, score) => {
    expect(top(dtype, data)).toEqual({ kind: "index", index, score });
    expect(labels({ dtype, dims: [1, 3], data } as Tensor)).toMatchObject({
      labels: [{ index, score }, {}, {}],
    });
  });

  test.each([
    ["sigmoid", Float32Array.of(20, 40, 30), [1, 2, 0]],
    [true, Float32Array.of(-200, 0, -120), [1, 2, 0]],
    [true, Float64Array.of(1_000, 1_000 + 1e-9, 999), [1, 0, 2]],
    [true, BigInt64Array.of(2n ** 60n, 2n ** 60n + 1n, 0n), [1, 0, 2]],
  ] as const)(
    "labels with logits %s are ranked by the logits, not by rounded probabilities (processing-M6)",
    (logits, data, order) => {
      const dtype = data instanceof BigInt64Array ? "int64" : data instanceof Float64Array ? "float64" : "float32";
      const output = { dtype, dims: [1, 3], data } as Tensor;
      const [answer] = decode({ op: "labels", asset: "labels.txt", logits, top: 3 }, output, assets);
      expect(answer).toMatchObject({ labels: order.map((index) => ({ index })) });
    },
  );

  test("the best of any int64 or float64 values is the one that sorting finds (processing-M6)", () => {
    fc.assert(
      fc.property(fc.array(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), { minLength: 1 }), (values) => {
        const index = values.indexOf(values.reduce((a, b) => (b > a ? b : a)));
        expect(top("int64", BigInt64Array.from(values))).toMatchObject({ index });
      }),
    );
    fc.assert(
      fc.property(fc.array(fc.double({ noNaN: true }), { minLength: 1 }), (values) => {
        expect(top("float64", Float64Array.from(values))).toMatchObject({ index: values.indexOf(Math.max(...values)) });
      }),
    );
  });

  test("softmax takes int64 and float64 too", () => {
    const output: Tensor = { dtype: "int64", dims: [1, 2], data: BigInt64Array.of(1n, 1n) };
    expect(decode({ op: "softmax" }, output)).toEqual([
      { kind: "probabilities", probabilities: Float32Array.of(0.5, 0.5) },
    ]);
  });

  test("a number wins over NaN, even minus infinity (processing-L1)", () => {
    expect(top("float32", Float32Array.of(NaN, -Infinity, -Infinity))).toEqual({
      kind: "index",
      index: 1,
      score: -Infinity,
    });
    expect(top("float32", Float32Array.of(NaN, NaN))).toEqual({ kind: "index", index: 0, score: NaN });
  });

  test("a line whose values are NaN has the confidence NaN: it is not an empty line (processing-L1)", () => {
    const table = { "characters.txt": "a\nb" };
    const read = (values: number[]): unknown =>
      decode({ op: "ctc", asset: "characters.txt" }, floats([1, values.length / 3, 3], values), table)[0];
    expect(read([NaN, NaN, NaN, NaN, NaN, NaN])).toEqual({ kind: "text", text: "", confidence: NaN });
    expect(read([0, 1, 0, NaN, NaN, NaN])).toEqual({ kind: "text", text: "a", confidence: NaN });
    expect(read([1, 0, 0, 1, 0, 0])).toEqual({ kind: "text", text: "", confidence: 0 });
    expect(read([0, 0.5, 0, 0.25, 0, 0])).toEqual({ kind: "text", text: "a", confidence: 0.5 });
  });

  test("float16's infinities, NaN and subnormals are read (processing-mutant-decode-3)", () => {
    const half = (...bits: number[]) =>
      labels({ dtype: "float16", dims: [1, 3], data: Uint16Array.from(bits) }) as { labels: { score: number }[] };
    expect(half(0x7c00, 0xfc00, 0x7e00).labels.map((x) => x.score)).toEqual([Infinity, -Infinity, NaN]);
    expect(half(0x03ff, 0x0001, 0x8001).labels.map((x) => x.score)).toEqual([1023 * 2 ** -24, 2 ** -24, -(2 ** -24)]);
  });

  test("an output of strings is rejected (processing-mutant-decode-5)", () => {
    const output: Tensor = { dtype: "string", dims: [1, 2], data: ["1", "2"] };
    expect(() => decode({ op: "argmax" }, output)).toThrow('Output "y" is text and cannot be decoded');
  });
});

describe("tables", () => {
  const read = (asset: string, classes: number, top?: number): string[] => {
    const output = floats(
      [1, classes],
      Array.from({ length: classes }, (_, i) => classes - i),
    );
    const [answer] = decode({ op: "labels", asset: "t", top }, output, { t: asset }) as {
      labels: { label: string }[];
    }[];
    return (answer?.labels ?? []).map((x) => x.label);
  };

  test("five labels are returned where the bundle names no count (processing-mutant-decode-1)", () => {
    expect(read("a\nb\nc\nd\ne\nf\ng", 7)).toEqual(["a", "b", "c", "d", "e"]);
  });

  test.each([
    ["LF", "a\nb\nc\n"],
    ["CRLF", "a\r\nb\r\nc\r\n"],
    ["CR", "a\rb\rc"],
    ["a byte order mark", "\ufeffa\nb\nc"],
  ])("lines with %s are read alike (processing-L2)", (_, asset) => {
    expect(read(asset, 3)).toEqual(["a", "b", "c"]);
  });

  test("a table for more classes than there are is rejected: it may be off by one (processing-L2)", () => {
    expect(() => read("a\nb\nc\nd", 3)).toThrow('Output "y" has 3 classes, "t" is for 4');
    const spec = { op: "ctc", asset: "t" } as const;
    expect(() => decode(spec, floats([1, 1, 2], [0, 1]), { t: "a\nb\nc\nd" })).toThrow("2 classes");
  });
});

describe("pool", () => {
  const tensor = (dims: number[], data: number[]): Tensor => ({
    dtype: "float32",
    dims,
    data: Float32Array.from(data),
  });
  const maskOf = (rows: number[][]) => (name: string) =>
    name === "mask"
      ? ({
          dtype: "int64",
          dims: [rows.length, rows[0]?.length ?? 0],
          data: BigInt64Array.from(rows.flat(), BigInt),
        } as Tensor)
      : undefined;
  const vectorsOf = (spec: Omit<PoolSpec, "op">, output: Tensor, rows: number[][]): number[][] =>
    createDecoder(
      "y",
      { op: "pool", mask: "mask", ...spec },
      {},
    )(output, { ...NOTHING, input: maskOf(rows) }).map((x) => (x.kind === "vector" ? [...x.vector] : []));
  const output = tensor([2, 3, 2], [1, 2, 3, 4, 100, 100, 5, 6, 7, 8, 9, 10]);
  const rows = [
    [1, 1, 0],
    [0, 1, 1],
  ];

  test.each([
    [
      "mean",
      [
        [2, 3],
        [8, 9],
      ],
    ],
    [
      "cls",
      [
        [1, 2],
        [7, 8],
      ],
    ],
    [
      "last",
      [
        [3, 4],
        [9, 10],
      ],
    ],
    [
      "max",
      [
        [3, 4],
        [9, 10],
      ],
    ],
    [
      "sqrt-mean",
      [
        [Math.fround(4 / Math.SQRT2), Math.fround(6 / Math.SQRT2)],
        [Math.fround(16 / Math.SQRT2), Math.fround(18 / Math.SQRT2)],
      ],
    ],
    [
      "weighted-mean",
      [
        [Math.fround(7 / 3), Math.fround(10 / 3)],
        [Math.fround(25 / 3), Math.fround(28 / 3)],
      ],
    ],
  ] as const)("%s counts tokens under the mask alone, on either side of the padding", (mode, wanted) => {
    expect(vectorsOf({ mode }, output, rows)).toEqual(wanted);
  });

  test("truncation comes before scaling to length 1; no token gives zeros", () => {
    expect(vectorsOf({ mode: "cls", dims: 1, normalize: true }, output, rows)).toEqual([[1], [1]]);
    expect(
      vectorsOf({ mode: "mean", normalize: true }, output, [
        [0, 0, 0],
        [1, 0, 0],
      ])[0],
    ).toEqual([0, 0]);
  });

  test("equals the definition for any tensor, and has length 1 where it is normalised", () => {
    const number = fc.double({ min: -10, max: 10, noNaN: true });
    const shape = fc.record({ tokens: fc.integer({ min: 1, max: 6 }), width: fc.integer({ min: 1, max: 5 }) });
    const given = shape.chain(({ tokens, width }) =>
      fc.record({
        tokens: fc.constant(tokens),
        width: fc.constant(width),
        values: fc.array(number, { minLength: tokens * width, maxLength: tokens * width }),
        mask: fc.array(fc.integer({ min: 0, max: 1 }), { minLength: tokens, maxLength: tokens }),
      }),
    );
    fc.assert(
      fc.property(given, ({ tokens, width, values, mask }) => {
        const data = tensor([1, tokens, width], values);
        const kept = mask.flatMap((x, token) => (x === 1 ? [token] : []));
        const mean = Array.from(
          { length: width },
          (_, i) => kept.reduce((sum, t) => sum + Number(data.data[t * width + i]), 0) / Math.max(1, kept.length),
        );
        const [found = []] = vectorsOf({ mode: "mean" }, data, [mask]);
        for (const [i, x] of mean.entries()) expect(found[i]).toBeCloseTo(x, 4);
        const [unit = []] = vectorsOf({ mode: "mean", normalize: true }, data, [mask]);
        const length = Math.hypot(...unit);
        expect(length === 0 || Math.abs(length - 1) < 1e-5).toBe(true);
      }),
    );
  });

  test("an output of another rank, and a mask of other dims, are refused by name", () => {
    expect(() => vectorsOf({ mode: "mean" }, tensor([2, 2], [1, 2, 3, 4]), rows)).toThrow(
      'Output "y" must be [batch, token, number]',
    );
    expect(() => vectorsOf({ mode: "mean" }, output, [[1, 1, 1]])).toThrow("The mask of output");
  });
});

test("a step of a newer release is refused by its name", () => {
  expect(() => createDecoder("y", { op: "later" } as unknown as DecodeSpec, {})).toThrow(
    'Output "y" is decoded by "later", which this release does not know',
  );
});

test("a wide vector is scaled to length 1", () => {
  const width = 300_000;
  const spec = { op: "pool", mode: "cls", normalize: true } as const;
  const [answer] = createDecoder(
    "y",
    spec,
    {},
  )(
    floats(
      [1, 1, width],
      Array.from({ length: width }, () => 1),
    ),
  );
  expect(answer?.kind === "vector" ? answer.vector[0] : 0).toBeCloseTo(1 / Math.sqrt(width), 6);
});
