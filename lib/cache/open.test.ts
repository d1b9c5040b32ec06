// Which version of a bundle is used, who must vouch for it, what it costs, and what an update fetches: over a real server
// and a store that lasts.
import { afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Bundle } from "../bundle.ts";
import { isSelvedgeError } from "../errors.ts";
import { sign, toBase64 } from "../signature.ts";
import { Downloader } from "./download.ts";
import { BadServer, hurried, serveBundle, weights } from "./fixtures.ts";
import { look } from "./look.ts";
import { identityOf } from "./manifest.ts";
import { MemoryStore } from "./memory.ts";
import { open } from "./open.ts";
import type { Wish } from "./protocol.ts";
import { Shelf } from "./shelf.ts";
import { update } from "./update.ts";

const CHUNK = 1_000;
const idle = { signal: new AbortController().signal, onProgress: undefined };

let server: BadServer;
let memory: MemoryStore;
let now = 1_000_000;

beforeEach(async () => {
  server = await BadServer.start();
  memory = new MemoryStore();
});

afterEach(() => {
  server.close();
});

/** A page of its own, over what earlier ones stored. */
function page(): Downloader {
  const effects = { ...hurried, wallClock: () => now };
  return new Downloader(effects, new Shelf(memory, () => (now += 10)));
}

function wish(more: Partial<Wish> = {}): Wish {
  const device = { cores: 2, isolated: false, jspi: true, gpu: null };
  const pins = { backend: undefined, variant: undefined };
  return { device, backends: ["wasm"], pins, crashed: [], trust: [], update: "first", identity: undefined, ...more };
}

async function release(version: string, ...seeds: number[]): Promise<{ bundle: Bundle; identity: string }> {
  const bytes = new Uint8Array(seeds.flatMap((seed) => [...weights(CHUNK, seed)]));
  const bundle = await serveBundle(server, "/m", { "m.onnx": bytes }, { chunkBytes: CHUNK, version });
  return { bundle, identity: await identityOf(bundle) };
}

const address = (): string => `${server.url}/m/bundle.json`;

