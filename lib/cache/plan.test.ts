// The choice of variants by memory: which candidates are refused, avoided or taken, and with which sentences.
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Bundle, Variant } from "../core/bundle.ts";
import type { AdapterFacts, DeviceFacts } from "../core/device.ts";
import { isSelvedgeError } from "../core/errors.ts";
import type { SelvedgeError } from "../core/errors.ts";
import { fitOf } from "../core/fit.ts";
import { predictMemory } from "../core/predict-memory.ts";
import { criteriaFor } from "../test-support/cache-fixtures.ts";
import type { Plan, LoadCriteria } from "./messages.ts";
import { plan } from "./plan.ts";

const GB = 1e9;
const LIMITS = { maxBufferSize: 2 * GB, maxStorageBufferBindingSize: GB };
const GPU: AdapterFacts = {
  vendor: "acme",
  architecture: "",
  description: "",
  software: false,
  features: [],
  limits: LIMITS,
};

/** A variant of float32 or quantized weights, by their bytes. */
function variant(id: string, bytes: number, more: Partial<Variant> = {}): Variant {
  const isFloat = id === "f32";
  const memoryBytes = predictMemory({ graph: 0, half: 0, float: isFloat ? bytes : 0, quantized: isFloat ? 0 : bytes });
  const files = [1_000, bytes].map((bytes, i) => ({ path: `m${i}`, bytes, chunks: [] }));
  return { id, needs: [], files, memoryBytes, ...more };
}

function planOf(variants: readonly Variant[], criteria: Partial<LoadCriteria> = {}): Plan {
  const model = { name: "m", version: "1", licence: "MIT", inputs: [], outputs: [] };
  const bundle: Bundle = { format: 2, model, variants };
  return plan({ bundle, identity: "", data: null, seen: null, refused: null }, criteriaFor(criteria));
}

function deviceWith(facts: Partial<DeviceFacts>): DeviceFacts {
  return { ...criteriaFor().device, ...facts };
}

function refusal(variants: readonly Variant[], criteria: Partial<LoadCriteria>): SelvedgeError {
  try {
    planOf(variants, criteria);
  } catch (error) {
    if (isSelvedgeError(error)) return error;
  }
  throw new Error("It was not refused.");
}

const ids = ({ candidates }: Plan): string[] => candidates.map((x) => `${x.backend}:${x.variant.id}`);
const BOTH = { backends: ["webgpu", "wasm"] as const, device: deviceWith({ gpu: GPU }) };
const memory = { budgetBytes: null, copiesBlobs: false, holdsBlobs: false };

test("a slower variant that surely fits is preferred to one that may not fit, and the reason is reported", () => {
  const variants = [variant("f32", 0.4 * GB), variant("int8", 0.1 * GB, { speed: { wasm: 2 } })];
  expect(ids(planOf(variants))).toEqual(["wasm:f32"]);
  const small = planOf(variants, { device: deviceWith({ memoryBytes: 2 ** 30 }) });
  expect(ids(small)).toEqual(["wasm:int8"]);
  expect(small.candidates[0]?.fit).toMatchObject({ fits: "yes", memoryBytes: 170e6 });
  expect(small.spared).toEqual({
    code: "memory-short",
    text: "f32 on wasm: about 610 MB to load, its run not counted; this device has about 1.1 GB",
  });
});

test("float32 beyond 2.8 GB is refused on wasm, and the error names the variant that would fit", () => {
  const variants = [variant("f32", 3 * GB), variant("int8", 0.75 * GB, { speed: { wasm: 2 } })];
  expect(ids(planOf(variants))).toEqual(["wasm:int8"]);
  const error = refusal(variants, { pins: { backend: undefined, variant: "f32" } });
  expect(error).toMatchObject({
    code: "does-not-fit",
    details: { variant: "f32", backend: "wasm", memoryBytes: 4_250_000_000, fitting: "int8" },
  });
  expect(error.details["reason"]).toBe("wasm-limit");
  expect(error.message).toContain('The variant "int8" would fit on wasm');
  expect(refusal([variants[0] as Variant], {}).message).toContain("No variant of it fits");
  expect(ids(planOf([variant("f32", 2.8 * GB)]))).toEqual(["wasm:f32"]);
});

