// transformers.js in a worker, as its documentation advises, with a model of one's own.
import { AutoModel, env, Tensor } from "@huggingface/transformers";
import { configureTransformers } from "./configure-transformers.ts";
import { answer } from "./peer.ts";
import type { PeerData } from "./peer.ts";

type Model = (inputs: Record<string, Tensor>) => Promise<Record<string, Tensor>>;

let model: Model | null = null;

configureTransformers();
answer({
  async load(bytes, device) {
    env.useBrowserCache = false;
    env.useWasmCache = false;
    env.localModelPath = "/own/";
    env.fetch = (url) => Promise.resolve(fileOf(String(url), bytes));
    model = await AutoModel.from_pretrained("model", { device, dtype: "fp32" });
  },
  async run(feeds) {
    const values = Object.entries(feeds).map(([name, { dtype, dims, data }]) => [name, new Tensor(dtype, data, dims)]);
    const outputs = await model?.(Object.fromEntries(values) as Record<string, Tensor>);
    return outputs?.["y"]?.data as PeerData;
  },
});

/** The two files that it requests. */
function fileOf(url: string, bytes: Uint8Array<ArrayBuffer>): Response {
  if (url.endsWith("/config.json")) return Response.json({ model_type: "custom" });
  if (url.endsWith("/onnx/model.onnx")) return new Response(bytes);
  return new Response(null, { status: 404 });
}
