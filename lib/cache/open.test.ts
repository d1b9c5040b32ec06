// Choice of a bundle's version, its trust, its cost, and the downloads of an update: over a real server and a store
// that lasts.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Bundle } from "../core/bundle.ts";
import { isSelvedgeError } from "../core/errors.ts";
import { Downloader } from "./download.ts";
import { weights, criteriaFor } from "../test-support/cache-fixtures.ts";
import { BadServer, hurried, makePage, serveBundle } from "../test-support/fake-network.ts";
import { estimateCost } from "./estimate-cost.ts";
import { bundleJson } from "../core/bundle-json.ts";
import { identityOf } from "./manifest.ts";
import { MemoryStore } from "./stores/memory.ts";
import { open } from "./open.ts";
import type { LoadCriteria } from "./messages.ts";
import { ModelStore } from "./model-store.ts";
import { update } from "./update.ts";

const CHUNK = 1_000;
const idle = { signal: new AbortController().signal, onProgress: undefined };

let server: BadServer;
let memory: MemoryStore;
const clock = { now: 1_000_000 };

beforeEach(async () => {
  server = await BadServer.start();
  memory = new MemoryStore();
});

afterEach(() => {
  server.close();
});

/** A page of its own, over the store of earlier pages. */
function page(): Downloader {
  return makePage(memory, clock);
}

async function release(version: string, ...seeds: number[]): Promise<{ bundle: Bundle; identity: string }> {
  const bytes = new Uint8Array(seeds.flatMap((seed) => [...weights(CHUNK, seed)]));
  const bundle = await serveBundle(server, "/m", { "m.onnx": bytes }, { chunkBytes: CHUNK, version });
  return { bundle, identity: await identityOf(bundleJson(bundle)) };
}

const address = (): string => `${server.url}/m/bundle.json`;

async function versionOf(more: Partial<LoadCriteria> = {}): Promise<string> {
  return (await open(address(), criteriaFor(more), page(), idle)).bundle.model.version;
}

async function failureOf(promise: Promise<unknown>): Promise<string> {
  const error: unknown = await promise.then(
    () => "none",
    (caught: unknown) => caught,
  );
  return isSelvedgeError(error) ? [error.code, error.details["reason"]].filter(Boolean).join(" ") : String(error);
}

