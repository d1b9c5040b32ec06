// Small files of a repository, and what a host says of a file before it is fetched.
import { createHash } from "node:crypto";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Bundle, BundleChunk } from "../core/bundle.ts";
import { SelvedgeError } from "../core/errors.ts";
import { placeOf, REPOSITORY_RULES } from "../source/describe.ts";
import { startServer } from "../compress/check/local-server.ts";
import type { LocalServer } from "../compress/check/local-server.ts";
import { hurried } from "../test-support/fake-network.ts";
import { get, isMissing, knownOf, probe, readTexts, unverified } from "./repository-net.ts";
import type { RepositoryNet } from "./repository-net.ts";

const SMALL_MAX_BYTES = 8 * 1024 * 1024;

interface Answer {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
}

let server: LocalServer;
let base: string;
/** Answers by `METHOD path`; 404 for others. */
let answers: Readonly<Record<string, Answer>> = {};
let asked: { readonly what: string; readonly range: string | undefined; readonly authorization: string | undefined }[];
let modes: (RequestCache | undefined)[];
let net: RepositoryNet;

beforeEach(async () => {
  [asked, modes, answers] = [[], [], {}];
  server = await startServer(({ method, url, headers }, response) => {
    const what = `${method} ${url}`;
    asked.push({ what, range: headers.range, authorization: headers.authorization });
    const { status = 200, headers: own = {}, body = "" } = answers[what] ?? { status: 404 };
    response.writeHead(status, own).end(method === "HEAD" ? undefined : body);
  });
  base = `${server.origin}/`;
  const fetching: RepositoryNet["effects"]["fetch"] = (to, init) => {
    modes.push(init.cache);
    return fetch(to, init);
  };
  net = {
    effects: { ...hurried, fetch: fetching },
    signal: new AbortController().signal,
    token: undefined,
    attempts: () => Promise.resolve(1),
  };
});

afterEach(() => server.close());

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");
const status = (code: number): SelvedgeError => new SelvedgeError("download-failed", "x", { status: code });

test("a host that says 403, 404 or 410 has no such file; other errors are errors", () => {
  expect([403, 404, 410].map((x) => isMissing(status(x)))).toEqual([true, true, true]);
  expect([400, 401, 405, 500].map((x) => isMissing(status(x)))).toEqual([false, false, false, false]);
  expect(isMissing(new SelvedgeError("download-failed", "x"))).toBe(false);
  expect(isMissing(Object.assign(new Error("x"), { details: { status: 404 } }))).toBe(false);
});

test("a small file comes with its headers, revalidated, and with the token where there is one", async () => {
  answers = { "GET /config.json": { headers: { "x-own": "1" }, body: "{é}" } };
  const { text, bytes, headers } = await get(`${base}config.json`, net);
  expect([text, Buffer.from(bytes).toString(), headers.get("x-own")]).toEqual(["{é}", "{é}", "1"]);
  await get(`${base}config.json`, { ...net, token: "hf_1" });
  expect(asked.map((x) => x.authorization)).toEqual([undefined, "Bearer hf_1"]);
  expect(modes).toEqual(["no-cache", "no-cache"]);
});

test("a small file is requested as often as the caller says", async () => {
  answers = { "GET /config.json": { status: 503 } };
  await expect(get(`${base}config.json`, { ...net, attempts: () => Promise.resolve(3) })).rejects.toThrow("503");
  expect(asked).toHaveLength(3);
});

test("of a small file of more than 8 MiB the limit is named", async () => {
  answers = { "GET /config.json": { body: Buffer.alloc(SMALL_MAX_BYTES + 1) } };
  await expect(get(`${base}config.json`, net)).rejects.toThrow(`exceeds the limit of ${SMALL_MAX_BYTES} bytes`);
});

test("of small files those that are missing, or are the app's start page, are left out", async () => {
  answers = {
    "GET /a.json": { body: "{}" },
    "GET /b.json": { body: "<!doctype html><title>An app</title>" },
    "GET /d.txt": { body: "" },
  };
  const texts = await readTexts(base, ["a.json", "b.json", "c.json", "d.txt"], net);
  expect([...texts].sort()).toEqual([
    ["a.json", "{}"],
    ["d.txt", ""],
  ]);
});