test("the error names a variant that surely fits before one that may not, or that a page died of", () => {
  const least = variant("int4", 0.1 * GB, { speed: { wasm: 3 } });
  const variants = [variant("f32", 3 * GB), variant("int8", 0.75 * GB, { speed: { wasm: 2 } }), least];
  const pins = { backend: undefined, variant: "f32" };
  const fitting = (criteria: Partial<LoadCriteria>): unknown =>
    refusal(variants, { pins, ...criteria }).details["fitting"];
  expect(fitting({ device: deviceWith({ memoryBytes: 8 * 2 ** 30 }) })).toBe("int8");
  expect(fitting({ device: deviceWith({ memoryBytes: 2 ** 30 }) })).toBe("int4");
  const crashed = [{ backend: "wasm", variant: variants[1] as Variant }] as const;
  expect(fitting({ device: deviceWith({ memoryBytes: 8 * 2 ** 30 }), crashed })).toBe("int4");
});

test("a model of unknown weights is refused only where no kind of weights would fit", () => {
  const unknown = (bytes: number): Variant => variant("f32", bytes, { memoryBytes: undefined });
  expect(planOf([unknown(3.4 * GB)]).candidates[0]?.fit?.fits).toBe("tight");
  expect(refusal([unknown(3.7 * GB)], {}).code).toBe("does-not-fit");
});

test("a model that wasm can't hold runs on the GPU, a software one too", () => {
  expect(ids(planOf([variant("f32", 3.5 * GB)], BOTH))).toEqual(["webgpu:f32"]);
  const device = deviceWith({ gpu: { ...GPU, software: true } });
  expect(planOf([variant("f32", 3.5 * GB)], { ...BOTH, device }).settled?.backend).toBe("webgpu");
});

test("a tensor beyond the GPU's largest buffer keeps a variant off it; one beyond a binding makes it uncertain", () => {
  const of = (tensorBytes: number): Plan => planOf([variant("f32", 2.5 * GB, { tensorBytes })], BOTH);
  expect(ids(of(2.1 * GB))).toEqual(["wasm:f32"]);
  expect(of(1.1 * GB).candidates[0]?.fit).toMatchObject({ fits: "tight", reason: "gpu-buffer" });
  expect(of(0.1 * GB).candidates[0]?.fit?.reason).not.toBe("gpu-buffer");
  const pinned = { ...BOTH, pins: { backend: "webgpu", variant: undefined } as const };
  const error = refusal([variant("f32", 2.5 * GB, { tensorBytes: 2.1 * GB })], pinned);
  expect(error).toMatchObject({ code: "does-not-fit", details: { reason: "gpu-buffer", fitting: "f32" } });
});

test("weights beyond the app's budget are refused; a peak beyond it is uncertain", () => {
  const variants = [variant("f32", 100e6)];
  const within = (budgetBytes: number): Partial<LoadCriteria> => ({ memory: { ...memory, budgetBytes } });
  expect(refusal(variants, within(99e6)).details["reason"]).toBe("memory-budget");
  expect(planOf(variants, within(120e6)).candidates[0]?.fit?.fits).toBe("tight");
  expect(planOf(variants, within(200e6)).candidates[0]?.fit?.fits).toBe("yes");
});

test("a model of far more than the device's memory is refused, but not where the report may be capped", () => {
  const on = (memoryBytes: number): Partial<LoadCriteria> => ({ device: deviceWith({ memoryBytes }) });
  expect(refusal([variant("f32", 2.5 * GB)], on(2 ** 31)).details["reason"]).toBe("device-memory");
  expect(planOf([variant("f32", 2.5 * GB)], on(2 ** 33)).candidates[0]?.fit?.fits).toBe("tight");
});

