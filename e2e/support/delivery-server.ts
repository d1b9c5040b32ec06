// The server of the delivery tests: a bundle with a small model and some megabytes of other files, which a page of
// another origin may fetch.
import type { Bundle } from "../../lib/core/bundle.ts";
import { bundleJson } from "../../lib/core/bundle-json.ts";
import { addModel, tableModel } from "../../lib/test-support/backend-models.ts";
import { weights } from "../../lib/test-support/cache-fixtures.ts";
import { BadServer, serveBundle } from "../../lib/test-support/fake-network.ts";

/** Size of a chunk: small, for many borders. */
export const CHUNK_BYTES = 64 * 1024;

/** Bytes besides the model, as external data that it does not use. */
const BALLAST_BYTES = 3_000_000;

/** Starts a server with the bundle under `/m/`; `chunks` is the number of its chunks. */
export async function startDelivery(): Promise<{ server: BadServer; url: string; bundle: Bundle; chunks: number }> {
  const server = await BadServer.start();
  server.headers = {
    "access-control-allow-origin": "*",
    "access-control-expose-headers": "etag, content-range",
    "cross-origin-resource-policy": "cross-origin",
  };
  const files = { "model.onnx": new Uint8Array(addModel()), "ballast.bin": weights(BALLAST_BYTES) };
  const bundle = await describeAdd(server, files);
  const chunks = bundle.variants[0]?.files.flatMap((x) => x.chunks).length ?? 0;
  return { server, url: `${server.url}/m/bundle.json`, bundle, chunks };
}

/** Serves a model of this size: as a bundle under `/large/bundle.json`, and bare under `/large.onnx`. */
export async function serveLarge(server: BadServer, sizeBytes: number): Promise<void> {
  const bytes = tableModel(Math.round(sizeBytes / 12));
  // Identical chunks would be fetched once.
  bytes.set(weights(bytes.length - 1_000), 500);
  server.files.set("/large.onnx", { bytes, etag: '"large"' });
  const bundle = await serveBundle(server, "/large", { "model.onnx": bytes });
  const inputs = [{ name: "x", dtype: "int64", dims: ["n"], batchAxis: 0 }] as const;
  const outputs = [{ name: "y", dtype: "float32", dims: ["n", 3], batchAxis: 0 }] as const;
  const described: Bundle = { ...bundle, model: { ...bundle.model, inputs, outputs } };
  const json = new TextEncoder().encode(JSON.stringify(bundleJson(described)));
  server.files.set("/large/bundle.json", { bytes: json, type: "application/json" });
}

/** Serves the model that adds, with its inputs and outputs described. */
async function describeAdd(server: BadServer, files: Record<string, Uint8Array<ArrayBuffer>>): Promise<Bundle> {
  const bundle = await serveBundle(server, "/m", files, { chunkBytes: CHUNK_BYTES });
  const port = { dtype: "float32", dims: ["n", 3], batchAxis: 0 } as const;
  const described: Bundle = {
    ...bundle,
    model: {
      ...bundle.model,
      inputs: [
        { ...port, name: "a" },
        { ...port, name: "b" },
      ],
      outputs: [{ ...port, name: "y" }],
    },
  };
  const bytes = new TextEncoder().encode(JSON.stringify(bundleJson(described)));
  server.files.set("/m/bundle.json", { bytes, type: "application/json" });
  return described;
}
