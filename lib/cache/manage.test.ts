// Management of stored models, after a real download.
import { afterEach, beforeEach, expect, test } from "vitest";
import { Downloader } from "./download.ts";
import { weights, criteriaFor } from "../test-support/cache-fixtures.ts";
import { BadServer, hurried, serveBundle } from "../test-support/fake-network.ts";
import { contents, find, deleteStored, pin, exportFiles } from "./manage.ts";
import { MemoryStore } from "./stores/memory.ts";
import { fetchBare } from "./bare-model.ts";
import { open } from "./open.ts";
import { ModelStore } from "./model-store.ts";
import { update } from "./update.ts";

const idle = { signal: new AbortController().signal, onProgress: undefined };
const criteria = criteriaFor();
const model = weights(2_500, 1);
const table = weights(700, 2);

let server: BadServer;
let downloader: Downloader;
let url: string;

beforeEach(async () => {
  server = await BadServer.start();
  let now = 0;
  downloader = new Downloader(hurried, new ModelStore(new MemoryStore(), () => (now += 1)));
  await serveBundle(server, "/m", { "m.onnx": model, "table.bin": table }, { chunkBytes: 1_000 });
  url = `${server.url}/m/bundle.json`;
});

afterEach(() => {
  server.close();
});

test("nothing is stored at first", async () => {
  expect(await contents(downloader)).toEqual({ kind: "memory", bytes: 0, freeBytes: null, bundles: [] });
  expect(await find(downloader, url)).toBeNull();
  expect(await pin(downloader, url, true)).toBe(false);
  expect(await deleteStored(downloader, url)).toBe(0);
  await expect(exportFiles(downloader, url, undefined)).rejects.toMatchObject({ code: "download-failed" });
});

test("a stored bundle is listed, found by address and identity, pinned, and exported as its files", async () => {
  const { identity } = await update(url, criteria, downloader, idle);
  const { bytes, bundles } = await contents(downloader);
  expect(bytes).toBe(3_200);
  expect(bundles).toMatchObject([{ identity, urls: [url], bytes: 3_200, variants: ["f32"], isPinned: false }]);
  expect(await pin(downloader, url, true)).toBe(true);
  expect(await find(downloader, identity)).toMatchObject({ isPinned: true });
  const files = await exportFiles(downloader, identity, "f32");
  expect(files.map((x) => x.path)).toEqual(["m.onnx", "table.bin"]);
  expect(new Uint8Array((await files[0]?.data.arrayBuffer()) ?? new ArrayBuffer())).toEqual(model);
  expect(new Uint8Array((await files[1]?.data.arrayBuffer()) ?? new ArrayBuffer())).toEqual(table);
  await expect(exportFiles(downloader, identity, "int8")).rejects.toThrow(/no stored variant "int8"/);
  expect(await deleteStored(downloader, url)).toBe(3_200);
  expect((await contents(downloader)).bundles).toEqual([]);
});

test("what is stored in part is said to be, and is not taken out", async () => {
  await open(url, criteria, downloader, idle);
  expect(await find(downloader, url)).toMatchObject({ bytes: 0, variants: [] });
  await expect(exportFiles(downloader, url, "f32")).rejects.toThrow(/not stored whole/);
});

test("a bare model is taken out under its name", async () => {
  server.files.set("/path/bare.onnx", { bytes: model, etag: '"1"' });
  const address = `${server.url}/path/bare.onnx`;
  await fetchBare(address, downloader, idle);
  expect(await find(downloader, address)).toMatchObject({ name: "bare.onnx", variants: ["model"] });
  const files = await exportFiles(downloader, address, undefined);
  expect(files.map((x) => [x.path, x.data.size])).toEqual([["bare.onnx", 2_500]]);
});
