import { describe, expect, test } from "vitest";
import type { Progress } from "selvedge";
import { ERROR_CODES } from "../core/errors.ts";
import { createFakeEngine, mock } from "./index.ts";
import type { FakeClock, FakeModel } from "./index.ts";

const x = { name: "x", dtype: "float32", dims: ["n", 3] } as const;
const double: FakeModel = {
  inputs: [x],
  outputs: [{ ...x, name: "y" }],
  run: ({ x }) => ({
    y: { dtype: "float32", dims: x?.dims ?? [], data: Float32Array.from(x?.data as Float32Array, (v) => 2 * v) },
  }),
};
const models = { "/double.onnx": double };
const input = { x: { dtype: "float32", dims: [1, 3], data: Float32Array.of(1, 2, 3) } } as const;

describe("a fake engine", () => {
  test("runs the function of its model, and reports as a real one does", async () => {
    const engine = await createFakeEngine({ models });
    const seen: Progress[] = [];
    const model = await engine.load("/double.onnx", { onProgress: (progress) => seen.push(progress) });
    const { outputs, info } = await model.run(input);
    expect(outputs["y"]).toEqual({ dtype: "float32", dims: [1, 3], data: Float32Array.of(2, 4, 6) });
    expect(info).toMatchObject({ backend: "wasm", variant: "fake", lane: "wasm-0" });
    expect(seen.map(({ loadedBytes }) => loadedBytes)).toEqual([0, 500_000, 1_000_000]);
    expect(engine.stats().requests.done).toBe(1);
    await engine.close();
    await expect(model.run(input)).rejects.toMatchObject({ code: "closed" });
  });

  test("checks inputs, options and addresses by the engine's own code", async () => {
    const engine = await createFakeEngine({ models });
    const model = await engine.load("/double.onnx");
    await expect(model.run({})).rejects.toThrow('inputs: "x" is missing; the model takes "x"');
    await expect(model.run({ x: { ...input.x, dims: [3] } })).rejects.toThrow("expected dims [n, 3], got [3]");
    await expect(model.run(input, { deadlineMs: 0 })).rejects.toThrow("deadlineMs: expected a number");
    const gone = { code: "download-failed", retryable: false, details: { reason: "not-found" } };
    await expect(engine.load("/other.onnx")).rejects.toMatchObject(gone);
    await engine.close();
  });

  test("fails by code, until the test mends it", async () => {
    const broken = { ...double, loadError: "integrity-failed" as string | null, runError: null as string | null };
    const engine = await createFakeEngine({ models: { "/broken.onnx": broken as FakeModel } });
    await expect(engine.load("/broken.onnx")).rejects.toMatchObject({ code: "integrity-failed" });
    broken.loadError = null;
    broken.runError = "model-invalid";
    const model = await engine.load("/broken.onnx");
    await expect(model.run(input)).rejects.toMatchObject({ code: "model-invalid" });
    await engine.close();
  });

  // A run that fails with a code of the engine's own must not be taken for the engine's recycling of a worker.
  test.each(ERROR_CODES)("fails a run with %s, and runs again after it", async (runError) => {
    let runs = 0;
    const broken = {
      ...double,
      get runError() {
        if ((runs += 1) > 50) throw new Error("endless");
        return isBroken ? runError : null;
      },
    };
    let isBroken = true;
    const engine = await createFakeEngine({ models: { "/m.onnx": broken } });
    const model = await engine.load("/m.onnx");
    await expect(model.run(input)).rejects.toMatchObject({ code: runError });
    isBroken = false;
    expect((await model.run(input)).outputs["y"]?.data).toEqual(Float32Array.of(2, 4, 6));
    await engine.close();
  });

  const y = { dtype: "float32", dims: [1, 3], data: Float32Array.of(1, 2, 3) } as const;
  test.each([
    [undefined, "m: run returned undefined: expected its outputs by name"],
    [[y], "m: run returned Array: expected its outputs by name"],
    [{}, 'm: run returned no output "y"'],
    [{ y: y.data }, 'm: run returned output "y" as Float32Array: expected { dtype, dims, data }'],
    [{ y, z: 1 }, 'm: run returned an output "z", which the model does not declare'],
    [{ y: { ...y, dims: [9, 9] } }, 'm: run returned a wrong tensor: output "y": expected dims [n, 3], got [9, 9]'],
    [{ y: { ...y, dims: [2, 3] } }, 'm: run returned a wrong tensor: output "y": dims [2, 3] need 6 elements'],
    [
      { y: { dtype: "int32", dims: [1, 3], data: new Int32Array(3) } },
      'm: run returned a wrong tensor: output "y": expected dtype float32, got "int32"',
    ],
  ] as [never, string][])("refuses what no model answers: %j", async (answer, message) => {
    const engine = await createFakeEngine({ models: { "/m.onnx": { ...double, run: () => answer } } });
    const model = await engine.load("/m.onnx");
    const error: unknown = await model.run(input).catch((reason: unknown) => reason);
    expect(String(error)).toContain(`TypeError: ${message}`);
    await engine.close();
  });

  test("copies outputs: a change to them reaches no other run", async () => {
    const engine = await createFakeEngine({ models: { "/m.onnx": { ...double, run: () => ({ y }) } } });
    const model = await engine.load("/m.onnx");
    const first = await model.run(input);
    (first.outputs["y"]?.data as Float32Array).fill(42);
    const second = await model.run({ x: { ...input.x, data: Float32Array.of(4, 5, 6) } });
    expect(second.outputs["y"]?.data).toEqual(Float32Array.of(1, 2, 3));
    expect(y.data).toEqual(Float32Array.of(1, 2, 3));
    await engine.close();
  });

  test("has no GPU, and falls back where the app would take one", async () => {
    const engine = await createFakeEngine({ models, backends: ["webgpu", "wasm"] });
    expect((await engine.load("/double.onnx")).backend).toBe("wasm");
    await engine.close();
    const text = 'backends: a fake engine has no GPU: have "wasm" among them';
    await expect(createFakeEngine({ models, backends: ["webgpu"] })).rejects.toThrow(text);
  });

  test("unload rejects queued runs; the one that is running ends", async () => {
    let end = (): void => undefined;
    const begun = new Promise<void>((resolve) => {
      end = resolve;
    });
    let release = (): void => undefined;
    const slow = new Promise<void>((resolve) => {
      release = resolve;
    });
    const run: FakeModel["run"] = async () => {
      end();
      await slow;
      return { y };
    };
    const engine = await createFakeEngine({ models: { "/m.onnx": { ...double, run } } });
    const model = await engine.load("/m.onnx");
    const running = model.run(input);
    const queued = [4, 5, 6].map((v) => model.run({ x: { ...input.x, data: new Float32Array(3).fill(v) } }));
    await begun;
    model.unload();
    const last = await queued[2]?.catch((error: unknown) => error);
    expect(last).toMatchObject({ code: "closed" });
    release();
    await Promise.allSettled(queued);
    expect((await running).outputs["y"]?.data).toEqual(y.data);
    await engine.close();
  });

  test("stands for bytes, a Blob and a File by the name `bytes`", async () => {
    const engine = await createFakeEngine({ models: { bytes: double } });
    const file = new Uint8Array([1, 2, 3]);
    for (const source of [file, file.buffer, new Blob([file]), new File([file], "picked.onnx")]) {
      const model = await engine.load(source);
      expect((await model.run(input)).outputs["y"]?.data).toEqual(Float32Array.of(2, 4, 6));
    }
    await engine.close();
  });

  test("takes its time by the test's clock, and can be aborted meanwhile", async () => {
    const timers = new Set<{ callback: () => void; ms: number }>();
    const clock = {
      now: () => 0,
      setTimer(callback: () => void, ms: number) {
        const timer = { callback, ms };
        timers.add(timer);
        return () => void timers.delete(timer);
      },
    };
    const engine = await createFakeEngine({ models: { "/slow.onnx": { ...double, runMs: 700 } }, clock });
    const model = await engine.load("/slow.onnx");
    const stop = new AbortController();
    const [first, second] = [model.run(input), model.run({ x: { ...input.x, data: Float32Array.of(4, 5, 6) } }, stop)];
    stop.abort(new Error("enough"));
    await expect(second).rejects.toThrow("enough");
    await expect.poll(() => [...timers].some(({ ms }) => ms === 700)).toBe(true);
    for (const { ms, callback } of timers) if (ms === 700) callback();
    expect((await first).outputs["y"]?.data).toEqual(Float32Array.of(2, 4, 6));
    await engine.close();
  });

  test("without a function answers zeros, and stands in for the package", async () => {
    const { createEngine, isSelvedgeError } = mock({
      models: { "/m.onnx": { ...double, run: undefined } },
    });
    const engine = await createEngine({ backends: ["webgpu", "wasm"] });
    const model = await engine.load(new URL("http://localhost/m.onnx"));
    expect((await model.run(input)).outputs["y"]).toEqual({
      dtype: "float32",
      dims: [1, 3],
      data: new Float32Array(3),
    });
    expect(await engine.load("/gone.onnx").catch(isSelvedgeError)).toBe(true);
    await engine.close();
  });

  const withModel = (model: object): unknown => ({ models: { "/m.onnx": { ...double, ...model } } });
  test.each([
    [undefined, "createFakeEngine: expected an object of options, got undefined"],
    [null, "createFakeEngine: expected an object of options, got null"],
    [{}, "models: expected an object of models by address, got undefined"],
    [{ models: [double] }, "models: expected an object of models by address, got Array"],
    [{ models: { "/m.onnx": null } }, 'models["/m.onnx"]: expected an object of options, got null'],
    [{ models, clocks: null }, 'createFakeEngine: there is no option "clocks", only models, clock, backends'],
    [{ models, clock: () => 0 }, "clock: expected an object with the functions now and setTimer, got function"],
    [{ models, workers: 0 }, "workers: expected a whole number from 1 to 64, got 0"],
    [withModel({ inputs: { x } }), 'models["/m.onnx"].inputs: expected a list of { name, dtype, dims }, got Object'],
    [withModel({ outputs: undefined }), 'models["/m.onnx"].outputs: expected a list of { name, dtype, dims }, got'],
    [withModel({ inputs: [{ ...x, name: undefined }] }), 'models["/m.onnx"].inputs[0].name: expected a string'],
    [withModel({ inputs: [x, null] }), 'models["/m.onnx"].inputs[1]: expected an object of options, got null'],
    [withModel({ outputs: [{ ...x, dtype: "float" }] }), 'models["/m.onnx"].outputs[0].dtype: expected "float32"'],
    [withModel({ outputs: [{ ...x, dims: [-1] }] }), 'models["/m.onnx"].outputs[0].dims: expected a list of sizes'],
    [withModel({ run: 3 }), 'models["/m.onnx"].run: expected a function, got 3'],
    [withModel({ loadMs: -1 }), 'models["/m.onnx"].loadMs: expected a number from 0 to 2147483647, got -1'],
    [withModel({ runError: "gone" }), 'models["/m.onnx"].runError: expected null or "setup-failed" or'],
    [withModel({ delay: 5 }), 'models["/m.onnx"]: there is no option "delay", only inputs, outputs, run'],
  ] as [never, string][])("names a wrong option: %j", async (options, message) => {
    await expect(createFakeEngine(options)).rejects.toThrow(message);
    expect(() => mock(options)).toThrow(message.replace("createFakeEngine", "mock"));
  });

  test("names a wrong option of the package's createEngine", async () => {
    const { createEngine } = mock({ models });
    await expect(createEngine(null as never)).rejects.toThrow("createEngine: expected an object of options, got null");
    await expect(createEngine({ workers: 0 })).rejects.toThrow("workers: expected a whole number from 1 to 64, got 0");
  });
});

