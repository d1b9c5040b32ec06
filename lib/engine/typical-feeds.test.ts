import fc from "fast-check";
import { expect, test } from "vitest";
import { typicalFeeds } from "./typical-feeds.ts";
import type { Port } from "../core/tensor.ts";

const port = (dims: Port["dims"], dtype: Port["dtype"] = "float32"): Port => ({ name: "x", dtype, dims, batchAxis: 0 });

test("typical inputs have the typical size of each symbolic dim, and a batch of one", () => {
  const feeds = typicalFeeds([port(["n", 3, "h"])], { n: 7, h: 4 });
  const tensor = feeds?.tensors["x"];
  expect([tensor?.dims, tensor?.data.length]).toEqual([[1, 3, 4], 12]);
  expect(typicalFeeds([port(["n", "w"])], {})).toBeNull();
  expect(typicalFeeds([port([1], "string")], {})).toBeNull();
  expect(typicalFeeds([port(["n", "h"]), port(["n", "w"])], { h: 2 })).toBeNull();
});

test("typical inputs of more than 256 MiB are not made, whatever sizes a bundle names (store-C4)", () => {
  // Names alone: a failure must not print the tensors.
  const made = (...given: Parameters<typeof typicalFeeds>): string[] | null => {
    const feeds = typicalFeeds(...given);
    return feeds === null ? null : Object.keys(feeds.tensors);
  };
  const many = Array.from({ length: 5 }, (_, i) => ({ ...port(["n", 2 ** 24]), name: `x${i}` }));
  expect(made(many, {})).toBeNull();
  expect(made(many.slice(0, 4), {})).toEqual(["x0", "x1", "x2", "x3"]);
  fc.assert(
    fc.property(
      fc.array(fc.array(fc.integer({ min: 8_192, max: 65_536 }), { minLength: 2, maxLength: 5 }), { minLength: 1 }),
      (shapes) => {
        const ports = shapes.map((dims) => port(["n", ...dims.slice(1).map((_, i) => `d${i}`), dims[0] as number]));
        const typical = Object.fromEntries((shapes[0] as number[]).map((size, i) => [`d${i}`, size]));
        const count = (dims: readonly number[]): number =>
          dims.slice(1).reduce((x, _, i) => x * (typical[`d${i}`] ?? NaN), dims[0] as number);
        fc.pre(4 * shapes.reduce((sum, dims) => sum + count(dims), 0) > 2 ** 28);
        expect(made(ports, typical)).toBeNull();
      },
    ),
    { endOnFailure: true }, // to shrink would make gigabytes of inputs, again and again
  );
});
