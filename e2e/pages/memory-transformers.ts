// transformers.js in a worker, with its cache, which it has on by default.
import { AutoModel, env } from "@huggingface/transformers";
import { answer } from "./memory-peer.ts";

env.allowRemoteModels = false;
env.allowLocalModels = true;
const { wasm } = env.backends.onnx;
if (wasm === undefined) throw new Error("transformers.js has no wasm backend here");
wasm.wasmPaths = {
  mjs: "/transformers-ort/ort-wasm-simd-threaded.asyncify.mjs",
  wasm: "/transformers-ort/ort-wasm-simd-threaded.asyncify.wasm",
};
wasm.numThreads = 1;

answer(({ path, backend }) => {
  const [, folder, name] = /^(.*\/)([^/]+)\/onnx\/model\.onnx$/.exec(path) ?? [];
  if (folder === undefined || name === undefined) throw new Error(`${path} is in no folder of the hub's layout`);
  env.localModelPath = folder;
  return AutoModel.from_pretrained(name, { device: backend, dtype: "fp32" });
});
