// `/v1/embeddings` of a real server, by raw requests and by the client of selvedge/remote, which refuses other models.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { describe as describeModel } from "../compress/bundle/describe.ts";
import { writeBundle } from "../compress/bundle/pack.ts";
import { startServer as startHttp } from "../compress/check/local-server.ts";
import { TensorProto_DataType as T } from "../compress/onnx/onnx.gen.js";
import type { OnnxModel } from "../compress/onnx/model.ts";
import { floatTensor } from "../compress/onnx/tensor-proto.ts";
import { chooseModel } from "../export/exported-model.ts";
import { connectEmbeddings } from "../remote/index.ts";
import type { EmbeddingsOptions, RemoteEmbeddings } from "../remote/index.ts";
import { seededFloats, smallModel, twoLayers } from "../test-support/compress/fixtures.ts";
import { SPECIAL, wordTokenizer } from "../test-support/word-tokenizer.ts";
import { startServer } from "./server.ts";
import type { RunningServer, ServeOptions } from "./server.ts";
import { createEmbedder } from "./text-vectors.ts";

const WORDS = ["cat", "dog", "sun", "moon", "sea"];
const WIDTH = 8;
const VOCABULARY = SPECIAL.length + WORDS.length;
const table = (seed: number): Float32Array => seededFloats(VOCABULARY * WIDTH, seed);

/** A model whose token vectors are rows of a table. */
const lookup = (seed: number): OnnxModel =>
  smallModel({
    opset: 17,
    inputs: { ids: ["batch", "length"], mask: ["batch", "length"] },
    outputs: ["hidden", "same"],
    outputDims: { hidden: ["batch", "length", WIDTH], same: ["batch", "length"] },
    types: { ids: T.INT64, mask: T.INT64, same: T.INT64 },
    initializers: [floatTensor("table", [VOCABULARY, WIDTH], table(seed))],
    nodes: [
      { opType: "Gather", input: ["table", "ids"], output: ["hidden"] },
      { opType: "Identity", input: ["mask"], output: ["same"] },
    ],
  });

/** The vector of a text of known words: the mean of its tokens, scaled to length 1. */
function vectorOf(text: string, seed = 1, dims = WIDTH): number[] {
  const words = text === "" ? [] : text.split(" ");
  const ids = [2, ...words.map((x) => (WORDS.includes(x) ? SPECIAL.length + WORDS.indexOf(x) : 1)), 3];
  const sums = Array.from({ length: dims }, (_, i) =>
    ids.reduce((sum, id) => sum + (table(seed)[id * WIDTH + i] ?? 0), 0),
  );
  return sums.map((x) => x / Math.hypot(...sums));
}

let folder: string;
let server: RunningServer;
const started: { close(): Promise<void> }[] = [];

async function bundleOf(name: string, seed: number, prompt?: string): Promise<string> {
  const model = lookup(seed);
  const described = await describeModel(model, `${name}.onnx`, undefined);
  const text = {
    tokenizer: "tokenizer.json",
    mask: "mask",
    maxLength: 16,
    ...(prompt !== undefined && { prompts: { usual: prompt }, prompt: "usual" }),
  };
  const path = join(folder, `${name}-${seed}`);
  await writeBundle(path, {
    model: {
      ...described,
      name,
      inputs: described.inputs.map((x) => (x.name === "ids" ? { ...x, text } : x)),
      outputs: described.outputs.map((x) =>
        x.name === "hidden" ? { ...x, decode: { op: "pool", mode: "mean", mask: "mask", normalize: true } } : x,
      ),
    },
    variants: [{ id: "f32", needs: [], files: [{ path: "model.onnx", model }] }],
    assets: [{ path: "tokenizer.json", bytes: new TextEncoder().encode(wordTokenizer(WORDS)) }],
  });
  return path;
}

async function serve(bundles: readonly string[], options: Partial<ServeOptions> = {}): Promise<RunningServer> {
  const running = await startServer({ bundles, port: 0, lanes: 1, logLevel: "silent", ...options });
  started.push(running);
  await running.ready;
  return running;
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "selvedge-embeddings-"));
  const layers = twoLayers({ opset: 17, inputs: 4, units: 4, outputs: 2 });
  await writeBundle(join(folder, "layers"), {
    model: await describeModel(layers, "layers.onnx", undefined),
    variants: [{ id: "f32", needs: [], files: [{ path: "model.onnx", model: layers }] }],
  });
  const words = await bundleOf("words", 1);
  server = await serve([words, await bundleOf("prompted", 1, "sea "), join(folder, "layers")], { maxRows: 40 });
}, 60_000);