test("copies of the weights count: of a build that copies them, and of a page without a store", () => {
  const bytesIn = (more: Partial<LoadCriteria["memory"]>): number | undefined =>
    planOf([variant("f32", 100e6)], { memory: { ...memory, ...more } }).candidates[0]?.fit?.memoryBytes;
  expect(bytesIn({})).toBe(190e6);
  expect(bytesIn({ copiesBlobs: true })).toBe(290e6);
  expect(bytesIn({ copiesBlobs: true, holdsBlobs: true })).toBe(390e6);
});

test("what a run takes counts, and makes a load uncertain but not impossible: other sizes take less", () => {
  const fit = (wasm: number) =>
    planOf([variant("f32", 100e6, { activationBytes: { wasm, webgpu: 0 } })]).candidates[0]?.fit;
  expect(fit(50e6)).toMatchObject({ fits: "yes", memoryBytes: 240e6 });
  expect(fit(5 * GB)).toMatchObject({ fits: "tight", memoryBytes: 5 * GB + 190e6, reason: "wasm-limit" });
});

test("a GPU's variant without a golden takes the memory of its check on wasm besides", () => {
  const file = { path: "golden", bytes: 1, chunks: [] };
  const bytesOn = (more: Partial<Variant>): number | undefined =>
    planOf([variant("f32", 100e6, more)], { ...BOTH, backends: ["webgpu"] }).candidates[0]?.fit?.memoryBytes;
  expect(bytesOn({ golden: { inputs: file, outputs: file } })).toBe(185e6);
  expect(bytesOn({})).toBe(185e6 + 190e6 + 75e6);
});

test("models that other tabs hold make a load uncertain, and the reason says so", () => {
  const fit = (elsewhereBytes: number) =>
    planOf([variant("f32", 100e6)], { memory: { ...memory, elsewhereBytes } }).candidates[0]?.fit;
  expect(fit(0)?.fits).toBe("yes");
  expect(fit(1 * GB)).toMatchObject({ fits: "tight", memoryBytes: 190e6, reason: "device-memory" });
  expect(fit(1 * GB)?.why).toContain("and other tabs of this site hold models of 1 GB");
});

test("after a crash a smaller variant is taken; a larger one only where there is no other", () => {
  const variants = [variant("f32", 400e6), variant("int8", 100e6), variant("int4", 50e6, { speed: { wasm: 3 } })];
  const [f32, int8, int4] = variants.map((x) => ({ backend: "wasm" as const, variant: x }));
  const after = planOf(variants, { crashed: [int8 as never] });
  expect(ids(after)).toEqual(["wasm:int4"]);
  expect(after.spared?.code).toBe("crashed-before");
  expect(ids(planOf(variants, { crashed: [int4 as never] }))).toEqual(["wasm:int8"]);
  expect(planOf(variants, { crashed: [f32, int8, int4] as never }).candidates[0]?.fit?.fits).toBe("tight");
});

test("the best variant of less memory is named for a run that has none left, where nothing is pinned", () => {
  const variants = [
    variant("f32", 400e6),
    variant("int8", 100e6, { speed: { wasm: 2 } }),
    variant("int4", 50e6, { speed: { wasm: 4 } }),
  ];
  expect(planOf(variants).smaller?.variant).toMatchObject({
    id: "int8",
    session: { wasm: { "session.disable_prepacking": "1" } },
  });
  expect(planOf(variants, BOTH).smaller?.backend).toBe("wasm");
  expect(planOf(variants, { pins: { backend: undefined, variant: "f32" } }).smaller).toBeNull();
  expect(planOf([variants[2] as Variant]).smaller).toBeNull();
});

test("a variant that ran out of memory, and larger ones, are not tried again", () => {
  const variants = [variant("f32", 400e6), variant("int8", 100e6, { speed: { wasm: 2 } })];
  const [f32, int8] = variants.map((x) => ({ backend: "wasm" as const, variant: x }));
  expect(ids(planOf(variants, { full: [f32 as never] }))).toEqual(["wasm:int8"]);
  expect(refusal(variants, { full: [int8 as never] }).message).toContain("ran out of memory");
});

