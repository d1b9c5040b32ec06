// Opening a source: which requests are made, what is recorded, and each error's sentence and details.
import { beforeEach, describe, expect, test } from "vitest";
import { sha256Hex } from "../core/bundle.ts";
import type { Bundle, BundleChunk } from "../core/bundle.ts";
import { bundleJson } from "../core/bundle-json.ts";
import { sign, toBase64 } from "../core/signature.ts";
import { criteriaFor, weights } from "../test-support/cache-fixtures.ts";
import { hurried } from "../test-support/fake-network.ts";
import { Downloader } from "./download.ts";
import type { DownloadEffects } from "./download.ts";
import { identityOf } from "./manifest.ts";
import type { LoadCriteria } from "./messages.ts";
import { ModelStore } from "./model-store.ts";
import { bareOf, lookUp, open, openNewest, storedVersion } from "./open.ts";
import { MemoryStore } from "./stores/memory.ts";

const URL_M = "https://models.example/m/bundle.json";
const SIGNATURE = "https://models.example/m/signature.json";
const idle = { signal: new AbortController().signal, onProgress: undefined };

let memory: MemoryStore;
let now: number;
/** Bodies by address, or what the request does instead. */
let served: Map<string, string | (() => Promise<Response>)>;
let asked: string[];

beforeEach(() => {
  memory = new MemoryStore();
  now = 1_000;
  served = new Map();
  asked = [];
});

function answer(url: string): Promise<Response> {
  asked.push(url);
  const found = served.get(url);
  if (typeof found === "function") return found();
  return Promise.resolve(new Response(found ?? "no", { status: found === undefined ? 404 : 200 }));
}

function page(more: Partial<DownloadEffects> = {}, store: MemoryStore | null = memory): Downloader {
  const effects = { ...hurried, fetch: answer, wallClock: () => now, ...more };
  return new Downloader(effects, store === null ? null : new ModelStore(store, () => (now += 10)));
}

const chunkOf = async (seed: number): Promise<BundleChunk> => ({
  sha256: await sha256Hex(weights(100, seed)),
  bytes: 100,
});

/** Serves a bundle of one chunk; returns its identity. */
async function publish(version: string, seed: number, more: Partial<Bundle["variants"][number]> = {}): Promise<string> {
  const port = { name: "x", dtype: "float32", dims: [1], batchAxis: null } as const;
  const json = bundleJson({
    model: { name: "m", version, licence: "MIT", inputs: [port], outputs: [{ ...port, name: "y" }] },
    variants: [
      { id: "f32", needs: [], files: [{ path: "m.onnx", bytes: 100, chunks: [await chunkOf(seed)] }], ...more },
    ],
  });
  served.set(URL_M, JSON.stringify(json));
  return identityOf(json);
}

const store = async (seed: number): Promise<void> => {
  const { sha256 } = await chunkOf(seed);
  await memory.write(`chunk-${sha256}-100`, weights(100, seed));
};
const opened = async (more: Partial<LoadCriteria> = {}, downloader = page()): Promise<string> =>
  (await open(URL_M, criteriaFor(more), downloader, idle)).bundle.model.version;
const withPrefix = async (prefix: string): Promise<string[]> =>
  (await memory.names()).filter((x) => x.startsWith(prefix));
const unreachable = (): Promise<Response> => Promise.reject(new TypeError("Failed to fetch"));
const refusing = (status: number) => (): Promise<Response> => Promise.resolve(new Response("no", { status }));

