// The worker's end of the line: its calls, errors and notices, over a channel of messages and real downloads.
import * as Comlink from "comlink";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { BUILD_ID } from "../core/build-id.ts";
import { USED } from "../effects/lock-names.ts";
import type { Reply } from "../rpc/reply.ts";
import { criteriaFor, SharedLocks, weights } from "../test-support/cache-fixtures.ts";
import { BadServer, DiskStore, hurried, serveBundle } from "../test-support/fake-network.ts";
import type { CacheApi, Plan, ProgressNotice, StoreChoice } from "./messages.ts";
import { isProgress } from "./messages.ts";
import { serveCache } from "./serve.ts";
import type { CacheEffects } from "./serve.ts";
import type { Store } from "./stores/store.ts";

const model = weights(2_500, 1);
const table = weights(700, 2);

let server: BadServer;
let url: string;
let store: DiskStore;
const ports: MessagePort[] = [];

beforeEach(async () => {
  server = await BadServer.start();
  store = await DiskStore.make();
  await serveBundle(server, "/m", { "m.onnx": model, "table.bin": table }, { chunkBytes: 1_000 });
  url = `${server.url}/m/bundle.json`;
});

afterEach(async () => {
  for (const port of ports.splice(0)) port.close();
  server.close();
  await store.clear();
  vi.unstubAllGlobals();
});

/** A worker with these effects, and what it did. */
function start(more: Partial<CacheEffects> = {}) {
  const { port1, port2 } = new MessageChannel();
  ports.push(port1, port2);
  const [choices, urls, messages]: [StoreChoice[], string[], unknown[]] = [[], [], []];
  const locks = new SharedLocks();
  port1.addEventListener("message", ({ data }: MessageEvent) => {
    messages.push(data);
  });
  const effects: CacheEffects = {
    ...hurried,
    locks,
    wallClock: () => 5_000,
    heldLocks: () => Promise.resolve(locks.held()),
    openStore: (choice) => {
      choices.push(choice);
      return Promise.resolve<Store | null>(choice === false ? null : store);
    },
    setBrotliUrl: (x) => {
      urls.push(x);
    },
    ...more,
  };
  serveCache(port2, effects);
  const api = Comlink.wrap<CacheApi>(port1) as unknown as CacheApi;
  const notices = (ticket: number): ProgressNotice[] => messages.filter(isProgress).filter((x) => x.ticket === ticket);
  return { api, choices, urls, messages, notices, locks, post: port2.postMessage.bind(port2) };
}

/** Returns the value of a reply. */
async function valueOf<T>(call: Promise<Reply<T>>): Promise<T> {
  const answer = await call;
  if (!answer.ok) throw new Error(answer.error.message);
  return answer.value;
}

async function errorOf(call: Promise<Reply<unknown>>): Promise<Record<string, unknown>> {
  const answer = await call;
  if (answer.ok) throw new Error("it succeeded");
  return { ...answer.error };
}

const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5));
const modelOf = ({ candidates, assets, identity, format }: Plan) =>
  [{ url, identity, format }, [...(candidates[0]?.variant.files ?? []), ...assets]] as const;

test("the first message says which build the worker is of", async () => {
  const { messages, api } = start();
  await api.begin("auto", "", []);
  expect(messages[0]).toEqual({ selvedge: "ready", build: BUILD_ID });
});

test("the first call sets the decoder's address and the store, which is opened once", async () => {
  const { api, choices, urls } = start();
  expect(await api.begin("memory", "https://app.example/brotli.wasm", [])).toEqual({ ok: true, value: null });
  expect(await valueOf(api.contents())).toMatchObject({ kind: "opfs", bytes: 0, bundles: [] });
  await valueOf(api.open(1, url, criteriaFor()));
  expect([choices, urls]).toEqual([["memory"], ["https://app.example/brotli.wasm"]]);
});

test.each(["contents", "open"] as const)(
  "a call before the first one, %s, opens the usual store, once",
  async (call) => {
    const { api, choices } = start();
    if (call === "contents") await valueOf(api.contents());
    else await valueOf(api.open(1, url, criteriaFor()));
    await api.begin("memory", "", []);
    expect(choices).toEqual(["auto"]);
  },
);

