// The server over real HTTP, with real bundles and ONNX Runtime on its threads; its client is selvedge/remote.
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { Agent, request } from "node:http";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { describe as describeModel } from "../compress/bundle/describe.ts";
import { writeBundle } from "../compress/bundle/pack.ts";
import { TensorProto_DataType as T } from "../compress/onnx/onnx.gen.js";
import type { OnnxModel } from "../compress/onnx/model.ts";
import { runAll } from "../compress/run/session.ts";
import type { Dtype, Tensor } from "../core/tensor.ts";
import { ARRAY_TYPES } from "../core/tensor.ts";
import { connectRemote } from "../remote/index.ts";
import { floatTensor } from "../compress/onnx/tensor-proto.ts";
import { seededFloats, slowModel, smallModel, twoLayers } from "../test-support/compress/fixtures.ts";
import { opened } from "../test-support/open-socket.ts";
import { startServer } from "./server.ts";
import type { RunningServer, ServeOptions } from "./server.ts";

const TYPES = {
  bool: T.BOOL,
  int8: T.INT8,
  int16: T.INT16,
  int32: T.INT32,
  int64: T.INT64,
  uint8: T.UINT8,
  uint16: T.UINT16,
  uint32: T.UINT32,
  uint64: T.UINT64,
  float16: T.FLOAT16,
  float32: T.FLOAT,
  float64: T.DOUBLE,
  string: T.STRING,
} as const satisfies Record<Dtype, number>;
const DTYPES = Object.keys(TYPES) as Dtype[];

const layers = (): OnnxModel => twoLayers({ opset: 17, inputs: 64, units: 96, outputs: 4 });
const types = (): OnnxModel =>
  smallModel({
    opset: 17,
    inputs: Object.fromEntries(DTYPES.map((x) => [x, ["n", 2]])),
    outputs: DTYPES.map((x) => `out_${x}`),
    outputDims: Object.fromEntries(DTYPES.map((x) => [`out_${x}`, ["n", 2]])),
    types: { ...TYPES, ...Object.fromEntries(DTYPES.map((x) => [`out_${x}`, TYPES[x]])) },
    nodes: DTYPES.map((x) => ({ opType: "Identity", input: [x], output: [`out_${x}`] })),
  });
const gather = (): OnnxModel =>
  smallModel({
    opset: 17,
    inputs: { table: ["n", 3], at: ["n", 1] },
    outputs: ["found"],
    outputDims: { found: ["n", 1] },
    types: { at: T.INT64 },
    nodes: [{ opType: "GatherElements", input: ["table", "at"], output: ["found"], attributes: { axis: 1 } }],
  });

/** A maximum along an axis that may be empty. */
const largest = (): OnnxModel =>
  smallModel({
    opset: 17,
    inputs: { x: ["a", "b"] },
    outputs: ["y"],
    outputDims: { y: ["b"] },
    nodes: [{ opType: "ReduceMax", input: ["x"], output: ["y"], attributes: { axes: [0], keepdims: 0 } }],
  });

/** An answer of 16 kB for each row. */
const wide = (): OnnxModel =>
  smallModel({
    opset: 17,
    inputs: { x: ["n", 1] },
    outputs: ["y"],
    outputDims: { y: ["n", 4_096] },
    initializers: [floatTensor("w", [1, 4_096], seededFloats(4_096))],
    nodes: [{ opType: "MatMul", input: ["x", "w"], output: ["y"] }],
  });
/** A request for `wide` and `slow`. */
const column = (rows: number): string =>
  JSON.stringify({
    inputs: [{ name: "x", datatype: "FP32", shape: [rows, 1], data: new Array<number>(rows).fill(1) }],
    parameters: { binary_data_output: true },
  });

let folder: string;
let bundles: string[];
let server: RunningServer;
const started: RunningServer[] = [];

/** Starts a server of the bundle `layers`, and of the named ones. */
async function start(more: Partial<ServeOptions> = {}, names: readonly string[] = []): Promise<RunningServer> {
  const served = ["layers", ...names].map((x) => join(folder, x));
  const running = await startServer({ bundles: served, port: 0, lanes: 2, threads: 1, logLevel: "silent", ...more });
  started.push(running);
  await running.ready;
  return running;
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "selvedge-serve-test-"));
  bundles = [];
  const models = {
    layers: layers(),
    types: types(),
    gather: gather(),
    slow: slowModel(60),
    wide: wide(),
    largest: largest(),
  };
  for (const [name, model] of Object.entries(models)) {
    bundles.push(join(folder, name));
    const variants = [{ id: "f32", needs: [], files: [{ path: "model.onnx", model }] }];
    await writeBundle(join(folder, name), { model: await describeModel(model, `${name}.onnx`, undefined), variants });
  }
  server = await start({ bundles });
}, 60_000);

afterAll(async () => {
  await Promise.all(started.map((x) => x.close()));
  rmSync(folder, { recursive: true, force: true });
}, 60_000);

