// Finer points of a plan's choice: after crashes, with servers, and what an error advises.
import { expect, test } from "vitest";
import type { Bundle, Variant } from "../core/bundle.ts";
import { criteriaFor } from "../test-support/cache-fixtures.ts";
import type { LoadCriteria, Plan } from "./messages.ts";
import { plan } from "./plan.ts";

const limits = { maxBufferSize: 2e9, maxStorageBufferBindingSize: 1e9 };
const gpu = { vendor: "acme", architecture: "", description: "", software: false, features: [], limits };
const BOTH: Partial<LoadCriteria> = { backends: ["webgpu", "wasm"], device: { ...criteriaFor().device, gpu } };

const variant = (id: string, bytes: number, more: Partial<Variant> = {}): Variant => ({
  ...{ id, needs: [], files: [{ path: id, bytes, chunks: [] }], memoryBytes: { wasm: 1.4 * bytes, webgpu: bytes } },
  ...more,
});
const large = variant("large", 400e6);
const middle = variant("middle", 200e6, { speed: { wasm: 2 } });
const least = variant("least", 50e6, { speed: { wasm: 4 } });

function planOf(variants: readonly Variant[], criteria: Partial<LoadCriteria> = {}, model: object = {}): Plan {
  const own = { name: "m", version: "1", licence: "MIT", inputs: [], outputs: [], ...model };
  const bundle: Bundle = { format: 2, model: own, variants };
  return plan({ bundle, identity: "", data: null, seen: null, refused: null }, criteriaFor(criteria));
}

const ids = ({ candidates }: Plan): string[] => candidates.map((x) => `${x.backend}:${x.variant.id}`);
const on = (backend: "wasm" | "webgpu", ...variants: Variant[]) => variants.map((x) => ({ backend, variant: x }));
const port = { dtype: "float32", dims: [1], batchAxis: null } as const;

test("a model whose outputs feed nothing may run on servers", () => {
  const outputs = [{ ...port, name: "y" }];
  expect(planOf([least], { placement: "auto" }, { outputs }).remote).not.toBeNull();
  expect(planOf([least], { placement: "remote" }, { outputs }).remote).not.toBeNull();
});

test("ports without an image or a state are not listed", () => {
  const found = planOf([least], {}, { inputs: [{ ...port, name: "x" }], outputs: [{ ...port, name: "y" }] });
  expect([found.images, found.decodes, found.states].map(Object.keys)).toEqual([[], [], []]);
});

test("beside the GPU, too, a smaller variant is one that takes less than that on wasm", () => {
  expect(planOf([large], BOTH).smaller).toBeNull();
  expect(planOf([large, least], BOTH).smaller?.variant.id).toBe("least");
});

test("the least memory is the reason where no better variant may not fit", () => {
  const found = planOf([large, middle, least], { crashed: on("wasm", middle) });
  expect(ids(found)).toEqual(["wasm:least"]);
  expect(found.spared?.text).toMatch(/^least on wasm: .*; loaded without prepacking$/);
});

test("a variant that a page died of comes after one that is as large", () => {
  const twin = variant("twin", 400e6, { speed: { wasm: 2 } });
  const found = planOf([large, twin], { crashed: on("wasm", large) });
  expect(ids(found)).toEqual(["wasm:twin"]);
  expect(found.spared).toEqual({ code: "crashed-before", text: "a page crashed while it loaded large on wasm" });
});

test("a variant that does not fit is refused, whatever it did before", () => {
  const memory = { budgetBytes: 10, copiesBlobs: false, holdsBlobs: false };
  expect(() => planOf([least], { memory, crashed: on("wasm", least) })).toThrow(
    expect.objectContaining({
      code: "does-not-fit",
      details: expect.objectContaining({ reason: "memory-budget" }) as object,
    }),
  );
});

test("the advised variant is one that surely fits, on whichever backend", () => {
  const uncertain = variant("uncertain", 300e6, { unchecked: ["wasm"], tensorBytes: 1.1e9 });
  const sure = variant("sure", 50e6, { unchecked: ["webgpu"] });
  const full = [...on("wasm", large), ...on("webgpu", large)];
  const pins = { backend: undefined, variant: "large" };
  expect(() => planOf([large, uncertain, sure], { ...BOTH, full, pins })).toThrow(
    expect.objectContaining({ details: expect.objectContaining({ fitting: "sure" }) as object }),
  );
  expect(() => planOf([large, uncertain], { ...BOTH, full, pins })).toThrow(/"uncertain" would fit on webgpu/);
});
