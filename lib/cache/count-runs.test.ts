// The run of a model whose description states none: counted where its file is here.
import { expect, test } from "vitest";
import { modelOf } from "../test-support/onnx/onnx-graphs.ts";
import { sha256Hex } from "../core/bundle.ts";
import type { Bundle } from "../core/bundle.ts";
import { countRuns } from "./count-runs.ts";
import { ModelStore } from "./model-store.ts";
import { bareOf } from "./open.ts";
import { MemoryStore } from "./stores/memory.ts";

const bytes = modelOf({
  inputs: { x: { dtype: "float32", dims: [1, 1_000] } },
  outputs: ["y"],
  nodes: [{ opType: "Transpose", input: ["x"], output: ["y"] }],
}).write();
const RUN = 4 * 4_000;

const bundleOf = async (own: object = {}): Promise<Bundle> => {
  const chunks = [{ sha256: await sha256Hex(bytes), bytes: bytes.length }];
  return {
    format: 2,
    model: { name: "m", version: "1", licence: "MIT", inputs: [], outputs: [] },
    variants: [{ id: "f32", needs: [], files: [{ path: "model.onnx", bytes: bytes.length, chunks }], ...own }],
  };
};
const counted = async (bundle: Bundle, modelStore: ModelStore | null): Promise<number | undefined> => {
  const opened = { ...bareOf("https://models.example/m.onnx", 1), bundle };
  return (await countRuns(opened, modelStore)).bundle.variants[0]?.activationBytes?.wasm;
};

test("a bare model's run is read from its bytes", async () => {
  const opened = { ...bareOf("https://models.example/m.onnx", bytes.length), data: new Blob([bytes]) };
  expect((await countRuns(opened, null)).bundle.variants[0]?.activationBytes?.wasm).toBe(RUN);
});

test("a bundle that states no run has it counted once its file is stored", async () => {
  const bundle = await bundleOf();
  const modelStore = new ModelStore(new MemoryStore(), () => 0);
  expect(await counted(bundle, modelStore)).toBeUndefined();
  const [chunk] = bundle.variants[0]?.files[0]?.chunks ?? [];
  if (chunk !== undefined) await modelStore.write(chunk, bytes);
  expect(await counted(bundle, modelStore)).toBe(RUN);
  expect(await counted(bundle, null)).toBeUndefined();
  expect(await counted(await bundleOf({ activationBytes: { wasm: 7, webgpu: 7 } }), modelStore)).toBe(7);
});

test("a repository's file is read from its pieces", async () => {
  const bundle = await bundleOf();
  const modelStore = new ModelStore(new MemoryStore(), () => 0);
  const [file] = bundle.variants[0]?.files ?? [];
  const [chunk] = file?.chunks ?? [];
  if (file === undefined || chunk === undefined) throw new Error("no chunk");
  const half = bytes.length >> 1;
  const parts = [bytes.slice(0, half), bytes.slice(half)];
  const pieces = await Promise.all(parts.map(async (x) => ({ sha256: await sha256Hex(x), bytes: x.length })));
  for (const [i, piece] of pieces.entries()) await modelStore.write(piece, parts[i] ?? new Uint8Array());
  const repository = { ...file, chunks: [{ ...chunk, url: "https://models.example/model.onnx" }] };
  const own = { ...bundle, variants: [{ id: "f32", needs: [], files: [repository] }] };
  expect(await counted(own, modelStore)).toBeUndefined();
  await modelStore.recordFile(chunk, pieces);
  expect(await counted(own, modelStore)).toBe(RUN);
});

test("an image's input has the size of its description", async () => {
  const open = modelOf({
    inputs: { x: { dtype: "float32", dims: [1, 3, 8, 8] } },
    outputs: ["y"],
    nodes: [{ opType: "Transpose", input: ["x"], output: ["y"] }],
  });
  const [input] = open.graph.proto.input;
  const shape = input?.type?.value.case === "tensorType" ? input.type.value.value.shape : undefined;
  for (const dim of shape?.dim.slice(2) ?? []) dim.value = { case: "dimParam", value: "size" };
  const { bundle, ...opened } = bareOf("https://models.example/m.onnx", 1);
  const image = { resize: { mode: "exact", width: 20, height: 10 }, channels: "rgb", layout: "nchw" } as const;
  const inputs = [{ name: "x", dtype: "float32", dims: [1, 3, "h", "w"], batchAxis: null, image }] as const;
  const described = {
    ...opened,
    bundle: { ...bundle, model: { ...bundle.model, inputs } },
    data: new Blob([open.write()]),
  };
  expect((await countRuns(described, null)).bundle.variants[0]?.activationBytes?.wasm).toBe(4 * 4 * 600);
  const plain = { ...opened, bundle, data: described.data };
  expect((await countRuns(plain, null)).bundle.variants[0]?.activationBytes).toBeUndefined();
});

test("a sound's input has the size of its description where that is known", async () => {
  const soundRun = async (name: string, dims: readonly number[], steps: object): Promise<number | undefined> => {
    const open = modelOf({
      inputs: { [name]: { dtype: "float32", dims } },
      outputs: ["y"],
      nodes: [{ opType: "Transpose", input: [name], output: ["y"] }],
    });
    const [input] = open.graph.proto.input;
    const shape = input?.type?.value.case === "tensorType" ? input.type.value.value.shape : undefined;
    for (const [i, dim] of (shape?.dim ?? []).entries()) dim.value = { case: "dimParam", value: `d${i}` };
    const { bundle, ...opened } = bareOf("https://models.example/m.onnx", 1);
    const model = { ...bundle.model, ...steps };
    const described = { ...opened, bundle: { ...bundle, model }, data: new Blob([open.write()]) };
    return (await countRuns(described, null)).bundle.variants[0]?.activationBytes?.wasm;
  };
  const fbank = { op: "fbank", sampleRate: 16_000, bands: 128, frames: 1_024 } as const;
  const logMel = { op: "log-mel", sampleRate: 16_000, bands: 80, seconds: 30 } as const;
  const ofRepository = (sound: object): object => ({
    steps: { texts: {}, images: {}, decodes: {}, sounds: { x: sound } },
  });
  expect(await soundRun("x", [1, 1_024, 128], ofRepository(fbank))).toBe(4 * 4 * 1_024 * 128);
  const port = { name: "x", dtype: "float32", dims: ["n", 80, "t"], batchAxis: 0, sound: logMel } as const;
  expect(await soundRun("x", [1, 80, 3_000], { inputs: [port] })).toBe(4 * 4 * 80 * 3_000);
  expect(await soundRun("x", [1, 80, 3_000], ofRepository({ ...logMel, seconds: undefined }))).toBeUndefined();
  expect(await soundRun("x", [1, 16_000], ofRepository({ op: "samples", sampleRate: 16_000 }))).toBeUndefined();
});

test("an input may have the name of a property of objects", async () => {
  const named = modelOf({
    inputs: { constructor: { dtype: "float32" as const, dims: [1, 1_000] } },
    outputs: ["y"],
    nodes: [{ opType: "Transpose", input: ["constructor"], output: ["y"] }],
  });
  const opened = { ...bareOf("https://models.example/m.onnx", 1), data: new Blob([named.write()]) };
  expect((await countRuns(opened, null)).bundle.variants[0]?.activationBytes?.wasm).toBe(RUN);
});
