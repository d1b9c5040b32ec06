// The choice among stored versions, by the names of the chunks that are stored alone.
import { expect, test } from "vitest";
import type { Bundle, BundleFile, Variant } from "../core/bundle.ts";
import { criteriaFor } from "../test-support/cache-fixtures.ts";
import type { LoadCriteria } from "./messages.ts";
import type { OpenedBundle } from "./opened.ts";
import { currentOf, isWhole } from "./versions.ts";

const GPU = { vendor: "a", architecture: "b", description: "c", software: false, features: [], limits: {} };
const both: Partial<LoadCriteria> = { backends: ["webgpu", "wasm"], device: { ...criteriaFor().device, gpu: GPU } };

/** A file of chunks, one for each name. */
const file = (...names: string[]): BundleFile => ({
  path: names.join("+"),
  bytes: 10 * names.length,
  chunks: names.map((sha256) => ({ sha256, bytes: 10 })),
});
const onGpu = (name: string): Variant => ({ id: `gpu-${name}`, needs: [], unchecked: ["wasm"], files: [file(name)] });
const onCpu = (name: string): Variant => ({ id: `cpu-${name}`, needs: [], unchecked: ["webgpu"], files: [file(name)] });

function version(identity: string, variants: readonly Variant[], more: Partial<Bundle> = {}): OpenedBundle {
  const model = { name: "m", version: identity, licence: "MIT", inputs: [], outputs: [] };
  const bundle: Bundle = { format: 2, model, variants, ...more };
  return { bundle, identity, data: null, seen: null, refused: null };
}

const stored = (...names: string[]): Set<string> => new Set(names.map((x) => `${x}-10`));
const chosen = (
  versions: readonly OpenedBundle[],
  here: ReadonlySet<string>,
  more: Partial<LoadCriteria> = {},
): string | undefined => currentOf(versions, here, criteriaFor(more))?.identity;

const one = (identity: string, ...chunks: string[]): OpenedBundle =>
  version(identity, [{ id: "f32", needs: [], files: [file(...chunks)] }]);

test("of no versions there is none", () => {
  expect(currentOf([], stored("a"), criteriaFor())).toBeNull();
});

test("a single version is used, whole or not, even where nothing here runs it", () => {
  expect(chosen([one("1", "a")], stored())).toBe("1");
  expect(chosen([one("1", "a")], stored("a"))).toBe("1");
  expect(chosen([version("1", [{ id: "x", needs: ["npu"], files: [file("a")] }])], stored())).toBe("1");
});

test("the newer version is used where neither is whole, or both are", () => {
  const versions = [one("1", "a", "b"), one("2", "c", "d")];
  expect(chosen(versions, stored())).toBe("2");
  expect(chosen(versions, stored("a", "c"))).toBe("2");
  expect(chosen(versions, stored("a", "b", "c", "d"))).toBe("2");
  expect(chosen(versions, stored("c", "d"))).toBe("2");
});

test("a whole version stays until each chunk of the newer one is stored, with its own size", () => {
  const versions = [one("1", "a", "b"), one("2", "c", "d"), one("3", "e")];
  expect(chosen(versions, stored("a", "b"))).toBe("1");
  expect(chosen(versions, stored("a", "b", "c"))).toBe("1");
  expect(chosen(versions, stored("a", "b", "d"))).toBe("1");
  expect(chosen(versions, new Set([...stored("a", "b", "c"), "d-11"]))).toBe("1");
  expect(chosen(versions, stored("a", "b", "c", "d"))).toBe("2");
  expect(chosen(versions, stored("a", "b", "e"))).toBe("3");
});

test("all files of a variant count, and the assets", () => {
  const two = (identity: string, first: string, second: string, asset: string): OpenedBundle =>
    version(identity, [{ id: "f32", needs: [], files: [file(first), file(second)] }], { assets: [file(asset)] });
  const versions = [one("1", "a"), two("2", "b", "c", "d")];
  expect(chosen(versions, stored("a", "b", "c"))).toBe("1");
  expect(chosen(versions, stored("a", "b", "d"))).toBe("1");
  expect(chosen(versions, stored("a", "c", "d"))).toBe("1");
  expect(chosen(versions, stored("a", "b", "c", "d"))).toBe("2");
});

test("a version that nothing here runs never replaces one that can run, but one that neither can", () => {
  const unfit = (identity: string): OpenedBundle =>
    version(identity, [{ id: "x", needs: ["npu"], files: [file("x")] }]);
  expect(chosen([one("1", "a"), unfit("2")], stored("x"))).toBe("1");
  expect(chosen([one("1", "a"), unfit("2")], stored("a", "x"))).toBe("1");
  expect(chosen([unfit("1"), unfit("2")], stored())).toBe("2");
  expect(chosen([unfit("1"), one("2", "a")], stored())).toBe("2");
});

test("no backend loses a whole version to one that is not whole for it", () => {
  const former = version("1", [onGpu("a"), onCpu("b")]);
  const newer = version("2", [onGpu("c"), onCpu("d")]);
  expect(chosen([former, newer], stored("a", "b", "c"), both)).toBe("1");
  expect(chosen([former, newer], stored("a", "b", "d"), both)).toBe("1");
  expect(chosen([former, newer], stored("a", "b", "c", "d"), both)).toBe("2");
  expect(chosen([former, newer], stored("b", "c", "d"), both)).toBe("2");
  // The former is whole for wasm alone, and so is the newer.
  expect(chosen([former, newer], stored("b", "d"), both)).toBe("2");
  expect(chosen([former, newer], stored("b", "c"), both)).toBe("1");
});

test("a backend that the newer version leaves out does not hold it back where another one has it whole", () => {
  const former = version("1", [onGpu("a"), onCpu("b")]);
  const newer = version("2", [onCpu("c")]);
  expect(chosen([former, newer], stored("a", "b", "c"), both)).toBe("2");
  expect(chosen([former, newer], stored("a", "b"), both)).toBe("1");
  // It is whole for no backend, though wasm, for which the former is whole, is none of its own.
  expect(chosen([version("1", [onCpu("b")]), version("2", [onGpu("c")])], stored("b"), both)).toBe("1");
});

test("only the backend that the load will use counts, where that is known before a measurement", () => {
  const software: Partial<LoadCriteria> = {
    ...both,
    device: { ...criteriaFor().device, gpu: { ...GPU, software: true } },
  };
  const versions = [version("1", [onGpu("a"), onCpu("b")]), version("2", [onGpu("c"), onCpu("d")])];
  expect(chosen(versions, stored("a", "b", "d"), software)).toBe("2");
  expect(chosen(versions, stored("a", "b", "c"), software)).toBe("1");
  expect(isWhole(version("1", [onGpu("a"), onCpu("b")]), stored("a"), criteriaFor(software))).toBe(false);
});

test("a version is whole where one backend has all of its files", () => {
  const made = version("1", [onGpu("a"), onCpu("b")]);
  const whole = (...names: string[]): boolean => isWhole(made, stored(...names), criteriaFor(both));
  expect(whole()).toBe(false);
  expect(whole("a")).toBe(true);
  expect(whole("b")).toBe(true);
  expect(isWhole(made, stored("a"), criteriaFor())).toBe(false);
  expect(isWhole(version("1", [{ id: "x", needs: ["npu"], files: [] }]), stored("x"), criteriaFor())).toBe(false);
});
