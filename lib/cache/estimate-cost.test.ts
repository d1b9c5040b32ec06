// The cost of a model before it is loaded, over a real server and a real store: what is counted, and what a failing store,
// a model without room in memory and a server without a size lead to.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Bundle } from "../core/bundle.ts";
import { bundleJson } from "../core/bundle-json.ts";
import { criteriaFor, weights } from "../test-support/cache-fixtures.ts";
import { BadServer, hurried, serveBundle } from "../test-support/fake-network.ts";
import { modelOf } from "../test-support/onnx/onnx-graphs.ts";
import { Downloader } from "./download.ts";
import type { DownloadEffects } from "./download.ts";
import { estimateCost } from "./estimate-cost.ts";
import { bareManifest, identityOf } from "./manifest.ts";
import type { CostEstimate, LoadCriteria } from "./messages.ts";
import { ModelStore } from "./model-store.ts";
import { open } from "./open.ts";
import { MemoryStore } from "./stores/memory.ts";
import { update } from "./update.ts";

const idle = { signal: new AbortController().signal, onProgress: undefined };
const adapter = { vendor: "toy", architecture: "", description: "", software: false, features: [], limits: {} };
const broken = (): Promise<never> => Promise.reject(new Error("the disk failed"));

let server: BadServer;
let store: ModelStore;

beforeEach(async () => {
  server = await BadServer.start();
  let now = 0;
  store = new ModelStore(new MemoryStore(), () => (now += 1));
});
afterEach(() => {
  server.close();
});

const bundleUrl = (): string => `${server.url}/m/bundle.json`;
const bareUrl = (): string => `${server.url}/m.onnx`;
const pageOf = (effects: Partial<DownloadEffects> = {}, own: ModelStore | null = store): Downloader =>
  new Downloader({ ...hurried, ...effects }, own);

function ask(
  url: string,
  more: Partial<LoadCriteria> = {},
  page: Downloader = pageOf(),
  signal: AbortSignal = idle.signal,
): Promise<CostEstimate> {
  return estimateCost(url, criteriaFor(more), page, signal);
}

const budget = (budgetBytes: number): Partial<LoadCriteria> => ({
  memory: { budgetBytes, copiesBlobs: false, holdsBlobs: false },
});

/** Serves a bundle's description again, changed. */
function describeAs(bundle: Bundle): void {
  const bytes = new TextEncoder().encode(JSON.stringify(bundleJson(bundle)));
  server.files.set("/m/bundle.json", { bytes, type: "application/json" });
}

describe("the browser's facts", () => {
  const factsOf = async (effects: Partial<DownloadEffects>): Promise<Partial<CostEstimate>> => {
    const { freeBytes, bytesPerSecond, saveData } = await ask(bareUrl(), {}, pageOf(effects));
    return { freeBytes, bytesPerSecond, saveData };
  };

  test("free bytes are the quota less its usage, never below 0, and unknown without an estimate", async () => {
    const free = async (quota: number, usage: number): Promise<unknown> =>
      (await factsOf({ estimate: () => Promise.resolve({ quota, usage }) })).freeBytes;
    expect([await free(100, 30), await free(100, 100), await free(30, 100)]).toEqual([70, 0, 0]);
    expect((await factsOf({})).freeBytes).toBeNull();
    expect((await factsOf({ estimate: broken })).freeBytes).toBeNull();
  });

  test("the rate of earlier downloads counts before the browser's guess", async () => {
    const effects = { connection: () => ({ saveData: true, bytesPerSecond: 5 }) };
    expect(await factsOf(effects)).toMatchObject({ bytesPerSecond: 5, saveData: true });
    await store.noteRate(7_000);
    expect(await factsOf(effects)).toMatchObject({ bytesPerSecond: 7_000, saveData: true });
    store.rate = broken;
    expect((await factsOf(effects)).bytesPerSecond).toBe(5);
    expect((await factsOf({})).bytesPerSecond).toBeNull();
  });

  test("they are in the answer for a bare model, and for one that is not available", async () => {
    const page = pageOf({ estimate: () => Promise.resolve({ quota: 9, usage: 1 }) });
    server.files.set("/m.onnx", { bytes: weights(100) });
    const facts = { freeBytes: 8, saveData: false, bytesPerSecond: null };
    expect(await ask(bareUrl(), {}, page)).toMatchObject(facts);
    expect(await ask(bareUrl(), budget(10), page)).toMatchObject(facts);
    expect(await ask(bundleUrl(), {}, page)).toMatchObject(facts);
    await serveBundle(server, "/m", { "m.onnx": weights(100) });
    expect(await ask(bundleUrl(), {}, page)).toMatchObject(facts);
  });
});