const row = (seed: number, rows = 1): Tensor<"float32"> => {
  const data = Float32Array.from({ length: 64 * rows }, (_, i) => Math.sin(seed * 7.3 + i * 0.37));
  return { dtype: "float32", dims: [rows, 64], data };
};

interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

async function post(url: string, body: BodyInit, headers: Record<string, string> = {}): Promise<Reply> {
  const reply = await fetch(url, { method: "POST", body, headers });
  return { status: reply.status, headers: reply.headers, text: await reply.text() };
}

const inferAt = (name: string, base = server.url): string => `${base}/v2/models/${name}/infer`;
const json = (x: Tensor<"float32"> = row(1)): string =>
  JSON.stringify({ inputs: [{ name: "x", datatype: "FP32", shape: x.dims, data: [...x.data] }] });

/** Values of each dtype in an array of it. */
const tensorOf = (dtype: Dtype, rows: number): fc.Arbitrary<Tensor> => {
  const length = 2 * rows;
  const of = (element: fc.Arbitrary<unknown>): fc.Arbitrary<Tensor> =>
    fc.array(element, { minLength: length, maxLength: length }).map((values) => {
      const data =
        dtype === "string" ? values : (ARRAY_TYPES[dtype] as unknown as { from(x: unknown[]): unknown }).from(values);
      return { dtype, dims: [rows, 2], data } as Tensor;
    });
  if (dtype === "string") return of(fc.string({ unit: "grapheme" }));
  if (dtype === "bool") return of(fc.integer({ min: 0, max: 1 }));
  if (dtype === "float32") return of(fc.float());
  if (dtype === "float64") return of(fc.double());
  // Finite bits; JSON lacks the others.
  if (dtype === "float16") return of(fc.integer({ min: 0, max: 0x7bff }));
  const bits = BigInt(dtype.replace(/\D/g, ""));
  const [min, max] = dtype.startsWith("u") ? [0n, 2n ** bits - 1n] : [-(2n ** (bits - 1n)), 2n ** (bits - 1n) - 1n];
  return of(fc.bigInt({ min, max }).map((x) => (bits === 64n ? x : Number(x))));
};

