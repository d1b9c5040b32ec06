import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import * as ort from "onnxruntime-web/wasm";
import { beforeAll, describe, expect, test } from "vitest";
import { largestDifference, REAL_MODELS, runModel, seededFloats } from "../test-support/compress/fixtures.ts";
import { linkWhenCalled, withoutSnapshot } from "../worker/backend/link-parts.ts";
import { readSections, SECTION } from "../worker/backend/sections.ts";
import { bakeParts } from "./insert-snapshot.ts";
import { takeSnapshot } from "./snapshot.ts";
import type { Snapshot } from "./snapshot.ts";
import { splitWasm } from "./split.ts";
import type { Parts } from "./split.ts";
import { readUsual } from "./hot-functions.ts";

const ORT = dirname(createRequire(import.meta.url).resolve("onnxruntime-web/wasm"));
const whole = new Uint8Array(readFileSync(join(ORT, "ort-wasm-simd-threaded.wasm")));
const glue = readFileSync(join(ORT, "ort-wasm-simd-threaded.mjs"), "utf8");

describe("ONNX Runtime as it is once it has started", () => {
  let snapshot: Snapshot;
  let parts: Parts;
  beforeAll(async () => {
    snapshot = await takeSnapshot(whole, glue);
    parts = bakeParts(
      // Which functions are usual does not matter: every third is.
      splitWasm(whole, "a", (i) => i % 3 === 0 && i !== snapshot.constructors),
      snapshot,
    );
  }, 60_000);

  test("holds more than it began with, and the same each time", async () => {
    const again = await takeSnapshot(whole, glue);
    expect(Buffer.compare(again.memory, snapshot.memory)).toBe(0);
    expect(snapshot.memory.length).toBeGreaterThan(5e6);
    expect([again.globals, again.start, again.constructors]).toEqual([
      snapshot.globals,
      snapshot.start,
      snapshot.constructors,
    ]);
  });

  test("runs models as the whole does, the constructors not run again", async () => {
    const [model] = REAL_MODELS;
    if (model === undefined) throw new Error("there are no models");
    const { instantiate } = WebAssembly;
    let linked = 0;
    const shipped = async (_: BufferSource, imports: WebAssembly.Imports = {}) => {
      const made = await instantiate(parts.first, imports);
      linkWhenCalled(made.instance, imports, () => {
        linked += 1;
        return new WebAssembly.Module(parts.rest);
      });
      return made;
    };
    WebAssembly.instantiate = shipped as typeof instantiate;
    try {
      ort.env.wasm.wasmBinary = whole;
      ort.env.wasm.numThreads = 1;
      const session = await ort.InferenceSession.create(model.read());
      const data = seededFloats(model.dims.reduce((a, b) => a * b, 1));
      const outputs = await session.run({ x: new ort.Tensor("float32", data, model.dims) });
      const values = Object.values(outputs)[0]?.data as Float32Array;
      const [expected = []] = await runModel(model.read(), { x: { dims: model.dims, data } });
      expect(largestDifference(expected, [...values])).toBeLessThan(1e-4);
      expect(linked).toBe(1);
    } finally {
      WebAssembly.instantiate = instantiate;
    }
  });

  test.each([
    ["what a build has usual", readUsual("wasm", whole).isUsual],
    ["nothing", () => false],
    ["all", () => true],
  ])("both parts are valid modules with %s usual", (_, isUsual) => {
    const { first, rest } = bakeParts(
      splitWasm(whole, "a", (i) => isUsual(i) && i !== snapshot.constructors),
      snapshot,
    );
    expect([WebAssembly.validate(first), WebAssembly.validate(rest)]).toEqual([true, true]);
  });

  test("without it, as threads need it, the first part begins with what the module began with", () => {
    const of = (bytes: Uint8Array, id: number): Uint8Array =>
      readSections(bytes).find((x) => x.id === id)?.bytes ?? Uint8Array.of();
    const first = withoutSnapshot(parts.first, parts.rest);
    for (const id of [SECTION.data, SECTION.dataCount]) expect(Buffer.compare(of(first, id), of(whole, id))).toBe(0);
    expect(Buffer.compare(of(parts.first, SECTION.data), of(whole, SECTION.data))).not.toBe(0);
    for (const id of [SECTION.global, SECTION.export])
      expect(Buffer.compare(of(first, id), of(parts.first, id))).not.toBe(0);
    expect(WebAssembly.validate(first)).toBe(true);
  });

  test("is refused where the start hangs on the clock, or the glue is another", async () => {
    const ticking = glue.replace('"web_user"', "String(Date.now())"); // it goes to the memory with the environment
    expect(ticking).not.toBe(glue);
    await expect(takeSnapshot(whole, ticking)).rejects.toThrow("hangs on the clock");
    await expect(takeSnapshot(whole, "globalThis.nothing = 1;")).rejects.toThrow();
  });
});