describe("an address", () => {
  test.each(["file:///m/bundle.json", "ftp://a.example/m.onnx", "about:blank"])("of %s is refused", async (url) => {
    const { protocol } = new URL(url);
    const message = `source: can't load from ${protocol} URLs; take http, https, blob or data, or the page's own scheme`;
    const wrong = expect.objectContaining({ name: "TypeError", message }) as Error;
    await expect(open(url, criteriaFor(), page(), idle)).rejects.toEqual(wrong);
    await expect(lookUp(url, criteriaFor(), page({ ownProtocol: "file:" }), idle.signal)).rejects.toEqual(wrong);
    expect(asked).toEqual([]);
  });

  test.each(["http:", "https:"])("of %s is taken", async (protocol) => {
    await publish("1", 1);
    const url = URL_M.replace("https:", protocol);
    served.set(url, served.get(URL_M) ?? "");
    expect((await open(url, criteriaFor(), page(), idle)).bundle.model.version).toBe("1");
  });

  test.each([
    ["https://models.example/m.onnx", "a bare model"],
    ["https://models.example/m/", "a repository"],
  ])("%s, which has no signature, is refused with trusted keys", async (url, what) => {
    await expect(open(url, criteriaFor({ trustedKeys: ["k"] }), page(), idle)).rejects.toMatchObject({
      code: "integrity-failed",
      message: `${url} is ${what}, which has no signature: pack and sign it.`,
      details: { reason: "unsigned" },
    });
    expect(asked).toEqual([]);
  });
});

describe("bytes and bare models", () => {
  const data = weights(300, 5);

  test("are described by their name and size alone", () => {
    const { bundle, ...more } = bareOf("https://models.example/path/net.onnx?v=1", 7);
    expect(more).toEqual({ identity: "", data: null, seen: null, refused: null });
    expect(bundle).toEqual({
      format: 2,
      model: { name: "net.onnx", version: "0", licence: "unknown", inputs: [], outputs: [] },
      variants: [{ id: "model", needs: [], files: [{ path: "net.onnx", bytes: 7, chunks: [] }] }],
    });
    const unnamed = bareOf("https://models.example/", 7).bundle;
    expect([unnamed.model.name, unnamed.variants[0]?.files[0]?.path]).toEqual(["model", "model.onnx"]);
  });

  test("of the app are opened under their own name, if they have one", async () => {
    const blob = new Blob([data]);
    const found = await open(blob, criteriaFor({ trustedKeys: ["k"] }), page(), idle);
    expect(found).toMatchObject({ data: blob, bundle: { model: { name: "model" } } });
    expect(found.bundle.variants[0]?.files).toEqual([{ path: "model.onnx", bytes: 300, chunks: [] }]);
    const named = await open(new File([data], "own.onnx"), criteriaFor(), page(), idle);
    expect(named.bundle.model.name).toBe("own.onnx");
    expect(named.identity).toBe(found.identity);
    expect(asked).toEqual([]);
  });

  const url = "https://models.example/net.onnx";
  const serveBare = (): void =>
    void served.set(url, () =>
      Promise.resolve(new Response(data, { headers: { "content-length": "300", etag: '"1"' } })),
    );

  test("of another identity than the wanted one are refused", async () => {
    serveBare();
    const { identity } = await open(url, criteriaFor(), page(), idle);
    expect((await open(url, criteriaFor({ identity }), page(), idle)).identity).toBe(identity);
    const wanted = "0".repeat(64);
    await expect(open(url, criteriaFor({ identity: wanted }), page(), idle)).rejects.toMatchObject({
      code: "integrity-failed",
      message: `${url} is ${identity}, not the requested version (${wanted}), and that one is not stored.`,
      details: { url, identity, wanted, reason: "other-version" },
    });
  });

  test("that don't fit in memory are refused by their size, before they are read", async () => {
    serveBare();
    const memory = { budgetBytes: 10, copiesBlobs: false, holdsBlobs: false };
    await expect(open(url, criteriaFor({ memory }), page(), idle)).rejects.toMatchObject({ code: "does-not-fit" });
  });
});

