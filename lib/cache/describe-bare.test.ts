// A bare model with the app's own description, over a real server and a store that lasts.
import { afterEach, beforeEach, expect, test } from "vitest";
import { criteriaFor } from "../test-support/cache-fixtures.ts";
import { BadServer, makePage } from "../test-support/fake-network.ts";
import { classifier, seededFloats, smallModel } from "../test-support/compress/fixtures.ts";
import { floatTensor } from "../compress/onnx/tensor-proto.ts";
import type { OwnDescription } from "./messages.ts";
import { open } from "./open.ts";
import type { OpenedBundle } from "./opened.ts";
import { plan } from "./plan.ts";
import { readGraph } from "./read-graph.ts";
import { MemoryStore } from "./stores/memory.ts";

const idle = { signal: new AbortController().signal, onProgress: undefined };
const clock = { now: 1_000_000 };
let server: BadServer;
let memory: MemoryStore;

beforeEach(async () => {
  server = await BadServer.start();
  memory = new MemoryStore();
  const bytes = classifier({ channels: 3, size: 8, classes: 3 }).write();
  server.files.set("/m.onnx", { bytes, etag: '"1"' });
  server.files.set("/labels.txt", { bytes: new TextEncoder().encode("cat\ndog\nhen\n") });
});
afterEach(() => {
  server.close();
});

/** Opens the model as a new page would, over the store of earlier pages. */
function openWith(described?: OwnDescription, more = {}): Promise<OpenedBundle> {
  return open(`${server.url}/m.onnx`, { ...criteriaFor(more), described }, makePage(memory, clock), idle);
}

const labels = (from: string | readonly string[] = ["cat", "dog", "hen"]): OwnDescription => ({ labels: { from } });

test("image and labels become those of a bundle of one variant", async () => {
  const opened = await openWith({ image: { normalize: "-1..1" }, ...labels() });
  const { images, decodes, texts, declared } = plan(opened, criteriaFor({}));
  expect(images["x"]).toMatchObject({ channels: "rgb", resize: { width: 8, height: 8 }, mean: [0.5, 0.5, 0.5] });
  expect(decodes["y"]).toEqual({ op: "labels", asset: "labels.txt", logits: true });
  expect(texts).toEqual({ "labels.txt": "cat\ndog\nhen\n" });
  expect(plan(opened, criteriaFor({})).readers, "a repository's alone, whose steps may be left out").toBeUndefined();
  expect(declared, "the ports are those that ONNX Runtime reports").toBeNull();
});

test("each description has an identity of its own, and the store keeps one file", async () => {
  const plain = await openWith();
  const first = await openWith({ image: {} });
  const second = await openWith({ image: { normalize: "imagenet" } });
  const third = await openWith({ image: {}, ...labels() });
  const again = await openWith({ image: { channels: "rgb" } });
  expect(new Set([plain, first, second, third].map((x) => x.identity)).size).toBe(4);
  expect(again.identity, "the same in other words").toBe(first.identity);
  expect([first.storedAs, second.storedAs]).toEqual([plain.identity, plain.identity]);
  expect((await memory.names()).filter((x) => x.startsWith("chunk-"))).toHaveLength(1);
  expect((await openWith({ image: {} }, { identity: first.identity })).identity).toBe(first.identity);
  await expect(openWith({ image: {} }, { identity: plain.identity })).rejects.toMatchObject({
    code: "integrity-failed",
  });
});

test("labels from an address open without a network, and follow the server where it answers", async () => {
  const own = labels(`${server.url}/labels.txt`);
  const { identity } = await openWith(own);
  server.trick = () => ({ kind: "status", status: 503 });
  expect((await openWith(own)).texts).toEqual({ "labels.txt": "cat\ndog\nhen\n" });
  server.trick = () => null;
  server.files.set("/labels.txt", { bytes: new TextEncoder().encode('["a", "b", "c"]') });
  expect((await openWith(own)).texts).toEqual({ "labels.txt": "a\nb\nc\n" });
  server.files.set("/labels.txt", { bytes: new TextEncoder().encode("cat\ndog\nhen\n") });
  expect((await openWith(own)).identity).toBe(identity);
  server.close();
  expect((await openWith(own)).identity).toBe(identity);
  await expect(openWith(labels(`${server.url}/other.txt`))).rejects.toMatchObject({ code: "download-failed" });
});

test("labels that can't be fetched are named as labels, with the cause and whether waiting helps", async () => {
  await expect(openWith(labels(`${server.url}/none.txt`))).rejects.toMatchObject({
    message: `labels: ${server.url}/none.txt answered with status 404.`,
    details: { status: 404, reason: "not-found" },
    retryable: false,
  });
});

const LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 3\n";

test.each<[string, string, string, string]>([
  ["a start page", "html", "<!doctype html><title>An app</title>", "is an HTML page, not labels. Is the path right?"],
  ["a Git LFS pointer", "git-lfs", LFS, "is a Git LFS pointer, not the file itself. Run `git lfs pull`"],
  ["a picture", "picture", "\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "is a picture, not labels. Is the path right?"],
])("%s in place of labels has the code and reason of one in place of a model", async (_, reason, text, message) => {
  const url = `${server.url}/labels.txt`;
  server.files.set("/labels.txt", { bytes: Uint8Array.from(text, (x) => x.charCodeAt(0)) });
  await expect(openWith(labels(url))).rejects.toMatchObject({
    ...{ code: "model-invalid", retryable: false, details: { url, reason } },
    message: expect.stringContaining(`labels: ${url} ${message}`) as string,
  });
});

test("labels in UTF-16 are named with the fix, in UTF-8 with a mark they are labels", async () => {
  const url = `${server.url}/labels.txt`;
  const wide = new Uint8Array(new Uint16Array(Array.from("\ufeffcat\r\ndog", (x) => x.charCodeAt(0))).buffer);
  server.files.set("/labels.txt", { bytes: wide });
  await expect(openWith(labels(url))).rejects.toMatchObject({
    ...{ code: "model-invalid", retryable: false },
    message: expect.stringContaining("is UTF-16, not UTF-8. Save it as UTF-8") as string,
  });
  server.files.set("/labels.txt", { bytes: new TextEncoder().encode("\ufeffcat\r\ndog\r\nhen\r\n") });
  expect((await openWith(labels(url))).texts).toEqual({ "labels.txt": "cat\ndog\nhen\n" });
});

test.each<[string, OwnDescription]>([
  ['labels: 2 labels, but "y"', labels(["cat", "dog"])],
  ['image: width 9, but "x"', { image: { size: [9, 8] } }],
  ["image: gray has 1 channel", { image: { channels: "gray" } }],
])("a description that contradicts the model is a TypeError: %s", async (message, own) => {
  const loading = openWith(own);
  await expect(loading).rejects.toThrow(message);
  await expect(loading).rejects.toBeInstanceOf(TypeError);
});

test("a file that is no ONNX model is named as the cause", async () => {
  server.files.set("/m.onnx", { bytes: Uint8Array.from([8, 7, 0x3a, 0xff, 1, 2]), etag: '"2"' });
  await expect(openWith({ image: {} })).rejects.toMatchObject({ code: "model-invalid" });
});

/** A file that counts its reads, and the bytes of the largest. */
class CountedBlob extends Blob {
  reads = 0;
  largest = 0;

  override slice(start = 0, end = this.size): Blob {
    this.reads += 1;
    this.largest = Math.max(this.largest, end - start);
    return super.slice(start, end);
  }
}

test.each([
  ["at once", 40_000],
  ["by parts, without its weights", 4_500_000],
])("the graph of a file is read %s, also where weights are listed among the inputs", async (how, weights) => {
  const model = smallModel({
    opset: 13,
    inputs: { x: ["n", 3, 8, 8], w: [192, 4] },
    outputs: ["y"],
    nodes: [
      { opType: "Flatten", input: ["x"], output: ["h"] },
      { opType: "MatMul", input: ["h", "w"], output: ["z"] },
      { opType: "Softmax", input: ["z"], output: ["y"] },
    ],
    initializers: [
      floatTensor("w", [192, 4], seededFloats(768, 1)),
      floatTensor("big", [weights], new Float32Array(weights).fill(0.5)),
    ],
  });
  const blob = new CountedBlob([model.write()]);
  const { inputs, outputs, nodes } = await readGraph(blob);
  expect(inputs).toEqual([{ name: "x", dtype: "float32", dims: ["n", 3, 8, 8], batchAxis: 0 }]);
  expect(outputs).toMatchObject([{ name: "y", dims: [] }]);
  expect(nodes.map((x) => x.opType)).toEqual(["Flatten", "MatMul", "Softmax"]);
  expect(nodes[1]).toMatchObject({ input: ["h", "w"], output: ["z"] });
  if (how === "at once") expect([blob.reads, blob.largest]).toEqual([1, blob.size]);
  else expect(blob.largest).toBeLessThan(2 ** 16);
});
