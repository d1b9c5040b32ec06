// A stored version stays in use until a newer one is stored whole: whatever the server withholds, whichever the policy,
// and at whichever write the page is closed.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Bundle } from "../core/bundle.ts";
import { sign, toBase64 } from "../core/signature.ts";
import { bundleJson } from "../core/bundle-json.ts";
import { Downloader } from "./download.ts";
import { weights, criteriaFor } from "../test-support/cache-fixtures.ts";
import { BadServer, hurried, makePage, serveBundle } from "../test-support/fake-network.ts";
import { find, deleteStored, pin } from "./manage.ts";
import { identityOf } from "./manifest.ts";
import { MemoryStore } from "./stores/memory.ts";
import { open } from "./open.ts";
import type { UpdatePolicy, LoadCriteria } from "./messages.ts";
import { ModelStore } from "./model-store.ts";
import type { Bytes, Store } from "./stores/store.ts";
import { update } from "./update.ts";

const CHUNK = 1_000;
const POLICIES: readonly UpdatePolicy[] = ["first", "later", "never"];
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

function page(store: Store = memory): Downloader {
  return makePage(store, clock);
}

const address = (): string => `${server.url}/m/bundle.json`;

async function publish(version: string, ...seeds: number[]): Promise<{ bundle: Bundle; identity: string }> {
  const bytes = new Uint8Array(seeds.flatMap((seed) => [...weights(CHUNK, seed)]));
  const bundle = await serveBundle(server, "/m", { "m.onnx": bytes }, { chunkBytes: CHUNK, version });
  return { bundle, identity: await identityOf(bundleJson(bundle)) };
}

/** Loads as a page does: opens, then fetches the variant's files. Returns the version. */
async function load(more: Partial<LoadCriteria> = {}, downloader = page()): Promise<string> {
  const { bundle, identity } = await open(address(), criteriaFor(more), downloader, idle);
  await downloader.files({ url: address(), identity, format: 2 }, bundle.variants[0]?.files ?? [], idle);
  return bundle.model.version;
}

/** The server still has the metadata, but none of a version's chunks. */
function withhold(status = 404): void {
  server.trick = (path) => (path.includes("/chunks/") ? { kind: "status", status } : null);
}

function goOffline(): void {
  server.trick = () => ({ kind: "cut", at: 0 });
}

const failure = async (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => "none",
    (error: unknown) => (error as { code: string }).code,
  );

describe.each(POLICIES)("with update: %s", (policy) => {
  test.each([false, true])(
    "what is stored whole is used until a newer version is whole; pinned: %s (store-A1)",
    async (isPinned) => {
      await publish("1", 1, 2, 3, 4);
      expect(await load()).toBe("1");
      await pin(page(), address(), isPinned);
      await publish("2", 5, 6, 7, 8);
      withhold(503);
      expect(await failure(policy === "first" ? load() : update(address(), criteriaFor(), page(), idle))).toBe(
        "download-failed",
      );
      goOffline();
      expect(await load({ update: policy })).toBe("1");
      server.trick = () => null;
      if (policy !== "first") await update(address(), criteriaFor(), page(), idle);
      expect(await load({ update: policy })).toBe("2");
      goOffline();
      expect(await load({ update: policy })).toBe("2");
    },
  );

  test("a version with some of its chunks does not count as whole, nor does one after it (store-A1)", async () => {
    await publish("1", 1, 2);
    await load();
    for (const [version, seeds] of [
      ["2", [3, 4, 5]],
      ["3", [6, 7, 8]],
    ] as const) {
      const { bundle } = await publish(version, ...seeds);
      const last = bundle.variants[0]?.files[0]?.chunks[2]?.sha256 ?? "";
      server.trick = (path) => (path.includes(last) ? { kind: "status", status: 404 } : null);
      expect(await failure(update(address(), criteriaFor(), page(), idle))).toBe("download-failed");
      goOffline();
      expect(await load({ update: policy })).toBe("1");
    }
  });
});