async function versionOf(more: Partial<Wish> = {}): Promise<string> {
  return (await open(address(), wish(more), page(), idle)).bundle.model.version;
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

  test("first: what the server says clearly is not passed over", async () => {
    await release("1", 1);
    await versionOf();
    server.trick = () => ({ kind: "status", status: 404 });
    expect(await failureOf(versionOf())).toBe("download-failed");
    server.trick = () => ({ kind: "html" });
    expect(await failureOf(versionOf())).toBe("bundle-invalid");
  });

  test.each(["later", "never"] as const)("%s: the stored one, without a question", async (policy) => {
    await release("1", 1);
    expect(await versionOf({ update: policy })).toBe("1");
    await release("2", 2);
    server.asked = [];
    expect(await versionOf({ update: policy })).toBe("1");
    expect(server.asked).toEqual([]);
    await update(address(), wish(), page(), idle);
    expect(await versionOf({ update: policy })).toBe("2");
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
  test("fetches the chunks that changed, and tells whether anything did", async () => {
    await release("1", 1, 2, 3, 4);
    expect(await update(address(), wish(), page(), idle)).toMatchObject({ isNew: true, fetchedBytes: 4 * CHUNK });
    const second = await release("2", 1, 2, 9, 3, 4);
    server.asked = [];
    const done = await update(address(), wish(), page(), idle);
    expect(done).toEqual({ identity: second.identity, isNew: true, fetchedBytes: CHUNK });
    expect(server.chunkRequests).toBe(1);
    expect(await update(address(), wish(), page(), idle)).toMatchObject({ isNew: false, fetchedBytes: 0 });
  });

  test("in the background waits where the user saves data; one that was asked for does not", async () => {
    const first = await release("1", 1);
    await update(address(), wish(), page(), idle);
    const second = await release("2", 2);
    const effects = { ...hurried, connection: () => ({ saveData: true, bytesPerSecond: null }) };
    const saving = new Downloader(effects, new Shelf(memory, () => (now += 10)));
    server.asked = [];
    expect(await update(address(), wish({ update: "later" }), saving, idle)).toEqual({
      identity: first.identity,
      isNew: false,
      fetchedBytes: 0,
    });
    expect(server.asked).toEqual([]);
    expect(await update(address(), wish(), saving, idle)).toMatchObject({ identity: second.identity, isNew: true });
  });

  test("that does not fit says so", async () => {
    memory = new MemoryStore(3 * CHUNK);
    await release("1", 1, 2, 3, 4, 5, 6);
    expect(await failureOf(update(address(), wish(), page(), idle))).toBe("quota-exceeded");
  });
});

describe("a look", () => {
  test("fetches bundle.json alone, and says what is here and what is not", async () => {
    const { identity } = await release("1", 1, 2, 3);
    const before = await look(address(), wish(), page(), idle.signal);
    expect(before.costs).toEqual([{ backend: "wasm", bytes: 3_000, bytesToFetch: 3_000, isUnderWay: false }]);
    expect(before.plan?.identity).toBe(identity);
    expect(server.asked.map((x) => x.path)).toEqual(["/m/bundle.json"]);
    expect(await memory.names()).toEqual([]);
    await update(address(), wish(), page(), idle);
    const after = await look(address(), wish(), page(), idle.signal);
    expect(after.costs).toMatchObject([{ bytes: 3_000, bytesToFetch: 0 }]);
  });

  test("says that another tab is at it", async () => {
    const { bundle } = await release("1", 1);
    const sha256 = bundle.variants[0]?.files[0]?.chunks[0]?.sha256 ?? "";
    const effects = { ...hurried, heldLocks: () => Promise.resolve([`selvedge/${sha256}`]) };
    const found = await look(address(), wish(), new Downloader(effects, null), idle.signal);
    expect(found.costs).toMatchObject([{ isUnderWay: true }]);
  });

  test("says why a model can't be had, and hands on what the browser knows", async () => {
    const effects = {
      ...hurried,
      estimate: () => Promise.resolve({ quota: 100, usage: 30 }),
      connection: () => ({ saveData: true, bytesPerSecond: 5 }),
    };
    const found = await look(address(), wish(), new Downloader(effects, null), idle.signal);
    expect(found).toMatchObject({ plan: null, costs: [], freeBytes: 70, saveData: true, bytesPerSecond: 5 });
    expect(found.failed).toContain("404");
    await release("1", 1);
    const none = await look(address(), wish({ backends: [] }), new Downloader(effects, null), idle.signal);
    expect(none.failed).toContain("can't run here");
  });

  test("asks a server for a bare model's size", async () => {
    server.files.set("/m.onnx", { bytes: weights(5_000), etag: '"1"' });
    const url = `${server.url}/m.onnx`;
    const before = await look(url, wish(), page(), idle.signal);
    expect(before.costs).toEqual([{ backend: null, bytes: 5_000, bytesToFetch: 5_000, isUnderWay: false }]);
    expect(server.asked.map((x) => x.method)).toEqual(["HEAD"]);
    await open(url, wish(), page(), idle);
    const after = await look(url, wish(), page(), idle.signal);
    expect(after.costs).toEqual([{ backend: null, bytes: 5_000, bytesToFetch: 0, isUnderWay: false }]);
  });
});

describe("with trusted keys", () => {
  interface Key {
    readonly pair: CryptoKeyPair;
    readonly text: string;
  }
  let old: Key;
  let fresh: Key;
  let stranger: Key;

  beforeAll(async () => {
    const make = async (): Promise<Key> => {
      const pair = await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"]);
      return { pair, text: toBase64(await crypto.subtle.exportKey("raw", pair.publicKey)) };
    };
    [old, fresh, stranger] = [await make(), await make(), await make()];
  });

  async function signed(identity: string, n: number, key: Key = old, expiresMs = now + 1e9): Promise<void> {
    const claim = { identity, model: "test", release: n, expires: new Date(expiresMs).toISOString() };
    const bytes = new TextEncoder().encode(JSON.stringify(await sign(claim, key.pair)));
    server.files.set("/m/signature.json", { bytes });
  }

  const trusting = (...keys: Key[]): Partial<Wish> => ({ trust: keys.map((x) => x.text) });

  /** The code of the refusal; and no byte of weights was asked for. */
  async function refusal(more: Partial<Wish>): Promise<string> {
    const failure = await failureOf(versionOf(more));
    expect(server.chunkRequests).toBe(0);
    return failure;
  }

  test("a bundle that one of them signed is taken, offline too", async () => {
    const { identity } = await release("1", 1);
    await signed(identity, 1);
    expect(await versionOf(trusting(old))).toBe("1");
    expect(await versionOf(trusting(stranger, old))).toBe("1");
    server.close();
    expect(await versionOf(trusting(old))).toBe("1");
    expect(await failureOf(versionOf(trusting(stranger)))).toBe("download-failed");
  });

  test("rotation: an app that trusts both keys takes either", async () => {
    const first = await release("1", 1);
    await signed(first.identity, 1, old);
    expect(await versionOf(trusting(old, fresh))).toBe("1");
    const second = await release("2", 2);
    await signed(second.identity, 2, fresh);
    expect(await versionOf(trusting(old, fresh))).toBe("2");
    expect(await refusal(trusting(old))).toBe("integrity-failed wrong-key");
  });

  test("an unsigned one is refused, and so is one whose signature is a start page", async () => {
    await release("1", 1);
    expect(await refusal(trusting(old))).toBe("integrity-failed unsigned");
    server.trick = (path) => (path.endsWith("signature.json") ? { kind: "html" } : null);
    expect(await refusal(trusting(old))).toBe("integrity-failed unsigned");
  });

  test("one signed by a stranger is refused", async () => {
    const { identity } = await release("1", 1);
    await signed(identity, 1, stranger);
    expect(await refusal(trusting(old))).toBe("integrity-failed wrong-key");
  });

  test("an altered one is refused, and so are parts of two versions", async () => {
    const first = await release("1", 1);
    await signed(first.identity, 1);
    await release("2", 2); // its bundle.json beside the signature of the first
    expect(await refusal(trusting(old))).toBe("integrity-failed altered");
  });

  test("an expired one is refused", async () => {
    const { identity } = await release("1", 1);
    await signed(identity, 1, old, now - 1);
    expect(await refusal(trusting(old))).toBe("integrity-failed expired");
  });

  test("one older than what this device has seen is refused, unless the app pins it", async () => {
    const first = await release("1", 1);
    await signed(first.identity, 1);
    expect(await versionOf(trusting(old))).toBe("1");
    const second = await release("2", 2);
    await signed(second.identity, 2);
    expect(await versionOf(trusting(old))).toBe("2");
    await release("1", 1);
    await signed(first.identity, 1);
    expect(await refusal(trusting(old))).toBe("integrity-failed older");
    expect(await versionOf({ ...trusting(old), identity: first.identity })).toBe("1");
  });

  test("endless data in place of a bundle or its signature is left off", async () => {
    const { identity } = await release("1", 1);
    await signed(identity, 1);
    for (const name of ["signature.json", "bundle.json"]) {
      server.trick = (path) => (path.endsWith(name) ? { kind: "endless" } : null);
      expect(await refusal(trusting(old))).toBe("download-failed");
    }
    expect(server.sentBytes).toBeLessThan(128 * 1024 * 1024);
  });

  test("a bare model is refused; bytes of the app's own are not", async () => {
    server.files.set("/m.onnx", { bytes: weights(100) });
    const bare = open(`${server.url}/m.onnx`, wish(trusting(old)), page(), idle);
    expect(await failureOf(bare)).toBe("integrity-failed unsigned");
    expect(server.asked).toEqual([]);
    const own = await open(new Blob([weights(100)]), wish(trusting(old)), page(), idle);
    expect(own.data?.size).toBe(100);
  });
});