test("where nothing is to be stored, models are fetched and nothing is listed", async () => {
  const { api } = start();
  await api.begin(false, "", []);
  const files = await valueOf(api.files(2, ...modelOf(await valueOf(api.open(1, url, criteriaFor())))));
  expect(files.map((x) => x.size)).toEqual([2_500, 700]);
  expect(await valueOf(api.contents())).toEqual({ kind: "memory", bytes: 0, freeBytes: null, bundles: [] });
});

test("a model is opened, fetched with progress by its ticket, and managed by its address", async () => {
  const { api, notices } = start();
  await api.begin("auto", "", []);
  const planned = await valueOf(api.open(1, url, criteriaFor()));
  expect(planned).toMatchObject({ name: "test", candidates: [{ backend: "wasm" }] });
  const files = await valueOf(api.files(7, ...modelOf(planned)));
  expect(Buffer.from(await (files[0] as Blob).arrayBuffer()).equals(model)).toBe(true);
  expect(notices(7)[0]).toMatchObject({ loadedBytes: 0, totalBytes: 3_200 });
  expect(notices(7).at(-1)).toMatchObject({ loadedBytes: 3_200, totalBytes: 3_200, cachedBytes: 0 });
  const { identity } = planned;
  expect(await valueOf(api.find(url))).toMatchObject({ identity, isPinned: false, usedMs: 5_000 });
  expect(await valueOf(api.pin(identity, true))).toBe(true);
  expect(await valueOf(api.find(url))).toMatchObject({ isPinned: true });
  expect((await valueOf(api.export(url, "f32"))).map((x) => x.path)).toEqual(["m.onnx", "table.bin"]);
  expect((await errorOf(api.export(url, "int8")))["message"]).toContain('"int8"');
  expect(await valueOf(api.delete(identity))).toBe(3_200);
  expect(await valueOf(api.find(url))).toBeNull();
});

test("an update is stored for later loads, and an estimate says what is left to fetch", async () => {
  const { api, notices } = start();
  expect((await valueOf(api.estimate(1, url, criteriaFor()))).costs).toMatchObject([
    { bytes: 3_200, bytesToFetch: 3_200 },
  ]);
  expect(await valueOf(api.update(2, url, criteriaFor()))).toMatchObject({ isNew: true, fetchedBytes: 3_200 });
  expect(notices(2).at(-1)).toMatchObject({ loadedBytes: 3_200 });
  expect((await valueOf(api.estimate(3, url, criteriaFor()))).costs).toMatchObject([{ bytesToFetch: 0 }]);
});

test("the models of other tabs count as memory that is in use, for an estimate and for a load", async () => {
  const names = [`${USED}bytes/3000000000/other/x`, `${USED}bytes/5000000/own/x`];
  const { api } = start({ heldLocks: () => Promise.resolve(names) });
  const memory = { ...criteriaFor().memory, page: "own" };
  const { costs } = await valueOf(api.estimate(1, url, criteriaFor({ memory })));
  expect(costs[0]?.fit).toMatchObject({
    fits: "tight",
    why: expect.stringContaining("other tabs of this site hold models of 3") as unknown,
  });
  const { candidates } = await valueOf(api.open(2, url, criteriaFor({ memory })));
  expect(candidates[0]?.fit?.why).toContain("other tabs of this site hold models of 3");
});

test("a file of a repository is requested with its token, one of any other address without one", async () => {
  const asked: Headers[] = [];
  const { api } = start({
    fetch: (to, init) => {
      asked.push(new Headers(init.headers));
      return fetch(to, init);
    },
  });
  const at = `${server.url}/m.onnx`;
  server.files.set("/m.onnx", { bytes: model });
  const chunk = { sha256: "ab".repeat(32), bytes: 2_500, url: at, isUnverified: true };
  const files = [{ path: "m.onnx", bytes: 2_500, chunks: [chunk] }];
  const bundle = { url, identity: "cd".repeat(32), format: 2 } as const;
  await valueOf(api.files(1, { ...bundle, token: "hf_1" }, files));
  expect(new Set(asked.map((x) => x.get("authorization")))).toEqual(new Set(["Bearer hf_1"]));
  asked.length = 0;
  await valueOf(api.delete(null));
  await valueOf(api.files(2, bundle, files));
  expect(new Set(asked.map((x) => x.get("authorization")))).toEqual(new Set([null]));
});

