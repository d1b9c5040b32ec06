// transformers.js in a worker, with its cache, which it has on by default.
import { AutoModel, env } from "@huggingface/transformers";
import { configureTransformers } from "./configure-transformers.ts";
import { answer } from "./memory-peer.ts";

configureTransformers();
answer(({ path, backend }) => {
  const [, folder, name] = /^(.*\/)([^/]+)\/onnx\/model\.onnx$/.exec(path) ?? [];
  if (folder === undefined || name === undefined) throw new Error(`${path} is in no folder of the hub's layout`);
  env.localModelPath = folder;
  return AutoModel.from_pretrained(name, { device: backend, dtype: "fp32" });
});
