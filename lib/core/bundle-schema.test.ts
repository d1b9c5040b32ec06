import fc from "fast-check";
import { expect, test } from "vitest";
import { bundleIdentity, canonicalJson } from "./bundle.ts";
import { parseBundle } from "./bundle-schema.ts";
import { isSelvedgeError } from "./errors.ts";

const hash = "a".repeat(64);
const file = { path: "model.onnx", bytes: 10, chunks: [{ sha256: hash, bytes: 10 }] };
const input = { name: "x", dtype: "float32", dims: ["batch", 3, 8, "width"], batchAxis: 0 };
const output = { name: "y", dtype: "float32", dims: ["batch", 5], batchAxis: 0 };
const valid = {
  schema: "selvedge/bundle@1",
  model: { name: "m", version: "1.0.0", licence: "MIT", inputs: [input], outputs: [output] },
  variants: [{ id: "f32", needs: [], files: [file] }],
};
const image = { resize: { mode: "exact", width: 8, height: 8 }, channels: "rgb", layout: "nchw" };
const withFile = (change: object): unknown => ({
  ...valid,
  variants: [{ id: "f32", needs: [], files: [{ ...file, ...change }] }],
});
const withInput = (change: object): unknown => ({
  ...valid,
  model: { ...valid.model, inputs: [{ ...input, ...change }] },
});
const pad = { axis: 3, upTo: 0.2 };
const cut = { axis: 1, input: "x", inputAxis: 3, per: 8, plus: 3 };
const withPad = (padChange: object, cutChange: object = {}, more: object[] = []): unknown => ({
  ...valid,
  model: {
    ...valid.model,
    inputs: [{ ...input, pad: { ...pad, ...padChange } }, ...more],
    outputs: [{ ...output, dims: ["batch", "time"], cut: { ...cut, ...cutChange } }],
  },
});
const ids = { name: "ids", dtype: "int64", dims: ["batch", "length"], batchAxis: 0 };
const text = { tokenizer: "tokenizer.json", maxLength: 512, mask: "mask" };
const withText = (change: object, portChange: object = {}, maskChange: object = {}): unknown => ({
  ...valid,
  model: {
    ...valid.model,
    inputs: [
      { ...ids, ...portChange, text: { ...text, ...change } },
      { ...ids, name: "mask", dtype: "float32", ...maskChange },
    ],
  },
  assets: [{ ...file, path: "tokenizer.json" }],
});
const withOutput = (change: object): unknown => ({
  ...valid,
  model: { ...valid.model, outputs: [{ ...output, ...change }] },
});

/** The in-memory form of a bundle of schema 1 that needs no conversion but its size on the wire. */
const inMemory = (json: unknown): unknown => {
  const { schema, variants, ...rest } = json as typeof valid;
  expect(schema).toBe("selvedge/bundle@1");
  return { format: 1, ...rest, variants: variants.map((x) => ({ ...x, wireBytes: 10 })) };
};

test("a valid bundle is accepted unchanged", () => {
  expect(parseBundle(valid)).toEqual(inMemory(valid));
});

test("an input that may be padded, and an output that is cut back, are accepted unchanged", () => {
  expect(parseBundle(withPad({}))).toEqual(inMemory(withPad({})));
});

test("an input that takes texts is accepted unchanged", () => {
  expect(parseBundle(withText({}))).toEqual(inMemory(withText({})));
});

test("a capability word that this version does not know is no error", () => {
  expect(parseBundle({ ...valid, variants: [{ id: "f32", needs: ["npu-int4"], files: [file] }] })).toBeTruthy();
});