afterAll(async () => {
  await Promise.all(started.map((x) => x.close()));
  rmSync(folder, { recursive: true, force: true });
}, 60_000);

interface Reply {
  readonly status: number;
  readonly body: {
    readonly object?: string;
    readonly model?: string;
    readonly data?: readonly {
      readonly object: string;
      readonly index: number;
      readonly embedding: number[] | string;
    }[];
    readonly usage?: object;
    readonly parameters?: { readonly identity: string; readonly variant: string };
    readonly error?: { readonly message: string; readonly type: string; readonly code: string | null };
  };
}

async function post(body: unknown, base = server.url, headers: Record<string, string> = {}): Promise<Reply> {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  const reply = await fetch(`${base}/v1/embeddings`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: text,
  });
  return { status: reply.status, body: (await reply.json()) as Reply["body"] };
}

const expectClose = (found: ArrayLike<number> | undefined, known: readonly number[]): void => {
  expect(found).toHaveLength(known.length);
  for (const [i, x] of known.entries()) expect(found?.[i]).toBeCloseTo(x, 5);
};

describe("the server", () => {
  test("answers a text and a list of texts with pooled vectors, in their order", async () => {
    const { status, body } = await post({ model: "words", input: "cat sun" });
    expect(status).toBe(200);
    const { data = [], ...rest } = body;
    expect(rest).toEqual({
      ...{ object: "list", model: "words", usage: { prompt_tokens: 4, total_tokens: 4 } },
      parameters: { identity: expect.stringMatching(/^[0-9a-f]{64}$/) as string, variant: "f32" },
    });
    expect(data.map(({ object, index }) => ({ object, index }))).toEqual([{ object: "embedding", index: 0 }]);
    expectClose(data[0]?.embedding as number[], vectorOf("cat sun"));

    const texts = ["sea", "cat dog sun moon sea", "", "moon moon", "unknown", ...new Array<string>(35).fill("dog")];
    const many = await post({ model: "words", input: texts });
    expect(many.body.data?.map((x) => x.index)).toEqual(texts.map((_, i) => i));
    for (const [i, text] of texts.entries()) expectClose(many.body.data?.[i]?.embedding as number[], vectorOf(text));
    expect(many.body.usage).toEqual({ prompt_tokens: 3 + 7 + 2 + 4 + 3 + 35 * 3, total_tokens: 124 });
  });

  test("puts the prompt that the bundle names for every text before it", async () => {
    const { body } = await post({ model: "prompted", input: "cat" });
    expectClose(body.data?.[0]?.embedding as number[], vectorOf("sea cat"));
  });

  test("answers in base64, and with fewer numbers", async () => {
    const { body } = await post({ model: "words", input: ["dog"], encoding_format: "base64", dimensions: 3 });
    const bytes = Buffer.from(body.data?.[0]?.embedding as string, "base64");
    expectClose(new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + 12)), vectorOf("dog", 1, 3));
  });

  test.each([
    [{ model: "words" }, 400, "input: expected a text"],
    [{ model: "words", input: [] }, 400, "input: expected a text"],
    [{ model: "words", input: [[1, 2]] }, 400, "tokens are not taken"],
    [{ model: "words", input: ["a", 1] }, 400, "input: expected a text"],
    [{ model: "words", input: new Array<string>(41).fill("cat") }, 400, "41 texts, at most 40"],
    [{ model: "words", input: "a", encoding_format: "int8" }, 400, "encoding_format: expected"],
    [{ model: "words", input: "a", dimensions: 0 }, 400, "dimensions: expected a whole number"],
    [{ model: "words", input: "a", dimensions: 9 }, 400, "vectors have 8 numbers"],
    [{ model: "layers", input: "a" }, 400, "makes no vectors of texts"],
    [{ model: "none", input: "a" }, 404, 'model "none" is not served'],
    [{ input: "a" }, 400, "model: expected the name of a model"],
    [{ model: null, input: "a" }, 400, "model: expected the name of a model"],
    [{ model: "words", input: null }, 400, "input: expected a text"],
    ["{", 400, "JSON"],
    ["[]", 400, "not a JSON object"],
  ])("refuses %j as OpenAI's clients read it", async (request, status, message) => {
    const reply = await post(request);
    expect(reply.status).toBe(status);
    expect(reply.body.error).toMatchObject({
      type: "invalid_request_error",
      code: status === 404 ? "not_found" : null,
    });
    expect(reply.body.error?.message).toContain(message);
  });

  test("takes null for what may be left out, as OpenAI's API does", async () => {
    const { status, body } = await post({
      ...{ model: "words", input: "cat", encoding_format: null, dimensions: null, user: null },
    });
    expect(status).toBe(200);
    expectClose(body.data?.[0]?.embedding as number[], vectorOf("cat"));
  });

  test.each([
    ["of 65,537 characters", { input: ["cat", " ".repeat(65_537)] }, 400, "text 1 has 65537 characters, at most 65536"],
    ["of 4.5 million characters", { input: "\u0301".repeat(4_500_000) }, 413, "bytes of JSON, at most 8388608"],
    ["of 4.5 million letters", { input: "a".repeat(4_500_000) }, 400, "has 4500000 characters, at most 65536"],
    ["together too long", { input: new Array<string>(17).fill("b".repeat(65_000)) }, 413, "at most 1048576"],
  ])("refuses texts %s, and names the limit", async (_, request, status, message) => {
    const reply = await post({ model: "words", ...request });
    expect(reply.status).toBe(status);
    expect(reply.body.error).toMatchObject({ type: "invalid_request_error" });
    expect(reply.body.error?.message).toContain(message);
  });

  test("answers other requests while the texts of one are read", async () => {
    let isDone = false;
    const long = post({ model: "words", input: new Array<string>(16).fill(`cat${" ".repeat(65_000)}`) }).then((x) => {
      isDone = true;
      return x;
    });
    let answered = 0;
    for (; !isDone; answered += 1) await (await fetch(`${server.url}/v2/health/live`)).text();
    const { status, body } = await long;
    expect(status).toBe(200);
    for (const { embedding } of body.data ?? []) expectClose(embedding as number[], vectorOf("cat"));
    expect(answered).toBeGreaterThanOrEqual(6);
  });

  test("counts and logs requests by their model, and those whose model is not known without", async () => {
    const own = await serve([join(folder, "words-1")]);
    await post({ model: "words", input: "cat" }, own.url);
    await post({ model: "words", input: [] }, own.url);
    await post({ model: "none", input: "cat" }, own.url);
    const text = await (await fetch(`${own.url}/metrics`)).text();
    expect(text.split("\n").filter((x) => x.startsWith("selvedge_requests_total"))).toEqual([
      'selvedge_requests_total{model="words",status="200"} 1',
      'selvedge_requests_total{model="words",status="400"} 1',
      'selvedge_requests_total{model="",status="404"} 1',
    ]);
  });

  test("lists models with identity and variant; errors of other paths have the other shape", async () => {
    const list = (await (await fetch(`${server.url}/v1/models`)).json()) as {
      data: { id: string; parameters: object }[];
    };
    expect(list.data.map((x) => x.id)).toEqual(["words", "prompted", "layers"]);
    const one: unknown = await (await fetch(`${server.url}/v1/models/words`)).json();
    expect(one).toEqual(list.data[0]);
    expect(await (await fetch(`${server.url}/v1/none`)).json()).toMatchObject({ error: { code: "not_found" } });
    expect(await (await fetch(`${server.url}/v2/none`)).json()).toEqual({ error: expect.any(String) as string });
    // Fastify refuses a broken escape before any hook.
    const broken = await fetch(`${server.url}/v1/models/%zz`);
    expect(broken.status).toBe(400);
    expect(await broken.json()).toMatchObject({ error: { type: "invalid_request_error", code: null } });
    expect(await (await fetch(`${server.url}/v2/%zz`)).json()).toEqual({ error: expect.any(String) as string });
  });

  test("needs the token, and answers 429 where its queue is full", async () => {
    const own = await serve([join(folder, "words-1")], { token: "secret", maxQueue: 1 });
    const denied = await post({ model: "words", input: "a" }, own.url);
    expect([denied.status, denied.body.error?.type]).toEqual([401, "authentication_error"]);
    const headers = { authorization: "Bearer secret" };
    expect((await post({ model: "words", input: "a" }, own.url, headers)).status).toBe(200);
    const many = await Promise.all(
      Array.from({ length: 60 }, () => post({ model: "words", input: WORDS }, own.url, headers)),
    );
    const busy = many.filter((x) => x.status === 429);
    expect(busy.length).toBeGreaterThan(0);
    expect(busy[0]?.body.error?.type).toBe("rate_limit_error");
    expect(many.every((x) => x.status === 200 || x.status === 429)).toBe(true);
  });
});