test("where memory is short, kernels keep no rearranged copies of weights on wasm, and the reason says so", () => {
  const session = { wasm: { "session.x": "1" } };
  const sessionOf = (bytes: number, criteria: Partial<LoadCriteria> = {}): unknown =>
    planOf([variant("f32", bytes, { session })], criteria).candidates.find((x) => x.backend === "wasm")?.variant
      .session;
  const without = { wasm: { "session.x": "1", "session.disable_prepacking": "1" } };
  const small = { device: deviceWith({ memoryBytes: 2 ** 31 }) };
  expect(sessionOf(100e6)).toEqual(session);
  expect(sessionOf(100e6, small)).toEqual(without);
  expect(sessionOf(1.5 * GB)).toEqual(without);
  expect(sessionOf(100e6, { ...BOTH, device: deviceWith({ gpu: GPU, memoryBytes: 2 ** 31 }) })).toEqual(without);
  expect(planOf([variant("f32", 100e6)], small).spared).toEqual({
    code: "memory-short",
    text: "f32 on wasm: about 190 MB to load, its run not counted; loaded without prepacking",
  });
  expect(planOf([variant("f32", 100e6)]).spared).toBeNull();
});

test("where memory is short, quantized weights are not expanded to float32 while loading", () => {
  const bytes = 0.5 * GB;
  const session = { wasm: { "session.disable_quant_qdq": "1" } };
  const memoryBytes = predictMemory({ graph: 0, half: 0, float: 0, quantized: bytes, folded: 4 * bytes });
  const small = { device: deviceWith({ memoryBytes: 2 ** 31 }) };
  const sessionOf = (criteria: Partial<LoadCriteria>, more: Partial<Variant>): unknown =>
    planOf([variant("int8", bytes, { session, ...more })], criteria).candidates[0]?.variant.session?.wasm;
  expect(sessionOf(small, { memoryBytes })).toEqual({
    "session.disable_quant_qdq": "0",
    "session.disable_prepacking": "1",
  });
  // Nothing of this one is expanded.
  expect(sessionOf(small, {})).toEqual({ ...session.wasm, "session.disable_prepacking": "1" });
  expect(sessionOf({ device: deviceWith({ memoryBytes: 2 ** 35 }) }, { memoryBytes })).toEqual(session.wasm);
  // Expanded it would not fit into wasm; as stored it does.
  const large = predictMemory({ graph: 0, half: 0, float: 0, quantized: GB, folded: 4 * GB });
  expect(planOf([variant("int8", GB, { session, memoryBytes: large })]).candidates[0]?.fit?.fits).toBe("tight");
});

test("no model that ordinary devices run is refused", () => {
  const device = fc.record({
    memoryBytes: fc.constantFrom(null, 4 * 2 ** 30, 8 * 2 ** 30, 16 * 2 ** 30),
    gpu: fc.constantFrom(null, GPU, { ...GPU, limits: {} }),
  });
  const one = fc.record({
    id: fc.constantFrom("f32", "int8"),
    bytes: fc.integer({ min: 0, max: 2 ** 31 - 1 }),
    knows: fc.boolean(),
    backend: fc.constantFrom("wasm" as const, "webgpu" as const),
    copies: fc.boolean(),
  });
  fc.assert(
    fc.property(device, one, (facts, { id, bytes, knows, backend, copies }) => {
      const made = variant(id, bytes, knows ? {} : { memoryBytes: undefined });
      const criteria = { budgetBytes: null, copiesBlobs: copies, holdsBlobs: copies };
      const { fits, memoryBytes, why } = fitOf({ backend, variant: made }, deviceWith(facts), criteria);
      expect(fits).not.toBe("no");
      expect(memoryBytes).toBeGreaterThanOrEqual(bytes);
      expect(why).not.toMatch(/NaN|undefined|Infinity/);
    }),
  );
});