describe("answers", () => {
  test("states itself, its models, the bundle's identity and the variant", async () => {
    const remote = connectRemote({ endpoints: [server.url] });
    expect(await remote.metadata()).toEqual({
      name: "selvedge",
      version: "0.1.0",
      extensions: ["binary_tensor_data"],
    });
    expect(await remote.health("layers")).toEqual([{ endpoint: server.url, isLive: true, isReady: true }]);
    const { metadata } = await remote.model("layers", { version: "1" });
    expect(metadata.inputs).toEqual([{ name: "x", datatype: "FP32", dims: [null, 64] }]);
    const raw = (await (await fetch(`${server.url}/v2/models/layers`)).json()) as { parameters: unknown };
    expect(JSON.stringify(raw.parameters)).toMatch(/^\{"identity":"[0-9a-f]{64}","variant":"f32"\}$/);
    await expect(remote.model("layers", { version: "9" })).rejects.toMatchObject({ details: { status: 404 } });
  });

  test.each(["always", "never"] as const)("returns every type as it was sent, binary: %s", async (binary) => {
    const remote = connectRemote({ endpoints: [server.url], binary });
    const model = await remote.model("types");
    const inputs = fc
      .integer({ min: 0, max: 3 })
      .chain((rows) => fc.record(Object.fromEntries(DTYPES.map((x) => [x, tensorOf(x, rows)]))));
    await fc.assert(
      fc.asyncProperty(inputs, async (feeds) => {
        const { outputs, info } = await model.infer(feeds);
        expect(info).toMatchObject({ attempts: 1, isBinary: binary === "always" });
        for (const dtype of DTYPES) {
          const { data, dims } = feeds[dtype] as Tensor;
          const isFloat = /^float(32|64)$/.test(dtype);
          // JSON has neither NaN nor Infinity; both are null.
          const expected =
            isFloat && binary === "never" ? (data as Float64Array).map((x) => (Number.isFinite(x) ? x : NaN)) : data;
          expect(outputs[`out_${dtype}`]).toEqual({ dtype, dims, data: expected });
        }
      }),
      { numRuns: 25 },
    );
  });

  test("64-bit integers may be texts of their digits, as clients write a BigInt; no other number may", async () => {
    const ask = async (changed: Dtype, ...data: unknown[]): Promise<[number, string]> => {
      const datatype = (dtype: Dtype): string =>
        dtype === "string" ? "BYTES" : dtype.toUpperCase().replace("FLOAT", "FP");
      const own = (dtype: Dtype): unknown[] => (dtype === changed ? data : dtype === "string" ? ["", ""] : [0, 0]);
      const inputs = DTYPES.map((x) => ({ name: x, datatype: datatype(x), shape: [1, 2], data: own(x) }));
      const outputs = [{ name: `out_${changed}` }];
      const { status, text } = await post(inferAt("types"), JSON.stringify({ inputs, outputs }));
      return [status, /(?<="data":)\[[^\]]*\]/.exec(text)?.[0] ?? text];
    };
    const long = "9007199254740993";
    expect(await ask("int64", long, "-12")).toEqual([200, `[${long},-12]`]);
    expect(await ask("int64", "-9223372036854775808", 7)).toEqual([200, "[-9223372036854775808,7]"]);
    expect(await ask("uint64", "18446744073709551615", "0")).toEqual([200, "[18446744073709551615,0]"]);
    const refused: readonly (readonly [Dtype, string])[] = [
      ["int64", "9223372036854775808"],
      ["uint64", "-1"],
      ["int64", "1.5"],
      ["int64", ""],
      ["int32", "12"],
      ["float32", "12"],
      ["float64", long],
    ];
    for (const [dtype, text] of refused)
      expect(await ask(dtype, text, 1)).toEqual([400, expect.stringContaining(`input \\"${dtype}\\" has`)]);
  });

  test("answers as ONNX Runtime here, each of many requests at once with its own answer", async () => {
    const remote = connectRemote({ endpoints: [server.url] });
    const model = await remote.model("layers");
    const feeds = Array.from({ length: 200 }, (_, i) => ({ x: row(i, 1 + (i % 3)) }));
    const local = await runAll(layers().write(), feeds);
    const answers = await Promise.all(feeds.map((x) => model.infer(x, { outputs: ["y"] })));
    for (const [i, { outputs }] of answers.entries()) {
      expect(outputs["y"]?.dims).toEqual(local[i]?.["y"]?.dims);
      for (const [j, value] of (outputs["y"]?.data as Float32Array).entries())
        expect(Math.abs(value - (local[i]?.["y"]?.data[j] ?? NaN))).toBeLessThan(1e-4);
    }
  });

  test("requests that arrive while the lanes run share a run, and the metrics say so", async () => {
    const { url } = await start({}, ["slow"]);
    const send = (rows: number): Promise<Reply> => post(inferAt("slow", url), column(rows));
    // Both lanes are busy for as long as hundreds of rows take.
    const replies = [send(256), send(256), ...Array.from({ length: 30 }, () => send(1))];
    expect((await Promise.all(replies)).map((x) => x.status)).toEqual(new Array(32).fill(200));
    const metrics = await (await fetch(`${url}/metrics`)).text();
    const count = (name: string): number =>
      Number(new RegExp(`^${name}\\{model="slow"(?:,status="200")?\\} (\\d+)$`, "m").exec(metrics)?.[1]);
    expect(count("selvedge_requests_total")).toBe(32);
    expect(count("selvedge_run_requests_total")).toBe(32);
    // How many share one depends on how fast they arrive.
    expect(count("selvedge_runs_total")).toBeLessThan(32);
  });

  test("a request that the model can't run is refused, and its companions are answered", async () => {
    const remote = connectRemote({ endpoints: [server.url] });
    const model = await remote.model("gather");
    const run = (at: bigint): Promise<unknown> =>
      model.infer({
        table: { dtype: "float32", dims: [1, 3], data: Float32Array.of(5, 6, 7) },
        at: { dtype: "int64", dims: [1, 1], data: BigInt64Array.of(at) },
      });
    const settled = await Promise.allSettled([0n, 1n, 9n, 2n].map(run));
    expect(settled.map((x) => (x.status === "fulfilled" ? x.value : (x.reason as object)))).toMatchObject([
      { outputs: { found: { data: Float32Array.of(5) } } },
      { outputs: { found: { data: Float32Array.of(6) } } },
      { details: { reason: "refused", status: 400 } },
      { outputs: { found: { data: Float32Array.of(7) } } },
    ]);
  });

  test("takes compressed requests, the id, and flags of each output", async () => {
    const remote = connectRemote({ endpoints: [server.url], gzip: true });
    expect((await (await remote.model("layers")).infer({ x: row(1) })).info.attempts).toBe(1);
    const { inputs } = JSON.parse(json()) as { inputs: unknown };
    const outputs = [{ name: "y", parameters: { binary_data: true } }];
    const reply = await post(inferAt("layers"), JSON.stringify({ id: "ü-1", inputs, outputs }));
    const length = Number(reply.headers.get("inference-header-content-length"));
    expect(reply.text.slice(0, reply.text.indexOf("}]}") + 3)).toBe(
      '{"model_name":"layers","model_version":"1","id":"ü-1","outputs":[{"name":"y","datatype":"FP32","shape":[1,4],"parameters":{"binary_data_size":16}}]}',
    );
    expect(length).toBeGreaterThan(100);
  });
});