test("a repository is found by its name, and an unknown one is named as the app named it", async () => {
  const x = { name: "x", dtype: "float32", dims: [1] } as const;
  const engine = await createFakeEngine({ models: { "me/cat": { inputs: [x], outputs: [x] } } });
  const model = await engine.load({ repo: "me/cat", revision: "v2", token: () => "secret" });
  expect((await model.run({ x: new Float32Array([1]) })).outputs).toHaveProperty("x");
  await expect(engine.load({ repo: "me/dog" })).rejects.toThrow(
    "me/dog: the fake engine has no such model, only me/cat",
  );
  await engine.close();
});

test("a description of pictures or labels is refused, which no fake model has", async () => {
  const x = { name: "x", dtype: "float32", dims: [1, 2] } as const;
  const engine = await createFakeEngine({ models: { "/m.onnx": { inputs: [x], outputs: [x] } } });
  for (const option of [{ image: {} }, { labels: ["cat", "dog"] }])
    await expect(engine.load("/m.onnx", option)).rejects.toThrow(
      `${Object.keys(option).join()}: fake models take and give tensors alone`,
    );
  await engine.close();
});

test("a key that is no address is named", async () => {
  await expect(createFakeEngine({ models: { "http://": { inputs: [], outputs: [] } } })).rejects.toThrow(
    'models: "http://" is no address',
  );
});