describe("a bundle", () => {
  test("has the bytes over the wire, with its assets, each chunk once", async () => {
    const files = { "a.onnx": weights(2_000, 1), "b.bin": weights(2_000, 1), "c.bin": new Uint8Array(3_000) };
    const bundle = await serveBundle(server, "/m", files, { chunkBytes: 1_000, encoding: "gzip" });
    const [a, b, c] = bundle.variants[0]?.files ?? [];
    if (a === undefined || b === undefined || c === undefined) throw new Error("three files are served");
    const wire = c.chunks[0]?.wireBytes ?? Number.NaN;
    expect(wire).toBeLessThan(1_000);
    describeAs({ ...bundle, variants: [{ id: "f32", needs: [], files: [a, b] }], assets: [c] });
    const bytes = 2_000 + wire;
    expect((await ask(bundleUrl())).costs).toMatchObject([{ backend: "wasm", bytes, bytesToFetch: bytes }]);
    const [first] = a.chunks;
    if (first !== undefined) await store.write(first, weights(1_000, 1));
    expect((await ask(bundleUrl())).costs).toMatchObject([{ bytes, bytesToFetch: bytes - 1_000 }]);
  });

  test("has the facts of each backend that it may run on", async () => {
    await serveBundle(server, "/m", { "m.onnx": weights(500) });
    const more: Partial<LoadCriteria> = {
      backends: ["webgpu", "wasm"],
      device: { ...criteriaFor().device, gpu: adapter },
    };
    const { costs, failed, unfit } = await ask(bundleUrl(), more);
    expect(costs).toMatchObject([
      { backend: "webgpu", bytes: 500, fit: { fits: "yes", why: expect.stringMatching(/^f32 on webgpu/) as string } },
      { backend: "wasm", bytes: 500, fit: { fits: "yes", why: expect.stringMatching(/^f32 on wasm/) as string } },
    ]);
    expect([failed, unfit]).toEqual([null, null]);
  });

  test("that does not fit in memory has the limit, the bytes and the sentence of it", async () => {
    await serveBundle(server, "/m", { "m.onnx": weights(500) });
    const { costs, plan, failed, unfit } = await ask(bundleUrl(), budget(100));
    expect([costs, plan]).toEqual([[], null]);
    expect(failed).toMatch(/^test does not fit in memory: f32 on wasm/);
    expect(unfit).toEqual({
      fits: "no",
      memoryBytes: expect.any(Number) as number,
      why: failed,
      reason: "memory-budget",
    });
    expect(unfit?.memoryBytes).toBeGreaterThan(500);
  });

  test("that is not available for another reason has no memory", async () => {
    expect(await ask(bundleUrl())).toMatchObject({
      ...{ plan: null, costs: [], unfit: null },
      failed: `${bundleUrl()} answered with status 404.`,
    });
  });

  test("is under way where this page or another tab fetches a chunk that is missing", async () => {
    const bundle = await serveBundle(server, "/m", { "m.onnx": weights(2_000) }, { chunkBytes: 1_000 });
    const [first, second] = bundle.variants[0]?.files[0]?.chunks ?? [];
    if (first === undefined || second === undefined) throw new Error("two chunks are served");
    const isUnderWay = async (page: Downloader): Promise<unknown> =>
      (await ask(bundleUrl(), {}, page)).costs[0]?.isUnderWay;
    const lock = { heldLocks: () => Promise.resolve([`selvedge/${first.sha256}`]) };
    expect(await isUnderWay(pageOf())).toBe(false);
    expect(await isUnderWay(pageOf(lock))).toBe(true);
    expect(await isUnderWay(pageOf({ heldLocks: () => Promise.resolve([first.sha256]) }))).toBe(false);
    expect(await isUnderWay(pageOf({ heldLocks: broken })), "the locks can't be read").toBe(false);
    await store.write(first, weights(1_000));
    expect(await isUnderWay(pageOf(lock)), "the chunk is here").toBe(false);
    const page = pageOf();
    page.isUnderWay = (chunk) => chunk.sha256 === second.sha256;
    expect(await isUnderWay(page)).toBe(true);
  });

  test("counts as not stored where the store can't be read", async () => {
    await serveBundle(server, "/m", { "m.onnx": weights(500) });
    await update(bundleUrl(), criteriaFor(), pageOf(), idle);
    expect((await ask(bundleUrl())).costs).toMatchObject([{ bytesToFetch: 0 }]);
    store.chunks = broken;
    expect((await ask(bundleUrl())).costs).toMatchObject([{ bytesToFetch: 500 }]);
    expect((await ask(bundleUrl(), {}, pageOf({}, null))).costs).toMatchObject([{ bytesToFetch: 500 }]);
  });

  test("has its run counted once its file is stored", async () => {
    const file = new Uint8Array(graph.write());
    await serveBundle(server, "/m", { "m.onnx": file });
    const before = (await ask(bundleUrl())).costs[0]?.fit?.memoryBytes ?? 0;
    await update(bundleUrl(), criteriaFor(), pageOf(), idle);
    expect((await ask(bundleUrl())).costs[0]?.fit?.memoryBytes).toBe(before + RUN);
  });
});