test("another error of a small file is an error, unless the caller leaves it out", async () => {
  answers = { "GET /a.json": { status: 400 }, "GET /b.json": { body: "{}" } };
  await expect(readTexts(base, ["a.json", "b.json"], net)).rejects.toThrow("status 400");
  expect([...(await readTexts(base, ["a.json", "b.json"], net, () => true)).keys()]).toEqual(["b.json"]);
  answers = {};
  await expect(readTexts(base, ["a.json"], net, () => false)).rejects.toThrow("status 404");
});

test("a Git LFS pointer in place of a small file is named, with the fix", async () => {
  const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${"ab".repeat(32)}\nsize 12\n`;
  answers = { "GET /vocab.json": { body: pointer } };
  await expect(readTexts(base, ["vocab.json"], net)).rejects.toMatchObject({
    code: "bundle-invalid",
    message: `${base}vocab.json is a Git LFS pointer, not the file itself. Run \`git lfs pull\` before deploying.`,
    details: { url: `${base}vocab.json`, reason: "git-lfs" },
  });
});

test("files that the first ones ask for are read too", async () => {
  answers = {
    "GET /config.json": { body: '{"architectures":["Wav2Vec2ForCTC"]}' },
    "GET /vocab.json": { body: '{"a":0}' },
  };
  expect((await readTexts(base, ["config.json"], net)).get("vocab.json")).toBe('{"a":0}');
});

test("a file's size and validators come from one HEAD", async () => {
  const date = "Wed, 02 Dec 2026 08:00:00 GMT";
  answers = { "HEAD /m.onnx": { headers: { "content-length": "9", etag: '"x"', "last-modified": date } } };
  const url = `${base}m.onnx`;
  expect(await probe(url, "onnx/m.onnx", net)).toEqual({
    ...{ path: "onnx/m.onnx", bytes: 9, sha256: null, oid: null },
    place: { url, bytes: 9, etag: '"x"', lastModified: date },
  });
  expect([asked.map((x) => x.what), modes]).toEqual([["HEAD /m.onnx"], ["no-cache"]]);
});

test.each([
  ["without a size", { headers: { etag: '"x"', "transfer-encoding": "chunked" } }],
  ["with a compressed size", { headers: { "content-length": "5", "content-encoding": "gzip" } }],
  ["that is not allowed", { status: 405, headers: { "content-length": "3" } }],
  ["that is not known", { status: 501 }],
] as const)("after a HEAD %s, the answer to the first byte tells the size and the validators", async (_, head) => {
  answers = {
    "HEAD /m.onnx": head,
    "GET /m.onnx": { status: 206, headers: { "content-range": "bytes 0-0/77", etag: '"y"' }, body: "x" },
  };
  expect(await probe(`${base}m.onnx`, "m.onnx", net)).toMatchObject({
    bytes: 77,
    place: { bytes: 77, etag: '"y"', lastModified: null },
  });
  expect(asked.map((x) => [x.what, x.range])).toEqual([
    ["HEAD /m.onnx", undefined],
    ["GET /m.onnx", "bytes=0-0"],
  ]);
  expect(modes).toEqual(["no-cache", "no-cache"]);
});

test("a host without ranges tells the size with the whole file", async () => {
  answers = { "HEAD /m.onnx": { status: 405 }, "GET /m.onnx": { headers: { "content-length": "4" }, body: "abcd" } };
  expect(await probe(`${base}m.onnx`, "m.onnx", net)).toMatchObject({ bytes: 4 });
});

test("a file that is missing, or a page in its place, is not there", async () => {
  expect(await probe(`${base}m.onnx`, "m.onnx", net)).toBeNull();
  for (const type of ["text/html", "TEXT/HTML; charset=utf-8"]) {
    answers = { "HEAD /m.onnx": { headers: { "content-type": type, "content-length": "9" } } };
    expect(await probe(`${base}m.onnx`, "m.onnx", net)).toBeNull();
  }
  for (const type of ["text/html5", "x-text/html", "text/plain"]) {
    answers = { "HEAD /m.onnx": { headers: { "content-type": type, "content-length": "9" } } };
    expect(await probe(`${base}m.onnx`, "m.onnx", net)).not.toBeNull();
  }
});

