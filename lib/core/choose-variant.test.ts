import { expect, test } from "vitest";
import type { Bundle, Variant } from "./bundle.ts";
import { best, candidates, decide, LAST_RANK, settled, whySpared } from "./choose-variant.ts";
import type { AdapterFacts, DeviceFacts } from "./device.ts";
import { isSelvedgeError } from "./errors.ts";

const gpu: AdapterFacts = {
  vendor: "acme",
  architecture: "a1",
  description: "",
  software: false,
  features: ["shader-f16"],
  limits: { maxBufferSize: 1_000 },
};
const device = (adapter: AdapterFacts | null): DeviceFacts => ({
  cores: 4,
  isolated: false,
  secure: true,
  jspi: true,
  memoryBytes: null,
  gpu: adapter,
});
const variant = (id: string, bytes: number, needs: string[] = [], speed = {}): Variant => ({
  id,
  needs,
  speed,
  files: [{ path: "m", bytes, chunks: [] }],
});
const bundle = (...variants: Variant[]): Bundle => ({
  format: 2,
  model: { name: "m", version: "1", licence: "MIT", inputs: [], outputs: [] },
  variants,
});
const both = ["webgpu", "wasm"] as const;
const free = { backend: undefined, variant: undefined };
const ids = (found: ReturnType<typeof candidates>): string[] => found.map((x) => `${x.backend}:${x.variant.id}`);

test("the smallest of variants that are about as fast is chosen, a slower one is not", () => {
  expect(best([variant("f32", 10), variant("int8", 3, [], { wasm: 1.1 })], "wasm")?.id).toBe("int8");
  expect(best([variant("f32", 10), variant("int8", 3, [], { wasm: 1.4 })], "wasm")?.id).toBe("f32");
  const near = (speed?: number): Variant => variant("near", 102, [], speed === undefined ? {} : { wasm: speed });
  expect(best([near(0.9), variant("int8", 100)], "wasm")?.id).toBe("near");
  expect(best([near(0.97), variant("int8", 100)], "wasm")?.id).toBe("int8");
});

test("of two similar variants the one that every backend runs is chosen, not the one smaller by a few bytes", () => {
  const own = (bytes: number, speed: number): Variant => variant("own", bytes, ["wasm"], { wasm: speed });
  expect(best([own(99, 0.97), variant("int8", 100)], "wasm")?.id).toBe("int8");
  expect(best([own(99, 0.9), variant("int8", 100)], "wasm")?.id).toBe("own");
  expect(best([own(90, 1), variant("int8", 100)], "wasm")?.id).toBe("own");
});

test("each backend gets a variant whose needs this device meets; an unknown word is not met", () => {
  const b = bundle(variant("f32", 10), variant("f16", 5, ["webgpu", "shader-f16"]), variant("npu", 1, ["npu-int4"]));
  expect(ids(candidates(b, device(gpu), both, free))).toEqual(["webgpu:f16", "wasm:f32"]);
  expect(ids(candidates(b, device({ ...gpu, features: [] }), both, free))).toEqual(["webgpu:f32", "wasm:f32"]);
});

test("a variant whose needs are met nowhere runs on the backends that take it by name", () => {
  const f16: Variant = { ...variant("f16", 5, ["webgpu", "shader-f16"]), named: ["wasm"] };
  const b = bundle(variant("f32", 10), f16);
  const named = { backend: undefined, variant: "f16" };
  expect(ids(candidates(b, device(gpu), both, named))).toEqual(["webgpu:f16"]);
  expect(ids(candidates(b, device({ ...gpu, features: [] }), both, named))).toEqual(["wasm:f16"]);
  expect(ids(candidates(b, device(gpu), both, { ...named, backend: "wasm" }))).toEqual(["wasm:f16"]);
  expect(ids(candidates(b, device(null), both, free))).toEqual(["webgpu:f32", "wasm:f32"]);
});

test("a variant that was not validated on a backend is used there only by name", () => {
  const b = bundle(variant("f32", 10), { ...variant("int8", 3), unchecked: ["webgpu"] });
  expect(ids(candidates(b, device(gpu), both, free))).toEqual(["webgpu:f32", "wasm:int8"]);
  expect(ids(candidates(b, device(gpu), both, { ...free, variant: "int8" }))).toEqual(["webgpu:int8", "wasm:int8"]);
  const none = bundle({ ...variant("f32", 10), unchecked: ["webgpu", "wasm"] });
  expect(() => candidates(none, device(gpu), both, free)).toThrow(/unchecked on webgpu: only by its name/);
});

test("a limit among the needs is compared with the adapter's", () => {
  const b = bundle(variant("f32", 10, ["webgpu", "maxBufferSize>=1000"]));
  expect(ids(candidates(b, device(gpu), both, free))).toEqual(["webgpu:f32"]);
  expect(() => candidates(bundle(variant("f32", 10, ["maxBufferSize>=1001"])), device(gpu), both, free)).toThrow(/f32/);
});