describe("requests that are wrong", () => {
  const input = { name: "x", datatype: "FP32", shape: [1, 64], data: new Array<number>(64).fill(0) };
  const withInput = (more: object): string => JSON.stringify({ inputs: [{ ...input, ...more }] });

  test.each<[string, string, RegExp]>([
    ["no JSON", "{", /not JSON/],
    ["an empty body", "", /not JSON/],
    ["no object", "[]", /not a JSON object/],
    ["no inputs", "{}", /no inputs/],
    ["a missing input", '{"inputs":[]}', /"x" is missing/],
    ["an unknown input", withInput({ name: "z" }), /no input "z"/],
    ["a prototype's name", withInput({ name: "__proto__" }), /no input|missing/],
    ["more inputs than the model has", JSON.stringify({ inputs: [input, input] }), /2 inputs, the model 1/],
    ["a long list of outputs", JSON.stringify({ inputs: [input], outputs: [{}, {}] }), /2 outputs, the model 1/],
    [
      "more JSON than 8 MiB",
      withInput({}) + " ".repeat(8 * 2 ** 20),
      /JSON, at most 8388608: send large tensors as bytes/,
    ],
    [
      "more rows than run at once",
      withInput({ shape: [1_025, 64], data: new Array<number>(1_025 * 64).fill(0) }),
      /"x" has 1025 rows, at most 1024 \(--max-rows\)/,
    ],
    ["another type", withInput({ datatype: "INT32" }), /"INT32", the model takes FP32/],
    ["an unknown type", withInput({ datatype: "float" }), /"float", the model takes FP32/],
    ["another rank", withInput({ shape: [64] }), /x/],
    ["another size", withInput({ shape: [2, 32] }), /x/],
    ["less data", withInput({ data: [1] }), /needs 64 elements and has 1/],
    ["a negative size", withInput({ shape: [-1, 64] }), /has the shape/],
    ["a fraction", withInput({ shape: [1.5, 64] }), /has the shape/],
    ["an element of another kind", withInput({ data: input.data.map(() => ({})) }), /as FP32/],
    ["a huge claim", withInput({ shape: [2 ** 53 - 1, 64] }), /has the shape/],
    ["a huge claim of rows", withInput({ shape: [2 ** 40, 64] }), /needs \d+ elements and has 64/],
    ["huge digits", withInput({ shape: [1, 64] }).replace("[1,64]", "[99999999999999999999,64]"), /has the shape/],
    [
      "bytes that are not there",
      withInput({ data: undefined, parameters: { binary_data_size: 2 ** 40 } }),
      /0 bytes are left/,
    ],
    [
      "nested data without end",
      withInput({}).replace(/"data":.*\]\}\]/, `"data":${"[".repeat(200_000)}`),
      /JSON|stack/,
    ],
    ["an unknown output", JSON.stringify({ inputs: [input], outputs: [{ name: "z" }] }), /no output "z", only "y"/],
    ["an id of another kind", JSON.stringify({ id: 7, inputs: [input] }), /id: expected a text/],
  ])("%s is refused with 400 and the reason", async (_, body, expected) => {
    const reply = await post(inferAt("layers"), body);
    expect([reply.status, (JSON.parse(reply.text) as { error: string }).error]).toEqual([
      400,
      expect.stringMatching(expected),
    ]);
  });

  test("two inputs of one name are refused", async () => {
    const table = { name: "table", datatype: "FP32", shape: [1, 3], data: [1, 2, 3] };
    const reply = await post(inferAt("gather"), JSON.stringify({ inputs: [table, table] }));
    expect([reply.status, reply.text]).toEqual([400, expect.stringContaining("two inputs have one name")]);
  });

  test.each(["abc", "-1", "1e3", "99999999"])("a header length of %s is refused", async (length) => {
    const reply = await post(inferAt("layers"), json(), { "inference-header-content-length": length });
    expect(reply.status).toBe(400);
    expect(reply.text).toContain("Inference-Header-Content-Length");
  });

  test("bytes of another length than the shape's, and a BOOL of 2, are refused", async () => {
    const head = (name: string, datatype: string, size: number): string =>
      JSON.stringify({ inputs: [{ name, datatype, shape: [1, 64], parameters: { binary_data_size: size } }] });
    for (const [size, sent] of [
      [256, 255],
      [256, 257],
      [128, 128],
    ] as const) {
      const text = head("x", "FP32", size);
      const reply = await post(inferAt("layers"), new Blob([text, new Uint8Array(sent)]), {
        "inference-header-content-length": String(text.length),
      });
      expect([size, sent, reply.status]).toEqual([size, sent, 400]);
    }
    const text = JSON.stringify({
      inputs: [{ name: "bool", datatype: "BOOL", shape: [1, 2], parameters: { binary_data_size: 2 } }],
    });
    const reply = await post(inferAt("types"), new Blob([text, Uint8Array.of(1, 2)]), {
      "inference-header-content-length": String(text.length),
    });
    expect(reply.text).toContain("elements of BOOL must be 0 or 1");
  });

  test("an empty tensor claims no large output: its sizes cost no byte", async () => {
    const empty = (shape: readonly number[]): string =>
      JSON.stringify({ inputs: [{ name: "x", datatype: "FP32", shape, data: [] }] });
    const refused = await post(inferAt("largest"), empty([0, 70_000]));
    expect([refused.status, refused.text]).toEqual([400, expect.stringContaining("has no elements and the shape [0,")]);
    const answered = await post(inferAt("largest"), empty([0, 4]));
    expect([answered.status, answered.text]).toEqual([200, expect.stringContaining('"shape":[4],"data":[null')]);
    expect((await post(inferAt("layers"), empty([0, 64]))).status).toBe(200);
  });

  test("an answer that is too large for JSON is refused in JSON, and sent as bytes", async () => {
    const { url } = await start({ maxRows: 1_100 }, ["wide"]);
    const body = JSON.parse(column(1_025)) as object;
    const reply = await post(inferAt("wide", url), JSON.stringify({ ...body, parameters: {} }));
    expect([reply.status, reply.text]).toEqual([
      400,
      expect.stringContaining("the answer has 4198400 elements, in JSON at most 4194304: ask for bytes"),
    ]);
    expect((await post(inferAt("wide", url), JSON.stringify(body))).status).toBe(200);
  });

  test("an integer of a million digits is refused, and is not quoted in full", async () => {
    const inputs = [
      { name: "table", datatype: "FP32", shape: [1, 3], data: [1, 2, 3] },
      { name: "at", datatype: "INT64", shape: [1, 1], data: [1] },
    ];
    const body = JSON.stringify({ inputs }).replace('"data":[1]', `"data":[${"9".repeat(1_000_000)}]`);
    const reply = await post(inferAt("gather"), body);
    expect([reply.status, reply.text.slice(0, 27)]).toEqual([400, '{"error":"input \\"at\\" has ']);
    expect(reply.text.length).toBeLessThan(1_000);
  });

  test("random changes of a request are answered with 200 or 400, and the server goes on", async () => {
    const valid = new TextEncoder().encode(json());
    const change = fc.array(fc.tuple(fc.nat(valid.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 });
    const length = fc.option(fc.integer({ min: 0, max: valid.length + 10 }));
    await fc.assert(
      fc.asyncProperty(change, length, fc.nat(valid.length), async (changes, header, cut) => {
        const body = valid.slice(0, cut % 3 === 0 ? cut : valid.length);
        for (const [at, value] of changes) if (at < body.length) body[at] = value;
        const headers = header === null ? undefined : { "inference-header-content-length": String(header) };
        expect([200, 400]).toContain((await post(inferAt("layers"), body, headers)).status);
      }),
      { numRuns: process.env["SELVEDGE_SOAK"] === "1" ? 300 : 100 },
    );
    expect((await post(inferAt("layers"), json())).status).toBe(200);
  });

  test.each([
    "..%2f..%2fetc%2fpasswd",
    "%00",
    "__proto__",
    "constructor",
    "layers%20",
    "LAYERS",
    "a".repeat(90),
    "%2e%2e",
  ])("a model of the name %s is not found", async (name) => {
    for (const path of [`/v2/models/${name}`, `/v2/models/${name}/ready`])
      expect((await fetch(server.url + path)).status).toBe(404);
    expect((await post(inferAt(name), json())).status).toBe(404);
  });

  test("what is no part of the server is 404 with an error in JSON", async () => {
    for (const path of ["/", "/v3/models", "/v2/models/layers/versions/9/ready", "/v2/models/layers/../../metrics/x"]) {
      const reply = await fetch(server.url + path);
      expect([path, reply.status]).toEqual([path, 404]);
      expect(await reply.json()).toEqual({ error: expect.any(String) as string });
    }
    expect((await fetch(inferAt("layers"))).status).toBe(404);
  });
});