test("a request of several batches needs one place in the queue, and is refused before anything has run (embed-place)", async () => {
  const own = await serve([join(folder, "words-1")], { maxQueue: 1 });
  const input = Array.from({ length: 100 }, (_, i) => WORDS[i % 5]);
  expect((await post({ model: "words", input }, own.url)).status).toBe(200);
  const path = join(folder, "words-1");
  const embedder = await createEmbedder(path, await chooseModel(path), true);
  let runs = 0;
  const refused = embedder?.(input as string[], () => {
    runs += 1;
    return Promise.reject(new Error("the queue is full"));
  });
  await expect(refused).rejects.toThrow("the queue is full");
  await new Promise((resolve) => setImmediate(resolve));
  expect(runs).toBe(1);
});

/** Starts an OpenAI-shaped server whose description states nothing, or `parameters`. */
async function startOther(
  answer: (texts: readonly string[], asked: Readonly<Record<string, unknown>>) => { status?: number; body: object },
  parameters: object | null = null,
): Promise<{ url: string; asked: string[] }> {
  const asked: string[] = [];
  const http = await startHttp((request, reply) => {
    let text = "";
    request.on("data", (part: Buffer) => (text += part.toString()));
    request.on("end", () => {
      asked.push(`${request.method} ${request.url}`);
      const body = text === "" ? {} : (JSON.parse(text) as Record<string, unknown>);
      const described = parameters === null ? { status: 404, body: {} } : { body: { parameters } };
      const { status = 200, body: answered } =
        request.method === "GET" ? described : answer(body["input"] as string[], body);
      reply.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(answered));
    });
  });
  started.push(http);
  return { url: http.origin, asked };
}

