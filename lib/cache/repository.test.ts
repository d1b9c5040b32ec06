// Repositories from a local hub and from a folder, with faults: what is fetched, kept, verified and said.
import { createHash } from "node:crypto";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { CHUNK_MAX_BYTES } from "../core/bundle.ts";
import { isSelvedgeError } from "../core/errors.ts";
import type { SelvedgeError } from "../core/errors.ts";
import { weights, criteriaFor } from "../test-support/cache-fixtures.ts";
import { hurried, makePage } from "../test-support/fake-network.ts";
import { create, toBinary } from "@bufbuild/protobuf";
import {
  AttributeProto_AttributeType,
  ModelProtoSchema,
  StringStringEntryProtoSchema,
  TensorProto_DataLocation,
  TensorProtoSchema,
} from "../compress/onnx/onnx.gen.js";
import { HubServer } from "../test-support/hub-server.ts";
import type { RepoFiles } from "../test-support/hub-server.ts";
import { Downloader } from "./download.ts";
import { estimateCost } from "./estimate-cost.ts";
import { contents, deleteStored } from "./manage.ts";
import type { Plan, Progress, LoadCriteria } from "./messages.ts";
import { ModelStore } from "./model-store.ts";
import { open } from "./open.ts";
import { openFolder } from "./folder.ts";
import { openRepository, parseAddress } from "./repository.ts";
import { knownOf } from "./repository-net.ts";
import { plan } from "./plan.ts";
import { MemoryStore } from "./stores/memory.ts";
import type { Bytes, Store } from "./stores/store.ts";
import { update } from "./update.ts";

const REPO = "owner/name";
const BIG = CHUNK_MAX_BYTES + 300_000;
const SMALL = 1_200_000;
let hub: HubServer;
let clock = { now: 1_000 };

/** Bytes that begin as an ONNX file does. */
function graph(size: number, seed: number): Bytes {
  const bytes = weights(size, seed);
  bytes.set([8, 8, 18, 4, 116, 101, 115, 116]);
  return bytes;
}

const CONFIG = JSON.stringify({
  architectures: ["BertForSequenceClassification"],
  model_type: "bert",
  id2label: { 0: "no", 1: "yes" },
});
const TOKENIZER = { "tokenizer.json": "{}", "tokenizer_config.json": '{"model_max_length":128}' };
const FILES: RepoFiles = {
  ...TOKENIZER,
  "config.json": CONFIG,
  "onnx/model.onnx": graph(BIG, 1),
  "onnx/model_quantized.onnx": graph(SMALL, 2),
};

beforeEach(async () => {
  hub = await HubServer.start();
  hub.commit(REPO, FILES);
  clock = { now: 1_000 };
});

afterEach(() => {
  hub.close();
});

const addressOf = (revision = "main", more = ""): string =>
  `${hub.url}/${REPO}/resolve/${encodeURIComponent(revision)}/#repo=${encodeURIComponent(REPO)}${more}`;

interface Loaded {
  readonly plan: Plan;
  readonly hashes: readonly string[];
  readonly last: Progress | undefined;
}

/** Loads as a new page would, over the store of earlier pages. */
async function load(store: Store | null, from = addressOf(), more: Partial<LoadCriteria> = {}): Promise<Loaded> {
  const page = makePage(store, clock);
  const { signal } = new AbortController();
  const criteria = criteriaFor(more);
  const seen: Progress[] = [];
  const options = { signal, onProgress: (x: Progress): void => void seen.push(x), token: criteria.token };
  const planned = plan(await open(from, criteria, page, options), criteria);
  const { identity, format, candidates, assets } = planned;
  const files = [...(candidates[0]?.variant.files ?? []), ...assets];
  const blobs = await page.files({ url: from, identity, format }, files, options);
  const hashes = await Promise.all(
    blobs.map(async (x) =>
      createHash("sha256")
        .update(new Uint8Array(await x.arrayBuffer()))
        .digest("hex"),
    ),
  );
  return { plan: planned, hashes, last: seen.at(-1) };
}