describe("which version is used", () => {
  test("first: the server's, and the stored one where the server is away", async () => {
    await release("1", 1);
    expect(await versionOf()).toBe("1");
    await release("2", 2);
    expect(await versionOf()).toBe("2");
    for (const status of [500, 503, 429]) {
      server.trick = () => ({ kind: "status", status });
      expect(await versionOf()).toBe("2");
    }
    server.trick = () => ({ kind: "stall", at: 0 });
    expect(await versionOf()).toBe("2");
    server.close();
    expect(await versionOf()).toBe("2");
  });

  test("first: the server's clear refusal is not ignored", async () => {
    await release("1", 1);
    await versionOf();
    server.trick = () => ({ kind: "status", status: 404 });
    expect(await failureOf(versionOf())).toBe("download-failed not-found");
    server.trick = () => ({ kind: "html" });
    expect(await versionOf()).toBe("1"); // a start page in place of the bundle does not describe the model
    memory = new MemoryStore();
    expect(await failureOf(versionOf())).toBe("bundle-invalid html");
  });

  test("a description that is not valid is named by its address", async () => {
    server.files.set("/m/bundle.json", { bytes: new TextEncoder().encode('{ "hello": 1 }'), etag: '"x"' });
    await expect(versionOf()).rejects.toMatchObject({
      ...{ code: "bundle-invalid", details: { url: address(), at: "schema" } },
      message: expect.stringContaining(`${address()} is not valid: schema`) as string,
    });
  });

  test.each(["later", "never"] as const)("%s: the stored one, without a request", async (policy) => {
    await release("1", 1);
    await update(address(), criteriaFor(), page(), idle);
    await release("2", 2);
    server.asked = [];
    expect(await versionOf({ update: policy })).toBe("1");
    expect(server.asked).toEqual([]);
    await update(address(), criteriaFor(), page(), idle);
    expect(await versionOf({ update: policy })).toBe("2");
  });

  test.each(["later", "never"] as const)(
    "%s: the server is asked where the stored one is not whole (store-half)",
    async (policy) => {
      await release("1", 1, 2);
      await versionOf(); // no chunk of it was fetched
      await release("2", 3, 4);
      expect(await versionOf({ update: policy })).toBe("2");
      server.close();
      expect(await versionOf({ update: policy })).toBe("2"); // neither is whole, the last one counts
    },
  );

  test.each([401, 403, 404])(
    "status %d for bundle.json leaves a version that is whole (store-denied)",
    async (status) => {
      await release("1", 1);
      await update(address(), criteriaFor(), page(), idle);
      server.trick = () => ({ kind: "status", status });
      const found = await open(address(), criteriaFor(), page(), idle);
      expect(found.bundle.model.version).toBe("1");
      expect(found.refused).toContain(`status ${status}`);
      expect((await estimateCost(address(), criteriaFor(), page(), idle.signal)).failed).toBeNull();
      await expect(update(address(), criteriaFor(), page(), idle)).rejects.toMatchObject({ code: "download-failed" });
    },
  );

  test("status 410 withdraws a model, stored or not (store-denied)", async () => {
    await release("1", 1);
    await update(address(), criteriaFor(), page(), idle);
    server.trick = () => ({ kind: "status", status: 410 });
    expect(await failureOf(versionOf())).toBe("download-failed not-found");
  });

  test.each([
    ["a step that this release does not know", { step: "boxes" }, {}, "newer"],
    ["a need that this device does not have", {}, { needs: ["npu-int4"] }, "no-variant"],
  ])("a newer version with %s leaves one that is whole (store-newer-step)", async (_, output, variant, reason) => {
    const { identity } = await release("1", 1);
    await update(address(), criteriaFor(), page(), idle);
    // It shares its chunk with the stored one, so that it is whole at once.
    const { bundle } = await release("2", 1);
    const json = bundleJson(bundle) as unknown as {
      model: { outputs: Record<string, unknown>[] };
      variants: Record<string, unknown>[];
    };
    const [port] = json.model.outputs;
    if (port !== undefined && "step" in output) port["postprocess"] = [output];
    Object.assign(json.variants[0] ?? {}, variant);
    const bytes = new TextEncoder().encode(JSON.stringify(json));
    server.files.set("/m/bundle.json", { bytes, type: "application/json" });
    for (const policy of ["first", "later", "never"] as const) expect(await versionOf({ update: policy })).toBe("1");
    expect((await open(address(), criteriaFor(), page(), idle)).refused).toContain("can't run here");
    expect(await failureOf(update(address(), criteriaFor(), page(), idle))).toBe(`no-backend ${reason}`);
    expect((await estimateCost(address(), criteriaFor(), page(), idle.signal)).plan?.identity).toBe(identity);
    server.close();
    expect(await versionOf()).toBe("1");
  });

  test("a pinned identity: that one, stored or served, and no other", async () => {
    const first = await release("1", 1);
    await versionOf();
    const second = await release("2", 2);
    await versionOf();
    expect(await versionOf({ identity: first.identity })).toBe("1");
    expect(await versionOf({ identity: second.identity })).toBe("2");
    const other = "0".repeat(64);
    expect(await failureOf(versionOf({ identity: other }))).toBe("integrity-failed other-version");
  });
});

describe("an update", () => {
  test("fetches the chunks that changed, and reports whether anything did", async () => {
    await release("1", 1, 2, 3, 4);
    expect(await update(address(), criteriaFor(), page(), idle)).toMatchObject({
      isNew: true,
      fetchedBytes: 4 * CHUNK,
    });
    const second = await release("2", 1, 2, 9, 3, 4);
    server.asked = [];
    const done = await update(address(), criteriaFor(), page(), idle);
    expect(done).toEqual({ identity: second.identity, isNew: true, fetchedBytes: CHUNK });
    expect(server.chunkRequests).toBe(1);
    expect(await update(address(), criteriaFor(), page(), idle)).toMatchObject({ isNew: false, fetchedBytes: 0 });
  });

  test("in the background waits where the user saves data; one that was asked for does not", async () => {
    const first = await release("1", 1);
    await update(address(), criteriaFor(), page(), idle);
    const second = await release("2", 2);
    const effects = { ...hurried, connection: () => ({ saveData: true, bytesPerSecond: null }) };
    const saving = new Downloader(effects, new ModelStore(memory, () => (clock.now += 10)));
    server.asked = [];
    expect(await update(address(), criteriaFor({ update: "later" }), saving, idle)).toEqual({
      identity: first.identity,
      isNew: false,
      fetchedBytes: 0,
    });
    expect(server.asked).toEqual([]);
    expect(await update(address(), criteriaFor(), saving, idle)).toMatchObject({
      identity: second.identity,
      isNew: true,
    });
  });

  test("that does not fit is quota-exceeded", async () => {
    memory = new MemoryStore(3 * CHUNK);
    await release("1", 1, 2, 3, 4, 5, 6);
    expect(await failureOf(update(address(), criteriaFor(), page(), idle))).toBe("quota-exceeded");
  });
});