describe("limits", () => {
  test("a body that is too large, also when expanded, is 413; another encoding 415", async () => {
    const { url } = await start({ maxBodyBytes: 20_000 });
    const at = inferAt("layers", url);
    expect((await post(at, "x".repeat(20_001))).status).toBe(413);
    expect((await post(at, new Blob([gzipSync("x".repeat(10_000_000))]), { "content-encoding": "gzip" })).status).toBe(
      413,
    );
    expect((await post(at, "x", { "content-encoding": "gzip" })).status).toBe(400);
    expect((await post(at, "x", { "content-encoding": "br" })).status).toBe(415);
    for (const coding of ["GZIP", "x-gzip"])
      expect((await post(at, new Blob([gzipSync(json())]), { "content-encoding": coding })).status).toBe(200);
    // A claim alone takes nothing from others.
    const socket = await opened(url);
    socket.write("POST /v2/models/layers/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 9007199254740991\r\n\r\n");
    expect(await answerOf(socket)).toContain("413");
    expect((await post(at, json())).status).toBe(200);
  });

  test("a full queue is 429 with Retry-After", async () => {
    const { url } = await start({ lanes: 1, maxQueue: 2 }, ["slow"]);
    const body = JSON.stringify({
      inputs: [{ name: "x", datatype: "FP32", shape: [256, 1], data: new Array<number>(256).fill(1) }],
    });
    const replies = await Promise.all(Array.from({ length: 12 }, () => post(inferAt("slow", url), body)));
    const refused = replies.filter((x) => x.status === 429);
    expect(new Set(replies.map((x) => x.status))).toEqual(new Set([200, 429]));
    for (const { headers, text } of refused) {
      expect(Number(headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
      expect(text).toContain("Queue is full: 2 requests queued");
    }
  });

  test("bytes that are not answered yet are bounded, and free again afterwards", async () => {
    const { url } = await start({ maxBodyBytes: 10_000, maxPendingBytes: 15_000 });
    const socket = await opened(url);
    socket.write(`${headOf(9_000)}${"x".repeat(8_999)}`);
    await expect.poll(async () => (await post(inferAt("layers", url), "x".repeat(9_000))).status).toBe(429);
    socket.destroy();
    await expect.poll(async () => (await post(inferAt("layers", url), "x".repeat(9_000))).status).toBe(400);
  });

  test("a client that announces bytes and sends none takes nothing from others", async () => {
    const { url } = await start({ maxBodyBytes: 10_000, maxPendingBytes: 10_000 });
    const sockets = await Promise.all(Array.from({ length: 8 }, () => opened(url)));
    for (const [i, socket] of sockets.entries()) {
      socket.write(i % 2 === 0 ? headOf(10_000) : headOf(null));
      expect(await answerOf(socket)).toContain("100 Continue");
    }
    expect((await post(inferAt("layers", url), json())).status).toBe(200);
    for (const socket of sockets) socket.destroy();
  });

  test("compressed bytes count as what they expand to, also before the last of them is there", async () => {
    const { url } = await start({ maxBodyBytes: 1_000_000, maxPendingBytes: 1_500_000 });
    const body = gzipSync("x".repeat(900_000));
    const socket = await opened(url);
    socket.write(headOf(body.length, "Content-Encoding: gzip\r\n"));
    socket.write(body.subarray(0, -1));
    await expect.poll(async () => (await post(inferAt("layers", url), "x".repeat(700_000))).status).toBe(429);
    const reply = await post(inferAt("layers", url), body, { "content-encoding": "gzip" });
    expect([reply.status, reply.headers.get("retry-after")]).toEqual([429, "1"]);
    socket.destroy();
    await expect
      .poll(async () => (await post(inferAt("layers", url), body, { "content-encoding": "gzip" })).status)
      .toBe(400);
  });

  test("the connection of a client that does not read its answer is closed, and its bytes are free again", async () => {
    const { url } = await start({ timeoutMs: 3_000, maxPendingBytes: 10_000_000, maxBodyBytes: 1_000_000 }, ["wide"]);
    const body = column(1_000);
    const socket = await opened(url);
    socket.write(`${headOf(body.length).replace("layers", "wide")}${body}`);
    await expect.poll(async () => (await post(inferAt("layers", url), json())).status, { timeout: 15_000 }).toBe(429);
    await expect
      .poll(async () => (await fetch(`${url}/metrics`)).text(), { timeout: 15_000 })
      .toContain('selvedge_requests_total{model="wide",status="499"} 1');
    expect((await post(inferAt("layers", url), json())).status).toBe(200);
    socket.destroy();
  });

  test("answers that clients do not take stay within the bound and one more, also of requests that were queued before", async () => {
    const { url } = await start({ lanes: 1, maxBodyBytes: 100_000, maxPendingBytes: 1_000_000 }, ["wide"]);
    const body = column(1_000);
    const sockets = await Promise.all(Array.from({ length: 6 }, () => opened(url)));
    for (const socket of sockets) socket.write(`${headOf(body.length).replace("layers", "wide")}${body}`);
    const metrics = async (): Promise<string> => (await fetch(`${url}/metrics`)).text();
    await expect.poll(metrics).toContain('selvedge_requests_total{model="wide",status="429"} 5\n');
    for (const socket of sockets) socket.destroy();
    await expect.poll(async () => (await post(inferAt("layers", url), json())).status).toBe(200);
  });

  test("a client that sends its request too slowly is answered with 408, and others are served meanwhile", async () => {
    const { url } = await start({ receiveTimeoutMs: 400 });
    const slow = await Promise.all(Array.from({ length: 50 }, () => opened(url)));
    const trickle = setInterval(() => {
      for (const socket of slow) if (socket.writable) socket.write("x");
    }, 50);
    for (const [i, socket] of slow.entries())
      socket.write(
        i % 2 === 0
          ? "POST /v2/models/layers/infer HTTP/1.1\r\nHost: a\r\nx-"
          : "POST /v2/models/layers/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\n",
      );
    const ends = Promise.all(slow.map(answerOf));
    expect((await post(inferAt("layers", url), json())).status).toBe(200);
    for (const text of await ends) expect(text).toMatch(/^HTTP\/1\.1 408 /);
    clearInterval(trickle);
  });

  test("200 connections at once are all answered", async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 200 });
    const statuses = await Promise.all(
      Array.from({ length: 400 }, (_, i) => sent(inferAt("layers"), json(row(i)), agent)),
    );
    expect(statuses).toEqual(new Array(400).fill(200));
    agent.destroy();
  });

  test("a client that leaves frees its place, and the request is not run", async () => {
    const { url } = await start({ lanes: 1 });
    const busy = Promise.all(Array.from({ length: 20 }, (_, i) => post(inferAt("layers", url), json(row(i, 50)))));
    const stop = new AbortController();
    const left = fetch(inferAt("layers", url), { method: "POST", body: json(), signal: stop.signal });
    await Promise.resolve();
    stop.abort();
    await expect(left).rejects.toThrow("abort");
    expect((await busy).map((x) => x.status)).toEqual(new Array(20).fill(200));
    await expect.poll(async () => (await fetch(`${url}/metrics`)).text()).toContain("selvedge_pending_requests 0");
  });

  test("a client that sent requests ahead frees the places of all when it leaves, and those that wait are not run", async () => {
    const { url } = await start({ lanes: 1, maxBodyBytes: 10_000, maxPendingBytes: 10_000, maxBatchSize: 1 }, ["slow"]);
    const body = column(500);
    const socket = await opened(url);
    const head = headOf(body.length).replace("layers", "slow").replace("Expect: 100-continue\r\n", "");
    socket.write(`${head}${body}`.repeat(8));
    const metrics = async (): Promise<string> => (await fetch(`${url}/metrics`)).text();
    await expect.poll(metrics, { interval: 5 }).toContain("selvedge_pending_requests 8");
    socket.destroy();
    await expect.poll(metrics).toContain('selvedge_requests_total{model="slow",status="499"} 8\n');
    await expect.poll(async () => (await post(inferAt("layers", url), "x".repeat(9_000))).status).toBe(400);
    expect(await metrics()).not.toMatch(/selvedge_run_requests_total\{model="slow"\} [3-9]/);
  });
});

