// The store against a model: random sequences of actions of tabs, servers, users and disks, then three properties after
// each step. A model that was stored whole stays loadable until a newer one is whole; nothing pinned or in use is
// evicted; nothing is stored that a load would refuse. In Node over memory and over OPFS's code in a stand-in folder
// (lib/cache/model-based.test.ts), in browsers over the real stores (e2e/specs/storage/stores.spec.ts).
import fc from "fast-check";
import { bundleJson } from "../core/bundle-json.ts";
import { canonicalJson, chunkPath, sha256Hex } from "../core/bundle.ts";
import type { Bundle, BundleChunk } from "../core/bundle.ts";
import { isSelvedgeError } from "../core/errors.ts";
import { Downloader } from "../cache/download.ts";
import type { DownloadEffects } from "../cache/download.ts";
import { deleteStored, pin } from "../cache/manage.ts";
import type { UpdatePolicy } from "../cache/messages.ts";
import { ModelStore } from "../cache/model-store.ts";
import { open } from "../cache/open.ts";
import { outOfSpace } from "../cache/stores/store.ts";
import type { Bytes, Store } from "../cache/stores/store.ts";
import { update } from "../cache/update.ts";
import { SharedLocks, weights, criteriaFor } from "./cache-fixtures.ts";

/** Bytes of a chunk. */
export const CHUNK = 400;
const MODELS = ["a", "b", "c"] as const;
type ModelName = (typeof MODELS)[number];
const idle = { signal: new AbortController().signal, onProgress: undefined };

interface Version {
  readonly bundle: Bundle;
  readonly identity: string;
  readonly content: Uint8Array;
  readonly chunks: readonly BundleChunk[];
}

/** A store whose page may die at a write, over one that lasts. */
class Mortal implements Store {
  readonly kind = "opfs";
  readonly #store: Store;
  readonly #quota: () => number;
  readonly blob?: (name: string) => Promise<Blob | null>;
  #writesLeft = Number.POSITIVE_INFINITY;
  isDead = false;

  constructor(store: Store, quota: () => number) {
    this.#store = store;
    this.#quota = quota;
    if (store.blob !== undefined) this.blob = store.blob.bind(store);
  }

  dieAfter(writes: number): void {
    this.#writesLeft = writes;
  }

  names(): Promise<string[]> {
    return this.#store.names();
  }

  read(name: string): Promise<Bytes | null> {
    return this.#store.read(name);
  }

  async write(name: string, bytes: Bytes): Promise<void> {
    this.#effect();
    const isFull = (await usedBytes(this.#store)) + bytes.length > this.#quota();
    if (name.startsWith("chunk-") && isFull) throw outOfSpace(name, bytes.length);
    await this.#store.write(name, bytes);
  }

  async remove(name: string): Promise<void> {
    this.#effect();
    await this.#store.remove(name);
  }

  #effect(): void {
    this.isDead ||= this.#writesLeft-- <= 0;
    if (this.isDead) throw new DOMException("The page is gone.", "InvalidStateError");
  }
}

/** Bytes of chunks, by their names. */
async function usedBytes(store: Store): Promise<number> {
  const chunks = (await store.names()).filter((x) => x.startsWith("chunk-"));
  return chunks.reduce((sum, x) => sum + Number(x.split("-")[2]), 0);
}

/** A tab of the page, and the models that it has loaded. */
export interface Tab {
  downloader: Downloader;
  store: Mortal;
  /** Identities in use. */
  readonly uses: Map<string, ModelName>;
}

/** The world outside the store, and the properties' record of it. */
export class StoreWorld {
  readonly base: Store;
  readonly tabs: Tab[] = [];
  readonly locks: SharedLocks = new SharedLocks();
  readonly versions: Map<ModelName, Version[]> = new Map();
  readonly withheld: Set<string> = new Set();
  /** Entries of a newer release. */
  readonly newer: Map<string, string> = new Map();
  readonly pinned: Set<string> = new Set();
  isOffline = false;
  quotaBytes = Number.POSITIVE_INFINITY;
  /** Chunks that the disk has damaged and no load has read since. */
  readonly damaged: Set<string> = new Set();
  /** Versions that were loadable offline before the step. */
  loadable: Map<ModelName, string> = new Map();
  #now = 1_000_000;

