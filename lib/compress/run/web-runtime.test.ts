import { expect, test } from "vitest";
import { twoLayers } from "../../test-support/compress/fixtures.ts";
import { runAll } from "./session.ts";
import { startWebRuntime } from "./web-runtime.ts";

test("the WebAssembly of browsers answers in Node as onnxruntime-node does", async () => {
  const bytes = twoLayers({ opset: 13, inputs: 8, units: 8, outputs: 4 }).write();
  const feeds = [{ x: { dtype: "float32", dims: [1, 8], data: new Float32Array(8).map((_, i) => i / 8) } }] as const;
  const [onCpu] = await runAll(bytes, feeds);
  const [onWasm] = await runAll(bytes, feeds, { provider: "wasm" });
  expect(onWasm?.["y"]?.dims).toEqual(onCpu?.["y"]?.dims);
  for (const [i, value] of Array.from(onCpu?.["y"]?.data ?? []).entries())
    expect(onWasm?.["y"]?.data[i]).toBeCloseTo(value, 4);
});

test("starting it leaves the process's own WebAssembly as it was, and happens once", async () => {
  const { instantiate, instantiateStreaming } = WebAssembly;
  const [first, second] = await Promise.all([startWebRuntime(), startWebRuntime()]);
  expect(second).toBe(first);
  expect([WebAssembly.instantiate, WebAssembly.instantiateStreaming]).toEqual([instantiate, instantiateStreaming]);
});
