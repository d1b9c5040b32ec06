// Weights that lie beside a bare graph: where they are looked for, and the identity of the whole.
import { create, toBinary } from "@bufbuild/protobuf";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ModelProtoSchema, TensorProto_DataLocation } from "../compress/onnx/onnx.gen.js";
import { criteriaFor, weights } from "../test-support/cache-fixtures.ts";
import { BadServer, hurried } from "../test-support/fake-network.ts";
import { Downloader } from "./download.ts";
import { withExternal } from "./external-data.ts";
import type { LoadCriteria } from "./messages.ts";
import { open } from "./open.ts";
import type { OpenedBundle } from "./opened.ts";
import type { Bytes } from "./stores/store.ts";

const idle = { signal: new AbortController().signal, onProgress: undefined };
/** Stands for an app's own scheme, which Node's `fetch` does not have. */
const OWN = "chrome-extension://app";
let server: BadServer;

beforeEach(async () => {
  server = await BadServer.start();
});
afterEach(() => {
  server.close();
});

/** A graph with an image as its input, whose only weight is in `weights.pb` beside it. */
function graph(): Bytes {
  const external = { key: "location", value: "weights.pb" };
  const dataLocation = TensorProto_DataLocation.EXTERNAL;
  const initializer = [{ name: "w", dims: [10n], dataType: 1, dataLocation, externalData: [external] }];
  const dim = [1, 3, 8, 8].map((x) => ({ value: { case: "dimValue" as const, value: BigInt(x) } }));
  const type = { value: { case: "tensorType" as const, value: { elemType: 1, shape: { dim } } } };
  const model = { irVersion: 8n, graph: { name: "g", initializer, input: [{ name: "x", type }] } };
  return new Uint8Array(toBinary(ModelProtoSchema, create(ModelProtoSchema, model)));
}

/** Serves the graph in a folder, with weights by their seed; returns its path. */
function serve(folder: string, seed = 1): string {
  server.files.set(`${folder}/graph.onnx`, { bytes: graph(), etag: '"graph"' });
  server.files.set(`${folder}/weights.pb`, { bytes: weights(40, seed), etag: `"${seed}"` });
  return `${folder}/graph.onnx`;
}

function openFrom(from: string | Blob, more: Partial<LoadCriteria> = {}): Promise<OpenedBundle> {
  const handle = async (url: string, init: RequestInit): Promise<Response> => {
    const { body, headers, status } = await fetch(url.replace(OWN, server.url), init);
    return new Response(body, { headers, status });
  };
  const effects = { ...hurried, ownProtocol: "chrome-extension:", fetch: handle };
  return open(from, criteriaFor(more), new Downloader(effects, null), idle);
}

test("bytes, which lead to no other file, are refused with the name of the file", async () => {
  const blob = new Blob([graph()]);
  const base64 = Buffer.from(graph()).toString("base64");
  for (const from of [blob, URL.createObjectURL(blob), `data:application/octet-stream;base64,${base64}`])
    await expect(openFrom(from)).rejects.toMatchObject({
      ...{ code: "model-invalid", details: { path: "weights.pb", reason: "external-data" } },
      message: expect.stringMatching(/keeps its weights in "weights\.pb", .*: load it by its URL/) as string,
    });
});

test("an address leads to it, also one of an app's own scheme, and one with the name of a scheme in it", async () => {
  for (const url of [server.url + serve("/m"), OWN + serve("/m"), server.url + serve("/data:1")]) {
    const { bundle, storedAs } = await openFrom(url);
    expect(bundle.variants[0]?.files.map((x) => x.path)).toEqual(["graph.onnx", "weights.pb"]);
    expect(storedAs).toBeUndefined();
  }
});

test("with the app's own description there is an identity for each description and for each data", async () => {
  const url = server.url + serve("/m");
  const imagenet = { described: { image: { normalize: "imagenet" as const } } };
  const plain = await openFrom(url);
  const first = await openFrom(url, { described: { image: {} } });
  const second = await openFrom(url, imagenet);
  expect([first.storedAs, second.storedAs]).toEqual([plain.identity, plain.identity]);
  expect(second.bundle.model.inputs).toMatchObject([{ name: "x", image: { resize: { width: 8, height: 8 } } }]);
  const pinned = await openFrom(url, { ...imagenet, identity: second.identity });
  expect(pinned.identity).toBe(second.identity);
  serve("/m", 2);
  const other = await openFrom(url, imagenet);
  expect(new Set([plain, first, second, other].map((x) => x.identity)).size).toBe(4);
});

/** A graph before so many bytes of an unknown field, which are never read. */
class LargeGraph extends Blob {
  reads = 0;

  constructor(size: number) {
    const bytes = graph();
    const rest = size - bytes.length - 5;
    const varint = [0, 7, 14, 21].map((x, i) => ((rest >> x) & 127) | (i < 3 ? 128 : 0));
    super([bytes, Uint8Array.of((15 << 3) | 2, ...varint)]);
    Object.defineProperty(this, "size", { value: size });
  }

  override slice(start?: number, end?: number): Blob {
    this.reads += 1;
    return super.slice(start, end);
  }
}

test("it is looked for in a graph of 64 MiB; a larger one has its weights inside, and is not read for it", async () => {
  const opened = await openFrom(server.url + serve("/m"));
  const openNone = (): Promise<OpenedBundle> => Promise.reject(new Error("there is no other file"));
  const of = (data: Blob | null): Promise<OpenedBundle> => withExternal(null, { ...opened, data }, openNone);
  await expect(of(new LargeGraph(2 ** 26))).rejects.toMatchObject({ details: { path: "weights.pb" } });
  const larger = new LargeGraph(2 ** 26 + 1);
  expect([(await of(larger)).data, larger.reads]).toEqual([larger, 0]);
  expect((await of(null)).identity).toBe(opened.identity);
});
