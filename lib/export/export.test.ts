import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { describe as describeModel } from "../compress/bundle/describe.ts";
import { writeBundle } from "../compress/bundle/pack.ts";
import { TensorProto_DataType } from "../compress/onnx/onnx.gen.js";
import { readModelFile } from "../compress/onnx/model-file.ts";
import type { OnnxModel } from "../compress/onnx/model.ts";
import { smallModel, twoLayers } from "../test-support/compress/fixtures.ts";
import { exportBundle } from "./export.ts";
import type { Exported, ExportOptions } from "./export.ts";
import { serviceName } from "./kserve.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "selvedge-export-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const layers = (): OnnxModel => twoLayers({ opset: 17, inputs: 64, units: 96, outputs: 4 });

/** Writes a bundle with a variant of each id. */
async function bundle(
  model: OnnxModel = layers(),
  ids: readonly string[] = ["f32"],
  more: object = {},
): Promise<string> {
  const variants = ids.map((id) => ({ id, needs: [], files: [{ path: "onnx/graph.onnx", model }], ...more }));
  await writeBundle(join(folder, "bundle"), { model: await describeModel(model, "small.onnx", undefined), variants });
  return join(folder, "bundle");
}

async function run(server: "triton" | "kserve" | "mlserver", path: string, more: object = {}): Promise<Exported> {
  const options: ExportOptions = { out: join(folder, "out"), ...more };
  return exportBundle(server, path, options);
}

const written = (path: string): string => readFileSync(join(folder, "out", path), "utf8");

describe("export", () => {
  test("the float32 variant is written, its weights beside the graph, and loads as it was", async () => {
    const { model, paths } = await run("triton", await bundle(layers(), ["int8", "f32"]));
    expect(model.variant.id).toBe("f32");
    expect(paths).toEqual(["small/1/model.onnx", "small/1/onnx/graph.onnx.data", "small/config.pbtxt"]);
    const read = readModelFile(join(folder, "out/small/1/model.onnx"));
    expect(read.write()).toEqual(layers().write());
  });

  test("another variant is written by its name; an unknown one, and none of float32, are refused with the names", async () => {
    const path = await bundle(layers(), ["int8", "f16"]);
    expect((await run("triton", path, { variant: "f16" })).model.variant.id).toBe("f16");
    await expect(run("triton", path)).rejects.toThrow(
      "variant: the bundle has no float32 variant; name one of int8, f16",
    );
    await expect(run("triton", path, { variant: "f32" })).rejects.toThrow('no variant "f32", only int8, f16');
  });

  test("a chunk with other bytes is refused, and no description is written", async () => {
    const path = await bundle();
    for (const name of readdirSync(join(path, "chunks"))) writeFileSync(join(path, "chunks", name), "other");
    await expect(run("triton", path)).rejects.toMatchObject({ code: "integrity-failed" });
    expect(() => written("small/config.pbtxt")).toThrow("ENOENT");
  });

  test("a name that is no name of a folder, and a folder without a bundle, are refused", async () => {
    const path = await bundle();
    for (const name of ["../x", "a/b", "", ".", "a b"])
      await expect(run("triton", path, { name })).rejects.toThrow("name: expected a letter or digit");
    expect((await run("triton", path, { name: "Other_1.2" })).paths).toContain("Other_1.2/config.pbtxt");
    await expect(run("triton", join(folder, "none"))).rejects.toThrow("contains no bundle.json");
  });
});