test("another error of a probe is an error, after the attempts that the caller allows", async () => {
  answers = { "HEAD /m.onnx": { status: 503 } };
  await expect(probe(`${base}m.onnx`, "m.onnx", { ...net, attempts: () => Promise.resolve(2) })).rejects.toThrow("503");
  expect(asked).toHaveLength(2);
  answers = { "HEAD /m.onnx": { status: 405 }, "GET /m.onnx": { status: 400 } };
  await expect(probe(`${base}m.onnx`, "m.onnx", net)).rejects.toThrow("400");
});

test("a file without a stated hash is named by its place: by git's id, else by address, size and validators", async () => {
  const place = { url: `${base}m`, bytes: 5, etag: '"x"', lastModified: null };
  expect(await unverified(place)).toEqual({ url: place.url, sha256: sha256(placeOf(place)), isUnverified: true });
  const dated = { url: `${base}m`, bytes: 5, etag: null, lastModified: "Wed" };
  expect(await unverified(dated)).toEqual({ url: dated.url, sha256: sha256(placeOf(dated)), isUnverified: true });
  const known = { url: `${base}m`, bytes: 5, oid: "1f" };
  expect(await unverified(known)).toEqual({ url: known.url, sha256: sha256(placeOf(known)), isUnverified: true });
});

test("one without validators is blind, and keeps the name that it has for as long as its size is the same", async () => {
  const place = { url: `${base}m`, bytes: 5 };
  const known = {
    ...{ version: "", locations: new Map<string, readonly string[]>() },
    unvalidated: new Map([[place.url, { sha256: "known", bytes: 5 }]]),
  };
  const blind = { url: place.url, isUnverified: true, isBlind: true };
  expect(await unverified(place)).toEqual({ ...blind, sha256: sha256(placeOf(place)) });
  expect(await unverified(place, known)).toEqual({ ...blind, sha256: "known" });
  expect((await unverified({ ...place, bytes: 6 }, known)).sha256).toBe(sha256(placeOf({ ...place, bytes: 6 })));
  expect((await unverified({ ...place, url: `${base}n` }, known)).sha256).not.toBe("known");
  const validated = { ...place, etag: '"x"', lastModified: null };
  expect((await unverified(validated, known)).sha256).toBe(sha256(placeOf(validated)));
});

test("a stored bundle tells its commit, the data of its graphs, and its files without validators", () => {
  const file = (path: string, more: Partial<BundleChunk> = {}) => ({
    ...{ path, bytes: 5 },
    chunks: [{ sha256: `hash of ${path}`, bytes: 5, url: `${base}${path}`, ...more }],
  });
  const bundle = (rules: number): Bundle => ({
    format: 2,
    model: {
      ...{ name: "n", version: "1f", licence: "mit", inputs: [], outputs: [] },
      steps: { texts: {}, images: {}, decodes: {}, assets: {}, rules },
    },
    variants: [
      { id: "fp32", needs: [], files: [file("m.onnx"), file("m.onnx_data"), file("m.onnx_data_1")] },
      { id: "q8", needs: [], files: [file("q.onnx", { isUnverified: true, isBlind: true })] },
    ],
  });
  const unvalidated = new Map([[`${base}q.onnx`, { sha256: "hash of q.onnx", bytes: 5 }]]);
  expect(knownOf(bundle(REPOSITORY_RULES))).toEqual({
    version: "1f",
    locations: new Map([
      ["hash of m.onnx", ["m.onnx_data", "m.onnx_data_1"]],
      ["hash of q.onnx", []],
    ]),
    unvalidated,
  });
  expect(knownOf(bundle(REPOSITORY_RULES - 1))).toEqual({ version: "", locations: new Map(), unvalidated });
  const { name, version, licence, inputs, outputs } = bundle(1).model;
  expect(knownOf({ ...bundle(1), model: { name, version, licence, inputs, outputs } }).version).toBe("");
});