test("a page that is closed at any write of an update leaves a version that loads offline (store-A1)", async () => {
  await publish("1", 1, 2);
  await load();
  const whole = new Map<string, Bytes>();
  for (const name of await memory.names()) whole.set(name, (await memory.read(name)) as Bytes);
  await publish("2", 2, 3);
  const dying = (at: number): { store: Store; writes: () => number } => {
    let writes = 0;
    const effect = (): void => {
      writes += 1;
      if (writes >= at) throw new DOMException("The page is gone.", "InvalidStateError");
    };
    const store: Store = {
      kind: "memory",
      names: () => memory.names(),
      read: (name) => memory.read(name),
      blob: (name) => memory.blob(name),
      write: async (name, bytes) => {
        effect();
        await memory.write(name, bytes);
      },
      remove: async (name) => {
        effect();
        await memory.remove(name);
      },
    };
    return { store, writes: () => writes };
  };
  const seen = new Set<string>();
  for (let at = 1; ; at += 1) {
    memory = new MemoryStore();
    for (const [name, bytes] of whole) await memory.write(name, bytes);
    server.trick = () => null;
    const { store, writes } = dying(at);
    await update(address(), criteriaFor(), page(store), idle).catch(() => undefined);
    goOffline();
    for (const policy of POLICIES) seen.add(await load({ update: policy }));
    if (writes() < at) break;
  }
  expect([...seen]).toEqual(["1", "2"]);
});

test("the former version of an address is removed once the newer one is whole", async () => {
  const first = await publish("1", 1);
  await load();
  const second = await publish("2", 2);
  await update(address(), criteriaFor(), page(), idle);
  expect(await new ModelStore(memory, () => clock.now).sources(address())).toMatchObject([
    { identity: second.identity },
  ]);
  expect(await load({ update: "never" })).toBe("2");
  expect(await load({ identity: first.identity })).toBe("1");
});

test("of two versions at an address the whole one is found, and both are deleted", async () => {
  const first = await publish("1", 1, 2);
  await load();
  await publish("2", 3, 4);
  withhold();
  await failure(load());
  expect(await find(page(), address())).toMatchObject({ identity: first.identity, variants: ["f32"] });
  expect(await deleteStored(page(), address())).toBe(2 * CHUNK);
  expect((await memory.names()).filter((x) => /^(bundle|source|chunk)-/.test(x))).toEqual([]);
});

test.each<[string, string | null]>([
  ["one bundle", ""],
  ["all", null],
])("nothing of a load is recorded once %s is deleted (store-late)", async (_, which) => {
  const timers: (() => void)[] = [];
  const { effects, modelStore } = page();
  const held = new Downloader(
    {
      ...effects,
      setTimer: (call, ms) => {
        if (ms !== 1_000) return effects.setTimer(call, ms);
        timers.push(call);
        return () => undefined;
      },
    },
    modelStore,
  );
  await publish("1", 1);
  await load({}, held);
  await load({}, held); // the server has the version that is stored
  await load({ update: "never" }, held);
  expect(timers.length).toBeGreaterThan(0);
  expect(await deleteStored(held, which === null ? null : address())).toBe(CHUNK);
  for (const call of timers) call();
  await new Promise((resolve) => setTimeout(resolve, 50));
  // The rate of the network stays.
  expect((await memory.names()).filter((x) => /^(bundle|source|used|chunk)-/.test(x))).toEqual([]);
});

test("a server that reverts to the former version takes effect at once", async () => {
  await publish("1", 1);
  await load();
  await publish("2", 2);
  await load();
  await publish("1", 1);
  expect(await load()).toBe("1");
});

