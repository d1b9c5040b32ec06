// Opening a source of which a version is stored: which version is used, trusted and recorded, and what is asked for.
import { beforeEach, describe, expect, test } from "vitest";
import { sha256Hex } from "../core/bundle.ts";
import type { Bundle, BundleChunk } from "../core/bundle.ts";
import { bundleJson } from "../core/bundle-json.ts";
import { sign, toBase64 } from "../core/signature.ts";
import { criteriaFor, weights } from "../test-support/cache-fixtures.ts";
import { hurried, makePage } from "../test-support/fake-network.ts";
import { HubServer } from "../test-support/hub-server.ts";
import { Downloader } from "./download.ts";
import { bareManifest, identityOf } from "./manifest.ts";
import type { LoadCriteria } from "./messages.ts";
import { ModelStore } from "./model-store.ts";
import { addressOf } from "./names.ts";
import { lookUp, open, openNewest, storedVersion } from "./open.ts";
import type { OpenedBundle } from "./opened.ts";
import { externalAddress } from "./repository.ts";
import { MemoryStore } from "./stores/memory.ts";

const URL_M = "https://models.example/m/bundle.json";
const SIGNATURE = "https://models.example/m/signature.json";
const idle = { signal: new AbortController().signal, onProgress: undefined };
const expires = new Date(1e12).toISOString();

let memory: MemoryStore;
let now: number;
let served: Map<string, () => Promise<Response>>;
let asked: string[];

beforeEach(() => {
  memory = new MemoryStore();
  now = 1_000;
  served = new Map();
  asked = [];
});

function answer(url: string): Promise<Response> {
  asked.push(url);
  return served.get(url)?.() ?? Promise.resolve(new Response("no", { status: 404 }));
}

const page = (store: MemoryStore = memory): Downloader =>
  new Downloader({ ...hurried, fetch: answer, wallClock: () => now }, new ModelStore(store, () => (now += 10)));

const chunkOf = async (seed: number): Promise<BundleChunk> => ({
  sha256: await sha256Hex(weights(100, seed)),
  bytes: 100,
});

interface Made {
  readonly version?: string;
  readonly name?: string;
  readonly bytes?: number;
}

/** Serves a bundle of one chunk; returns its identity. */
async function publish(seed: number, { version = String(seed), name = "m", bytes = 100 }: Made = {}): Promise<string> {
  const port = { name: "x", dtype: "float32", dims: [1], batchAxis: null } as const;
  const files = [{ path: "m.onnx", bytes, chunks: [{ ...(await chunkOf(seed)), bytes }] }];
  const json = bundleJson({
    model: { name, version, licence: "MIT", inputs: [port], outputs: [{ ...port, name: "y" }] },
    variants: [{ id: "f32", needs: [], files }] satisfies Bundle["variants"],
  });
  serve(URL_M, JSON.stringify(json));
  return identityOf(json);
}

const serve = (url: string, text: string, headers: Record<string, string> = {}): void =>
  void served.set(url, () => Promise.resolve(new Response(text, { headers })));

async function store(seed: number): Promise<void> {
  const { sha256 } = await chunkOf(seed);
  await memory.write(`chunk-${sha256}-100`, weights(100, seed));
}

const opened = (more: Partial<LoadCriteria> = {}, downloader = page()): Promise<OpenedBundle> =>
  open(URL_M, criteriaFor(more), downloader, idle);
const versionOf = (found: OpenedBundle | null): string | undefined => found?.bundle.model.version;
const stored = async (more: Partial<LoadCriteria> = {}): Promise<string | undefined> =>
  versionOf(await storedVersion(URL_M, criteriaFor(more), page()));

/** A pair of keys, and what signs with it. */
async function keyed() {
  const pair = await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"]);
  const key = toBase64(await crypto.subtle.exportKey("raw", pair.publicKey));
  const serveSigned = async (identity: string, release: number, model = "m"): Promise<void> => {
    serve(SIGNATURE, JSON.stringify(await sign({ identity, model, release, expires }, pair)));
  };
  return { key, serveSigned, trustedKeys: [key] };
}