describe("a client that left", () => {
  test("is not run where its body was still being expanded", async () => {
    const { url } = await start({ lanes: 1 });
    const body = gzipSync(`${" ".repeat(8_000_000)}${json()}`);
    const socket = await opened(url);
    const head = headOf(body.length, "Content-Encoding: gzip\r\n").replace("Expect: 100-continue\r\n", "");
    socket.write(Buffer.concat([Buffer.from(head), body]), () => socket.destroy());
    const metrics = async (): Promise<string> => (await fetch(`${url}/metrics`)).text();
    await expect.poll(metrics).toContain('selvedge_requests_total{model="layers",status="499"} 1');
    expect((await post(inferAt("layers", url), json())).status).toBe(200);
    expect(await metrics()).toContain('selvedge_run_requests_total{model="layers"} 1\n');
  });
});

describe("token and origins", () => {
  test("requests need the token, those for health do not", async () => {
    const { url } = await start({ token: "secret", origins: ["https://a.example"] });
    const status = async (path: string, authorization?: string): Promise<number> =>
      (await fetch(url + path, { headers: authorization === undefined ? {} : { authorization } })).status;
    for (const path of ["/v2", "/v2/models/layers", "/metrics", "/none"]) {
      expect([path, await status(path)]).toEqual([path, 401]);
      for (const wrong of ["Bearer other", "Basic secret", "secret", "Bearer", "Bearer secret secret"])
        expect([path, wrong, await status(path, wrong)]).toEqual([path, wrong, 401]);
      expect([path, await status(path, "Bearer secret")]).toEqual([path, path === "/none" ? 404 : 200]);
    }
    // A scheme's name has no case.
    expect(await status("/v2", "bearer  secret")).toBe(200);
    expect(await status("/v2/health/live")).toBe(200);
    expect(await status("/v2/health/../models/layers")).toBe(401);
    expect((await post(inferAt("layers", url), json())).status).toBe(401);
    const own = connectRemote({ endpoints: [url], headers: () => ({ authorization: "Bearer secret" }) });
    expect((await (await own.model("layers")).infer({ x: row(1) })).info.attempts).toBe(1);
    const preflight = await fetch(inferAt("layers", url), {
      method: "OPTIONS",
      headers: { origin: "https://a.example", "access-control-request-method": "POST" },
    });
    expect(preflight.status).toBe(204);
  });

  test.each([
    ["none", []],
    ["another", ["https://a.example"]],
  ])("a page of an origin that is not listed runs nothing, listed: %s", async (_, origins) => {
    const { url } = await start({ origins });
    for (const origin of ["https://b.example", "null", url]) {
      const reply = await post(inferAt("layers", url), json(), { origin, "content-type": "text/plain" });
      expect([reply.status, reply.text]).toEqual([403, expect.stringContaining("list the origin with --origin")]);
    }
    expect(await (await fetch(`${url}/metrics`)).text()).not.toContain('selvedge_runs_total{model="layers"}');
  });

  test("a page of a listed origin may read answers and errors, one of another may not", async () => {
    const { url } = await start({ origins: ["https://a.example"] });
    for (const [origin, allowed] of [
      ["https://a.example", "https://a.example"],
      ["https://b.example", null],
      ["null", null],
    ] as const)
      for (const reply of [
        await fetch(`${url}/v2/models/layers`, { headers: { origin } }),
        await fetch(`${url}/none`, { headers: { origin } }),
        await fetch(inferAt("layers", url), { method: "POST", body: "{", headers: { origin } }),
        await fetch(inferAt("layers", url), { method: "OPTIONS", headers: { origin } }),
      ]) {
        expect(reply.headers.get("access-control-allow-origin")).toBe(allowed);
        expect(reply.headers.get("vary")).toBe("origin");
      }
    const any = await start({ origins: ["*"] });
    const reply = await fetch(`${any.url}/v2`, { headers: { origin: "https://b.example" } });
    expect(reply.headers.get("access-control-allow-origin")).toBe("*");
    expect(reply.headers.get("access-control-expose-headers")).toContain("inference-header-content-length");
  });
});

