// Steps by the names of ports: which fit a graph.
import { expect, test } from "vitest";
import type { BundleInput, DecodeSpec } from "./bundle.ts";
import { fitDecode, fitText, namesOf } from "./fit-steps.ts";

const port = (name: string, dims: readonly (number | string)[]): BundleInput => ({
  ...{ name, dtype: "int64", dims, batchAxis: typeof dims[0] === "string" ? 0 : null },
});
const names = namesOf(
  [port("input_ids", []), port("pixel_values", []), port("attention_mask", [])],
  [port("logits", []), port("pred_boxes", [])],
);
const assets = { "labels.txt": "a\nb\n" };

test("a decoding stays where rank, classes and named ports are those of the graph", () => {
  const fit = (decode: DecodeSpec, dims: readonly (number | string)[]): DecodeSpec | null =>
    fitDecode({ dims }, decode, names, assets);
  const labels = { op: "labels", asset: "labels.txt", logits: true } as const;
  expect(fit(labels, ["b", 2])).toBe(labels);
  expect(fit(labels, ["b", "n"])).toBe(labels);
  expect(fit(labels, ["b", 3])).toBeNull();
  expect(fit(labels, ["b", "s", 2])).toBeNull();
  const detect = { op: "detect", form: "queries", asset: "labels.txt", image: "pixel_values" } as const;
  expect(fit({ ...detect, boxes: "pred_boxes" }, ["b", "q", 3])).not.toBeNull();
  expect(fit({ ...detect, boxes: "boxes" }, ["b", "q", 3])).toBeNull();
  expect(fit({ ...detect, image: "picture" }, ["b", "q", 3])).toBeNull();
  const pool = { op: "pool", mode: "mean", mask: "attention_mask" } as const;
  expect(fit(pool, ["b", "s", 4])).toEqual(pool);
  expect(fit({ ...pool, mask: "mask" }, ["b", "s", 4])).toEqual({ op: "pool", mode: "mean" });
  expect(fit(pool, ["b", 4])).toBeNull();
});

test("a tokenization is at most as long as the graph, and needs a batch of any size", () => {
  const text = { tokenizer: "t", maxLength: 512, mask: "attention_mask", types: "token_type_ids" };
  expect(fitText(port("input_ids", ["b", 128]), text, names)).toEqual({
    ...{ tokenizer: "t", maxLength: 128, mask: "attention_mask" },
  });
  expect(fitText(port("input_ids", ["b", "s"]), text, names)?.maxLength).toBe(512);
  expect(fitText(port("input_ids", [1, 128]), text, names)).toBeNull();
  expect(fitText(port("input_ids", ["b", 2, 4]), text, names)).toBeNull();
});