const sha256 = (file: string | Bytes | undefined): string =>
  createHash("sha256")
    .update(file ?? "")
    .digest("hex");

async function errorOf(promise: Promise<unknown>): Promise<SelvedgeError> {
  const error: unknown = await promise.then(
    () => null,
    (caught: unknown) => caught,
  );
  if (isSelvedgeError(error)) return error;
  throw new Error("it succeeded, or failed otherwise", { cause: error });
}

describe("from a hub", () => {
  test("the encoding for this device is fetched, its steps come from the files", async () => {
    const { plan, hashes } = await load(new MemoryStore());
    expect(plan.candidates.map((x) => x.variant)).toMatchObject([{ id: "q8" }]);
    expect(hashes).toEqual([sha256(FILES["onnx/model_quantized.onnx"]), sha256("{}")]);
    expect(plan).toMatchObject({
      name: REPO,
      declared: null,
      readers: { input_ids: { text: { tokenizer: "tokenizer.json", maxLength: 128 } } },
      decodes: { logits: { op: "labels", asset: "labels.txt", logits: true } },
      texts: { "labels.txt": "no\nyes\n" },
    });
    expect(hub.cdn.asked).toHaveLength(1);
  });

  test("`dtype` pins the encoding", async () => {
    const { plan, hashes } = await load(null, addressOf(), { pins: { backend: undefined, variant: "fp32" } });
    expect(plan.candidates[0]?.variant.id).toBe("fp32");
    expect(hashes[0]).toBe(sha256(FILES["onnx/model.onnx"]));
  });

  test("the second visit asks once whether the revision moved; a commit is never asked for", async () => {
    const store = new MemoryStore();
    const commit = hub.commit(REPO, FILES);
    await load(store);
    hub.asked = [];
    hub.cdn.asked = [];
    await load(store);
    expect(hub.asked).toEqual([`GET /${REPO}/resolve/main/config.json`]);
    await load(store, addressOf(commit));
    hub.asked = [];
    const { last } = await load(store, addressOf(commit));
    expect([hub.asked, hub.cdn.asked]).toEqual([[], []]);
    expect(last?.cachedBytes).toBe(last?.totalBytes);
  });

  test("offline the stored revision is used", async () => {
    const store = new MemoryStore();
    const { hashes, plan } = await load(store);
    hub.close();
    expect(await load(store)).toMatchObject({ hashes, plan: { identity: plan.identity } });
  });

  test("a moved revision is an update that fetches changed files alone", async () => {
    const store = new MemoryStore();
    const first = await load(store);
    const { signal } = new AbortController();
    const renew = () => update(addressOf(), criteriaFor(), makePage(store, clock), { signal, onProgress: undefined });
    const changed = graph(600_000, 9);
    hub.commit(REPO, { ...FILES, "onnx/model.onnx": changed });
    const second = await renew();
    expect(second).toMatchObject({ isNew: true, fetchedBytes: 0 });
    expect(second.identity).not.toBe(first.plan.identity);
    hub.commit(REPO, { ...FILES, "onnx/model_quantized.onnx": changed });
    expect(await renew()).toMatchObject({ isNew: true, fetchedBytes: changed.length });
    expect((await load(store)).hashes[0]).toBe(sha256(changed));
  });

  test("the cost is known before weights are fetched", async () => {
    const store = new MemoryStore();
    const { signal } = new AbortController();
    const ask = () => estimateCost(addressOf(), criteriaFor(), makePage(store, clock), signal);
    const bytes = SMALL + 2;
    expect((await ask()).costs).toMatchObject([{ bytes, bytesToFetch: bytes }]);
    expect(hub.cdn.asked).toEqual([]);
    await load(store);
    expect((await ask()).costs).toMatchObject([{ bytes, bytesToFetch: 0 }]);
  });

  test("a broken connection goes on where it broke, and the whole hash is checked", async () => {
    hub.cdn.trick = (_, nth) => (nth < 2 ? { kind: "cut", at: 1_000_000 } : null);
    const { hashes } = await load(new MemoryStore());
    expect(hashes[0]).toBe(sha256(FILES["onnx/model_quantized.onnx"]));
    expect(hub.cdn.asked.slice(1).every((x) => x.range !== null)).toBe(true);
  });

  test("a page that died goes on at the next visit; parts alone are never used", async () => {
    const store = new MemoryStore();
    hub.cdn.trick = () => ({ kind: "stall", at: CHUNK_MAX_BYTES + 100_000 });
    const page = makePage(store, clock);
    const stop = new AbortController();
    const criteria = criteriaFor({ pins: { backend: undefined, variant: "fp32" } });
    const opened = plan(
      await open(addressOf(), criteria, page, { signal: stop.signal, onProgress: undefined }),
      criteria,
    );
    const { identity, format, candidates } = opened;
    const files = candidates[0]?.variant.files ?? [];
    const onProgress = ({ loadedBytes }: Progress): void => {
      if (loadedBytes > CHUNK_MAX_BYTES) stop.abort(new Error("the page died"));
    };
    const dying = page.files({ url: addressOf(), identity, format }, files, { signal: stop.signal, onProgress });
    await expect(dying).rejects.toThrow("the page died");
    expect((await contents(makePage(store, clock))).bundles[0]?.variants).toEqual([]);
    hub.cdn.trick = () => null;
    hub.cdn.sentBytes = 0;
    const { hashes } = await load(store, addressOf(), criteria);
    expect(hashes[0]).toBe(sha256(FILES["onnx/model.onnx"]));
    expect(hub.cdn.sentBytes).toBeLessThan(BIG);
  });

  test("wrong bytes are refused, and nothing of them is kept as the file", async () => {
    const store = new MemoryStore();
    hub.cdn.trick = () => ({ kind: "flip", at: 1_100_000 });
    const error = await errorOf(load(store));
    expect([error.code, error.details["reason"]]).toEqual(["integrity-failed", "hash"]);
    expect((await contents(makePage(store, clock))).bundles[0]?.variants).toEqual([]);
    hub.cdn.trick = () => null;
    expect((await load(store)).hashes[0]).toBe(sha256(FILES["onnx/model_quantized.onnx"]));
  });

  test("a damaged piece in the store is fetched again, alone", async () => {
    const store = new MemoryStore();
    await load(store, addressOf(), { pins: { backend: undefined, variant: "fp32" } });
    const [name = ""] = (await store.names()).filter(
      (x) => x.startsWith("chunk-") && x.endsWith(`-${CHUNK_MAX_BYTES}`),
    );
    await store.remove(name);
    await store.write(name, new Uint8Array(CHUNK_MAX_BYTES));
    hub.cdn.sentBytes = 0;
    const { hashes } = await load(store, addressOf(), { pins: { backend: undefined, variant: "fp32" } });
    expect(hashes[0]).toBe(sha256(FILES["onnx/model.onnx"]));
    expect(hub.cdn.sentBytes).toBe(CHUNK_MAX_BYTES);
  });

  test("external data is fetched with the graph, by the path in it; a missing part is named", async () => {
    const external = {
      "config.json": CONFIG,
      "onnx/model.onnx": graph(2_000, 3),
      "onnx/model.onnx_data": weights(900_000, 4),
      "onnx/model.onnx_data_1": weights(700_000, 5),
    };
    hub.commit(REPO, external);
    const { plan, hashes } = await load(new MemoryStore());
    expect(plan.candidates[0]?.variant.files.map((x) => x.path)).toEqual([
      "model.onnx",
      "model.onnx_data",
      "model.onnx_data_1",
    ]);
    expect(hashes).toEqual(Object.values(external).slice(1).map(sha256));
    const half = Object.fromEntries(Object.entries(external).filter(([path]) => !path.endsWith("_data")));
    hub.commit(REPO, half);
    expect((await errorOf(load(null))).message).toBe(
      `${REPO} lacks onnx/model.onnx_data, a part of the model's weights: upload it, or take another revision.`,
    );
  });

  test("a description by the rules of another release is made anew at the same commit, without its weights", async () => {
    const store = new MemoryStore();
    const first = await load(store);
    const bundle = await new ModelStore(store, () => 1).bundle(first.plan.identity);
    if (bundle === null || !("variants" in bundle)) throw new Error("it is not stored");
    expect(knownOf(bundle)).toMatchObject({ version: bundle.model.version });
    expect(knownOf(bundle).locations.size).toBe(2);
    const { steps = { texts: {}, images: {}, decodes: {}, assets: {} } } = bundle.model;
    const older = { ...bundle, model: { ...bundle.model, steps: { ...steps, rules: undefined } } };
    expect(knownOf(older), "an older release may have missed a file").toMatchObject({
      version: "",
      locations: new Map(),
    });
    const { hub: repository, ...address } = parseAddress(addressOf());
    const net = {
      ...{ effects: hurried, signal: new AbortController().signal },
      ...{ token: undefined, attempts: () => Promise.resolve(1) },
    };
    hub.cdn.asked = [];
    expect(await openRepository({ ...address, hub: repository }, knownOf(bundle), net)).toBeNull();
    const again = await openRepository({ ...address, hub: repository }, knownOf(older), net);
    expect(again?.steps).toEqual(steps);
    expect(hub.cdn.asked).toEqual([]);
  });

  test("two repositories with the same file fetch it once", async () => {
    const store = new MemoryStore();
    await load(store);
    hub.commit("other/name", { "onnx/model_quantized.onnx": FILES["onnx/model_quantized.onnx"] as Bytes });
    hub.cdn.asked = [];
    await load(store, `${hub.url}/other/name/resolve/main/#repo=other/name`);
    expect(hub.cdn.asked).toEqual([]);
  });

  test("a deleted repository leaves no byte behind", async () => {
    const store = new MemoryStore();
    await load(store);
    expect((await contents(makePage(store, clock))).bundles).toMatchObject([{ name: REPO, variants: ["q8"] }]);
    expect(await deleteStored(makePage(store, clock), addressOf())).toBe(SMALL + 2);
    expect((await store.names()).filter((x) => !x.startsWith("rate-"))).toEqual([]);
  });

  test("a list of several pages is read whole, and a revision may have a slash", async () => {
    hub.pageSize = 2;
    hub.commit(REPO, FILES, "refs/pr/1");
    expect((await load(null, addressOf("refs/pr/1"))).plan.candidates[0]?.variant.id).toBe("q8");
  });

  test("a graph that is not `model` is chosen by its name", async () => {
    hub.commit(REPO, { "onnx/encoder_model.onnx": graph(5_000, 6), "onnx/decoder_model_merged.onnx": graph(5_000, 7) });
    expect((await errorOf(load(null))).message).toContain(
      'choose one by `file`: "decoder_model_merged", "encoder_model"',
    );
    expect((await load(null, addressOf("main", "&file=encoder_model"))).hashes).toEqual([sha256(graph(5_000, 6))]);
  });

  test("a token is sent to the hub, not to its CDN, and its absence is explained", async () => {
    hub.token = "hf_secret";
    expect((await errorOf(load(null))).message).toContain("is private or gated, or does not exist on");
    const wrong = await errorOf(load(null, addressOf(), { token: "hf_old" }));
    expect(wrong.message).toContain("does not accept the token");
    expect(JSON.stringify(wrong)).not.toContain("hf_old");
    expect((await load(null, addressOf(), { token: "hf_secret" })).hashes[0]).toBe(
      sha256(FILES["onnx/model_quantized.onnx"]),
    );
  });

  test.each([
    [403, "is gated: accept its terms at"],
    [404, 'has no owner/name at the revision "main"'],
  ])("status %i of the list names the fix", async (status, text) => {
    hub.fault = (path) => (path.includes("/tree/") ? { kind: "status", status } : null);
    expect((await errorOf(load(null))).message).toContain(text);
  });

  test("a gated repository whose list is public names the fix", async () => {
    hub.fault = (path) => (path.includes("/resolve/") ? { kind: "status", status: 403 } : null);
    const error = await errorOf(load(null, addressOf(), { token: "hf_other" }));
    expect(error.message).toBe(
      `owner/name is gated: accept its terms at ${hub.url}/owner/name, and pass \`token\`, a function that returns an access token of that account with read access.`,
    );
  });

  test("a busy hub is asked again", async () => {
    hub.fault = (path, nth) =>
      path.includes("/tree/") && nth === 0 ? { kind: "status", status: 429, headers: { "retry-after": "1" } } : null;
    expect((await load(null)).hashes[0]).toBe(sha256(FILES["onnx/model_quantized.onnx"]));
  });

  test("a host that is no hub answers with a page, which is said", async () => {
    hub.fault = () => ({ kind: "html" });
    expect((await errorOf(load(null))).message).toContain(
      "is an HTML page, not a list of files: is `host` a Hugging Face hub?",
    );
  });

  test("a pointer in place of the weights is recognised", async () => {
    hub.fault = (path) => (path.endsWith(".onnx") ? { kind: "pointer" } : null);
    expect((await errorOf(load(null))).message).toContain("is a Git LFS pointer, not the file itself");
  });

  test("trusted keys refuse a repository, which has no signature", async () => {
    const key = "A".repeat(43);
    expect((await errorOf(load(null, addressOf(), { trustedKeys: [key] }))).details["reason"]).toBe("unsigned");
  });
});