describe("start and stop", () => {
  test("is live at once, ready once its models have run, and refuses requests until then", async () => {
    const running = await startServer({ bundles, port: 0, lanes: 1, logLevel: "silent" });
    started.push(running);
    expect((await fetch(`${running.url}/v2/health/live`)).status).toBe(200);
    const early = await fetch(`${running.url}/v2/health/ready`);
    expect([200, 503]).toContain(early.status);
    await running.ready;
    expect((await fetch(`${running.url}/v2/models/layers/ready`)).status).toBe(200);
  });

  test("a request that runs as the server stops has an answer that closes its connection", async () => {
    const { url, close } = await start({ lanes: 1 }, ["slow"]);
    const agent = new Agent({ keepAlive: true });
    const answer = new Promise<string | undefined>((resolve, reject) => {
      const call = request(inferAt("slow", url), { method: "POST", agent }, ({ headers }) => {
        resolve(headers.connection);
      });
      call.on("error", reject).end(column(1_000));
    });
    await expect
      .poll(async () => (await fetch(`${url}/metrics`)).text(), { interval: 5 })
      .toContain("selvedge_pending_requests 1");
    const closed = close();
    expect(await answer).toBe("close");
    await closed;
    agent.destroy();
  });

  test("a connection on which no request has come does not keep a server from closing", async () => {
    const { url, close } = await start({ lanes: 1 });
    const socket = await opened(url);
    const ended = once(socket, "close");
    await close();
    await ended;
  }, 20_000);

  test("a server that is closed while it loads is not ready, and loads no more", async () => {
    const running = await startServer({ bundles, port: 0, lanes: 4, logLevel: "silent" });
    const ended = expect(running.ready).rejects.toMatchObject({ code: "closed" });
    await running.close();
    await ended;
  });

  test("two bundles of one name, a folder without one and an unknown variant are refused", async () => {
    const [first = ""] = bundles;
    const options = { port: 0, logLevel: "silent" } as const;
    await expect(startServer({ ...options, bundles: [first, first] })).rejects.toThrow(
      'two bundles have the name "layers"',
    );
    await expect(startServer({ ...options, bundles: [folder] })).rejects.toThrow("contains no bundle.json");
    await expect(startServer({ ...options, bundles, variant: "int3" })).rejects.toThrow('no variant "int3", only f32');
  });
});

/** Sends a request over an agent's connections; rejects with the connection's error. */
function sent(url: string, body: string, agent: Agent): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const call = request(url, { method: "POST", agent }, (reply) => {
      reply.on("error", reject).on("end", () => {
        resolve(reply.statusCode);
      });
      reply.resume();
    });
    call.on("error", reject).end(body);
  });
}

/** Head of a request of `length` bytes, chunked where it is null; the server answers it with 100 at once. */
function headOf(length: number | null, more = ""): string {
  const size = length === null ? "Transfer-Encoding: chunked" : `Content-Length: ${length}`;
  return `POST /v2/models/layers/infer HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n${more}${size}\r\n\r\n`;
}

/** Returns what a connection receives until it is closed, or has an answer's head. */
function answerOf(socket: Socket): Promise<string> {
  return new Promise((resolve) => {
    let text = "";
    socket.on("data", (part) => {
      text += part.toString();
      if (text.includes("\r\n\r\n")) resolve(text);
    });
    socket.on("error", () => undefined);
    socket.once("close", () => {
      resolve(text);
    });
  });
}