test("the newer version replaces the former for each backend that has it", async () => {
  const gpu = { vendor: "a", architecture: "b", description: "c", software: false, features: [], limits: {} };
  const criteria = { backends: ["webgpu", "wasm"] as const, device: { ...criteriaFor().device, gpu } };
  const two = async (version: string, seeds: readonly [number, number]): Promise<Bundle> => {
    const files = { a: weights(CHUNK, seeds[0]), b: weights(CHUNK, seeds[1]) };
    const bundle = await serveBundle(server, "/m", files, { chunkBytes: CHUNK, version });
    const [a, b] = bundle.variants[0]?.files ?? [];
    if (a === undefined || b === undefined) throw new Error("two files");
    const made: Bundle = {
      ...bundle,
      variants: [
        { id: "gpu", needs: [], unchecked: ["wasm"], files: [a] },
        { id: "cpu", needs: [], unchecked: ["webgpu"], files: [b] },
      ],
    };
    const bytes = new TextEncoder().encode(JSON.stringify(bundleJson(made)));
    server.files.set("/m/bundle.json", { bytes, type: "application/json" });
    return made;
  };
  await two("1", [1, 2]);
  await update(address(), criteriaFor(criteria), page(), idle);
  const second = await two("2", [3, 4]);
  const kept = second.variants.find((x) => x.id === "gpu")?.files[0]?.chunks[0]?.sha256 ?? "";
  server.trick = (path) => (path.includes(kept) ? { kind: "status", status: 404 } : null);
  await failure(update(address(), criteriaFor(criteria), page(), idle));
  expect(
    (await open(address(), criteriaFor({ ...criteria, update: "never" }), page(), idle)).bundle.model.version,
  ).toBe("1");
  server.trick = () => null;
  await update(address(), criteriaFor(criteria), page(), idle);
  expect(
    (await open(address(), criteriaFor({ ...criteria, update: "never" }), page(), idle)).bundle.model.version,
  ).toBe("2");
});

test("fields that nobody signed are not stored with a signature, however deep they are (store-C6)", async () => {
  const pair = await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"]);
  const trustedKeys = [toBase64(await crypto.subtle.exportKey("raw", pair.publicKey))];
  const { identity } = await publish("1", 1);
  const expires = new Date(clock.now + 1e9).toISOString();
  const signature = JSON.stringify(await sign({ identity, model: "test", release: 1, expires }, pair));
  const deep = `${signature.slice(0, -1)},"more":${"[".repeat(30_000)}${"]".repeat(30_000)}}`;
  server.files.set("/m/signature.json", { bytes: new TextEncoder().encode(deep) });
  expect(await load({ trustedKeys })).toBe("1");
  goOffline();
  expect(await load({ trustedKeys })).toBe("1");
});

test("a bundle.json from another origin is refused, unless a hash or a key vouches for it (store-C8)", async () => {
  const { identity } = await publish("1", 1);
  const other = server.url.replace("127.0.0.1", "localhost");
  const fetchFrom = async (url: string, init: RequestInit): Promise<Response> => {
    const response = await fetch(url, init);
    if (url.endsWith("/bundle.json")) Object.defineProperty(response, "url", { value: `${other}/else/bundle.json` });
    return response;
  };
  const elsewhere = (): Downloader => new Downloader({ ...hurried, fetch: fetchFrom }, null);
  await expect(open(address(), criteriaFor(), elsewhere(), idle)).rejects.toMatchObject({
    code: "integrity-failed",
    details: { reason: "redirected" },
  });
  expect(await load({ identity }, elsewhere())).toBe("1");
  server.trick = (path, nth) => (path.endsWith("bundle.json") && nth === 2 ? { kind: "redirect" } : null);
  expect(await load()).toBe("1");
});

test("a note that is delayed does not bring a former version back (store-note)", async () => {
  await publish("1", 1);
  await load();
  /** Loads version 1 in a tab whose notes are delayed; returns the function that writes them. */
  const tab = async (): Promise<() => Promise<void>> => {
    const notes: (() => void)[] = [];
    const setTimer = (callback: () => void, ms: number): (() => void) => {
      if (ms !== 1_000) return hurried.setTimer(callback, ms);
      notes.push(callback);
      return () => undefined;
    };
    const modelStore = new ModelStore(memory, () => (clock.now += 10));
    expect(await load({}, new Downloader({ ...hurried, setTimer }, modelStore))).toBe("1");
    return async () => {
      expect(notes).not.toEqual([]);
      for (const note of notes) note();
      for (let n = 0; n < 30; n += 1) await modelStore.sources(address()); // the notes are written meanwhile
    };
  };
  const lastUse = async (): Promise<number> => (await page().modelStore?.bundles())?.[0]?.usedMs ?? 0;
  const before = await lastUse();
  await (
    await tab()
  )();
  expect(await lastUse()).toBeGreaterThan(before);

  const write = await tab();
  const { identity } = await publish("2", 2);
  expect(await load()).toBe("2"); // in another tab
  await write();
  expect((await page().modelStore?.source(address()))?.identity).toBe(identity);
  goOffline();
  expect(await load()).toBe("2");
});