/** A clock whose timers are counted. */
function countedClock(): { live: Set<unknown>; clock: FakeClock } {
  const live = new Set<ReturnType<typeof setTimeout>>();
  const clock = {
    now: () => Date.now(),
    setTimer: (callback: () => void, ms: number) => {
      const timer = setTimeout(() => {
        live.delete(timer);
        callback();
      }, ms);
      live.add(timer);
      return () => {
        live.delete(timer);
        clearTimeout(timer);
      };
    },
  };
  return { live, clock };
}

test("an engine that is closed has no timer left, which would keep Node and Jest from ending", async () => {
  const { live, clock } = countedClock();
  const x = { name: "x", dtype: "float32", dims: [1] } as const;
  const models = {
    "/m.onnx": { inputs: [x], outputs: [x], runMs: 60_000 },
    "/slow.onnx": { inputs: [], outputs: [], loadMs: 60_000 },
  };
  const engine = await createFakeEngine({ models, clock });
  const model = await engine.load("/m.onnx");
  const running = [model.run({ x: new Float32Array(1) }), engine.load("/slow.onnx")];
  const ended = Promise.allSettled(running);
  await expect.poll(() => live.size).toBeGreaterThan(2);
  await engine.close();
  expect((await ended).map((x) => x.status)).toEqual(["rejected", "rejected"]);
  expect(live.size).toBe(0);
});

test("an engine that is closed starts no run that was queued in its worker", async () => {
  const { live, clock } = countedClock();
  const x = { name: "x", dtype: "float32", dims: [1] } as const;
  const timed = { inputs: [x], outputs: [x], runMs: 20 };
  const engine = await createFakeEngine({ models: { "/m.onnx": timed }, clock });
  const model = await engine.load("/m.onnx");
  await model.run({ x: new Float32Array(1) });
  // The next one is expected to end soon: the one after it goes to the worker at once.
  timed.runMs = 60_000;
  const running = [1, 2].map((n) => model.run({ x: Float32Array.of(n) }));
  const ended = Promise.allSettled(running);
  await expect.poll(() => engine.stats().requests.running).toBe(2);
  await engine.close();
  expect((await ended).map((x) => x.status)).toEqual(["rejected", "rejected"]);
  // The worker would take the next call in a later microtask.
  await new Promise((resolve) => setTimeout(resolve, 0));
  expect(live.size).toBe(0);
});