describe("the requests for a bundle", () => {
  test("are five where nothing is stored, and one where something is; an update makes five all the same", async () => {
    served.set(URL_M, unreachable);
    await expect(opened()).rejects.toMatchObject({ code: "download-failed" });
    expect(asked.length).toBe(5);
    await publish("1", 1);
    await opened();
    served.set(URL_M, unreachable);
    asked = [];
    expect(await opened()).toBe("1");
    expect(asked.length).toBe(1);
    asked = [];
    const stored = await storedVersion(URL_M, criteriaFor(), page());
    await expect(openNewest(URL_M, criteriaFor(), page(), idle.signal, stored)).rejects.toMatchObject({
      code: "download-failed",
    });
    expect(asked.length).toBe(5);
  });

  test("are none where the stored version is the wanted one, or is whole and the policy allows it", async () => {
    const identity = await publish("1", 1);
    await opened();
    asked = [];
    expect(await opened({ identity })).toBe("1");
    expect(asked).toEqual([]);
    expect(await opened({ update: "later" })).toBe("1"); // not whole
    expect(asked).toEqual([URL_M]);
    await store(1);
    asked = [];
    for (const update of ["later", "never"] as const) expect(await opened({ update })).toBe("1");
    expect(asked).toEqual([]);
    expect(await opened({ update: "first" })).toBe("1");
    expect(asked).toEqual([URL_M]);
  });

  test("begin before the store is read, unless a version is wanted", async () => {
    const identity = await publish("1", 1);
    const events: string[] = [];
    const names = memory.names.bind(memory);
    memory.names = () => {
      events.push("store");
      return names();
    };
    const fetched = (url: string): Promise<Response> => {
      events.push("request");
      return answer(url);
    };
    let finish = (): void => undefined;
    const held = new Promise<void>((resolve) => (finish = resolve));
    const read = memory.names;
    memory.names = () => held.then(read);
    const opening = open(URL_M, criteriaFor(), page({ fetch: fetched }), idle);
    await new Promise((resolve) => setImmediate(resolve));
    expect(events).toEqual(["request"]);
    memory.names = read;
    finish();
    await opening;
    events.length = 0;
    await open(URL_M, criteriaFor({ identity, name: "m" }), page({ fetch: fetched }), idle);
    expect(events).not.toContain("request");
  });

  test("wait for the server 5 s where a version is stored; the timer ends with the answer", async () => {
    await publish("1", 1);
    await opened();
    const timers = new Set<number>();
    const fire = new Map<number, () => void>();
    const setTimer: DownloadEffects["setTimer"] = (call, ms) => {
      timers.add(ms);
      fire.set(ms, call);
      return () => timers.delete(ms);
    };
    expect(await opened({}, page({ setTimer }))).toBe("1");
    expect(timers.has(5_000)).toBe(false);
    expect(fire.has(5_000)).toBe(true);
    fire.clear();
    const silent = (_: string, { signal }: RequestInit): Promise<Response> =>
      new Promise((__, reject) => signal?.addEventListener("abort", () => reject(new Error("aborted"))));
    const opening = opened({}, page({ setTimer, fetch: silent }));
    while (!fire.has(5_000)) await new Promise((resolve) => setImmediate(resolve));
    expect(timers.has(5_000)).toBe(true);
    fire.get(5_000)?.();
    expect(await opening).toBe("1");
    expect(timers.has(5_000)).toBe(false);
  });

  test("end with the caller's own reason, though a version is stored", async () => {
    await publish("1", 1);
    await opened();
    const stop = new AbortController();
    served.set(URL_M, () => {
      stop.abort(new Error("closed"));
      return Promise.reject(new Error("aborted"));
    });
    await expect(open(URL_M, criteriaFor(), page(), { signal: stop.signal, onProgress: undefined })).rejects.toThrow(
      "closed",
    );
  });
});

