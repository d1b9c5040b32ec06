// The least that serves a model of float32 tensors as bytes by the Open Inference Protocol: fastify and onnxruntime-node,
// without checks, queue, batches or threads. A peer of `selvedge serve`: tsx bare-fastify.ts NAME MODEL.onnx
import { fastify } from "fastify";
import { InferenceSession, Tensor } from "onnxruntime-node";

const [name = "", path = ""] = process.argv.slice(2);
const LENGTH = "inference-header-content-length";
const session = await InferenceSession.create(path, { intraOpNumThreads: 1 });

interface Head {
  readonly id: string;
  readonly inputs: readonly {
    readonly name: string;
    readonly shape: readonly number[];
    readonly parameters: { readonly binary_data_size: number };
  }[];
}

const app = fastify({ bodyLimit: 64 * 2 ** 20 });
app.addContentTypeParser("application/octet-stream", { parseAs: "buffer" }, (_request, body, done) => {
  done(null, body);
});
app.get("/v2/health/ready", () => ({ ready: true }));
app.post(`/v2/models/${name}/infer`, async (request, reply) => {
  const body = request.body as Buffer;
  let at = Number(request.headers[LENGTH]);
  const { id, inputs } = JSON.parse(body.toString("utf8", 0, at)) as Head;
  const feeds: Record<string, Tensor> = {};
  for (const { name, shape, parameters } of inputs) {
    const end = at + parameters.binary_data_size;
    // Aligned, as the array needs it.
    const data = new Float32Array(new Uint8Array(body.subarray(at, end)).buffer);
    feeds[name] = new Tensor("float32", data, [...shape]);
    at = end;
  }
  const results = Object.entries(await session.run(feeds));
  const parts = results.map(([, { data }]) => {
    const { buffer, byteOffset, byteLength } = data as Float32Array;
    return Buffer.from(buffer, byteOffset, byteLength);
  });
  const outputs = results.map(([name, { dims }], i) => ({
    ...{ name, datatype: "FP32", shape: dims },
    parameters: { binary_data_size: parts[i]?.length },
  }));
  const head = Buffer.from(JSON.stringify({ id, model_name: name, model_version: "1", outputs }));
  void reply.type("application/octet-stream").header(LENGTH, head.length);
  return Buffer.concat([head, ...parts]);
});
console.log(`listening on ${await app.listen({ host: "127.0.0.1", port: 0 })}`);
