// `selvedge export` against the servers that it writes for: the real Triton reads config.pbtxt and serves the model, in
// every test run; MLServer, and KServe's own classes for its manifest, in the soak. Needs no browser.
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@playwright/test";
import { main } from "../../../lib/cli/cli.ts";
import { describe } from "../../../lib/compress/bundle/describe.ts";
import { writeBundle } from "../../../lib/compress/bundle/pack.ts";
import { TensorProto_DataType as T } from "../../../lib/compress/onnx/onnx.gen.js";
import { readModel } from "../../../lib/compress/onnx/model.ts";
import type { OnnxModel } from "../../../lib/compress/onnx/model.ts";
import { connectRemote } from "../../../lib/remote/index.ts";
import type { RemoteClient, Tensor } from "../../../lib/remote/index.ts";
import { smallModel } from "../../../lib/test-support/compress/fixtures.ts";
import { makeModels, runLocally, TYPES } from "../../support/engine-models.ts";
import { installEngine, startExported } from "../../support/engines.ts";
import { freePort } from "../../support/free-port.ts";
import type { RunningEngine } from "../../support/engines.ts";
import { ROOT } from "../../support/prepare.ts";
import { isSoak } from "../../../lib/test-support/slice.ts";

const FOLDER = join(ROOT, "e2e/.cache/export");
const NAME = 'odd:0 "ü"\\';

/** Models by name: batches, all types, sizes that differ, a state off axis 0, a tensor without axes and odd names. */
function models(): Record<string, OnnxModel> {
  const { types, "fashion-mlp": mlp } = makeModels() as Record<"types" | "fashion-mlp", Uint8Array>;
  return {
    types: readModel(types),
    "fashion-mlp": readModel(mlp),
    wide: smallModel({
      opset: 17,
      inputs: { [NAME]: ["batch", 2, "width"] },
      outputs: ["y"],
      outputDims: { y: ["batch", 2, "width"] },
      nodes: [{ opType: "Neg", input: [NAME], output: ["y"] }],
    }),
    state: smallModel({
      opset: 17,
      inputs: { x: ["batch", 3], s: [2, "batch", 3], one: [] },
      outputs: ["next", "first"],
      outputDims: { next: [2, "batch", 3], first: [] },
      types: { first: T.FLOAT },
      nodes: [
        { opType: "Add", input: ["x", "s"], output: ["next"] },
        { opType: "Identity", input: ["one"], output: ["first"] },
      ],
    }),
  };
}

/** Makes a bundle of each model, and exports it. */
async function exportAll(server: string): Promise<string> {
  const out = join(FOLDER, server);
  rmSync(out, { recursive: true, force: true });
  for (const [name, model] of Object.entries(models())) {
    const bundle = join(FOLDER, "bundles", name);
    rmSync(bundle, { recursive: true, force: true });
    mkdirSync(bundle, { recursive: true });
    const description = await describe(model, `${name}.onnx`, undefined);
    const variants = [{ id: "f32", needs: [], files: [{ path: "graph.onnx", model }] }];
    await writeBundle(bundle, { model: description, variants });
    expect(await main(["export", server, bundle, "--out", out])).toBe(0);
  }
  return out;
}

const float = (dims: readonly number[]): Tensor<"float32"> => {
  const count = dims.reduce((a, b) => a * b, 1);
  return { dtype: "float32", dims, data: Float32Array.from({ length: count }, (_, i) => Math.sin(i)) };
};

for (const server of isSoak ? (["triton", "mlserver"] as const) : (["triton"] as const))
  test.describe(`exported for ${server} @chromium`, () => {
    let running: RunningEngine;
    let remote: RemoteClient;

    test.beforeAll(async () => {
      test.setTimeout(900_000);
      const out = await exportAll(server);
      running = await startExported(server, Object.keys(models()), out, await freePort());
      remote = connectRemote({ endpoints: [running.url] });
    });
    test.afterAll(async () => {
      remote.close();
      await running.stop();
    });

    test("a batched model answers as here, and many requests at once each get their own answer", async () => {
      const model = await remote.model("fashion-mlp");
      expect(model.metadata.inputs).toEqual([{ name: "image", datatype: "FP32", dims: [null, 1, 28, 28] }]);
      const bytes = makeModels()["fashion-mlp"] as Uint8Array;
      const images = Array.from({ length: 12 }, (_, i) => float([1 + (i % 3), 1, 28, 28]));
      const answers = await Promise.all(images.map((image) => model.infer({ image })));
      for (const [i, { outputs }] of answers.entries()) {
        const local = await runLocally(bytes, { image: images[i] as Tensor });
        const remoteValues = outputs["logits"]?.data as Float32Array;
        expect(remoteValues.length).toBe(local.length);
        for (const [j, value] of local.entries()) expect(Math.abs(value - (remoteValues[j] ?? NaN))).toBeLessThan(1e-4);
      }
    });

    test("every type, a name of any characters, a state, sizes that differ and a tensor without axes are kept", async () => {
      const types = await remote.model("types");
      expect(types.metadata.inputs.map((x) => [x.name, x.datatype, x.dims])).toEqual(
        Object.keys(TYPES).map((x) => [`in_${x}`, x, [null]]),
      );
      const wide = await remote.model("wide");
      const inputs = [1, 5, 5, 2].map((width) => float([2, 2, width]));
      const answers = await Promise.all(inputs.map((x) => wide.infer({ [NAME]: x })));
      expect(answers.map((x) => x.outputs)).toEqual(
        inputs.map(({ data, ...x }) => ({ y: { ...x, data: data.map((value) => -value) } })),
      );
      const state = await remote.model("state");
      // Triton has no tensors without axes.
      const one = float(server === "triton" ? [1] : []);
      const { outputs } = await state.infer({ x: float([1, 3]), s: float([2, 1, 3]), one });
      expect(outputs["next"]?.dims).toEqual([2, 1, 3]);
      expect(outputs["first"]?.data).toEqual(one.data);
    });

    if (server === "triton")
      test("Triton batches where rows are independent, and nowhere else", async () => {
        const config = async (name: string): Promise<Record<string, unknown>> =>
          (await (await fetch(`${running.url}/v2/models/${name}/config`)).json()) as Record<string, unknown>;
        expect(await config("fashion-mlp")).toMatchObject({
          backend: "onnxruntime",
          max_batch_size: 16,
          dynamic_batching: { max_queue_delay_microseconds: 500 },
          instance_group: [{ count: 1 }],
        });
        expect(await config("wide")).toMatchObject({ max_batch_size: 16 });
        for (const name of ["types", "state"]) {
          expect(await config(name)).toMatchObject({ max_batch_size: 0 });
          expect(await config(name)).not.toHaveProperty("dynamic_batching");
        }
      });
  });

if (isSoak)
  test("KServe's own classes take the manifest @chromium", async () => {
    test.setTimeout(900_000);
    const out = await exportAll("kserve");
    const python = join(await installEngine("kserve"), "bin/python");
    const manifest = join(out, "fashion-mlp/inference-service.yaml");
    const read = execFileSync(python, [join(ROOT, "e2e/servers/check_manifest.py"), manifest], { encoding: "utf8" });
    expect(JSON.parse(read)).toEqual({
      name: "fashion-mlp",
      runtime: "kserve-tritonserver",
      replicas: [1, 4],
      scale: ["concurrency", 16],
    });
    expect(readFileSync(join(out, "fashion-mlp/models/fashion-mlp/config.pbtxt"), "utf8")).toContain(
      "max_batch_size: 16",
    );
  });