const listOf = (vectors: readonly (readonly number[])[]): object => ({
  data: vectors.map((embedding, index) => ({ index, embedding })),
});

describe("the client", () => {
  const connect = (
    urls: readonly string[],
    options: EmbeddingsOptions,
    bounds: { attempts?: number } = {},
  ): Promise<RemoteEmbeddings> => connectEmbeddings({ endpoints: urls, model: "words", ...bounds, ...options });
  const golden = { texts: ["cat", "dog sun"], vectors: [vectorOf("cat"), vectorOf("dog sun")] };
  const identityOf = async (url: string): Promise<{ identity: string; variant: string }> =>
    (await post({ model: "words", input: "a" }, url)).body.parameters as { identity: string; variant: string };
  const refusal = { code: "remote-failed", details: { reason: "other-model" } };

  test("takes vectors of a server that states the expected identity and variant", async () => {
    const model = await connect([server.url], { expect: await identityOf(server.url) });
    const { vectors, info } = await model.embed(["moon", "sea sun"]);
    expectClose(vectors[0], vectorOf("moon"));
    expectClose(vectors[1], vectorOf("sea sun"));
    expect(info).toMatchObject({ endpoints: [server.url], attempts: 1, tokens: 7 });
    expect((await model.embed([])).vectors).toEqual([]);
  });

  test("sends many texts in requests of 128", async () => {
    const big = await serve([join(folder, "words-1")]);
    const model = await connect([big.url], { golden, dims: undefined });
    const texts = Array.from({ length: 300 }, (_, i) => WORDS[i % 5] ?? "");
    const { vectors, info } = await model.embed(texts);
    expect(info.attempts).toBe(3);
    for (const [i, text] of texts.entries()) expectClose(vectors[i], vectorOf(text));
  });

  test("refuses a server that states another identity or variant, though the golden agrees", async () => {
    const expected = await identityOf(server.url);
    await expect(connect([server.url], { expect: { ...expected, identity: "0" }, golden })).rejects.toMatchObject(
      refusal,
    );
    await expect(connect([server.url], { expect: { ...expected, variant: "int8" } })).rejects.toMatchObject(refusal);
  });

  test("checks a server that states nothing by the golden's cosine", async () => {
    const other = await startOther((texts) => ({ body: listOf(texts.map((x) => vectorOf(x).map((y) => 3 * y))) }));
    const wrong = await startOther((texts) => ({ body: listOf(texts.map((x) => vectorOf(x, 2))) }));
    const near = await startOther((texts) => ({
      body: listOf(texts.map((x) => vectorOf(x).map((y, i) => y + (i === 0 ? 0.06 : 0)))),
    }));
    const short = await startOther((texts) => ({ body: listOf(texts.map((x) => vectorOf(x).slice(1))) }));
    const model = await connect([other.url], { golden });
    expectClose(
      (await model.embed(["sea"])).vectors[0],
      vectorOf("sea").map((y) => 3 * y),
    );
    // One description, one golden, one first request, one request.
    expect(other.asked.map((x) => x.split(" ")[0])).toEqual(["GET", "POST", "POST", "POST"]);
    for (const { url } of [wrong, near, short]) await expect(connect([url], { golden })).rejects.toMatchObject(refusal);
    await expect(connect([other.url], { expect: await identityOf(server.url) })).rejects.toMatchObject(refusal);
    // Of two servers the right one answers, and its vectors alone.
    const both = await connect([wrong.url, other.url], { golden });
    for (let i = 0; i < 6; i += 1) expect((await both.embed(["sea"])).info.endpoints).toEqual([other.url]);
  });

  test("refuses a server whose model changes after the check", async () => {
    let seed = 1;
    const other = await startOther((texts) => ({
      body: { ...listOf(texts.map((x) => vectorOf(x, seed))), parameters: { identity: `${seed}`, variant: "f32" } },
    }));
    // Its description is missing, so the first answers state what the description did not.
    await expect(connect([other.url], { golden }, { attempts: 2 })).rejects.toMatchObject(refusal);
    const silent = await startOther((texts) =>
      seed === 0 ? { status: 503, body: {} } : { body: listOf(texts.map((x) => vectorOf(x, seed))) },
    );
    const model = await connect([silent.url], { golden }, { attempts: 2 });
    seed = 0;
    await expect(model.embed(["sea"])).rejects.toMatchObject({ code: "remote-failed" });
    seed = 2;
    await expect(model.embed(["sea"])).rejects.toMatchObject(refusal);
    seed = 1;
    expectClose((await model.embed(["sea"])).vectors[0], vectorOf("sea"));
  });

  test("finds the one right server of three, in any order, and asks the wrong ones no more", async () => {
    const stated = { identity: "right", variant: "f32" };
    const answer = (texts: readonly string[]) => ({
      status: 200,
      body: { ...listOf(texts.map((x) => vectorOf(x))), parameters: stated },
    });
    const right = await startOther(answer, stated);
    const wrongs = [
      await startOther(answer, { ...stated, identity: "a" }),
      await startOther(answer, { ...stated, identity: "b" }),
    ];
    const [a = "", b = ""] = wrongs.map((x) => x.url);
    for (const urls of [
      [a, b, right.url],
      [a, right.url, b],
    ]) {
      const model = await connect(urls, { expect: stated });
      for (let i = 0; i < 10; i += 1) expect((await model.embed(["sea"])).info.endpoints).toEqual([right.url]);
    }
    expect(wrongs.flatMap((x) => x.asked).length).toBeLessThanOrEqual(4);
  });

  test("a reply of another model, whose vectors have another length, has no right one refused", async () => {
    const [expected, wrong] = [
      { identity: "right", variant: "f32" },
      { identity: "wrong", variant: "f32" },
    ];
    let sent = 0;
    // As while a new version is rolled out behind one address.
    const other = await startOther((texts) => {
      sent += 1;
      const [dims, parameters] = sent === 1 ? [WIDTH - 2, wrong] : [WIDTH, expected];
      return { body: { ...listOf(texts.map((x) => vectorOf(x, 1, dims))), parameters } };
    }, expected);
    const model = await connect([other.url], { expect: expected });
    expectClose((await model.embed(["sea"])).vectors[0], vectorOf("sea"));
    expect(sent).toBe(3);
  });

  test("a check that ends late, after another server was asked instead, says nothing about that one's answer", async () => {
    const expected = { identity: "right", variant: "f32" };
    let letSlow = (): void => undefined;
    const slowMay = new Promise<void>((resolve) => (letSlow = resolve));
    let checked = (): void => undefined;
    const slowIsChecked = new Promise<void>((resolve) => (checked = resolve));
    const slow = await startHttp((request, reply) => {
      request.resume().on("end", () => {
        if (request.method === "GET") void slowMay.then(() => reply.writeHead(404).end());
        else reply.end(JSON.stringify(listOf([vectorOf("cat"), vectorOf("dog sun")])), checked);
      });
    });
    let asked = 0;
    const right = await startHttp((request, reply) => {
      request.resume().on("end", () => {
        if (request.method === "GET") {
          reply.end(JSON.stringify({ parameters: expected }));
          return;
        }
        asked += 1;
        letSlow();
        void slowIsChecked.then(() =>
          setTimeout(() => reply.end(JSON.stringify({ ...listOf([vectorOf("cat")]), parameters: expected })), 50),
        );
      });
    });
    started.push(slow, right);
    const endpoints = [slow.origin, right.origin];
    const own = { model: "words", golden, expect: expected, timeoutMs: 1_000 };
    const model = await connectEmbeddings({ endpoints, ...own });
    model.close();
    expect(asked).toBe(1);
  });

  test("blames no server for `headers` that never come, before its check or after", async () => {
    const other = await serve([await bundleOf("words", 1)]);
    let isHung = false;
    const headers = (): Promise<HeadersInit> => (isHung ? new Promise(() => undefined) : Promise.resolve({}));
    const endpoints = [server.url, other.url];
    const model = await connectEmbeddings({ endpoints, headers, model: "words", golden, attempts: 1 });
    isHung = true;
    // As many failures of both servers would have them left alone.
    for (let i = 0; i < 12; i += 1)
      await expect(model.embed(["cat"], { timeoutMs: 20 })).rejects.toThrow("not sent: `headers` took too long");
    isHung = false;
    expectClose((await model.embed(["cat"])).vectors[0], vectorOf("cat"));
    model.close();
  });

  test("embeds the texts as they were when it was called", async () => {
    const model = await connect([server.url], { golden, maxTexts: 2 });
    const texts = ["cat", "dog", "sun", "moon"];
    const answer = model.embed(texts);
    texts.length = 3;
    texts[2] = "sea";
    const { vectors } = await answer;
    expect(vectors).toHaveLength(4);
    expectClose(vectors[2], vectorOf("sun"));
  });

  test("refuses a server that states nothing and answers by another model than when it was checked", async () => {
    let [seed, name] = [1, "words"];
    const other = await startOther((texts) => ({
      body: { ...listOf(texts.map((x) => vectorOf(x, seed))), model: name },
    }));
    /** Two models behind one address: the golden's texts always meet the right one. */
    const mixed = await startOther((texts) => {
      const isGolden = texts.every((x) => golden.texts.includes(x) || x === "a");
      const own = isGolden ? 1 : 2;
      return { body: { ...listOf(texts.map((x) => vectorOf(x, own))), ...(isGolden && { model: "words" }) } };
    });
    const model = await connect([other.url], { golden }, { attempts: 2 });
    expectClose((await model.embed(["sea"])).vectors[0], vectorOf("sea"));
    [seed, name] = [2, "words-2"];
    await expect(model.embed(["sea"])).rejects.toMatchObject(refusal);
    // Another name of the right model, as the golden shows.
    seed = 1;
    expectClose((await model.embed(["sea"])).vectors[0], vectorOf("sea"));
    const two = await connect([mixed.url], { golden }, { attempts: 2 });
    const error = await two.embed(["sea"]).catch((x: unknown) => x);
    expect(error).toMatchObject(refusal);
    expect((error as Error).message).toContain('its reply is of the model null, when it was checked it was "words"');
  });

  test("refuses a server that named no model and names another one later (embed-unnamed)", async () => {
    let [seed, name] = [1, {}];
    const other = await startOther((texts) => ({ body: { ...listOf(texts.map((x) => vectorOf(x, seed))), ...name } }));
    const model = await connect([other.url], { golden }, { attempts: 2 });
    expectClose((await model.embed(["sea"])).vectors[0], vectorOf("sea"));
    [seed, name] = [2, { model: "words-2" }];
    await expect(model.embed(["sea"])).rejects.toMatchObject(refusal);
    seed = 1;
    expectClose((await model.embed(["sea"])).vectors[0], vectorOf("sea"));
  });

  const sea = (count: number): string[] => Array.from({ length: count }, (_, i) => WORDS[i % 5] ?? "");
  const tooMany = (most: number): [number, object] => [422, { error: `batch size too large, maximum is ${most}` }];

  test.each<[string, (texts: readonly string[]) => [number, object] | null, number[], number[]]>([
    ["names its limit", (x) => (x.length > 32 ? tooMany(32) : null), [128, 32, 32, 32, 32, 22], [32, 32, 32, 32, 22]],
    [
      "names its limit in the words of text-embeddings-inference",
      (x) => (x.length > 64 ? [422, { error: `batch size ${x.length} > maximum allowed batch size 64` }] : null),
      [128, 64, 64, 22],
      [64, 64, 22],
    ],
    [
      "says that there are too many, and not how many it takes",
      (x) => (x.length > 40 ? [400, { error: { message: "Too many inputs in request" } }] : null),
      [128, 64, 32, 32, 32, 32, 22],
      [128, 64, 32, 32, 32, 32, 22],
    ],
    [
      "says that the body is too large",
      (x) => (x.length > 100 ? [413, {}] : null),
      [128, 64, 64, 22],
      [128, 64, 64, 22],
    ],
  ])("sends fewer texts at once to a server that %s", async (_, refuse, first, second) => {
    const sizes: number[] = [];
    const other = await startOther((texts) => {
      sizes.push(texts.length);
      const [status, body] = refuse(texts) ?? [200, listOf(texts.map((x) => vectorOf(x)))];
      return { status, body };
    });
    const model = await connect([other.url], { golden });
    for (const expected of [first, second]) {
      sizes.length = 0;
      const { vectors, info } = await model.embed(sea(150));
      for (const [i, text] of sea(150).entries()) expectClose(vectors[i], vectorOf(text));
      expect([sizes, info.attempts]).toEqual([expected, expected.length]);
    }
  });

  test("one text that is too long leaves the number of texts of later requests as it was", async () => {
    const sizes: number[] = [];
    const other = await startOther((texts) => {
      sizes.push(texts.length);
      if (!texts.includes("sun moon")) return { body: listOf(texts.map((x) => vectorOf(x))) };
      return { status: 400, body: { error: "inputs[1]: the text exceeds the maximum of 512 tokens" } };
    });
    const model = await connect([other.url], { golden });
    await expect(model.embed(["cat", "sun moon", ...sea(60)])).rejects.toMatchObject({ code: "remote-failed" });
    sizes.length = 0;
    await model.embed(sea(128));
    // The server had failed, so it is checked again first.
    expect(sizes).toEqual([golden.texts.length, 128]);
  });

  test("tries more texts again in time where a server had named its limit", async () => {
    const sizes: number[] = [];
    let most = 2;
    const other = await startOther((texts) => {
      sizes.push(texts.length);
      if (texts.length > most) return { status: 422, body: { error: `batch size too large, maximum is ${most}` } };
      return { body: listOf(texts.map((x) => vectorOf(x))) };
    });
    const model = await connect([other.url], { golden });
    await model.embed(sea(20));
    most = 128;
    await model.embed(sea(100));
    expect(Math.max(...sizes.slice(-3))).toBe(4);
  });

  test("gives up on a server that refuses a single text as too large or too many, or for another reason", async () => {
    for (const [status, words, most] of [
      [413, "", 8],
      [422, "too many texts, at most 1", 3],
      [400, "inputs: at most 9 in a batch", 7],
      [400, "the first text has no language", 2],
    ] as const) {
      let sent = 0;
      const other = await startOther((texts, { input }) => {
        if (texts.length <= 2 && input !== undefined && !texts.includes("moon"))
          return { body: listOf(texts.map((x) => vectorOf(x))) };
        sent += 1;
        return { status, body: { error: words } };
      });
      const model = await connect([other.url], { golden });
      await expect(model.embed(new Array<string>(128).fill("moon"))).rejects.toMatchObject({
        code: "remote-failed",
        details: { status },
      });
      expect(sent).toBeLessThanOrEqual(most);
    }
  });

  test("sends at most `maxTexts` texts at once, also of the golden, and fewer where the server refuses these", async () => {
    const sizes: number[] = [];
    const other = await startOther((texts) => {
      sizes.push(texts.length);
      if (texts.length > 4) return { status: 422, body: { detail: [{ msg: "List should have at most 4 items" }] } };
      return { body: { ...listOf(texts.map((x) => vectorOf(x))), model: "words" } };
    });
    const many = { texts: sea(9), vectors: sea(9).map((x) => vectorOf(x)) };
    await connect([other.url], { golden: many, maxTexts: 3 });
    expect(sizes).toEqual([3, 3, 3, 1]);
    sizes.length = 0;
    const model = await connect([other.url], { golden: many, maxTexts: 7 });
    expect(sizes).toEqual([7, 4, 4, 1, 1]);
    await model.embed(sea(5));
    expect(sizes.slice(5)).toEqual([4, 1]);
  });

  test("sends lists of numbers to a server that refuses base64", async () => {
    const formats: unknown[] = [];
    const other = await startOther((texts, { encoding_format: format }) => {
      formats.push(format);
      return format === "base64" ? { status: 422, body: {} } : { body: listOf(texts.map((x) => vectorOf(x))) };
    });
    const model = await connect([other.url], { golden });
    await model.embed(["sea"]);
    expect(formats).toEqual(["base64", "float", "float", "float"]);
  });

  test("asks for base64 again after a text that a server refuses in both forms", async () => {
    const formats: unknown[] = [];
    const other = await startOther((texts, { encoding_format: format }) => {
      formats.push(format);
      if (texts.includes("moon")) return { status: 400, body: { error: "no moon" } };
      return { body: listOf(texts.map((x) => vectorOf(x))) };
    });
    const model = await connect([other.url], { golden });
    formats.length = 0;
    await expect(model.embed(["moon"])).rejects.toMatchObject({ details: { status: 400 } });
    await model.embed(["sea"]);
    // The third is the check after the failure.
    expect(formats).toEqual(["base64", "float", "base64", "base64"]);
  });

  test.each([
    ["another number of vectors", () => listOf([vectorOf("cat")])],
    ["an index twice", (n: number) => ({ data: Array.from({ length: n }, () => ({ index: 0, embedding: [1] })) })],
    ["an index of no text", (n: number) => ({ data: Array.from({ length: n }, () => ({ index: 9, embedding: [1] })) })],
    ["no number", (n: number) => listOf(Array.from({ length: n }, () => [NaN]))],
    ["no vector", (n: number) => ({ data: Array.from({ length: n }, () => ({ embedding: "%%%" })) })],
    ["no list", () => ({ data: null })],
  ])("refuses a reply with %s", async (_, reply) => {
    const other = await startOther((texts) => ({ body: reply(texts.length) }));
    await expect(connect([other.url], { golden }, { attempts: 2 })).rejects.toMatchObject(refusal);
  });

  test("numbers that are none are refused after the check too", async () => {
    let wrong: unknown = null;
    const other = await startOther((texts) => ({
      body: listOf(texts.map((x) => (wrong === null ? vectorOf(x) : (Array(WIDTH).fill(wrong) as number[])))),
    }));
    const model = await connect([other.url], { golden }, { attempts: 1 });
    for (wrong of ["1", true, [1]]) await expect(model.embed(["sea"])).rejects.toMatchObject({ code: "remote-failed" });
    // As servers write NaN that have no other word for it.
    wrong = undefined;
    await expect(model.embed(["sea"])).rejects.toMatchObject({ code: "remote-failed" });
  });

  test("a connection that fails leaves no request behind", async () => {
    let [open, seen] = [0, 0];
    const silent = await startHttp((_, reply) => {
      open += 1;
      seen += 1;
      reply.once("close", () => (open -= 1));
    });
    started.push(silent);
    const connecting = connectEmbeddings({ endpoints: [silent.origin], model: "words", golden, timeoutMs: 200 });
    await expect(connecting).rejects.toMatchObject({ code: "remote-failed", details: { reason: "timeout" } });
    await expect.poll(() => [open, seen], { timeout: 2_000 }).toEqual([0, 1]);
  });

  test("one caller's cancel leaves the check of a server to the others", async () => {
    let isDown = false;
    const other = await startOther((texts) =>
      isDown ? { status: 503, body: {} } : { body: listOf(texts.map((x) => vectorOf(x))) },
    );
    const model = await connect([other.url], { golden }, { attempts: 1 });
    isDown = true;
    await expect(model.embed(["sea"])).rejects.toMatchObject({ code: "remote-failed" });
    isDown = false;
    const stop = new AbortController();
    const [first, second] = [model.embed(["sea"], { signal: stop.signal }), model.embed(["sea"])];
    stop.abort("gone");
    await expect(first).rejects.toBe("gone");
    expectClose((await second).vectors[0], vectorOf("sea"));
  });

  test("checks its arguments before anything is sent", async () => {
    const other = await startOther(() => ({ body: {} }));
    const bad: [EmbeddingsOptions, string][] = [
      [{}, "`expect` or `golden` is needed"],
      [{ golden: null as never }, "golden: expected an object, got null"],
      [{ expect: null as never, golden }, "expect: expected an object, got null"],
      [{ golden: { texts: ["a"], vectors: null as never } }, "golden.vectors: expected a list of vectors, got null"],
      [{ golden: { texts: [], vectors: [] } }, "golden: expected 1 to 128 texts"],
      [{ golden: { texts: ["a"], vectors: [[0, 0]] } }, "golden.vectors: number 0 is no vector"],
      [{ golden: { texts: ["a"], vectors: [[1, 0]] }, dims: 3 }, "is no vector of 3 numbers"],
      [{ golden, dims: 0 }, "dims: expected"],
      [{ golden, maxTexts: 0 }, "maxTexts: expected a whole number from 1"],
      [{ expect: { identity: 1, variant: "f32" } as never }, "expect: expected"],
    ];
    for (const [options, message] of bad) await expect(connect([other.url], options)).rejects.toThrow(message);
    await expect(connectEmbeddings({ endpoints: [other.url], model: "", golden })).rejects.toThrow("model:");
    expect(other.asked).toEqual([]);
    const model = await connect([server.url], { golden });
    await expect(model.embed("cat" as never)).rejects.toThrow("texts: expected a list of texts");
    await expect(model.embed(["cat", "\ud800"])).rejects.toThrow("number 1 is none");
    await expect(model.embed(["cat"], { signal: AbortSignal.abort("gone") })).rejects.toBe("gone");
    model.close();
    await expect(model.embed(["cat"])).rejects.toMatchObject({ code: "closed" });
  });
});