describe("from a folder", () => {
  test("the names of the layout are found, without a list", async () => {
    const { plan, hashes } = await load(new MemoryStore(), hub.folder(REPO));
    expect(plan.name).toBe("name");
    expect(plan.candidates[0]?.variant.id).toBe("q8");
    expect(hashes).toEqual([sha256(FILES["onnx/model_quantized.onnx"]), sha256("{}")]);
  });

  test("the second visit fetches no weights; a changed validator is a new version", async () => {
    const store = new MemoryStore();
    const first = await load(store, hub.folder(REPO));
    hub.asked = [];
    const again = await load(store, hub.folder(REPO));
    expect(again.plan.identity).toBe(first.plan.identity);
    expect(hub.asked.filter((x) => x.startsWith("GET") && x.includes(".onnx"))).toEqual([]);
    const changed = graph(SMALL, 8);
    hub.commit(REPO, { ...FILES, "onnx/model_quantized.onnx": changed });
    const { signal } = new AbortController();
    const page = makePage(store, clock);
    expect(await update(hub.folder(REPO), criteriaFor(), page, { signal, onProgress: undefined })).toMatchObject({
      isNew: true,
    });
    expect((await load(store, hub.folder(REPO))).hashes[0]).toBe(sha256(changed));
  });

  test("a change of the same size shows without a validator too, once the content is compared", async () => {
    hub.hasValidators = false;
    const store = new MemoryStore();
    const first = await load(store, hub.folder(REPO));
    expect(first.plan.mustCheck).toBe(false);
    const { signal } = new AbortController();
    const check = () =>
      update(hub.folder(REPO), criteriaFor({ update: "later" }), makePage(store, clock), {
        signal,
        onProgress: undefined,
      });
    hub.asked = [];
    const again = await load(store, hub.folder(REPO));
    expect(again.plan).toMatchObject({ identity: first.plan.identity, mustCheck: true });
    expect(hub.asked.filter((x) => x.startsWith("GET") && x.includes(".onnx"))).toEqual([]);
    expect(await check()).toMatchObject({ isNew: false, fetchedBytes: 0 });
    const changed = graph(SMALL, 8);
    hub.commit(REPO, { ...FILES, "onnx/model_quantized.onnx": changed });
    expect((await load(store, hub.folder(REPO))).hashes[0]).toBe(first.hashes[0]);
    expect(await check()).toMatchObject({ isNew: true, fetchedBytes: SMALL });
    const last = await load(store, hub.folder(REPO));
    expect(last.hashes[0]).toBe(sha256(changed));
    expect(await check()).toMatchObject({ identity: last.plan.identity, isNew: false, fetchedBytes: 0 });
  });

  test("a host that answers every name is not asked for parts without end", async () => {
    let asked = 0;
    const headers = { "content-type": "application/octet-stream", "content-length": "5000000", etag: '"x"' };
    const fetch = (url: string): Promise<Response> => {
      asked += 1;
      if (asked > 3_000) return Promise.reject(new Error("asked too often"));
      const isPart = /model\.onnx(?:_data(?:_\d+)?)?$/.test(url);
      return Promise.resolve(isPart ? new Response("x", { headers }) : new Response("", { status: 404 }));
    };
    const net = {
      ...{ effects: { ...hurried, fetch }, signal: new AbortController().signal },
      ...{ token: undefined, attempts: () => Promise.resolve(1) },
    };
    const found = await openFolder("https://models.example/%ff/", undefined, null, net);
    expect(found.variants[0]?.files).toHaveLength(1 + 1_000);
    expect(found.name, "an address that is no UTF-8").toBe("%ff");
  });

  test("external data and a graph at the top are found", async () => {
    hub.commit(REPO, { "model.onnx": graph(2_000, 3), "model.onnx.data": weights(50_000, 4) });
    const { plan } = await load(null, hub.folder(REPO));
    expect(plan.candidates[0]?.variant.files.map((x) => x.path)).toEqual(["model.onnx", "model.onnx.data"]);
  });

  test("a folder without a graph is refused with the names that were looked for", async () => {
    hub.commit(REPO, { "config.json": CONFIG });
    expect((await errorOf(load(null, hub.folder(REPO)))).message).toContain("has no onnx/model.onnx, nor a form of it");
  });

  test("the folder of a bundle is named as that, with the address to load", async () => {
    hub.commit(REPO, { "bundle.json": '{ "schema": "selvedge/bundle@2" }' });
    hub.asked = [];
    const { message, details } = await errorOf(load(null, hub.folder(REPO)));
    expect(message).toContain(
      `is the folder of a bundle: pass the URL of its description, ${hub.folder(REPO)}bundle.json`,
    );
    expect(details["reason"]).toBe("no-onnx");
    expect(hub.asked.filter((x) => x.includes("bundle.json"))).toHaveLength(1);
  });

  test("a folder with a graph is never asked for a bundle's description", async () => {
    const store = new MemoryStore();
    hub.asked = [];
    await load(store, hub.folder(REPO));
    await load(store, hub.folder(REPO));
    expect(hub.asked.length).toBeGreaterThan(0);
    expect(hub.asked.filter((x) => x.includes("bundle.json"))).toEqual([]);
  });

  test("a host that answers every address with its start page has no model", async () => {
    hub.fault = () => ({ kind: "html" });
    expect((await errorOf(load(null, hub.folder(REPO)))).details["reason"]).toBe("no-onnx");
  });
});