describe("export triton", () => {
  const config = async (model: OnnxModel, more: object = {}, options: object = {}): Promise<string> => {
    await run("triton", await bundle(model, ["f32"], more), options);
    return written("small/config.pbtxt");
  };

  test("independent rows are batched, the batch axis left out; one at a time where asked for", async () => {
    expect(await config(layers())).toBe(`name: "small"
backend: "onnxruntime"
max_batch_size: 16
input [ { name: "x" data_type: TYPE_FP32 dims: [ 64 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 4 ] } ]
dynamic_batching { max_queue_delay_microseconds: 500 }
instance_group [ { count: 1 kind: KIND_AUTO } ]
`);
    const alone = await config(layers(), {}, { maxBatchSize: 1, instances: 3 });
    expect(alone).toMatch(/max_batch_size: 0\n.*dims: \[ -1, 64 \]/);
    expect(alone).toContain("count: 3");
    expect(alone).not.toContain("dynamic_batching");
  });

  test("rows that influence each other are not batched: by the bundle, and by the graph", async () => {
    expect(await config(layers(), { mixesRows: true })).toContain("max_batch_size: 0");
    const mixed = smallModel({
      opset: 17,
      inputs: { x: ["batch", 4] },
      outputs: ["y"],
      outputDims: { y: ["batch", 4] },
      nodes: [{ opType: "Softmax", input: ["x"], output: ["y"], attributes: { axis: 0 } }],
    });
    expect(await config(mixed)).toContain("max_batch_size: 0");
  });

  test("shapes are those that ONNX Runtime reports, which Triton compares: outputs that the graph declares open too", async () => {
    const model = smallModel({
      opset: 17,
      inputs: { x: ["batch", 4] },
      outputs: ["y"],
      outputDims: { y: ["rows", "columns"] },
      nodes: [{ opType: "Neg", input: ["x"], output: ["y"] }],
    });
    expect(await config(model)).toContain('output [ { name: "y" data_type: TYPE_FP32 dims: [ 4 ] } ]');
  });

  test("a tensor whose number of axes is unknown is refused by its name", async () => {
    const model = smallModel({
      opset: 17,
      inputs: { x: ["batch", 4], shape: ["axes"] },
      outputs: ["open"],
      types: { shape: TensorProto_DataType.INT64 },
      nodes: [{ opType: "Reshape", input: ["x", "shape"], output: ["open"] }],
    });
    await expect(config(model)).rejects.toThrow("open: the model does not state the number of axes");
  });
});

describe("export kserve", () => {
  test("a service scales by requests, and names the folder that it needs", async () => {
    const path = await bundle();
    const options = { minReplicas: 2, maxReplicas: 9, storageUri: "s3://bucket/a #b" };
    const { storageUri } = await run("kserve", path, options);
    expect(storageUri).toBe("s3://bucket/a #b");
    const manifest = written("small/inference-service.yaml");
    expect(manifest).toContain(
      "minReplicas: 2\n    maxReplicas: 9\n    scaleMetric: concurrency\n    scaleTarget: 16\n",
    );
    expect(manifest).toContain('storageUri: "s3://bucket/a #b"');
    // YAML reads some bare names as other values, as "on" and "null".
    expect(manifest).toContain('metadata:\n  name: "small"\n');
    expect(written("small/models/small/config.pbtxt")).toContain('name: "small"');
    expect((await run("kserve", path)).storageUri).toBe("pvc://small/models");
    // Each instance has its own copy of the weights.
    const memory = async (instances: number): Promise<number> => {
      await run("kserve", path, { instances });
      const [requested, limit] = [...written("small/inference-service.yaml").matchAll(/memory: (\d+)Mi/g)];
      expect(requested?.[1]).toBe(limit?.[1]);
      return Number(limit?.[1]);
    };
    expect(await memory(1)).toBe(513);
    expect(await memory(300)).toBe(512 + Math.ceil((300 * 3 * (await run("kserve", path)).model.bytes) / 2 ** 20));
    await expect(run("kserve", path, { minReplicas: 5 })).rejects.toThrow("minReplicas: 5 is above maxReplicas, 4");
  });

  test.each([
    ["all-MiniLM_L6.v2", "all-minilm-l6-v2"],
    ["3d", "model-3d"],
    ["a.", "a"],
    [`x${"-".repeat(62)}y`, "x-y"],
    ["a".repeat(64), "a".repeat(53)],
  ])("the service of %s is %s, a DNS label", (name, expected) => {
    expect(serviceName(name)).toBe(expected);
  });
});

describe("export mlserver", () => {
  test("settings name the runtime beside the model, its tensors, and batches where all sizes are fixed", async () => {
    const path = await bundle();
    await run("mlserver", path);
    expect(JSON.parse(written("small/model-settings.json"))).toEqual({
      name: "small",
      implementation: "selvedge_onnx.OnnxModel",
      inputs: [{ name: "x", datatype: "FP32", shape: [-1, 64] }],
      outputs: [{ name: "y", datatype: "FP32", shape: [-1, 4] }],
      max_batch_size: 16,
      max_batch_time: 0.002,
      parameters: { uri: "./model.onnx", version: "1" },
    });
    expect(written("small/selvedge_onnx.py")).toContain("class OnnxModel(MLModel)");
    await run("mlserver", path, { maxBatchSize: 1 });
    expect(JSON.parse(written("small/model-settings.json"))).not.toHaveProperty("max_batch_size");
  });
});