describe("availability", () => {
  const fit = expect.objectContaining({ fits: "yes" }) as unknown;
  test("fetches bundle.json alone, and reports stored and missing bytes", async () => {
    const { identity } = await release("1", 1, 2, 3);
    const before = await estimateCost(address(), criteriaFor(), page(), idle.signal);
    expect(before.costs).toEqual([{ backend: "wasm", bytes: 3_000, bytesToFetch: 3_000, isUnderWay: false, fit }]);
    expect(before.plan?.identity).toBe(identity);
    expect(server.asked.map((x) => x.path)).toEqual(["/m/bundle.json"]);
    expect(await memory.names()).toEqual([]);
    await update(address(), criteriaFor(), page(), idle);
    const after = await estimateCost(address(), criteriaFor(), page(), idle.signal);
    expect(after.costs).toMatchObject([{ bytes: 3_000, bytesToFetch: 0 }]);
  });

  test("reports a download in another tab", async () => {
    const { bundle } = await release("1", 1);
    const sha256 = bundle.variants[0]?.files[0]?.chunks[0]?.sha256 ?? "";
    const effects = { ...hurried, heldLocks: () => Promise.resolve([`selvedge/${sha256}`]) };
    const found = await estimateCost(address(), criteriaFor(), new Downloader(effects, null), idle.signal);
    expect(found.costs).toMatchObject([{ isUnderWay: true }]);
  });

  test("reports why a model is not available, and the browser's facts", async () => {
    const effects = {
      ...hurried,
      estimate: () => Promise.resolve({ quota: 100, usage: 30 }),
      connection: () => ({ saveData: true, bytesPerSecond: 5 }),
    };
    const found = await estimateCost(address(), criteriaFor(), new Downloader(effects, null), idle.signal);
    expect(found).toMatchObject({ plan: null, costs: [], freeBytes: 70, saveData: true, bytesPerSecond: 5 });
    expect(found.failed).toContain("404");
    await release("1", 1);
    const none = await estimateCost(
      address(),
      criteriaFor({ backends: [] }),
      new Downloader(effects, null),
      idle.signal,
    );
    expect(none.failed).toContain("can't run here");
  });

  test("asks a server for a bare model's size", async () => {
    server.files.set("/m.onnx", { bytes: weights(5_000), etag: '"1"' });
    const url = `${server.url}/m.onnx`;
    const before = await estimateCost(url, criteriaFor(), page(), idle.signal);
    expect(before.costs).toEqual([{ backend: null, bytes: 5_000, bytesToFetch: 5_000, isUnderWay: false, fit }]);
    expect(server.asked.map((x) => x.method)).toEqual(["HEAD"]);
    await open(url, criteriaFor(), page(), idle);
    const after = await estimateCost(url, criteriaFor(), page(), idle.signal);
    expect(after.costs).toEqual([{ backend: null, bytes: 5_000, bytesToFetch: 0, isUnderWay: false, fit }]);
  });
});

describe("the scheme of an address", () => {
  const openFrom = (own: string, url: string): Promise<unknown> => {
    // Stands for the scheme's own handler, which Node does not have.
    const reach = (at: string): string => at.replace(/^[a-z-]+:\/\/app/, server.url);
    const handle = async (at: string, init: RequestInit): Promise<Response> => {
      const { body, headers, status } = await fetch(reach(at), init);
      return new Response(body, { headers, status });
    };
    const effects = { ...hurried, ownProtocol: own, fetch: handle };
    return open(url, criteriaFor(), new Downloader(effects, null), idle);
  };

  test.each(["chrome-extension:", "moz-extension:", "capacitor:", "tauri:", "app:"])(
    "may be the page's own: %s",
    async (own) => {
      const { identity } = await release("1", 1);
      expect(await openFrom(own, `${own}//app/m/bundle.json`)).toMatchObject({ identity });
    },
  );

  test.each([
    ["https:", "chrome-extension://app/m/bundle.json"],
    ["chrome-extension:", "moz-extension://app/m/bundle.json"],
    ["file:", "file:///m/bundle.json"],
    ["https:", "ftp://app/m/bundle.json"],
  ])("a page of %s may not load from %s", async (own, url) => {
    await expect(openFrom(own, url)).rejects.toThrow(/source: can't load from [a-z-]+: URLs/);
  });
});