test("an unknown variant is the caller's mistake, a variant that can't run here is no-backend", () => {
  expect(() => candidates(bundle(variant("f32", 1)), device(gpu), both, { ...free, variant: "x" })).toThrow(RangeError);
  let error: unknown;
  try {
    candidates(bundle(variant("f16", 1, ["shader-f16"])), device(null), ["wasm"], free);
  } catch (caught) {
    error = caught;
  }
  expect(isSelvedgeError(error) && error.code).toBe("no-backend");
});

test("where none of the engine's backends is there, the error says why, not what the variants need", () => {
  const choose = (): unknown => candidates(bundle(variant("f32", 1)), device(null), [], free);
  expect(choose).toThrow(/can't run here: none of the engine's `backends` is there.*no GPU adapter/);
});

test("an absent backend that is asked for by name has the one reason that holds", () => {
  const why = (backend: "webgpu" | "wasm", allowed?: readonly ("webgpu" | "wasm")[], more = {}): string => {
    try {
      candidates(bundle(variant("f32", 1)), { ...device(null), ...more }, [], { ...free, backend, allowed });
    } catch (error) {
      return (error as Error).message.split("asks for: ")[1] ?? "";
    }
    return "none";
  };
  const leftOut = "the engine's `backends` leave it out.";
  expect(why("webgpu")).toBe("this browser gives no GPU adapter.");
  expect(why("webgpu", ["webgpu"])).toBe("this browser gives no GPU adapter.");
  expect(why("webgpu", ["wasm"])).toBe(leftOut);
  expect(why("webgpu", ["wasm"], { jspi: false })).toBe(leftOut);
  expect(why("webgpu", undefined, { jspi: false })).toBe("this browser has no JSPI, which WebGPU needs here.");
  expect(why("webgpu", undefined, { secure: false })).toContain("neither https nor localhost");
  expect(why("wasm", ["webgpu"])).toBe(leftOut);
  expect(why("wasm")).toBe("this browser has no WebAssembly.");
});

test("each reason is reported where it holds", () => {
  const b = bundle(variant("f32", 1));
  const place = (adapter: AdapterFacts | null, backends: readonly ("webgpu" | "wasm")[], pins = free) =>
    settled(candidates(b, device(adapter), backends, pins), device(adapter), pins);
  expect(place(gpu, both)).toBeNull();
  expect(place({ ...gpu, software: true }, both)).toMatchObject({ backend: "wasm", why: { code: "software-adapter" } });
  expect(place(null, ["wasm"])).toMatchObject({ backend: "wasm", why: { code: "only-backend" } });
  expect(place(gpu, ["webgpu"])).toMatchObject({ backend: "webgpu", why: { code: "only-backend" } });
  const pins = { backend: "webgpu", variant: undefined } as const;
  const pinned = settled(candidates(b, device(gpu), both, pins), device(gpu), pins);
  expect(pinned).toMatchObject({ backend: "webgpu", why: { code: "pinned" } });
});

test("WebGPU is chosen only where it was measured clearly faster", () => {
  expect(decide({ wasm: 30, webgpu: 3 })).toMatchObject({ backend: "webgpu", why: { code: "measured" } });
  expect(decide({ wasm: 30, webgpu: 29.9 })).toMatchObject({ backend: "wasm", why: { code: "measured" } });
  expect(decide({ wasm: 30, webgpu: 4_000 }).why.text).toContain("webgpu 4000.0 ms, wasm 30.0 ms");
  expect(decide({ wasm: 30, webgpu: null })).toMatchObject({ backend: "wasm", why: { code: "measurement-failed" } });
  expect(decide({ wasm: null, webgpu: 5 })).toMatchObject({ backend: "webgpu" });
});

test("a candidate that crashed a page is left out, as long as another is left", () => {
  const b = bundle(variant("f32", 10), variant("int8", 5));
  const died =
    (...names: string[]) =>
    (x: { backend: string; variant: Variant }): number =>
      names.includes(`${x.backend}:${x.variant.id}`) ? LAST_RANK : 0;
  expect(ids(candidates(b, device(gpu), both, free, died("wasm:int8")))).toEqual(["webgpu:int8", "wasm:f32"]);
  expect(ids(candidates(b, device(gpu), both, free, died("webgpu:int8", "webgpu:f32")))).toEqual(["wasm:int8"]);
  const pinned = { backend: "wasm", variant: "f32" } as const;
  expect(ids(candidates(b, device(gpu), both, pinned, died("wasm:f32")))).toEqual(["wasm:f32"]);
});

test("a crash is reported as the reason when another candidate is chosen", () => {
  const why = whySpared({ backend: "webgpu", variant: variant("f16", 1) });
  expect(why).toEqual({ code: "crashed-before", text: "a page crashed while it loaded f16 on webgpu" });
});

test.each([
  [{ secure: false }, /neither https nor localhost/],
  [{ jspi: false }, /no JSPI/],
  [{}, /no GPU adapter/],
])("a pinned backend that is absent says what the device lacks: %j", (facts, text) => {
  const pins = { backend: "webgpu", variant: undefined } as const;
  const choose = (): unknown => candidates(bundle(variant("f32", 1)), { ...device(null), ...facts }, ["wasm"], pins);
  expect(choose).toThrow(text);
  expect(choose).toThrow(
    expect.objectContaining({ code: "no-backend", details: expect.objectContaining({ reason: "pinned" }) as unknown }),
  );
});