const RUN = 4 * 400_000;
const graph = modelOf({
  inputs: { x: { dtype: "float32", dims: [1, 100_000] } },
  outputs: ["y"],
  nodes: [{ opType: "Transpose", input: ["x"], output: ["y"] }],
});

describe("a bare model", () => {
  const serve = (bytes: Uint8Array<ArrayBuffer> = weights(5_000)): void => {
    server.files.set("/m.onnx", { bytes, etag: '"1"' });
  };
  const none = { plan: null, failed: null, unfit: null };

  test("has the size that the server tells", async () => {
    serve();
    const { costs, ...rest } = await ask(bareUrl());
    expect(rest).toMatchObject(none);
    expect(costs).toMatchObject([
      { backend: null, bytes: 5_000, bytesToFetch: 5_000, isUnderWay: false, fit: { fits: "yes", reason: null } },
    ]);
    expect(costs[0]?.fit?.why).toMatch(/^model on wasm: about .* to load, its run not counted$/);
    expect(server.asked).toEqual([{ method: "HEAD", path: "/m.onnx", range: null }]);
  });

  test.each([
    ["the server tells none", {}],
    ["it is that of the compressed file", { "content-length": "50", "content-encoding": "gzip" }],
    ["it is no number", { "content-length": "many" }],
  ])("has no size and no memory where %s", async (_, headers) => {
    const answer = (): Promise<Response> => Promise.resolve(new Response(null, { headers }));
    const found = await ask(bareUrl(), budget(10), pageOf({ fetch: answer }));
    expect(found).toMatchObject(none);
    expect(found.costs).toEqual([{ backend: null, bytes: null, bytesToFetch: null, isUnderWay: false, fit: null }]);
  });

  test("is cancelled once its headers are here", async () => {
    let signal: AbortSignal | null | undefined;
    const answer: DownloadEffects["fetch"] = (_, init) => {
      signal = init?.signal;
      return Promise.resolve(new Response(null, { headers: { "content-length": "50" } }));
    };
    await ask(bareUrl(), {}, pageOf({ fetch: answer }));
    expect(signal?.aborted).toBe(true);
  });

  test("that does not fit in memory has its size, the limit and the sentence of it", async () => {
    serve();
    const { costs, failed, unfit, plan } = await ask(bareUrl(), budget(100));
    expect(plan).toBeNull();
    expect(costs).toEqual([{ backend: null, bytes: 5_000, bytesToFetch: 5_000, isUnderWay: false, fit: null }]);
    expect(failed).toMatch(/^m\.onnx does not fit in memory/);
    expect(unfit).toMatchObject({ fits: "no", why: failed, reason: "memory-budget" });
  });

  test("that is not there has no cost", async () => {
    const failed = `${bareUrl()} answered with status 404.`;
    expect(await ask(bareUrl())).toMatchObject({ plan: null, costs: [], failed, unfit: null });
  });

  test("has the memory of the backend that it will run on", async () => {
    serve();
    const fitOn = async (software: boolean): Promise<string> => {
      const device = { ...criteriaFor().device, gpu: { ...adapter, software } };
      const { costs } = await ask(bareUrl(), { backends: ["webgpu", "wasm"], device });
      return costs[0]?.fit?.why ?? "";
    };
    expect(await fitOn(true)).toMatch(/^model on wasm/);
    expect(await fitOn(false)).toMatch(/^model on webgpu/);
  });

  test("has its run counted by its graph once it is stored, and by its size where that can't be read", async () => {
    serve(new Uint8Array(graph.write()));
    const memory = async (): Promise<number> => (await ask(bareUrl())).costs[0]?.fit?.memoryBytes ?? 0;
    const before = await memory();
    await open(bareUrl(), criteriaFor(), pageOf(), idle);
    server.asked = [];
    expect(await memory()).toBe(before + RUN);
    expect(server.asked, "a stored one is not asked for").toEqual([]);
    store.peek = broken;
    expect(await memory()).toBe(before);
  });

  test("is under way where a tab fetches its address", async () => {
    serve();
    const isUnderWay = async (name: string): Promise<unknown> =>
      (await ask(bareUrl(), {}, pageOf({ heldLocks: () => Promise.resolve([name]) }))).costs[0]?.isUnderWay;
    expect(await isUnderWay(`selvedge/bare/${bareUrl()}`)).toBe(true);
    expect(await isUnderWay(`selvedge/bare/${server.url}/other.onnx`)).toBe(false);
    await open(bareUrl(), criteriaFor(), pageOf(), idle);
    expect(await isUnderWay(`selvedge/bare/${bareUrl()}`), "it is fetched anew").toBe(true);
    const { costs } = await ask(bareUrl(), {}, pageOf({ heldLocks: broken }));
    expect(costs).toMatchObject([{ bytes: 5_000, bytesToFetch: 0, isUnderWay: false }]);
  });

  test("that is stored in part is asked for", async () => {
    serve();
    const chunks = [
      { sha256: "a".repeat(64), bytes: 2_000 },
      { sha256: "b".repeat(64), bytes: 3_000 },
    ];
    const manifest = bareManifest(chunks);
    const identity = await identityOf(manifest);
    await store.remember(manifest, { url: bareUrl(), identity, validator: null, signature: null });
    await store.write(chunks[0] as (typeof chunks)[0], weights(2_000));
    expect((await ask(bareUrl())).costs).toMatchObject([{ bytes: 5_000, bytesToFetch: 5_000 }]);
    expect(server.asked).toHaveLength(1);
    await store.write(chunks[1] as (typeof chunks)[0], weights(3_000));
    expect((await ask(bareUrl())).costs).toMatchObject([{ bytes: 5_000, bytesToFetch: 0 }]);
    expect(server.asked).toHaveLength(1);
  });

  test("is asked for where the store has a bundle under its address", async () => {
    serve();
    const bundle = await serveBundle(server, "/m", { "m.onnx": weights(500) });
    const manifest = bundleJson(bundle);
    const identity = await identityOf(manifest);
    await store.remember(manifest, { url: bareUrl(), identity, validator: null, signature: null });
    expect((await ask(bareUrl())).costs).toMatchObject([{ bytes: 5_000, bytesToFetch: 5_000 }]);
  });

  test.each([
    ["source", "is asked for where the store's record of its address can't be read"],
    ["bundle", "is asked for where the store's bundle can't be read"],
    ["chunks", "is asked for where the store's chunks can't be listed"],
  ] as const)("%s: %s", async (method, _) => {
    serve();
    await open(bareUrl(), criteriaFor(), pageOf(), idle);
    store[method] = broken;
    expect(await ask(bareUrl())).toMatchObject({ ...none, costs: [{ bytes: 5_000, bytesToFetch: 5_000 }] });
  });

  test("is asked for on a page without a store", async () => {
    serve();
    expect((await ask(bareUrl(), {}, pageOf({}, null))).costs).toMatchObject([{ bytesToFetch: 5_000 }]);
  });
});

describe("what is no answer about the model rejects", () => {
  test("a cancel, with the signal's reason", async () => {
    const reason = new Error("the page has moved on");
    for (const url of [bundleUrl(), bareUrl()])
      await expect(ask(url, {}, pageOf(), AbortSignal.abort(reason))).rejects.toBe(reason);
  });

  test("a mistake of the caller", async () => {
    await serveBundle(server, "/m", { "m.onnx": weights(500) });
    const pins = { backend: undefined, variant: "int8" };
    await expect(ask(bundleUrl(), { pins })).rejects.toBeInstanceOf(RangeError);
    server.files.set("/m.onnx", { bytes: weights(500) });
    await expect(ask(bareUrl(), { pins })).rejects.toBeInstanceOf(RangeError);
  });
});
