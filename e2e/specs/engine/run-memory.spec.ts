// The memory of a run as it is estimated from a bare model's graph, against the growth of WebAssembly's memory by real runs;
// and the weights behind DequantizeLinear on a GPU.
import { expect, test } from "@playwright/test";
import type * as Selvedge from "selvedge";
import { runBytesOf } from "../../../lib/cache/run-bytes.ts";
import { packBundle } from "../../../lib/compress/bundle/pack.ts";
import type { Variant } from "../../../lib/core/bundle.ts";
import { JUDGED } from "../../../lib/test-support/onnx/activation-models.ts";
import { serveBundle } from "../../support/half-bundle.ts";
import { modelOf } from "../../../lib/test-support/onnx/onnx-graphs.ts";
import type { ConstantValues } from "../../../lib/test-support/onnx/onnx-graphs.ts";
import { keep } from "../../support/suite.ts";

/** Bounds of measured to estimated: WebAssembly's memory grows by a fifth of itself at a time. */
const OFF_MAX = 1.4;
/** Memory that a load leaves free for the first run: of one that takes 10 MB, an estimate fails from the threefold on. */
const ROOM_BYTES = 12e6;

for (const [name, { dims, make }] of Object.entries(JUDGED))
  test(`a run of ${name} takes about what its graph tells (run memory)`, async ({ page }, info) => {
    const bytes = make().write();
    const estimated = (await runBytesOf(new Blob([bytes]), new Map()))?.wasm ?? Number.NaN;
    await page.route("**/run-memory.onnx", (route) => route.fulfill({ body: Buffer.from(bytes) }));
    const { pages } = info.config.metadata as { pages: string };
    await page.goto(`${pages}/engine.html`);
    await page.waitForFunction("globalThis.selvedge !== undefined");
    const measured = await page.evaluate(async (dims) => {
      const { createEngine } = (globalThis as unknown as { selvedge: typeof Selvedge }).selvedge;
      const engine = await createEngine({ backends: ["wasm"], workers: 1 });
      const held = (): number => engine.stats().lanes.reduce((sum, x) => sum + x.memoryBytes, 0);
      const model = await engine.load("/run-memory.onnx");
      const before = held();
      const data = new Float32Array(dims.reduce((a, b) => a * b, 1)).fill(0.5);
      for (let i = 0; i < 2; i += 1) await model.run({ x: { dtype: "float32", dims, data } });
      const after = held();
      const stored = await engine.availability("/run-memory.onnx");
      await engine.close();
      return { before, after, memoryBytes: stored.memoryBytes, why: stored.fitsWhy };
    }, dims);
    const grown = measured.after - measured.before;
    await keep(info, { name, estimated, grown, before: measured.before, ratio: grown / estimated });
    expect(measured.why).toContain("at its peak");
    expect(grown).toBeLessThan(OFF_MAX * estimated);
    expect(grown + ROOM_BYTES).toBeGreaterThan(estimated / OFF_MAX);
  });

const WIDTH = 1_024;
const LAYERS = 12;

/** Products or convolutions with weights of 8 bits. */
function dequantized(opType: "MatMul" | "Conv"): Uint8Array<ArrayBuffer> {
  const isConv = opType === "Conv";
  const dims = isConv ? [WIDTH, WIDTH, 1, 1] : [WIDTH, WIDTH];
  const values = Array.from({ length: WIDTH ** 2 }, (_, i) => ((i * 7_919) % 255) - 127);
  const constants: Record<string, ConstantValues> = { s: { dtype: "float32", dims: [], values: [0.001] } };
  const nodes = Array.from({ length: LAYERS }, (_, i) => {
    constants[`q${i}`] = { dtype: "int8", dims, values };
    return [
      { opType: "DequantizeLinear", input: [`q${i}`, "s"], output: [`w${i}`] },
      { opType, input: [i === 0 ? "x" : `h${i}`, `w${i}`], output: [i === LAYERS - 1 ? "y" : `h${i + 1}`] },
    ];
  });
  const inputs = { x: { dtype: "float32", dims: isConv ? [1, WIDTH, 1, 1] : [1, WIDTH] } } as const;
  return modelOf({ inputs, constants, outputs: ["y"], nodes: nodes.flat() }).write();
}

for (const opType of ["MatMul", "Conv"] as const)
  test(`a GPU holds weights of ${opType} in 8 bits unless the session expands them (run memory)`, async ({
    page,
  }, info) => {
    const bytes = dequantized(opType);
    const dims = opType === "Conv" ? [1, WIDTH, 1, 1] : [1, WIDTH];
    const port = { dtype: "float32", dims, batchAxis: null } as const;
    const ports = { inputs: [{ name: "x", ...port }], outputs: [{ name: "y", ...port }] };
    const { pages } = info.config.metadata as { pages: string };
    const held = async (session?: Variant["session"]): Promise<{ loaded: number; ran: number }> => {
      const files = [{ path: "model.onnx", bytes, isModel: true }];
      const variants = [{ id: "int8", needs: [], files, ...(session && { session }) }];
      const model = { name: "dequantized", version: "1", licence: "MIT", ...ports };
      await page.unrouteAll();
      await serveBundle(page, "dequantized", await packBundle({ model, variants }, { compress: false }));
      await page.goto(`${pages}/engine.html`);
      await page.waitForFunction("globalThis.selvedge !== undefined");
      return page.evaluate(async (dims) => {
        const { createEngine } = (globalThis as unknown as { selvedge: typeof Selvedge }).selvedge;
        const engine = await createEngine({ backends: ["webgpu"], workers: 1, store: "memory" });
        const heldBytes = (): number => engine.stats().lanes.reduce((sum, x) => sum + x.memoryBytes, 0);
        const loading = await engine.load("/dequantized/bundle.json");
        const loaded = heldBytes();
        const data = new Float32Array(dims.reduce((a, b) => a * b, 1)).fill(0.5);
        for (let i = 0; i < 2; i += 1) await loading.run({ x: { dtype: "float32", dims, data } });
        const ran = heldBytes();
        await engine.close();
        return { loaded, ran };
      }, dims);
    };
    const stored = await held();
    const expanded = await held({ webgpu: { "session.disable_quant_qdq": "1" } });
    await keep(info, { opType, file: bytes.length, ...stored, loadedExpanded: expanded.loaded });
    // The least WebAssembly memory, the weights as stored, and one or two of them in float32.
    expect(stored.ran).toBeLessThan(17e6 + bytes.length + 2.5 * 4 * WIDTH ** 2);
    expect(expanded.loaded - stored.loaded).toBeGreaterThan(3 * (bytes.length - WIDTH ** 2));
  });
