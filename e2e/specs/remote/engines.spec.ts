// `selvedge/remote` against the real engines, each installed with pinned versions and run on 127.0.0.1. Needs no
// browser. Triton, the reference, runs in every test run; KServe and MLServer in the soak.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "@playwright/test";
import { connectRemote } from "../../../lib/remote/index.ts";
import type { RemoteClient, Tensor } from "../../../lib/remote/index.ts";
import { makeMiniLm } from "../../../models/minilm.ts";
import { makeModels, runLocally, TYPES } from "../../support/engine-models.ts";
import { installEngine, startEngine } from "../../support/engines.ts";
import { freePort } from "../../support/free-port.ts";
import type { EngineName, RunningEngine } from "../../support/engines.ts";
import { serveFaulty } from "../../support/faulty-server.ts";
import { ROOT } from "../../support/prepare.ts";
import { startGateway } from "../../../lib/serve/gateway.ts";
import { isSoak } from "../../../lib/test-support/slice.ts";
import { keep } from "../../support/suite.ts";

interface Expected {
  readonly engine: EngineName;
  readonly server: string;
  readonly version: string;
  /** Whether replies have tensors as bytes. */
  readonly isBinary: boolean;
  readonly gzip: boolean;
}

const ENGINES: readonly Expected[] = [
  { engine: "triton", server: "triton", version: "2.51.0", isBinary: true, gzip: true },
  { engine: "kserve", server: "kserve", version: "0.21.0", isBinary: true, gzip: false },
  { engine: "mlserver", server: "mlserver", version: "1.7.1", isBinary: false, gzip: true },
];

/** A repeatable picture, other for each seed. */
function pictures(seed: number, ...dims: number[]): Tensor<"float32"> {
  const count = dims.reduce((a, b) => a * b, 1);
  const data = Float32Array.from({ length: count }, (_, i) => Math.sin(seed * 7.3 + i * 0.37));
  return { dtype: "float32", dims, data };
}

/** Values at the edges of each type. `isBinary`: with those that JSON lacks. */
function edges(isBinary: boolean): Record<string, Tensor> {
  const infinite = isBinary ? Infinity : 2;
  const inputs: Record<keyof typeof TYPES, Tensor> = {
    BOOL: { dtype: "bool", dims: [3], data: Uint8Array.of(0, 1, 1) },
    INT8: { dtype: "int8", dims: [3], data: Int8Array.of(-128, 0, 127) },
    INT16: { dtype: "int16", dims: [3], data: Int16Array.of(-32768, 0, 32767) },
    INT32: { dtype: "int32", dims: [3], data: Int32Array.of(-(2 ** 31), 0, 2 ** 31 - 1) },
    INT64: { dtype: "int64", dims: [3], data: BigInt64Array.of(-(2n ** 63n), 9007199254740993n, 2n ** 63n - 1n) },
    UINT8: { dtype: "uint8", dims: [3], data: Uint8Array.of(0, 1, 255) },
    UINT16: { dtype: "uint16", dims: [3], data: Uint16Array.of(0, 1, 65535) },
    UINT32: { dtype: "uint32", dims: [3], data: Uint32Array.of(0, 1, 2 ** 32 - 1) },
    UINT64: { dtype: "uint64", dims: [3], data: BigUint64Array.of(0n, 9007199254740993n, 2n ** 64n - 1n) },
    FP16: { dtype: "float16", dims: [3], data: Uint16Array.of(0x2e66, 0x8001, 0x7bff) },
    FP32: { dtype: "float32", dims: [3], data: Float32Array.of(0.1, NaN, -infinite) },
    FP64: { dtype: "float64", dims: [3], data: Float64Array.of(0.1, NaN, infinite) },
    BYTES: { dtype: "string", dims: [3], data: ["", "ü✓😀", 'a "quoted"\nline'] },
  };
  return Object.fromEntries(Object.entries(inputs).map(([name, tensor]) => [`in_${name}`, tensor]));
}

const asOutputs = (inputs: Record<string, Tensor>): Record<string, Tensor> =>
  Object.fromEntries(Object.entries(inputs).map(([name, tensor]) => [name.replace("in_", "out_"), tensor]));

/** The largest difference, relative to the largest value. */
function difference(a: Float32Array, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length);
  const largest = a.reduce((max, x) => Math.max(max, Math.abs(x)), 0);
  return a.reduce((max, x, i) => Math.max(max, Math.abs(x - (b[i] ?? NaN))), 0) / largest;
}