describe("an answer that is not used", () => {
  test("is reported beside the stored version: not a bundle, whole or not", async () => {
    await publish("1", 1);
    await opened();
    served.set(URL_M, '{"schema":"x"}');
    const found = await open(URL_M, criteriaFor(), page(), idle);
    expect(found.bundle.model.version).toBe("1");
    expect(found.refused).toContain(`${URL_M} is not valid: schema`);
  });

  test.each([401, 403, 404, 410])("status %d counts only where the stored version is not whole", async (status) => {
    await publish("1", 1);
    await opened();
    served.set(URL_M, refusing(status));
    await expect(opened()).rejects.toMatchObject({ code: "download-failed", details: { status } });
    await store(1);
    if (status === 410) await expect(opened()).rejects.toMatchObject({ details: { status } });
    else expect(await opened()).toBe("1");
  });

  test("is a version that can't run here, where the stored one is whole", async () => {
    await publish("1", 1);
    await opened();
    await publish("2", 2, { needs: ["npu"] });
    expect(await opened()).toBe("2");
    memory = new MemoryStore();
    await publish("1", 1);
    await opened();
    await store(1);
    await publish("2", 2, { needs: ["npu"] });
    const found = await open(URL_M, criteriaFor(), page(), idle);
    expect([found.bundle.model.version, found.refused]).toEqual([
      "1",
      expect.stringContaining("m can't run here") as string,
    ]);
    // A mistake of the caller's is not the version's fault.
    memory = new MemoryStore();
    await publish("1", 1);
    await opened();
    await store(1);
    await publish("2", 2, { id: "other" });
    expect(await opened({ pins: { backend: undefined, variant: "f32" } })).toBe("2");
  });

  test("is named where it is not valid, with the cause's own details", async () => {
    served.set(URL_M, '{"schema":"selvedge/bundle@2"}');
    await expect(opened()).rejects.toMatchObject({
      code: "bundle-invalid",
      message: expect.stringMatching(/^https:\/\/models\.example\/m\/bundle\.json is not valid: /) as string,
      details: { url: URL_M, at: expect.any(String) as string },
    });
  });
});

describe("the wanted model", () => {
  test("has the name that the caller gives, stored or served", async () => {
    await publish("1", 1);
    expect(await opened({ name: "m" })).toBe("1");
    const wrong = {
      code: "integrity-failed",
      message: `${URL_M} is the model "m", not "other".`,
      details: { url: URL_M, model: "m", wanted: "other", reason: "other-model" },
    };
    await expect(opened({ name: "other" })).rejects.toMatchObject(wrong);
    expect(await storedVersion(URL_M, criteriaFor({ name: "other" }), page())).toBeNull();
    expect(await storedVersion(URL_M, criteriaFor({ name: "m" }), page())).not.toBeNull();
  });

  test("of another identity is refused with both", async () => {
    const identity = await publish("1", 1);
    const wanted = "0".repeat(64);
    await expect(opened({ identity: wanted })).rejects.toMatchObject({
      code: "integrity-failed",
      message: `${URL_M} is ${identity}, not the requested version (${wanted}), and that one is not stored.`,
      details: { url: URL_M, identity, wanted, reason: "other-version" },
    });
    expect(await memory.names()).toEqual([]);
  });
});

describe("the record of a load", () => {
  test("is written, with the use, once the notes are; a look-up writes none", async () => {
    const identity = await publish("1", 1);
    await lookUp(URL_M, criteriaFor(), page(), idle.signal);
    expect(await memory.names()).toEqual([]);
    await opened();
    const [source] = await withPrefix("source-");
    const text = new TextDecoder().decode((await memory.read(source ?? "")) ?? new Uint8Array());
    expect(JSON.parse(text)).toEqual({ url: URL_M, identity, validator: null, signature: null });
    await store(1);
    const before = await withPrefix("used-");
    for (const update of ["first", "never"] as const) {
      const looking = page();
      await lookUp(URL_M, criteriaFor({ update }), looking, idle.signal);
      await looking.notes.flush();
      expect(await withPrefix("used-")).toEqual(before);
      const loading = page();
      await opened({ update }, loading);
      expect(await withPrefix("used-")).toEqual(before);
      await loading.notes.flush();
      const after = await withPrefix("used-");
      expect(after).not.toEqual(before);
      before.splice(0, 1, ...after);
    }
    expect((await withPrefix("source-")).length).toBe(1);
  });

  test("of a newer version leaves the former in place until that is whole", async () => {
    const first = await publish("1", 1);
    await opened();
    await store(1);
    const second = await publish("2", 2);
    await opened();
    expect((await page().modelStore?.sources(URL_M))?.map((x) => x.identity)).toEqual([second, first]);
    expect((await storedVersion(URL_M, criteriaFor(), page()))?.identity).toBe(first);
    await store(2);
    expect((await storedVersion(URL_M, criteriaFor(), page()))?.identity).toBe(second);
  });

  test("is not needed: without a store, and with one that fails, the server's version is used", async () => {
    await publish("1", 1);
    expect(await opened({}, page({}, null))).toBe("1");
    memory.names = () => Promise.reject(new Error("the store failed"));
    expect(await opened()).toBe("1");
    expect(await storedVersion(URL_M, criteriaFor(), page())).toBeNull();
    expect(await storedVersion(URL_M, criteriaFor(), page({}, null))).toBeNull();
  });
});