test.each<[string, unknown]>([
  ["no object", "text"],
  ["texts without a tokenizer", withText({ tokenizer: "other.json" })],
  ["texts of no length", withText({ maxLength: 0 })],
  ["a mask that is no input", withText({ mask: "masks" })],
  ["a mask that is the input itself", withText({ mask: "ids" })],
  ["pieces as fractions", withText({}, { dtype: "float32" })],
  ["pieces without a batch", withText({}, { dims: ["length"], batchAxis: null })],
  ["a mask of texts", withText({}, {}, { dtype: "string" })],
  ["more pieces than the model takes", withText({}, { dims: ["batch", 128] })],
  ["images and texts at once", withText({}, { image })],
  ["padding an axis of fixed size", withPad({ axis: 1 })],
  ["padding the batch", withPad({ axis: 0 })],
  ["padding an axis that is not there", withPad({ axis: 4 })],
  ["padding by nothing", withPad({ upTo: 0 })],
  ["padding to more than double", withPad({ upTo: 1.5 })],
  ["padding one of two inputs of one size", withPad({}, {}, [{ ...input, name: "mask" }])],
  [
    "padding two inputs of one size by unlike shares",
    withPad({}, {}, [{ ...input, name: "m", pad: { ...pad, upTo: 0.1 } }]),
  ],
  ["padding text", withInput({ dtype: "string", pad })],
  ["cutting after an input that is not there", withPad({}, { input: "z" })],
  ["cutting after an axis that is not padded", withPad({}, { inputAxis: 2 })],
  ["cutting the batch", withPad({}, { axis: 0 })],
  ["cutting an axis that is not there", withPad({}, { axis: 2 })],
  ["cutting by nothing", withPad({}, { per: 0 })],
  ["null", null],
  ["an unknown schema", { ...valid, schema: "selvedge/bundle@3" }],
  ["no variant", { ...valid, variants: [] }],
  ["a .. in a path", withFile({ path: "../model.onnx" })],
  ["a .. inside a path", withFile({ path: "a/../b" })],
  ["an absolute path", withFile({ path: "/model.onnx" })],
  ["a foreign URL for a path", withFile({ path: "https://elsewhere.example/model.onnx" })],
  ["a protocol-relative path", withFile({ path: "//elsewhere.example/m" })],
  ["a backslash in a path", withFile({ path: "a\\b" })],
  ["an encoded path", withFile({ path: "%2e%2e/m" })],
  ["a negative size", withFile({ bytes: -10 })],
  ["a huge size", withFile({ bytes: 2 ** 60 })],
  ["a size that its chunks do not fill", withFile({ bytes: 11 })],
  ["a chunk over 4 MiB", withFile({ bytes: 2 ** 23, chunks: [{ sha256: hash, bytes: 2 ** 23 }] })],
  [
    "an empty chunk",
    withFile({
      chunks: [
        { sha256: hash, bytes: 10 },
        { sha256: hash, bytes: 0 },
      ],
    }),
  ],
  ["a hash that is a path", withFile({ chunks: [{ sha256: `../${hash.slice(3)}`, bytes: 10 }] })],
  ["a short hash", withFile({ chunks: [{ sha256: "abc", bytes: 10 }] })],
  ["two variants of one id", { ...valid, variants: [valid.variants[0], valid.variants[0]] }],
  ["two files of one path", { ...valid, variants: [{ id: "f32", needs: [], files: [file, file] }] }],
  ["a NaN dim", withInput({ dims: [Number.NaN] })],
  ["an unknown dtype", withInput({ dtype: "complex64" })],
  ["a batch axis outside the dims", withInput({ batchAxis: 4 })],
  ["an image input of two dims", withInput({ dims: ["batch", "width"], image })],
  ["an image input of strings", withInput({ dtype: "string", image })],
  ["two means for three channels", withInput({ image: { ...image, mean: [0, 0] } })],
  ["a std of zero", withInput({ image: { ...image, std: [1, 0, 1] } })],
  ["an endless mean", withInput({ image: { ...image, mean: [0, 0, Number.POSITIVE_INFINITY] } })],
  ["a pixel mask that is no input", withInput({ image: { ...image, mask: "other" } })],
  ["a pixel mask that is the image itself", withInput({ image: { ...image, mask: input.name } })],
  ["an output that feeds no input", withOutput({ feeds: "state" })],
  ["a decoder without its asset", withOutput({ decode: { op: "ctc", asset: "keys.txt" } })],
  ["an unknown decoder", withOutput({ decode: { op: "eval", code: "1" } })],
])("%s is refused as bundle-invalid", (_, json) => {
  let error: unknown;
  try {
    parseBundle(json);
  } catch (caught) {
    error = caught;
  }
  expect(isSelvedgeError(error) && error.code).toBe("bundle-invalid");
});

test("prototype keys do not get in", () => {
  const json: unknown = JSON.parse(`{"__proto__":{"polluted":true},${JSON.stringify(valid).slice(1)}`);
  try {
    parseBundle(json);
  } catch (error) {
    expect(isSelvedgeError(error) && error.code).toBe("bundle-invalid");
  }
  expect(Reflect.get({}, "polluted")).toBeUndefined();
});

test("any JSON is a bundle or bundle-invalid, never a crash", () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.constantFrom("schema", "model", "variants", "assets"), (json, key) => {
      for (const candidate of [json, { ...valid, [key]: json }]) {
        try {
          expect(parseBundle(candidate).format).toBe(1);
        } catch (error) {
          expect(isSelvedgeError(error) && error.code).toBe("bundle-invalid");
        }
      }
    }),
  );
});

test("the identity does not depend on the order of keys, and changes with any value", async () => {
  const shuffled = { variants: valid.variants, model: valid.model, schema: valid.schema };
  const identity = await bundleIdentity(valid);
  expect(await bundleIdentity(shuffled)).toBe(identity);
  expect(await bundleIdentity({ ...valid, model: { ...valid.model, version: "1.0.1" } })).not.toBe(identity);
  expect(await bundleIdentity({ ...valid, extra: 1 })).not.toBe(identity);
});

test("canonical JSON parses back to the same value", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (json) => {
      expect(JSON.parse(canonicalJson(json))).toEqual(JSON.parse(JSON.stringify(json)));
    }),
  );
});