test("without a store a repository loads too", async () => {
  const { signal } = new AbortController();
  const page = new Downloader(hurried, null);
  const opened = await open(addressOf(), criteriaFor(), page, { signal, onProgress: undefined });
  expect(opened.bundle.variants).toHaveLength(2);
  expect(await new ModelStore(new MemoryStore(), () => 1).chunks()).toEqual(new Set());
});

describe("external data that the graph names", () => {
  const DATA = weights(50_000, 11);

  /** A graph with one weight in a file, and a constant in another one. */
  function external(location: string, constant?: string): Bytes {
    const entry = (key: string, value: string) => create(StringStringEntryProtoSchema, { key, value });
    const tensor = (path: string) =>
      create(TensorProtoSchema, {
        name: "w",
        dims: [12_500n],
        dataType: 1,
        dataLocation: TensorProto_DataLocation.EXTERNAL,
        externalData: [entry("location", path), entry("offset", "0"), entry("length", String(DATA.length))],
      });
    const attribute = [{ name: "value", t: tensor(constant ?? ""), type: AttributeProto_AttributeType.TENSOR }];
    const node = constant === undefined ? [] : [{ opType: "Constant", output: ["c"], attribute }];
    const graph = { name: "g", node, initializer: [tensor(location)] };
    const model = create(ModelProtoSchema, { irVersion: 8n, graph });
    return new Uint8Array(toBinary(ModelProtoSchema, model));
  }

  test("is followed where its name says nothing, from a hub and from a folder", async () => {
    hub.commit(REPO, { "config.json": "{}", "onnx/model.onnx": external("weights.pb"), "onnx/weights.pb": DATA });
    for (const from of [addressOf(), hub.folder(REPO)]) {
      const { plan, hashes } = await load(null, from);
      expect(plan.candidates[0]?.variant.files.map((x) => x.path)).toEqual(["model.onnx", "weights.pb"]);
      expect(hashes[1]).toBe(sha256(DATA));
    }
  });

  test("of a constant is followed beside that of the graph's own name, as torch's exporter writes it", async () => {
    const files = { "onnx/model.onnx_data": DATA, "onnx/Constant_7_attr__value": weights(50_000, 12) };
    const other = { "onnx/model_fp16.onnx_data": weights(50_000, 13), "onnx/model_fp16.onnx": graph(5_000, 6) };
    const own = external("model.onnx_data", "Constant_7_attr__value");
    hub.commit(REPO, { "config.json": "{}", "onnx/model.onnx": own, ...files, ...other });
    const { plan } = await load(null, addressOf(), { pins: { backend: undefined, variant: "fp32" } });
    const names = ["Constant_7_attr__value", "model.onnx_data"];
    expect(plan.candidates[0]?.variant.files.map((x) => x.path).sort()).toEqual([...names, "model.onnx"].sort());
    // A bare graph names both too.
    const bare = await load(null, `${hub.folder(REPO)}onnx/model.onnx`);
    expect(
      bare.plan.candidates[0]?.variant.files
        .map((x) => x.path)
        .slice(1)
        .sort(),
    ).toEqual(names);
  });

  test("is followed into a folder beside the graph", async () => {
    hub.commit(REPO, { "config.json": "{}", "onnx/model.onnx": external("data/w.bin"), "onnx/data/w.bin": DATA });
    for (const from of [addressOf(), hub.folder(REPO)]) {
      const { plan, hashes } = await load(null, from);
      expect(plan.candidates[0]?.variant.files.map((x) => x.path)).toEqual(["model.onnx", "data/w.bin"]);
      expect(hashes[1]).toBe(sha256(DATA));
    }
  });

  test("of a bare model is fetched with it, kept, and renewed", async () => {
    const store = new MemoryStore();
    const from = `${hub.folder(REPO)}onnx/graph.onnx`;
    hub.commit(REPO, { "onnx/graph.onnx": external("sub/weights.pb"), "onnx/sub/weights.pb": DATA });
    const { plan, hashes } = await load(store, from);
    expect(plan).toMatchObject({ name: "graph.onnx", data: null, declared: null });
    expect(plan.candidates[0]?.variant.files.map((x) => x.path)).toEqual(["graph.onnx", "sub/weights.pb"]);
    expect(hashes[1]).toBe(sha256(DATA));
    hub.asked = [];
    await load(store, from);
    expect(hub.asked.filter((x) => x.startsWith("GET"))).toEqual([]);
    const other = weights(50_000, 12);
    hub.commit(REPO, { "onnx/graph.onnx": external("sub/weights.pb"), "onnx/sub/weights.pb": other });
    // A slow machine answers too late for the hurried clock, and the stored version is used.
    await expect.poll(async () => (await load(store, from)).hashes[1], { timeout: 20_000 }).toBe(sha256(other));
  });

  test("that is not there, that leaves the folder, or that bytes can't lead to, is named", async () => {
    hub.commit(REPO, { "onnx/graph.onnx": external("weights.pb"), "onnx/evil.onnx": external("../weights.pb") });
    const at = (name: string): string => `${hub.folder(REPO)}onnx/${name}`;
    expect((await errorOf(load(null, at("graph.onnx")))).message).toContain(
      "graph.onnx lacks weights.pb, a part of the model's weights",
    );
    expect((await errorOf(load(null, at("evil.onnx")))).details["reason"]).toBe("external-path");
    const { signal } = new AbortController();
    const bytes = new Blob([external("weights.pb")]);
    const opening = open(bytes, criteriaFor(), makePage(null, clock), { signal, onProgress: undefined });
    expect((await errorOf(opening)).message).toContain("load it by its URL, or save it as one file");
  });
});