for (const { engine, server, version, isBinary, gzip } of ENGINES.filter((x) => isSoak || x.engine === "triton"))
  test.describe(`${engine} @chromium`, () => {
    test.describe.configure({ mode: "serial" });
    const models = makeModels({ withOcr: isSoak });
    const folder = join(ROOT, `e2e/.cache/servers/${engine}-files`);
    let running: RunningEngine;
    let port: number;
    let remote: RemoteClient;

    test.beforeAll(async () => {
      test.setTimeout(900_000);
      await installEngine(engine);
      if (isSoak) models["minilm"] = await readFile(join(await makeMiniLm(), "onnx/model.onnx"));
      port = await freePort();
      running = await startEngine(engine, models, folder, port);
      remote = connectRemote({ endpoints: [running.url] });
    });

    test.afterAll(async () => {
      remote.close();
      await running.stop();
    });

    test("has the pinned version, is ready, and lists its models' tensors", async () => {
      expect(await remote.metadata()).toMatchObject({ name: server, version });
      expect(await remote.health("types")).toEqual([{ endpoint: running.url, isLive: true, isReady: true }]);
      expect(await remote.health("none")).toEqual([{ endpoint: running.url, isLive: true, isReady: false }]);
      const { metadata } = await remote.model("types");
      const listed = Object.fromEntries(metadata.inputs.map(({ name, datatype, dims }) => [name, { datatype, dims }]));
      expect(listed).toEqual(
        Object.fromEntries(Object.keys(TYPES).map((datatype) => [`in_${datatype}`, { datatype, dims: [null] }])),
      );
    });

    for (const binary of ["auto", "never"] as const)
      test(`answers as ONNX Runtime here, binary: ${binary}`, async () => {
        const own = connectRemote({ endpoints: [running.url], binary });
        const mlp = await own.model("fashion-mlp");
        for (let i = 0; i < 3; i += 1) {
          const image = pictures(i, 1 + i, 1, 28, 28);
          const { outputs, info } = await mlp.infer({ image });
          expect(info.isBinary).toBe(isBinary && binary === "auto");
          expect(outputs["logits"]?.dims).toEqual([1 + i, 10]);
          const local = await runLocally(models["fashion-mlp"] as Uint8Array, { image });
          expect(difference(local, outputs["logits"]?.data as Float32Array)).toBeLessThan(1e-4);
        }
        own.close();
      });

    test("returns every type as it was sent, also in a first request that must be binary", async () => {
      for (let i = 0; i < 2; i += 1) {
        const own = connectRemote({ endpoints: [running.url] });
        const types = await own.model("types");
        const inputs = edges(isBinary);
        expect((await types.infer(inputs)).outputs).toEqual(asOutputs(inputs));
        const one = await types.infer(inputs, { outputs: ["out_INT64", "out_BYTES"] });
        expect(Object.keys(one.outputs)).toEqual(["out_INT64", "out_BYTES"]);
        own.close();
      }
    });

    test("reports its errors in its own words: unknown model, unknown version", async () => {
      await expect(remote.model("none")).rejects.toMatchObject({ code: "remote-failed", retryable: false });
      await expect(remote.model("types", { version: "9" })).rejects.toMatchObject({
        code: "remote-failed",
        retryable: false,
      });
    });

    test("answers each of many requests at once with its own answer, by the engine's own count too", async ({}, info) => {
      const types = await remote.model("types");
      const inputs = edges(isBinary);
      const before = await running.countAnswers("types");
      const values = Array.from({ length: 100 }, (_, i) => BigInt64Array.of(BigInt(i), -1n, 0n));
      const answers = await Promise.all(
        values.map((data) => types.infer({ ...inputs, in_INT64: { dtype: "int64", dims: [3], data } })),
      );
      expect(answers.map(({ outputs }) => outputs["out_INT64"]?.data)).toEqual(values);
      const after = await running.countAnswers("types", before + answers.length);
      expect(after - before).toBeGreaterThanOrEqual(answers.length);
      expect(after - before).toBeLessThanOrEqual(answers.reduce((sum, x) => sum + x.info.attempts, 0));
      await keep(info, { engine, version, pid: running.pid, before, after });
    });

    if (gzip)
      test("takes requests that are compressed", async () => {
        const own = connectRemote({ endpoints: [running.url], gzip: true });
        const mlp = await own.model("fashion-mlp");
        for (let i = 0; i < 2; i += 1)
          expect((await mlp.infer({ image: pictures(1, 1, 1, 28, 28) })).outputs["logits"]?.dims).toEqual([1, 10]);
        own.close();
      });

    if (engine === "triton")
      test("takes and returns BF16", async () => {
        const bf16 = await remote.model("bf16");
        const data = Float32Array.of(1, -0.5, 3.140625);
        const { outputs } = await bf16.infer({ x: { dtype: "float32", dims: [3], data } });
        expect(outputs).toEqual({ y: { dtype: "float32", dims: [3], data } });
      });

    if (isSoak)
      test("recognises a line of text as ONNX Runtime here", async () => {
        const rec = await remote.model("ocr-rec");
        const x = pictures(1, 1, 3, 48, 320);
        const { outputs } = await rec.infer({ x });
        const local = await runLocally(models["ocr-rec"] as Uint8Array, { x });
        expect(difference(local, Object.values(outputs)[0]?.data as Float32Array)).toBeLessThan(1e-3);
      });

    if (isSoak)
      test("answers texts' tokens as ONNX Runtime here, with all-MiniLM-L6-v2", async () => {
        const minilm = await remote.model("minilm");
        const [ids, mask] = [
          [101, 1037, 4937, 7719, 2006, 1996, 13523, 102, 101, 17953, 102, 0, 0, 0, 0, 0],
          [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0],
        ].map((x): Tensor => ({ dtype: "int64", dims: [2, 8], data: BigInt64Array.from(x, BigInt) }));
        const types: Tensor = { dtype: "int64", dims: [2, 8], data: new BigInt64Array(16) };
        const inputs = { input_ids: ids as Tensor, attention_mask: mask as Tensor, token_type_ids: types };
        const { outputs } = await minilm.infer(inputs);
        const local = await runLocally(models["minilm"] as Uint8Array, inputs);
        expect(difference(local, Object.values(outputs)[0]?.data as Float32Array)).toBeLessThan(1e-4);
      });

    test("answers a page of another origin through `selvedge serve --upstream`, as it answers here", async ({
      page,
    }, info) => {
      const site = await serveFaulty();
      const gateway = await startGateway({
        ...{ upstream: running.url, port: 0, origins: [site.origin] },
        ...{ token: "secret", logLevel: "silent" },
      });
      const ask = (url: string, token: string, binary: "auto" | "never") =>
        page.evaluate(
          async ([url, authorization, binary]) => {
            const { connectRemote } = (await import(
              `${location.origin}/dist/remote/index.js`
            )) as typeof import("../../../lib/remote/index.ts");
            const own = connectRemote({ endpoints: [url], binary, headers: () => ({ authorization }) });
            try {
              const mlp = await own.model("fashion-mlp");
              const data = Float32Array.from({ length: 784 }, (_, i) => Math.sin(i * 0.37));
              const { outputs, info } = await mlp.infer({ image: { dtype: "float32", dims: [1, 1, 28, 28], data } });
              return { isBinary: info.isBinary, logits: [...(outputs["logits"]?.data as Float32Array)] };
            } catch (error) {
              return { reason: (error as { details?: { reason?: string } }).details?.reason ?? String(error) };
            } finally {
              own.close();
            }
          },
          [url, `Bearer ${token}`, binary] as const,
        );
      try {
        await page.goto(`${site.origin}/`);
        const local = await runLocally(models["fashion-mlp"] as Uint8Array, { image: pictures(0, 1, 1, 28, 28) });
        const before = await running.countAnswers("fashion-mlp");
        for (const binary of ["auto", "never"] as const) {
          const answer = await ask(gateway.url, "secret", binary);
          expect(answer.isBinary).toBe(isBinary && binary === "auto");
          expect(difference(local, answer.logits ?? [])).toBeLessThan(1e-4);
        }
        const after = await running.countAnswers("fashion-mlp", before + 2);
        expect(after - before).toBeGreaterThanOrEqual(2);
        expect(await ask(gateway.url, "wrong", "auto")).toEqual({ reason: "denied" });
        // The engine itself answers no page of another origin.
        if (engine === "triton") expect(await ask(running.url, "secret", "auto")).toEqual({ reason: "cors" });
        await keep(info, { engine, version, pid: running.pid, before, after });
      } finally {
        await gateway.close();
        await site.close();
      }
    });

    test("is stopped and started under load, and no request is lost or answered twice", async ({}, info) => {
      const types = await remote.model("types");
      const inputs = edges(isBinary);
      const first = running;
      let isOver = false;
      let sent = 0;
      let answered = 0;
      const caller = async (): Promise<void> => {
        while (!isOver) {
          const id = BigInt(++sent);
          const in_INT64: Tensor = { dtype: "int64", dims: [3], data: BigInt64Array.of(id, id, id) };
          const { outputs } = await types.infer({ ...inputs, in_INT64 }, { timeoutMs: 120_000 });
          expect(outputs["out_INT64"]?.data).toEqual(BigInt64Array.of(id, id, id));
          answered += 1;
        }
      };
      const callers = Promise.all(Array.from({ length: 16 }, caller));
      while (answered < 50) await types.infer(inputs);
      for (const signal of isSoak ? (["SIGTERM", "SIGKILL"] as const) : (["SIGKILL"] as const)) {
        await running.stop(signal);
        const before = answered;
        running = await startEngine(engine, models, folder, port);
        while (answered < before + 50) await types.infer(inputs, { timeoutMs: 120_000 });
      }
      isOver = true;
      await callers;
      expect(answered).toBe(sent);
      expect(running.pid).not.toBe(first.pid);
      await keep(info, { engine, version, firstPid: first.pid, lastPid: running.pid, sent, answered });
    });
  });
