import { describe, expect, test } from "vitest";
import fc from "fast-check";
import type { DecodeSpec } from "../bundle.ts";
import type { Tensor } from "../tensor.ts";
import { createDecoder, softmax } from "./decode.ts";

const floats = (dims: number[], values: number[]): Tensor => ({
  dtype: "float32",
  dims,
  data: new Float32Array(values),
});
const decode = (spec: DecodeSpec, output: Tensor, assets: Record<string, string> = {}): unknown[] =>
  createDecoder("y", spec, assets)(output);

describe("softmax", () => {
  test("gives one distribution per item", () => {
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
  test("gives the first of the largest, with its value", () => {
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

  test("gives what sorting all classes would, whatever the scores and however many are wanted", () => {
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
        expect(decode(spec, output, { "labels.txt": table.join("\n") })).toEqual([{ kind: "labels", labels }]);
      }),
    );
  });

  test("gives the best, in order, with scores as they came", () => {
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
    expect(() => createDecoder("y", spec, {})).toThrow(/"labels.txt", which the bundle does not have/);
    expect(() => decode(spec, floats([1, 4], [1, 2, 3, 4]), assets)).toThrow(/4 classes, "labels.txt" is for 3/);
  });
});

describe("ctc", () => {
  const assets = { "characters.txt": "a\nb\n \n" };
  const spec = { op: "ctc", asset: "characters.txt" } as const;
  const steps = (classes: number[], score = 0.5): number[] =>
    classes.flatMap((best) => [0, 1, 2, 3].map((index) => (index === best ? score : 0.1)));

  test("merges repeats, and keeps those that a blank divides", () => {
    const output = floats([1, 8, 4], steps([0, 1, 1, 0, 1, 3, 2, 2]));
    expect(decode(spec, output, assets)).toMatchObject([{ kind: "text", text: "aa b" }]);
  });

  test("reads each item of a batch by itself", () => {
    const output = floats([2, 2, 4], [...steps([1, 2]), ...steps([2, 0])]);
    expect(decode(spec, output, assets)).toMatchObject([{ text: "ab" }, { text: "b" }]);
  });

  test("is as confident as the mean of the steps that it kept", () => {
    const output = floats([1, 4, 4], [...steps([1], 0.75), ...steps([1], 1), ...steps([0], 1), ...steps([2], 0.25)]);
    expect(decode(spec, output, assets)).toEqual([{ kind: "text", text: "ab", confidence: 0.5 }]);
  });

  test("gives no text and no confidence where all is blank", () => {
    expect(decode(spec, floats([1, 2, 4], steps([0, 0])), assets)).toEqual([{ kind: "text", text: "", confidence: 0 }]);
  });

  test("fails where the table is too short for the classes, or the rank is wrong", () => {
    const short = { "characters.txt": "a\nb" };
    expect(() => decode(spec, floats([1, 1, 4], steps([1])), short)).toThrow(/4 classes, "characters.txt" is for 3/);
    expect(() => decode(spec, floats([1, 4], steps([1])), assets)).toThrow(/\[batch, time, class\]/);
  });
});