test("a call that is cancelled ends with the abort, as it is; one of another ticket goes on", async () => {
  let isAsked = (): void => undefined;
  const asked = new Promise<void>((resolve) => (isAsked = resolve));
  const { api } = start({
    fetch: (to, init) => {
      isAsked();
      return fetch(to, init);
    },
  });
  server.trick = (_, nth) => (nth === 0 ? { kind: "stall", at: 1 } : null);
  const opening = errorOf(api.open(1, url, criteriaFor()));
  await asked;
  await valueOf(api.cancel(9));
  const other = valueOf(api.open(2, url, criteriaFor()));
  await valueOf(api.cancel(1));
  expect(await opening).toMatchObject({ name: "AbortError" });
  expect((await other).name).toBe("test");
  expect(await valueOf(api.cancel(1))).toBeNull();
});

test("bytes that the browser has lost are an error of their own", async () => {
  const { api } = start({ openStore: () => Promise.reject(new DOMException("gone", "NotReadableError")) });
  expect(await errorOf(api.open(1, url, criteriaFor()))).toMatchObject({
    code: "download-failed",
    details: { reason: "unreadable" },
  });
});

test("an error of a data: URL shows its beginning alone", async () => {
  const { api } = start();
  const { message } = await errorOf(api.open(1, `data:text/html,${"x".repeat(5_000)}`, criteriaFor()));
  expect(message).toMatch(/data:text\/html,x+…/);
  expect(String(message).length).toBeLessThan(500);
});

test("models that were loaded in an earlier worker are in use until they are unloaded", async () => {
  const { api, locks } = start();
  await api.begin("auto", "", ["m1", "m2"]);
  expect(locks.held()).toEqual([`${USED}m1`, `${USED}m2`]);
  expect(await valueOf(api.unloaded("m1"))).toBeNull();
  await settle();
  expect(locks.held()).toEqual([`${USED}m2`]);
});

test("calls about a life cycle or an unloaded model before the first load do nothing", async () => {
  const { api, choices } = start();
  expect(await valueOf(api.unloaded("m"))).toBeNull();
  for (const change of ["leaving", "left", "stayed", "back"] as const)
    expect(await valueOf(api.life(change))).toBeNull();
  expect(choices).toEqual([]);
});

test("a page that may be left releases the locks of its models, and has them again once it stays or is back", async () => {
  const { api, locks } = start();
  await api.begin("auto", "", ["m"]);
  const held = async (change: "leaving" | "left" | "stayed" | "back"): Promise<number> => {
    await valueOf(api.life(change));
    await settle();
    return locks.held().length;
  };
  expect([await held("leaving"), await held("stayed"), await held("left"), await held("back")]).toEqual([0, 1, 0, 1]);
});

test("a download goes on while the page may be left, and begins again once a page that was left is back", async () => {
  const { api, locks } = start();
  await api.begin("auto", "", []);
  const planned = await valueOf(api.open(1, url, criteriaFor()));
  server.trick = (path, nth) => (path.includes("/chunks/") && nth === 0 ? { kind: "stall", at: 1 } : null);
  const loading = valueOf(api.files(2, ...modelOf(planned)));
  const chunks = (): number => locks.held().filter((x) => !x.startsWith(USED)).length;
  await vi.waitFor(() => {
    expect([chunks(), server.chunkRequests]).toEqual([4, 4]);
  });
  await valueOf(api.life("leaving"));
  expect(chunks()).toBe(4);
  await valueOf(api.life("left"));
  await settle();
  expect(chunks()).toBe(0);
  await valueOf(api.life("back"));
  expect((await loading).map((x) => x.size)).toEqual([2_500, 700]);
});

test("a wait ends once its time is over", async () => {
  const waits: { callback: () => void; ms: number }[] = [];
  const { api } = start({
    setTimer: (callback, ms) => {
      waits.push({ callback, ms });
      return () => undefined;
    },
  });
  let isOver = false;
  const waiting = api.wait(1_234).then((x) => {
    isOver = true;
    return x;
  });
  await settle();
  expect([waits.map((x) => x.ms), isOver]).toEqual([[1_234], false]);
  waits[0]?.callback();
  expect(await waiting).toEqual({ ok: true, value: null });
});

test("the worker holds one lock for the page, until it is asked for none", async () => {
  const locks = new SharedLocks();
  vi.stubGlobal("navigator", { locks: { request: locks.request.bind(locks) } });
  const { api } = start();
  expect(await valueOf(api.hold("alive"))).toBe(true);
  expect(locks.held()).toEqual(["alive"]);
  expect(await valueOf(api.hold(null))).toBe(false);
  await settle();
  expect(locks.held()).toEqual([]);
});