test.each(["xhttps://models.example/m.onnx", "xdata:,1", "web-blob:x"])(
  "the address %s is of no known scheme",
  async (url) => {
    await expect(lookUp(url, criteriaFor(), page(), idle.signal)).rejects.toThrow(/^source: can't load from/);
  },
);

describe("the stored version", () => {
  test("is read with one list of the store where there is one", async () => {
    await publish(1);
    await opened();
    const lists: string[] = [];
    const names = memory.names.bind(memory);
    memory.names = () => {
      lists.push("");
      return names();
    };
    expect(await stored()).toBe("1");
    expect(lists.length).toBe(1);
  });

  test("is the one before where the newest is of another name than the wanted one", async () => {
    await publish(1);
    await opened();
    await store(1);
    await publish(2, { name: "other" });
    await opened();
    expect(await stored({ name: "m" })).toBe("1");
    expect(await stored({ name: "other" })).toBe("2");
  });

  test("is none where the address leads to a list of chunks, or to a description that is gone", async () => {
    const bare = bareManifest([await chunkOf(1)]);
    const identity = await identityOf(bare);
    await page().modelStore?.remember(bare, { url: URL_M, identity, validator: null, signature: null });
    await store(1);
    expect(await storedVersion(URL_M, criteriaFor(), page())).toBeNull();
    await memory.remove(`bundle-${identity}`);
    expect(await storedVersion(URL_M, criteriaFor(), page())).toBeNull();
  });
});

describe("an answer that is not used", () => {
  test("is a version that does not fit in memory, where the stored one is whole", async () => {
    const memoryOf = { budgetBytes: 1_000_000, copiesBlobs: false, holdsBlobs: false };
    await publish(1);
    await opened();
    await store(1);
    await publish(2, { bytes: 4_000_000 });
    const found = await opened({ memory: memoryOf });
    expect([versionOf(found), found.refused]).toEqual([
      "1",
      expect.stringContaining("m does not fit in memory") as string,
    ]);
  });
});

describe("with trusted keys", () => {
  test("an answer from another origin is taken, which is refused without them", async () => {
    const { trustedKeys, serveSigned } = await keyed();
    const identity = await publish(1);
    await serveSigned(identity, 1);
    const here = served.get(URL_M);
    served.set(URL_M, async () => {
      const response = (await here?.()) as Response;
      Object.defineProperty(response, "url", { value: "https://cdn.example/m/bundle.json" });
      return response;
    });
    await expect(opened()).rejects.toMatchObject({ details: { reason: "redirected" } });
    expect(versionOf(await opened({ trustedKeys }))).toBe("1");
    memory = new MemoryStore();
    expect(versionOf(await opened({ identity }))).toBe("1");
  });

  test("the signature is asked for once where a version is stored, and five times where none is", async () => {
    const { trustedKeys, serveSigned } = await keyed();
    const identity = await publish(1);
    const count = (): number => asked.filter((x) => x === SIGNATURE).length;
    const failing = (): Promise<Response> => Promise.reject(new TypeError("Failed to fetch"));
    served.set(SIGNATURE, failing);
    await expect(opened({ trustedKeys })).rejects.toMatchObject({ code: "download-failed" });
    expect(count()).toBe(5);
    await serveSigned(identity, 1);
    await opened({ trustedKeys });
    asked = [];
    served.set(SIGNATURE, failing);
    expect(versionOf(await opened({ trustedKeys }))).toBe("1");
    expect(count()).toBe(1);
  });

  test("a pinned version is trusted by its own stored signature, not by that of another version", async () => {
    const { trustedKeys, serveSigned } = await keyed();
    const first = await publish(1);
    await serveSigned(first, 1);
    await opened({ trustedKeys });
    await store(1);
    const second = await publish(2);
    await serveSigned(second, 2);
    await opened({ trustedKeys });
    served.clear();
    asked = [];
    expect(await stored({ trustedKeys, identity: first })).toBe("1");
    expect(await stored({ trustedKeys, identity: second })).toBe("2");
    expect(versionOf(await opened({ trustedKeys, identity: first }))).toBe("1");
    expect(asked).toEqual([]);
    const other = await keyed();
    expect(await stored({ trustedKeys: other.trustedKeys, identity: first })).toBeUndefined();
  });

  test("a pinned version that is not whole is used whatever newer release was seen; without a pin it is not", async () => {
    const { key, trustedKeys, serveSigned } = await keyed();
    const identity = await publish(1);
    await serveSigned(identity, 1);
    await opened({ trustedKeys });
    const seen = JSON.stringify({ newest: { [`${key} m`]: { release: 9, identity: "1".repeat(64) } }, models: {} });
    expect(await stored({ trustedKeys, identity, seen })).toBe("1");
    expect(await stored({ trustedKeys, seen })).toBeUndefined();
    await store(1);
    expect(await stored({ trustedKeys, seen })).toBe("1");
  });

  test("a stored version that is not whole may be of another name than its address served before", async () => {
    const { trustedKeys, serveSigned } = await keyed();
    const identity = await publish(1);
    await serveSigned(identity, 1);
    await opened({ trustedKeys });
    const seen = JSON.stringify({ newest: {}, models: { [URL_M]: "before" } });
    expect(await stored({ trustedKeys, seen })).toBe("1");
  });

  test("a note of an older package release that could not be read stays, and counts once it can", async () => {
    const { trustedKeys, serveSigned } = await keyed();
    await serveSigned(await publish(1), 3);
    const note = `release-${await addressOf(URL_M)}-5`;
    await memory.write(note, new Uint8Array(0));
    const downloader = page();
    const { modelStore } = downloader;
    if (modelStore === null) throw new Error("a store");
    modelStore.releaseNote = () => Promise.reject(new Error("the store failed"));
    expect(versionOf(await opened({ trustedKeys }, downloader))).toBe("1");
    expect(await memory.names()).toContain(note);
    await expect(openNewest(URL_M, criteriaFor({ trustedKeys }), page(), idle.signal, null)).rejects.toMatchObject({
      details: { reason: "older" },
    });
  });

  test("without a note of an older package release nothing is recorded of keys that did not sign", async () => {
    const { key, trustedKeys, serveSigned } = await keyed();
    const other = await keyed();
    const identity = await publish(1);
    await serveSigned(identity, 1);
    const found = await opened({ trustedKeys: [...other.trustedKeys, ...trustedKeys] });
    expect(JSON.parse(found.seen ?? "")).toEqual({
      newest: { [`${key} m`]: { release: 1, identity } },
      models: { [URL_M]: "m" },
    });
  });
});

describe("a repository", () => {
  const GRAPH = "https://models.example/g.onnx";
  const from = externalAddress(GRAPH, ["w.data"]);
  const serveParts = (headers: Record<string, string>): void => {
    for (const [name, bytes] of [
      ["g.onnx", "10"],
      ["w.data", "100"],
    ] as const)
      serve(`https://models.example/${name}`, "x", { "content-length": bytes, ...headers });
  };
  const openAt = (): Promise<OpenedBundle> => open(from, criteriaFor(), page(), idle);

  test("without validators is checked for changes once it is stored, not at the first load", async () => {
    serveParts({});
    expect((await openAt()).mustCheck).toBe(false);
    const again = await openAt();
    expect([again.mustCheck, again.refused]).toEqual([true, null]);
    serveParts({ etag: '"2"' });
    expect((await openAt()).mustCheck).toBe(false);
  });

  test("with validators is not checked, stored or not", async () => {
    serveParts({ etag: '"1"' });
    expect((await openAt()).mustCheck).toBe(false);
    expect((await openAt()).mustCheck).toBe(false);
  });

  test("without validators that has another version than the stored one is not checked", async () => {
    serveParts({});
    const { identity } = await openAt();
    serve("https://models.example/w.data", "x", { "content-length": "101" });
    const other = await openAt();
    expect(other.identity).not.toBe(identity);
    expect(other.mustCheck).toBe(false);
  });

  test("that has lost a part, or refuses it, leaves a whole version in use", async () => {
    serveParts({ etag: '"1"' });
    const { bundle, identity } = await openAt();
    const chunks = bundle.variants.flatMap((x) => x.files).flatMap((x) => x.chunks);
    for (const { sha256, bytes } of chunks) await memory.write(`chunk-${sha256}-${bytes}`, new Uint8Array(bytes));
    served.delete("https://models.example/w.data");
    expect((await openAt()).identity).toBe(identity);
    served.set(GRAPH, () => Promise.resolve(new Response("no", { status: 401 })));
    expect((await openAt()).refused).toContain("401");
    await memory.remove(`chunk-${chunks[0]?.sha256 ?? ""}-10`);
    await expect(openAt()).rejects.toMatchObject({ code: "download-failed", details: { status: 401 } });
  });

  test.each([
    [
      "with its start page",
      () => new Response("<!doctype html><title>An app</title>", { headers: { "content-type": "text/html" } }),
    ],
    ["that nothing is there", () => new Response("no", { status: 404 })],
  ])("in a folder whose host answers %s is used as it is stored, if it is whole (store-portal)", async (_, other) => {
    const folder = "https://models.example/f/";
    const openFolder = (): Promise<OpenedBundle> => open(folder, criteriaFor(), page(), idle);
    serve(`${folder}onnx/model.onnx`, "0123456789", { "content-length": "10", etag: '"1"' });
    const { identity, bundle } = await openFolder();
    const chunks = bundle.variants.flatMap((x) => x.files).flatMap((x) => x.chunks);
    served.get = () => () => Promise.resolve(other());
    await expect(openFolder()).rejects.toMatchObject({ code: "model-invalid", details: { reason: "no-onnx" } });
    for (const { sha256, bytes } of chunks) await memory.write(`chunk-${sha256}-${bytes}`, new Uint8Array(bytes));
    const found = await openFolder();
    expect(found.identity).toBe(identity);
    expect(found.refused).toContain("has no onnx/model.onnx");
  });

  test("of the commit that is stored is used as it is stored, with nothing that was refused", async () => {
    const hub = await HubServer.start();
    const bytes = weights(2_000, 3);
    bytes.set([8, 8, 18, 4, 116, 101, 115, 116]); // as an ONNX file begins
    hub.commit("owner/name", { "config.json": "{}", "onnx/model.onnx": bytes });
    const url = `${hub.url}/owner/name/resolve/main/#repo=owner%2Fname`;
    const first = await open(url, criteriaFor(), makePage(memory, { now }), idle);
    hub.asked = [];
    const again = await open(url, criteriaFor(), makePage(memory, { now: now + 1_000 }), idle);
    expect([again.identity, again.refused, hub.asked.length]).toEqual([first.identity, null, 1]);
    hub.close();
  });
});
