import { expect, test } from "vitest";
import type { CheckResult } from "./check/check.ts";
import { defaultFor, isKept, uncheckedOn } from "./choose-defaults.ts";
import type { FormReport } from "./report/report.ts";

const form = (id: string, bytes: number, checks: CheckResult[] = [], rest: Partial<FormReport> = {}): FormReport => ({
  ...{
    id,
    file: `${id}.onnx`,
    needs: [],
    bytes,
    brotliBytes: bytes,
    deviceBytes: null,
    score: 40,
    sqnrDb: 40,
    isWithinBudget: true,
    checks,
  },
  ...{ seconds: 1, ...rest },
});
const on = (target: CheckResult["target"], verdict: CheckResult["verdict"], speed?: number): CheckResult => ({
  target,
  verdict,
  ...(speed !== undefined && { speed }),
});

test("the default is the fastest form, or the smallest of about the same speed", () => {
  const f32 = form("f32", 100, [on("wasm", "passed", 1)]);
  const int8 = form("int8", 25, [on("wasm", "passed", 1.02)]);
  const dynamic = form("int8-dynamic", 30, [on("wasm", "passed", 0.7)]);
  expect(defaultFor("wasm", [f32, int8, dynamic])).toBe("int8-dynamic");
  expect(defaultFor("wasm", [f32, int8])).toBe("int8");
  const [near, far] = [26, 27].map((bytes) => form("int8-dynamic", bytes, [on("wasm", "passed", 0.93)]));
  expect(defaultFor("wasm", [f32, int8, near as FormReport])).toBe("int8-dynamic");
  expect(defaultFor("wasm", [f32, int8, far as FormReport])).toBe("int8");
});

test("a form over budget, failed, unchecked or slower than float32 is never the default", () => {
  const f32 = form("f32", 100, [on("wasm", "passed", 1)]);
  const others = [
    form("a", 10, [on("wasm", "passed", 0.5)], { isWithinBudget: false }),
    form("b", 10, [on("wasm", "failed")]),
    form("c", 10, [on("wasm", "unchecked")]),
    form("d", 10, [on("wasm", "passed", 1.1)]),
  ];
  expect(defaultFor("wasm", [f32, ...others])).toBe("f32");
  expect(defaultFor("webgpu", [f32, ...others])).toBeNull();
});

test("a bundle omits forms that failed, save nothing or are slow, unless a target needs them", () => {
  const f32 = form("f32", 100, [on("wasm", "passed", 1)]);
  const all = [
    f32,
    form("same", 100),
    form("small", 20, [on("wasm", "passed", 1)]),
    form("slow", 20, [on("wasm", "passed", 2)]),
  ];
  const kept = (defaults: Parameters<typeof isKept>[1]): string[] =>
    all.filter((x) => isKept(x, defaults, all)).map((x) => x.id);
  expect(kept({ wasm: "f32" })).toEqual(["f32", "small"]);
  expect(kept({ wasm: "f32", webgpu: "slow" })).toEqual(["f32", "small", "slow"]);
  expect(isKept(form("f32", 100, [], { why: "it does not run" }), {}, all)).toBe(false);
});

test("backends on which a form did not pass are listed, where its needs allow them", () => {
  const mixed = form("int8", 10, [on("webgpu", "unchecked"), on("wasm", "passed", 1)]);
  expect(uncheckedOn(mixed, [])).toEqual(["webgpu"]);
  expect(uncheckedOn(mixed, ["wasm"])).toEqual([]);
  expect(uncheckedOn(form("f16", 10, [on("webgpu-f16", "passed")]), ["webgpu"])).toEqual([]);
  expect(uncheckedOn(form("int8", 10, [on("webgpu", "passed")]), [])).toEqual(["wasm"]);
});

test("a form that is larger over the wire and less accurate than another is never the default, whatever its raw bytes", () => {
  const f32 = form("f32", 100, [on("webgpu", "passed")], { brotliBytes: 28, score: 200 });
  const int8 = form("int8", 50, [on("webgpu", "passed")], { brotliBytes: 35, score: 53 });
  expect(defaultFor("webgpu", [f32, int8])).toBe("f32");
  expect(isKept(int8, { webgpu: "f32" }, [f32, int8])).toBe(false);
  const near = form("int4", 20, [on("webgpu", "passed")], { brotliBytes: 29, score: 30, needs: [] });
  const smaller = form("int8", 50, [on("webgpu", "passed")], { brotliBytes: 28.5, score: 53, needs: [] });
  expect(defaultFor("webgpu", [near, smaller])).toBe("int8");
});

test("a form that passed nowhere is not packed", () => {
  const f32 = form("f32", 100, [on("wasm", "passed", 1)]);
  const f16 = form("f16", 50, [on("webgpu-f16", "unchecked")]);
  expect(isKept(f16, { wasm: "f32" }, [f32, f16])).toBe(false);
  expect(isKept(form("int4", 20), { wasm: "f32" }, [f32])).toBe(false);
});

test("a time that is not stable decides nothing", () => {
  const f32 = form("f32", 100, [on("wasm", "passed", 1)]);
  const wild = form("int8-dynamic", 30, [{ ...on("wasm", "passed"), speedNote: "not stable here" }]);
  const int8 = form("int8", 25, [on("wasm", "passed", 1)]);
  expect(defaultFor("wasm", [f32, wild, int8])).toBe("int8");
  // Neither does it let a form that runs on wasm alone push out one that runs everywhere.
  const narrow = { ...wild, brotliBytes: 24.9, score: 41, needs: ["wasm"] };
  expect(defaultFor("wasm", [f32, narrow, int8])).toBe("int8");
});