describe("with trusted keys", () => {
  async function keyed() {
    const pair = await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"]);
    return { pair, key: toBase64(await crypto.subtle.exportKey("raw", pair.publicKey)) };
  }
  const expires = new Date(1e12).toISOString();

  test("the signature's own fields are recorded, and what was seen is returned", async () => {
    const { pair, key } = await keyed();
    const identity = await publish("1", 1);
    const signature = await sign({ identity, model: "m", release: 3, expires }, pair);
    const more = {
      ...signature,
      signatures: signature.signatures.map((x) => ({ ...x, expires, extra: 1 })),
      note: "x",
    };
    served.set(SIGNATURE, JSON.stringify(more));
    const found = await open(URL_M, criteriaFor({ trustedKeys: [key] }), page(), idle);
    const seen = { newest: { [`${key} m`]: { release: 3, identity } }, models: { [URL_M]: "m" } };
    expect(JSON.parse(found.seen ?? "")).toEqual(seen);
    expect(asked.sort()).toEqual([URL_M, SIGNATURE]);
    expect((await page().modelStore?.source(URL_M))?.signature).toEqual({
      ...signature,
      signatures: signature.signatures.map((x) => ({ ...x, expires })),
    });
    expect(await page().modelStore?.releases()).toEqual(seen);
    expect((await open(URL_M, criteriaFor(), page(), idle)).seen).toBeNull();
  });

  test("a pinned identity is accepted whatever its release, which is not recorded", async () => {
    const { pair, key } = await keyed();
    const identity = await publish("1", 1);
    served.set(SIGNATURE, JSON.stringify(await sign({ identity, model: "m", release: 3, expires }, pair)));
    const newest = { [`${key} m`]: { release: 9, identity: "1".repeat(64) } };
    const seen = JSON.stringify({ newest, models: {} });
    const found = await open(URL_M, criteriaFor({ trustedKeys: [key], identity, seen }), page(), idle);
    expect(JSON.parse(found.seen ?? "")).toEqual({ newest, models: {} });
    await expect(opened({ trustedKeys: [key], seen })).rejects.toMatchObject({ details: { reason: "older" } });
  });

  test("a look-up records no release", async () => {
    const { pair, key } = await keyed();
    const identity = await publish("1", 1);
    served.set(SIGNATURE, JSON.stringify(await sign({ identity, model: "m", release: 3, expires }, pair)));
    const found = await lookUp(URL_M, criteriaFor({ trustedKeys: [key] }), page(), idle.signal);
    expect(found.seen).toContain('"release":3');
    expect(await memory.names()).toEqual([]);
  });

  test.each<[string, string | (() => Promise<Response>), string]>([
    ["missing", refusing(404), "unsigned"],
    ["withdrawn", refusing(410), "unsigned"],
    ["a start page", "<!doctype html><title>An app</title>", "unsigned"],
    ["another document", '{"schema":"x"}', "malformed"],
  ])("a signature that is %s is none", async (_, body, reason) => {
    const { key } = await keyed();
    await publish("1", 1);
    served.set(SIGNATURE, body);
    await expect(opened({ trustedKeys: [key] })).rejects.toMatchObject({
      code: "integrity-failed",
      details: { reason },
    });
  });

  test("a signature that the server fails to send fails the load", async () => {
    const { key } = await keyed();
    await publish("1", 1);
    served.set(SIGNATURE, refusing(403));
    await expect(opened({ trustedKeys: [key] })).rejects.toMatchObject({
      code: "download-failed",
      details: { status: 403, url: SIGNATURE },
    });
  });
});