  private constructor(base: Store) {
    this.base = base;
    for (let i = 0; i < 2; i += 1) this.tabs.push(this.#tab());
  }

  /** Makes a world over an empty store, with the first version of each model published. */
  static async make(base: Store): Promise<StoreWorld> {
    check((await base.names()).length === 0, "the store is not empty");
    const world = new StoreWorld(base);
    for (const name of MODELS) await world.publish(name);
    return world;
  }

  urlOf(name: ModelName): string {
    return `https://app.test/${name}/bundle.json`;
  }

  /** A tab that is closed loses its memory and its locks. */
  reopen(index: number): Tab {
    const old = this.tabs[index];
    old?.store.dieAfter(0);
    old?.downloader.leave();
    return (this.tabs[index] = this.#tab());
  }

  effects(isOffline = (): boolean => this.isOffline): DownloadEffects {
    return {
      now: () => performance.now() * 100,
      random: () => 0.5,
      wallClock: () => (this.#now += 1),
      isOwn: () => true,
      connection: () => ({ saveData: false, bytesPerSecond: null }),
      loadBrotli: () => Promise.reject(new Error("No chunk of the model is compressed.")),
      locks: this.locks,
      heldLocks: () => Promise.resolve(this.locks.held()),
      // Waits for servers and tabs never end here; pauses take no time.
      setTimer: (callback, ms) => (ms >= 5_000 ? () => undefined : soon(callback)),
      estimate: async () => ({ quota: Math.min(this.quotaBytes, 2 ** 40), usage: await usedBytes(this.base) }),
      fetch: (url) => {
        if (isOffline()) return Promise.reject(new TypeError("offline"));
        const body = this.#served(url);
        return Promise.resolve(body === null ? new Response("", { status: 404 }) : new Response(body.slice()));
      },
    };
  }

  modelStore(store: Store = this.base): ModelStore {
    return new ModelStore(store, () => (this.#now += 1));
  }

  async publish(name: ModelName): Promise<void> {
    const known = this.versions.get(name) ?? [];
    const base = 100 * MODELS.indexOf(name) + known.length;
    // A version shares its first chunk with the one before, and one with all models.
    const parts = [base + 1, base + 2, 7].map((seed) => weights(CHUNK, seed));
    const chunks: BundleChunk[] = [];
    for (const bytes of parts) chunks.push({ sha256: await sha256Hex(bytes), bytes: CHUNK });
    const port = { name: "x", dtype: "float32", dims: [1], batchAxis: null } as const;
    const bundle: Bundle = {
      format: 2,
      model: {
        name,
        version: String(known.length + 1),
        licence: "MIT",
        inputs: [port],
        outputs: [{ ...port, name: "y" }],
      },
      variants: [{ id: "f32", needs: [], files: [{ path: "m.onnx", bytes: CHUNK * parts.length, chunks }] }],
    };
    for (const [i, { sha256 }] of chunks.entries())
      this.#files.set(`https://app.test/${name}/${chunkPath(2, sha256)}`, parts[i] as Bytes);
    const text = new TextEncoder().encode(canonicalJson(bundleJson(bundle)));
    this.#files.set(this.urlOf(name), text);
    const content = new Uint8Array(parts.flatMap((x) => [...x]));
    this.versions.set(name, [...known, { bundle, identity: await sha256Hex(text), content, chunks }]);
  }

  /** Loads as a page does; returns the version's identity. */
  async load(tab: Tab, name: ModelName, policy: UpdatePolicy): Promise<string> {
    const url = this.urlOf(name);
    const { bundle, identity } = await open(url, criteriaFor({ update: policy }), tab.downloader, idle);
    const files = bundle.variants[0]?.files ?? [];
    const [blob] = await tab.downloader.files({ url, identity, format: 2 }, files, idle);
    tab.uses.set(identity, name);
    const expected = this.versions.get(name)?.find((x) => x.identity === identity)?.content;
    const bytes = new Uint8Array((await blob?.arrayBuffer()) ?? new ArrayBuffer());
    check(bytes.join() === expected?.join(), `${name} has other bytes than were published`);
    return identity;
  }

  /** Returns which version of each model loads without a network. */
  async whole(): Promise<Map<ModelName, string>> {
    const found = new Map<ModelName, string>();
    const here = new Set(await this.base.names());
    for (const name of MODELS) {
      const tab = this.#tab(() => true);
      tab.store.dieAfter(0); // it only looks
      const identity = await this.load(tab, name, "never").catch((error: unknown) => {
        if (!isSelvedgeError(error)) throw error;
        return null;
      });
      tab.downloader.leave();
      if (identity !== null && here.has(`bundle-${identity}`)) found.set(name, identity);
    }
    return found;
  }

  /** Identities that must not be evicted. */
  kept(): Set<string> {
    return new Set([...this.pinned, ...this.tabs.flatMap((x) => [...x.uses.keys()])]);
  }

  readonly #files: Map<string, Bytes> = new Map();

  #served(url: string): Bytes | null {
    return this.withheld.has(url.split("/")[3] ?? "") && url.includes("/chunks/")
      ? null
      : (this.#files.get(url) ?? null);
  }

  #tab(isOffline?: () => boolean): Tab {
    const store = new Mortal(this.base, () => this.quotaBytes);
    return { store, downloader: new Downloader(this.effects(isOffline), this.modelStore(store)), uses: new Map() };
  }
}

/** Effects that a step may have by itself. */
interface Excuse {
  /** Model that the step damages. */
  readonly damaged?: ModelName;
  /** Model that the step deletes: it must be gone. */
  readonly deleted?: ModelName;
  /** Whether bundles may have been evicted that are neither pinned nor in use. */
  readonly room?: ModelName;
}

class Step implements fc.AsyncCommand<object, StoreWorld> {
  readonly #name: string;
  readonly #act: (world: StoreWorld) => Promise<Excuse | undefined>;

  constructor(name: string, act: (world: StoreWorld) => Promise<Excuse | undefined>) {
    this.#name = name;
    this.#act = act;
  }

  check(): boolean {
    return true;
  }

  async run(_: object, world: StoreWorld): Promise<void> {
    const kept = world.kept();
    const excuse = (await this.#act(world)) ?? {};
    const after = await world.whole();
    for (const [name, identity] of world.loadable) {
      if (after.has(name) || name === excuse.damaged || name === excuse.deleted) continue;
      const mayGo = excuse.room !== undefined && excuse.room !== name && !kept.has(identity);
      check(mayGo, `${name} was stored whole and is no longer: ${this.#name}`);
    }
    check(
      excuse.deleted === undefined || !after.has(excuse.deleted),
      `${excuse.deleted} is still there: ${this.#name}`,
    );
    world.loadable = after;
    await checkEntries(world);
  }

  toString(): string {
    return this.#name;
  }
}

/** Nothing is stored that a load would refuse, and nothing of a newer release is changed. */
export async function checkEntries(world: StoreWorld): Promise<void> {
  for (const name of await world.base.names()) {
    const hash = /^(?:chunk|bundle)-([0-9a-f]{64})/.exec(name)?.[1];
    if (hash === undefined || world.damaged.has(name)) continue;
    const bytes = await world.base.read(name);
    if (bytes !== null) check((await sha256Hex(bytes)) === hash, `${name} holds other bytes`);
  }
  for (const [name, bytes] of world.newer)
    check((await world.base.read(name))?.join() === bytes, `${name} of a newer release was changed`);
}

const model = fc.constantFrom(...MODELS);
const tab = fc.constantFrom(0, 1);
const policy = fc.constantFrom<UpdatePolicy>("first", "later", "never");

/** Runs an operation that may fail because of the simulated world. */
async function attempt(world: StoreWorld, work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    const isUp = !world.isOffline && world.withheld.size === 0 && world.versions.size === MODELS.length;
    const isFull = isSelvedgeError(error) && error.code === "quota-exceeded";
    if (!isSelvedgeError(error) || (isUp && !isFull)) throw error;
  }
}

const steps = [
  model.map(
    (m) =>
      new Step(`publish ${m}`, async (world) => {
        await world.publish(m);
        return undefined;
      }),
  ),
  fc.record({ m: model, t: tab, p: policy }).map(
    ({ m, t, p }) =>
      new Step(`load ${m} in ${t}, ${p}`, async (world) => {
        await attempt(world, () => world.load(world.tabs[t] as Tab, m, p));
        return { room: m };
      }),
  ),
  fc.record({ m: model, t: tab }).map(
    ({ m, t }) =>
      new Step(`update ${m} in ${t}`, async (world) => {
        await attempt(world, () => update(world.urlOf(m), criteriaFor(), (world.tabs[t] as Tab).downloader, idle));
        return { room: m };
      }),
  ),
  fc.record({ m: model, n: model, p: policy }).map(
    ({ m, n, p }) =>
      new Step(`load ${m} and ${n} at once, ${p}`, async (world) => {
        await Promise.all([
          attempt(world, () => world.load(world.tabs[0] as Tab, m, p)),
          attempt(world, () => world.load(world.tabs[1] as Tab, n, p)),
        ]);
        return m === n ? { room: m } : { room: "none" as ModelName };
      }),
  ),
  fc.record({ m: model, t: tab, writes: fc.nat(12), isUpdate: fc.boolean() }).map(
    ({ m, t, writes, isUpdate }) =>
      new Step(
        `tab ${t} dies after ${writes} writes of ${isUpdate ? "an update" : "a load"} of ${m}`,
        async (world) => {
          const dying = world.reopen(t);
          const room = world.quotaBytes;
          world.quotaBytes = Number.POSITIVE_INFINITY; // README: where a newer version fits only in place of the older
          dying.store.dieAfter(writes);
          await (
            isUpdate ? update(world.urlOf(m), criteriaFor(), dying.downloader, idle) : world.load(dying, m, "first")
          ).catch(() => undefined);
          world.quotaBytes = room;
          world.reopen(t);
        },
      ),
  ),
  fc.record({ m: model, t: tab }).map(
    ({ m, t }) =>
      new Step(`unload ${m} in ${t}`, async (world) => {
        const { uses, downloader } = world.tabs[t] as Tab;
        for (const [identity, name] of uses)
          if (name === m) {
            downloader.uses.unloaded(identity);
            uses.delete(identity);
          }
        return Promise.resolve(undefined);
      }),
  ),
  tab.map((t) => new Step(`close ${t}`, (world) => Promise.resolve(void world.reopen(t)))),
  fc.boolean().map((x) => new Step(x ? "offline" : "online", (world) => Promise.resolve(void (world.isOffline = x)))),
  fc.record({ m: model, is: fc.boolean() }).map(
    ({ m, is }) =>
      new Step(`${is ? "withhold" : "give"} chunks of ${m}`, (world) => {
        if (is) world.withheld.add(m);
        else world.withheld.delete(m);
        return Promise.resolve(undefined);
      }),
  ),
  fc.record({ m: model, is: fc.boolean() }).map(
    ({ m, is }) =>
      new Step(`${is ? "pin" : "unpin"} ${m}`, async (world) => {
        const { downloader } = world.tabs[0] as Tab;
        await pin(downloader, world.urlOf(m), is);
        world.pinned.clear();
        for (const name of await world.base.names()) if (name.startsWith("pin-")) world.pinned.add(name.slice(4));
        return undefined;
      }),
  ),
  model.map(
    (m) =>
      new Step(`delete ${m}`, async (world) => {
        await deleteStored((world.tabs[0] as Tab).downloader, world.urlOf(m));
        for (const { identity } of world.versions.get(m) ?? []) world.pinned.delete(identity);
        return { deleted: m };
      }),
  ),
  fc
    .integer({ min: 2, max: 12 })
    .map((n) => new Step(`room for ${n} chunks`, (world) => Promise.resolve(void (world.quotaBytes = n * CHUNK)))),
  fc.record({ m: model, is: fc.boolean() }).map(
    ({ m, is }) =>
      new Step(`a chunk of ${m} is ${is ? "damaged" : "lost"}`, async (world) => {
        const [chunk] = world.versions.get(m)?.at(-1)?.chunks ?? [];
        const name = chunk === undefined ? "" : `chunk-${chunk.sha256}-${chunk.bytes}`;
        const bytes = await world.base.read(name);
        if (bytes === null) return undefined;
        await world.base.remove(name);
        bytes[3] = (bytes[3] ?? 0) ^ 1;
        if (is) await world.base.write(name, bytes);
        if (is) world.damaged.add(name);
        return { damaged: m };
      }),
  ),
  fc.nat(3).map(
    (n) =>
      new Step(`a newer release stores something, ${n}`, async (world) => {
        const bytes = weights(CHUNK, 5_000 + n);
        const sha256 = await sha256Hex(bytes);
        const text = new TextEncoder().encode(JSON.stringify({ schema: "selvedge/bundle@9", n, parts: [sha256] }));
        for (const [name, data] of [
          [`chunk-${sha256}-${CHUNK}`, bytes],
          [`bundle-${await sha256Hex(text)}`, text],
        ] as const) {
          await world.base.write(name, data);
          world.newer.set(name, data.join());
        }
        return undefined;
      }),
  ),
];

/**
 * Returns the property that a store keeps the model's promises, whatever happens. `make` returns an empty store, for each
 * sequence of steps.
 */
export function storeProperty(
  make: () => Store | Promise<Store>,
): fc.IAsyncProperty<[Iterable<fc.AsyncCommand<object, StoreWorld>>]> {
  return fc.asyncProperty(fc.commands(steps, { maxCommands: 30, size: "max" }), (commands) =>
    fc.asyncModelRun(async () => ({ model: {}, real: await StoreWorld.make(await make()) }), commands),
  );
}

/** Calls back in a later task, at once, which a timer of a browser or of Node does not; the returned function cancels. */
function soon(callback: () => void): () => void {
  const { port1, port2 } = new MessageChannel();
  const cancel = (): void => {
    port1.onmessage = null;
    port1.close();
  };
  port1.onmessage = () => {
    cancel();
    callback();
  };
  port2.postMessage(null);
  return cancel;
}

function check(holds: boolean, message: string): void {
  if (!holds) throw new Error(message);
}
