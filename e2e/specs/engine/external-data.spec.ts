// External weights, loaded many times. Chromium 156 loses reads of a Blob's stream into a caller's buffer (BYOB), about
// one in 300 to 700, and ONNX Runtime's JSPI build, which WebGPU runs on, makes one read per tensor
// (lib/worker/backend/blob-streams.ts).
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@playwright/test";
import { canonicalJson } from "../../../lib/core/bundle.ts";
import { packBundle, writePacked } from "../../../lib/compress/bundle/pack.ts";
import { slice } from "../../../lib/test-support/slice.ts";
import { buildGraph } from "../../../models/graph.ts";
import type { Weights } from "../../../models/graph.ts";
import { ROOT } from "../../support/prepare.ts";
import { keep } from "../../support/suite.ts";
import type * as Selvedge from "selvedge";

const FOLDER = join(ROOT, "e2e/.cache/external-data");
const TENSORS = 36;
/** 256 kB per tensor. Without the refusal of such reads load 36 hung; with tensors of 4 kB none of 120 did. */
const WIDTH = 65_536;
/** Time after which a load counts as hung; the slowest takes a second. */
const HUNG_MS = 60_000;

/** Packs y = x + w0 + … + w35, all of the weights' elements 1. */
async function pack(): Promise<void> {
  const dims = ["n", WIDTH];
  const ports = {
    inputs: [{ name: "x", dtype: "float32", dims, batchAxis: 0 }],
    outputs: [{ name: "y", dtype: "float32", dims, batchAxis: 0 }],
  } as const;
  const weights: Record<string, Weights> = {};
  const nodes = Array.from({ length: TENSORS }, (_, i) => {
    weights[`w${i}`] = { dims: [WIDTH], data: new Float32Array(WIDTH).fill(1) };
    const [from, to] = [i === 0 ? "x" : `y${i - 1}`, i === TENSORS - 1 ? "y" : `y${i}`];
    return { opType: "Add", input: [from, `w${i}`], output: [to] };
  });
  const bytes = buildGraph(ports, nodes, weights).write();
  const packed = await packBundle({
    model: { name: "external-data", version: "1", licence: "MIT", ...ports },
    variants: [{ id: "f32", needs: [], files: [{ path: "model.onnx", bytes, isModel: true }] }],
  });
  expect(packed.bundle.variants[0]?.files.map((x) => x.path)).toEqual(["model.onnx", "model.onnx.data"]);
  const path = join(FOLDER, "bundle.json");
  const text = existsSync(path) ? readFileSync(path, "utf8") : "";
  if (text !== `${canonicalJson(packed.json)}\n`) await writePacked(FOLDER, packed);
}

/** Loads, runs and unloads in the page; returns the slowest load in ms. */
async function loadOften({ backend, times, hungMs }: Asked): Promise<number> {
  const { createEngine } = (globalThis as unknown as { selvedge: typeof Selvedge }).selvedge;
  const engine = await createEngine({ backends: [backend], workers: 1 });
  let slowestMs = 0;
  for (let i = 0; i < times; i += 1) {
    const startMs = performance.now();
    const hung = new Promise<never>((_, reject) => {
      setTimeout(() => {
        reject(new Error(`load ${i} of ${times} hung`));
      }, hungMs);
    });
    const loading = engine.load("/corpus/external-data/bundle.json", { backend });
    const model = await Promise.race([loading, hung]);
    slowestMs = Math.max(slowestMs, performance.now() - startMs);
    const [input = ""] = model.inputs.map((x) => x.name);
    const width = Number(model.inputs[0]?.dims[1]);
    const x = { dtype: "float32", dims: [1, width], data: new Float32Array(width) } as const;
    const { outputs, info } = await model.run({ [input]: x });
    const y = outputs["y"]?.data as Float32Array;
    if (info.backend !== backend || y.some((value) => value !== 36))
      throw new Error(`load ${i}: ${info.backend} answers ${y[0]}`);
    model.unload();
  }
  await engine.close();
  return slowestMs;
}

interface Asked {
  readonly backend: "webgpu" | "wasm";
  readonly times: number;
  readonly hungMs: number;
}

for (const backend of ["webgpu", "wasm"] as const)
  test(`a model of ${TENSORS} tensors beside its graph loads every time on ${backend}`, async ({ page }) => {
    const { pages } = test.info().config.metadata as { pages: string };
    await pack();
    await page.goto(`${pages}/engine.html`);
    await page.waitForFunction("globalThis.selvedge !== undefined");
    const times = slice(30, 500);
    const slowestMs = await page.evaluate(loadOften, { backend, times, hungMs: HUNG_MS });
    await keep(test.info(), { backend, tensors: TENSORS, loads: times, slowestMs });
  });
