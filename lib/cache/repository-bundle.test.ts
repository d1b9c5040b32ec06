// Validation of descriptions from the store: an older release, or a damaged store, may have written anything.
import { expect, test } from "vitest";
import { REPOSITORY_SCHEMA } from "../source/describe.ts";
import { parseRepository } from "./repository-bundle.ts";

const SHA256 = "0123456789abcdef".repeat(4);
const FILE = { path: "onnx/model.onnx", url: "https://hub.example/m", bytes: 5, sha256: SHA256 };
const VARIANT = { id: "fp32", needs: ["shader-f16"], speed: {}, files: [FILE] };
const STEPS = { texts: {}, images: {}, decodes: {}, assets: {} };
const WHOLE = {
  schema: REPOSITORY_SCHEMA,
  ...{ name: "owner/name", version: "1f", licence: "mit" },
  variants: [VARIANT],
  assets: [],
  steps: STEPS,
};

const withFile = (file: object): object => ({ ...WHOLE, variants: [{ ...VARIANT, files: [{ ...FILE, ...file }] }] });
const withVariant = (variant: object): object => ({ ...WHOLE, variants: [{ ...VARIANT, ...variant }] });

test("a description becomes a bundle, each file one chunk with an address", () => {
  const { path, ...chunk } = FILE;
  expect(parseRepository(WHOLE)).toEqual({
    format: 2,
    model: { name: "owner/name", version: "1f", licence: "mit", inputs: [], outputs: [], steps: STEPS },
    variants: [{ id: "fp32", needs: ["shader-f16"], speed: {}, files: [{ path, bytes: 5, chunks: [chunk] }] }],
  });
});

test("assets and all that may be left out are kept where they are there", () => {
  const file = { ...FILE, path: "vocab.txt", isUnverified: true, isBlind: true };
  const more = { named: ["webgpu", "wasm"], unchecked: ["wasm", "webgpu"], speed: { webgpu: 2, wasm: 1 } };
  const { assets, variants } = parseRepository({ ...withVariant(more), assets: [file] });
  expect(variants[0]).toMatchObject(more);
  expect(assets).toMatchObject([{ path: "vocab.txt", chunks: [{ isUnverified: true, isBlind: true, url: FILE.url }] }]);
});

test.each([
  ["the longest path", withFile({ path: "x".repeat(300) })],
  ["a path with dots in names", withFile({ path: "a.b/..c/d../.e/f..g" })],
  ["the longest address", withFile({ url: "u".repeat(2_000) })],
  ["the least size", withFile({ bytes: 1 })],
  ["the largest size", withFile({ bytes: 16 * 1024 ** 3 })],
] as const)("%s is accepted", (_, json) => {
  expect(parseRepository(json).variants).toHaveLength(1);
});

test.each([
  ["another schema", { ...WHOLE, schema: "selvedge/bundle@2" }],
  ["a text for an object", "x"],
  ["no variants", { ...WHOLE, variants: [] }],
  ["a variant without files", withVariant({ files: [] })],
  ["needs that are no texts", withVariant({ needs: [1] })],
  ["an unknown backend by name", withVariant({ named: ["webnn"] })],
  ["an unknown backend that is unchecked", withVariant({ unchecked: ["webnn"] })],
  ["a speed that is a text", withVariant({ speed: { wasm: "fast" } })],
  ["another speed that is a text", withVariant({ speed: { webgpu: "fast" } })],
  ["a long path", withFile({ path: "x".repeat(301) })],
  ["an empty path", withFile({ path: "" })],
  ["an absolute path", withFile({ path: "/etc/x" })],
  ["a path to the parent", withFile({ path: "../x" })],
  ["a path with the parent inside", withFile({ path: "a/../x" })],
  ["a path that is the parent", withFile({ path: ".." })],
  ["a path that ends with the parent", withFile({ path: "a/.." })],
  ["a path with the folder itself", withFile({ path: "a/./x" })],
  ["a path with a backslash", withFile({ path: "a\\x" })],
  ["a path with a query", withFile({ path: "a?x" })],
  ["a path with a fragment", withFile({ path: "a#x" })],
  ["a long address", withFile({ url: "u".repeat(2_001) })],
  ["a file without bytes", withFile({ bytes: 0 })],
  ["a size that is no integer", withFile({ bytes: 1.5 })],
  ["a file that is too large", withFile({ bytes: 16 * 1024 ** 3 + 1 })],
  ["a short hash", withFile({ sha256: SHA256.slice(1) })],
  ["a long hash", withFile({ sha256: `${SHA256}0` })],
  ["a hash with something before it", withFile({ sha256: `x${SHA256}` })],
  ["a hash in capitals", withFile({ sha256: SHA256.toUpperCase() })],
  ["a text for whether it is unverified", withFile({ isUnverified: "yes" })],
  ["a text for whether it is blind", withFile({ isBlind: "yes" })],
  ["an asset that is no file", { ...WHOLE, assets: [{ path: "x" }] }],
  ["steps that are null", { ...WHOLE, steps: null }],
  ["steps that are a text", { ...WHOLE, steps: "x" }],
  ["steps that are undefined", { ...WHOLE, steps: undefined }],
  ...["texts", "images", "decodes", "assets"].map(
    (x) => [`steps without ${x}`, { ...WHOLE, steps: { ...STEPS, [x]: undefined } }] as const,
  ),
] as const)("%s is refused", (_, json) => {
  expect(() => parseRepository(json)).toThrow(expect.objectContaining({ name: "ValiError" }) as Error);
});
