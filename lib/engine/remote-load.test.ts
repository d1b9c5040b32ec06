// Servers as lanes: the real engine, scheduler, worker code, client and codec in a simulated world; the server answers
// Open Inference Protocol by test-support/remote/oip-answer.ts.
import { expect, test, vi } from "vitest";
import { bundleJson } from "../core/bundle-json.ts";
import { parseBundle } from "../core/bundle-schema.ts";
import type { Variant } from "../core/bundle.ts";
import { SelvedgeError } from "../core/errors.ts";
import type { Tensor } from "../core/tensor.ts";
import { failure, goldenBundle, load, MODELS, stage, URL_A, URL_B } from "../test-support/remote/remote-stage.ts";
import { doubled, openScene } from "../test-support/simulate/fixtures.ts";
import type { SceneOptions } from "../test-support/simulate/fixtures.ts";
import { TOY_CHUNK, toyBundle } from "../test-support/simulate/toy-backend.ts";

test("a model with placement remote answers as one on this device, and fetches no weights", async () => {
  const scene = await stage({ placement: "remote" });
  const model = await load(scene);
  expect([model.backend, model.why.code]).toEqual(["remote", "remote-only"]);
  expect(await scene.ask(model, 5)).toEqual(doubled(5));
  const { info } = await scene.world.finish(scene.run(model, 7));
  expect([info.placement, info.endpoint, info.backend]).toEqual(["remote", URL_A, "remote"]);
  expect(info.why.code).toBe("remote-only");
  expect(scene.world.runs).toBe(0);
});

test("with placement local a server sees nothing, whatever happens on this device", async () => {
  const faults = ["crash", "hang", "out-of-memory", "error", "lost"] as const;
  let i = 0;
  const scene = await stage({ gpu: true, drawFault: () => (i++ % 3 === 0 ? (faults[i % 5] ?? null) : null) });
  const model = await load(scene);
  scene.world.faults = true;
  await scene.ask(model, 60);
  const own = await scene.world.finish(scene.run(model, 1, { placement: "local" })).catch(() => null);
  expect(own?.info.endpoint ?? null).toBeNull();
  expect(await failure(scene.run(model, 1, { placement: "remote" }))).toBeInstanceOf(TypeError);
  expect(await failure(scene.run(model, 1, { placement: "auto" }))).toBeInstanceOf(TypeError);
  expect(scene.server.seen).toEqual([]);
});

test("auto answers on the server while the weights are on their way, and then on this device", async () => {
  const scene = await stage({ placement: "auto" });
  const { fetch } = scene.world.effects;
  let release = (): void => undefined;
  const held = new Promise<void>((resolve) => (release = resolve));
  scene.world.effects.fetch = async (url, init) => {
    if (url.includes("chunks")) await held;
    return fetch(url, init);
  };
  const model = await load(scene);
  const before = await scene.world.finish(scene.run(model, 3));
  expect([before.outputs["y"]?.data[0], before.info.placement, before.info.why.code]).toEqual([
    6,
    "remote",
    "weights-coming",
  ]);
  release();
  for (let i = 0; i < 100 && model.backend === "remote"; i += 1) await scene.ask(model, 1);
  const after = await scene.world.finish(scene.run(model, 3));
  expect([after.outputs["y"]?.data[0], after.info.placement, model.backend]).toEqual([6, "local", "wasm"]);
});

test("auto asks a server for what this device would answer too late, and else stays on this device", async () => {
  const scene = await stage({ placement: "auto", cores: 1 });
  const model = await scene.load("slow");
  await scene.pass(2_000);
  await scene.ask(model, 1); // measures this device: 50 to 150 ms
  for (const value of [1, 2, 3]) await scene.world.finish(scene.run(model, value, { placement: "remote" }));
  const alone = await scene.world.finish(scene.run(model, 1));
  expect(alone.info.placement).toBe("local");
  const urgent = await scene.world.finish(scene.run(model, 1, { deadlineMs: 45 }));
  expect([urgent.info.placement, urgent.info.why.code]).toEqual(["remote", "remote-helps"]);
  const many = await scene.world.finish(Promise.all(Array.from({ length: 20 }, (_, i) => scene.run(model, i))));
  const places = new Set(many.map(({ info }) => info.placement));
  expect([...places].sort()).toEqual(["local", "remote"]);
});

test("a server that ends under load costs no answer, and is asked again once it is back", async () => {
  const scene = await stage({ placement: "auto", cores: 1 });
  const model = await scene.load("slow");
  await scene.pass(2_000);
  await scene.ask(model, 10);
  scene.server.isUp = false;
  expect(await scene.ask(model, 30)).toEqual(doubled(30));
  const away = await scene.world.finish(Promise.all(Array.from({ length: 8 }, (_, i) => scene.run(model, i))));
  expect(new Set(away.map(({ info }) => info.placement))).toEqual(new Set(["local"]));
  scene.server.isUp = true;
  await scene.pass(60_000);
  await scene.ask(model, 20);
  const back = await scene.world.finish(Promise.all(Array.from({ length: 20 }, (_, i) => scene.run(model, i))));
  expect(back.some(({ info }) => info.placement === "remote")).toBe(true);
});

test("a server that hangs costs no request with a deadline: this device answers in the rest of its time (server-hang)", async () => {
  const remote = { endpoints: [URL_A], models: MODELS, costMs: 0 };
  const scene = await stage({ placement: "auto", cores: 2, remote });
  const model = await load(scene);
  await scene.pass(2_000);
  await scene.ask(model, 60); // measures both sides
  const crowd = async (): Promise<readonly string[]> => {
    const runs = Array.from({ length: 24 }, (_, i) => scene.run(model, i, { deadlineMs: 1_000 }));
    const ended = runs.map((run) =>
      run.then(
        ({ info }) => info.placement,
        () => "late",
      ),
    );
    return scene.world.finish(Promise.all(ended));
  };
  expect(new Set(await crowd())).toEqual(new Set(["local", "remote"]));
  await scene.pass(1_000);
  const { length } = scene.server.seen;
  scene.server.ms = 1e8;
  expect(new Set(await crowd())).toEqual(new Set(["local"]));
  expect(scene.server.seen.length).toBeGreaterThan(length);
});

test("with placement remote, the error of a server that is away names it", async () => {
  const scene = await stage({ placement: "remote" });
  scene.server.isUp = false;
  const error = await scene.world.finish(failure(load(scene)));
  expect(error).toEqual(["remote-failed", "unreachable"]);
  scene.server.isUp = true;
  const model = await load(scene);
  scene.server.isUp = false;
  await expect(scene.world.finish(scene.run(model, 1))).rejects.toThrow(`${URL_A}: no reply`);
});

test("auto answers on the server where every worker of this device dies, and comes back to this device", async () => {
  let isBroken = false;
  const scene = await stage({
    placement: "auto",
    gpu: true,
    change: (toy) => ({
      ...toy,
      run: (...args) => (isBroken ? Promise.reject(new SelvedgeError("out-of-memory", "simulated")) : toy.run(...args)),
    }),
  });
  const model = await load(scene);
  await scene.pass(2_000);
  expect(await scene.ask(model, 4)).toEqual(doubled(4));
  isBroken = true;
  expect(await scene.ask(model, 10)).toEqual(doubled(10));
  isBroken = false;
  await scene.pass(120_000);
  await scene.ask(model, 4);
  const after = await scene.world.finish(scene.run(model, 1));
  expect(after.info.placement).toBe("local");
});

test("a model that has no variant for this device runs on the server with auto", async () => {
  const narrow = JSON.parse(toyBundle("m", 2)) as { variants: { needs: string[] }[] };
  for (const variant of narrow.variants) variant.needs = ["no-such-thing"];
  const scene = await stage({ placement: "auto", bundles: { narrow: JSON.stringify(narrow) } });
  const model = await scene.load("narrow");
  expect([model.backend, model.why.code]).toEqual(["remote", "local-failed"]);
  expect(await scene.ask(model, 3)).toEqual(doubled(3));
  expect(await scene.world.finish(failure(scene.run(model, 1, { placement: "local" })))).toEqual([
    "no-backend",
    "pinned",
  ]);
});

test("auto leaves a model on the server while this device has no memory for it, and moves it once it has", async () => {
  let isFull = true;
  const scene = await stage({
    placement: "auto",
    change: (toy) => ({
      ...toy,
      load: (...args) => (isFull ? Promise.reject(new SelvedgeError("out-of-memory", "simulated")) : toy.load(...args)),
    }),
  });
  const model = await load(scene);
  for (let i = 0; i < 100 && model.why.code === "weights-coming"; i += 1) await scene.ask(model, 1);
  expect([model.backend, model.why.code]).toEqual(["remote", "local-failed"]);
  expect(await scene.ask(model, 3)).toEqual(doubled(3));
  isFull = false;
  await scene.pass(10_000);
  for (let i = 0; i < 100 && model.backend === "remote"; i += 1) await scene.ask(model, 1);
  expect(model.backend).toBe("wasm");
});

test("auto tries a load on this device again while it may pass, and ends with what can't", async () => {
  let loads = 0;
  const scene = await stage({
    placement: "auto",
    change: (toy) => ({
      ...toy,
      load: () => {
        loads += 1;
        const code = loads < 4 ? "out-of-memory" : "model-invalid";
        return Promise.reject(new SelvedgeError(code, `simulated ${code}`));
      },
    }),
  });
  const model = await load(scene);
  // A load also waits for real imports and digests, which simulated time does not pass.
  const passes = async (): Promise<void> => {
    await scene.pass(10_000);
    expect(model.why.text).toContain("simulated model-invalid");
  };
  await vi.waitFor(passes, { timeout: 20_000, interval: 10 });
  for (let i = 0; i < 60; i += 1) await scene.pass(60_000);
  expect(loads).toBe(4);
  expect(await scene.ask(model, 3)).toEqual(doubled(3));
});

test("a server's model that is not known to be the bundle's is not used", async () => {
  const scene = await stage({ placement: "remote", remote: { endpoints: [URL_A] } });
  expect(await scene.world.finish(failure(load(scene)))).toEqual(["remote-failed", "other-model"]);
  const local = await stage({ placement: "auto", remote: { endpoints: [URL_A] } });
  const model = await load(local);
  expect(model.backend).toBe("wasm");
  expect(await local.ask(model, 30)).toEqual(doubled(30));
  expect(local.server.bodies).toEqual([]);
});

test("a server that answers with another version is not trusted any more", async () => {
  const scene = await stage({ placement: "remote" });
  const model = await load(scene);
  expect(await scene.ask(model, 1)).toEqual([0]);
  scene.server.version = "2";
  const seen = scene.server.seen.length;
  expect(await scene.ask(model, 1)).toEqual([0]);
  // Its lane was checked anew.
  expect(scene.server.seen.slice(seen)).toContain("/v2/models/m");
});

test("servers that the app vouches for answer together where they have one version, and else one of them", async () => {
  const remote = { endpoints: [URL_A, URL_B], models: MODELS };
  const scene = await stage({ placement: "remote", remote });
  // Version 2 is another model; that server answers later at first.
  Object.assign(scene.other, { factor: 7, version: "2", ms: 300 });
  const model = await load(scene);
  scene.other.ms = 10;
  const factors = async (): Promise<Set<number>> => {
    const runs = Array.from({ length: 20 }, (_, i) => scene.run(model, i + 1));
    const found = await scene.world.finish(Promise.all(runs));
    return new Set(found.map(({ outputs }, i) => Number(outputs["y"]?.data[0]) / (i + 1)));
  };
  for (let i = 0; i < 5; i += 1) {
    expect(await factors()).toEqual(new Set([2]));
    // Lanes end when they idle.
    await scene.pass(120_000);
  }
  expect(scene.other.bodies).toEqual([]);
  scene.server.isUp = false;
  expect(await scene.world.finish(failure(scene.run(model, 1)))).toEqual(["remote-failed", "unreachable"]);
  await scene.pass(120_000);
  expect(await factors()).toEqual(new Set([7]));
  scene.server.isUp = true;
  await scene.pass(120_000);
  expect(await factors()).toEqual(new Set([7]));
  // Both have the new version.
  Object.assign(scene.server, { factor: 7, version: "2" });
  const seen = scene.server.bodies.length;
  await scene.pass(120_000);
  expect(await factors()).toEqual(new Set([7]));
  expect(scene.server.bodies.length).toBeGreaterThan(seen);
});

test("servers that the app vouches for may all change their version while none is used (version-both)", async () => {
  const scene = await stage({ placement: "remote", remote: { endpoints: [URL_A, URL_B], models: MODELS } });
  const servers = [scene.server, scene.other];
  const model = await load(scene);
  await scene.ask(model, 20);
  expect(servers.map(({ bodies }) => bodies.length > 0)).toEqual([true, true]);
  // Lanes end when they idle.
  await scene.pass(120_000);
  for (const each of servers) Object.assign(each, { factor: 7, version: "2", bodies: [] });
  const answers = await scene.world.finish(Promise.all(Array.from({ length: 20 }, () => scene.run(model, 1))));
  expect(new Set(answers.map(({ outputs }) => outputs["y"]?.data[0]))).toEqual(new Set([7]));
  await scene.pass(120_000);
  await scene.world.finish(Promise.all(Array.from({ length: 20 }, () => scene.run(model, 1))));
  expect(servers.map(({ bodies }) => bodies.length > 0)).toEqual([true, true]);
});

test("a server's new version is used once the others with the old one were not used for a while (version-age)", async () => {
  const scene = await stage({ placement: "remote", remote: { endpoints: [URL_A, URL_B], models: MODELS } });
  const model = await load(scene);
  await scene.ask(model, 20);
  await scene.pass(120_000);
  Object.assign(scene.server, { factor: 7, version: "2" });
  // The other one answers too late to be asked.
  scene.other.ms = 400;
  const outcomes: unknown[] = [];
  for (let i = 0; i < 20; i += 1) {
    const run = scene.run(model, 1, { deadlineMs: 300 });
    outcomes.push(
      await scene.world.finish(
        run.then(
          ({ outputs }) => outputs["y"]?.data[0],
          () => null,
        ),
      ),
    );
    await scene.pass(60_000);
  }
  expect([outcomes[0], outcomes.at(-1)]).toEqual([null, 7]);
});

test("a server's new version is not used as long as another one answers with the old one (version-held)", async () => {
  const scene = await stage({ placement: "remote", remote: { endpoints: [URL_A, URL_B], models: MODELS } });
  const model = await load(scene);
  await scene.ask(model, 20);
  await scene.pass(120_000);
  Object.assign(scene.server, { factor: 7, version: "2", bodies: [] });
  for (let i = 0; i < 40; i += 1) {
    expect(await scene.ask(model, 8)).toEqual(doubled(8));
    await scene.pass(20_000);
  }
  expect(scene.server.bodies).toEqual([]);
});

test("servers that change their version all the time cost no answer with auto, and never mix models", async () => {
  for (const placement of ["auto", "remote"] as const) {
    const scene = await stage({ placement, remote: { endpoints: [URL_A] }, ...goldenBundle({ f32: 2 }) });
    const model = await load(scene);
    await scene.pass(2_000);
    let asked = 0;
    scene.server.fault = () => {
      // Version 2 is another model.
      asked += 1;
      Object.assign(scene.server, asked % 2 === 0 ? { factor: 7, version: "2" } : { factor: 2, version: "1" });
      return null;
    };
    const answers: unknown[] = [];
    for (let i = 0; i < 12; i += 1) {
      const value = i + 1;
      const run = scene.run(model, value, i % 3 === 0 && placement === "auto" ? { placement: "remote" } : {});
      answers.push(
        await scene.world.finish(
          run.then(
            ({ outputs }) => Number(outputs["y"]?.data[0]) / value,
            () => null,
          ),
        ),
      );
      await scene.pass(1_000);
    }
    expect(answers.filter((x) => x !== 2 && x !== null)).toEqual([]);
    if (placement === "auto") expect(answers.filter((x, i) => i % 3 > 0 && x !== 2)).toEqual([]);
  }
});

test("an answer of a server with fewer or more rows than the request is none: this device answers", async () => {
  const scene = await stage({ placement: "auto" });
  const model = await load(scene);
  await scene.pass(2_000);
  for (const rows of [1, 3]) {
    let sent = 0;
    scene.server.fault = () => {
      sent += 1;
      const data = Array.from({ length: 2 * rows }, () => 4);
      const y = { name: "y", datatype: "FP32", shape: [rows, 2], data };
      return new Response(JSON.stringify({ model_name: "m", model_version: "1", outputs: [y] }));
    };
    const two = { x: { dtype: "float32", dims: [2, 2], data: Float32Array.of(1, 2, 3, 4) } } as const;
    const remote = await scene.world.finish(failure(model.run(two, { placement: "remote" })));
    expect([remote, sent > 0]).toEqual([["remote-failed", "bad-reply"], true]);
    const { outputs, info } = await scene.world.finish(model.run(two));
    expect([info.placement, outputs["y"]?.dims]).toEqual(["local", [2, 2]]);
    scene.server.fault = null;
    await scene.pass(120_000);
  }
});

test("other rows from one of two servers cost no answer, however slow the other is; of one row any count is an answer", async () => {
  const remote = { endpoints: [URL_A, URL_B], models: MODELS, binary: "never" } as const;
  const scene = await stage({ placement: "remote", remote });
  scene.other.ms = 300;
  const model = await load(scene);
  await scene.ask(model, 20);
  const body = JSON.stringify({
    ...{ model_name: "m", model_version: "1" },
    outputs: [{ name: "y", datatype: "FP32", shape: [3, 2], data: [1, 2, 3, 4, 5, 6] }],
  });
  scene.server.fault = () => new Response(body);
  const two = { x: { dtype: "float32", dims: [2, 2], data: Float32Array.of(1, 2, 3, 4) } } as const;
  for (let i = 0; i < 6; i += 1) {
    const { outputs, info } = await scene.world.finish(model.run(two));
    expect([info.endpoint, [...(outputs["y"]?.data ?? [])]]).toEqual([URL_B, [2, 4, 6, 8]]);
  }
  // An answer to one row may have any number of a detector's boxes.
  await scene.pass(120_000);
  scene.other.isUp = false;
  const { outputs, info } = await scene.world.finish(scene.run(model, 1));
  expect([info.endpoint, outputs["y"]?.dims]).toEqual([URL_A, [3, 2]]);
});

test("the golden is asked twice where it tells the server's time, and once where that is known", async () => {
  const remote = { endpoints: [URL_A], concurrency: 3 };
  const scene = await stage({ placement: "remote", remote, ...goldenBundle({ f32: 2 }) });
  const model = await load(scene);
  const used = async (): Promise<void> => {
    expect(await scene.ask(model, 20)).toEqual(doubled(20));
    await scene.pass(1_000);
  };
  await used();
  const goldens = (): number => scene.server.seen.filter((x) => x.endsWith("/infer")).length - asked;
  let asked = 20;
  // Three lanes, and the time of one.
  expect(goldens()).toBe(4);
  scene.server.isUp = false;
  await scene.world.finish(failure(scene.run(model, 1)));
  scene.server.isUp = true;
  await scene.pass(120_000);
  asked = scene.server.seen.filter((x) => x.endsWith("/infer")).length;
  await used();
  asked += 20;
  expect(goldens()).toBeLessThanOrEqual(3);
});

test("servers that have two variants of a model are not both used, whichever answers first", async () => {
  const remote = { endpoints: [URL_A, URL_B] };
  const scene = await stage({ placement: "remote", remote, ...goldenBundle({ f32: 2, int8: 3 }) });
  scene.other.factor = 3;
  const model = await load(scene);
  const first = model.variant;
  const many = await scene.world.finish(Promise.all(Array.from({ length: 30 }, () => scene.run(model, 1))));
  const answers = many.map(({ info, outputs }) => [info.variant, outputs["y"]?.data[0]]);
  expect(new Set(answers.map(String))).toEqual(new Set([String([first, first === "f32" ? 2 : 3])]));
});

test("the first request goes to the server that answered its golden sooner (placement-golden)", async () => {
  const remote = { endpoints: [URL_A, URL_B] };
  const scene = await stage({ placement: "remote", remote, ...goldenBundle({ f32: 2 }) });
  scene.server.ms = 400;
  const model = await load(scene);
  // In short steps: idle workers end after minutes, and the golden's files are read in real time.
  while (scene.server.bodies.length === 0 || scene.other.bodies.length === 0) await scene.pass(10);
  await scene.pass(1_000);
  const { info } = await scene.world.finish(scene.run(model, 1));
  expect(info.endpoint).toBe(URL_B);
});

test("a server may change to another variant of the bundle once none has the one before it", async () => {
  const scene = await stage({
    placement: "remote",
    remote: { endpoints: [URL_A] },
    ...goldenBundle({ f32: 2, int8: 3 }),
  });
  const model = await load(scene);
  expect(model.variant).toBe("f32");
  Object.assign(scene.server, { factor: 3, version: "2" });
  await scene.ask(model, 1);
  await scene.pass(2_000);
  expect(await scene.ask(model, 2)).toEqual([0, 3]);
  expect(model.variant).toBe("int8");
});

test("a golden whose outputs are all random does not tell a server's model from another", async () => {
  const random = goldenBundle({ f32: 2 }, (model) => ({
    ...model,
    outputs: model.outputs.map((output) => ({ ...output, isRandom: true })),
  }));
  const scene = await stage({ placement: "remote", remote: { endpoints: [URL_A] }, ...random });
  expect(await scene.world.finish(failure(load(scene)))).toEqual(["remote-failed", "other-model"]);
});

test("what a server refuses is answered on this device: headers that can't be made, and sizes that its model lacks", async () => {
  let isBroken = false;
  const headers = (): Record<string, string> => {
    if (isBroken) throw new Error("no token");
    return {};
  };
  const scene = await stage({ placement: "auto", cores: 1, remote: { endpoints: [URL_A], headers, models: MODELS } });
  const model = await scene.load("slow");
  await scene.pass(2_000);
  await scene.ask(model, 2);
  isBroken = true;
  expect(await scene.ask(model, 20)).toEqual(doubled(20));
  isBroken = false;
  const fixed = await stage({ placement: "auto", cores: 1 });
  fixed.server.rows = 4;
  const other = await fixed.load("slow");
  await fixed.pass(2_000);
  await fixed.ask(other, 2);
  expect(await fixed.ask(other, 20)).toEqual(doubled(20));
  expect(fixed.server.bodies).toEqual([]);
});

test("one of two servers that ends costs no answer, whichever lanes are tried", async () => {
  const scene = await stage({ placement: "remote", remote: { endpoints: [URL_A, URL_B], models: MODELS } });
  const model = await load(scene);
  expect(await scene.ask(model, 20)).toEqual(doubled(20));
  for (const down of [scene.server, scene.other]) {
    down.isUp = false;
    for (let i = 0; i < 6; i += 1) expect(await scene.ask(model, 1)).toEqual(doubled(1));
    expect(await scene.ask(model, 8)).toEqual(doubled(8));
    down.isUp = true;
    await scene.pass(120_000);
    await scene.ask(model, 20);
  }
});

test("after the failure of a server each of its lanes checks the model anew, idle ones too", async () => {
  const scene = await stage({ placement: "remote", remote: { endpoints: [URL_A] }, ...goldenBundle({ f32: 2 }) });
  const model = await load(scene);
  expect(await scene.ask(model, 20)).toEqual(doubled(20));
  let left = 2; // as often as the client sends one request
  scene.server.fault = () => {
    scene.server.factor = 5;
    left -= 1;
    return left < 0 ? null : new Response(null, { status: 503 });
  };
  expect(await scene.world.finish(failure(scene.run(model, 1)))).toEqual(["remote-failed", "other-model"]);
});

test("the time that the app allows a server is not cut short by the lane", async () => {
  const scene = await stage({
    placement: "remote",
    remote: { endpoints: [URL_A], models: MODELS, timeoutMs: 300_000 },
  });
  const model = await load(scene);
  expect(await scene.ask(model, 5)).toEqual(doubled(5));
  scene.server.ms = 200_000;
  expect(await scene.ask(model, 2)).toEqual(doubled(2));
});

test("a variant that the app names is the one that servers must have", async () => {
  const scene = await stage({
    placement: "remote",
    remote: { endpoints: [URL_A] },
    ...goldenBundle({ f32: 2, int8: 3 }),
  });
  expect(await scene.world.finish(failure(load(scene, { variant: "int8" })))).toEqual(["remote-failed", "other-model"]);
  expect((await load(scene, { variant: "f32" })).variant).toBe("f32");
  expect(await scene.world.finish(failure(load(scene, { variant: "int4" })))).toBeInstanceOf(RangeError);
});

test("an answer of a model that the app vouches for is not cached; one that was checked is", async () => {
  for (const [isChecked, answers] of [
    [false, [2, 5]],
    [true, [2, 2]],
  ] as const) {
    const checked = isChecked ? { remote: { endpoints: [URL_A] }, ...goldenBundle({ f32: 2 }) } : {};
    const scene = await stage({ placement: "remote", ...checked });
    const model = await load(scene, { cache: true });
    const one = await scene.world.finish(scene.run(model, 1));
    scene.server.factor = 5;
    const two = await scene.world.finish(scene.run(model, 1));
    expect([one.outputs["y"]?.data[0], two.outputs["y"]?.data[0]]).toEqual(answers);
  }
});

test("a request that a server fails while the weights are on their way is sent again, and after a failed load too", async () => {
  const remote = { endpoints: [URL_A], models: MODELS, binary: "always" } as const;
  const scene = await stage({ placement: "auto", remote });
  const { fetch } = scene.world.effects;
  let answer = (_: Response): void => undefined;
  const held = new Promise<Response>((resolve) => (answer = resolve));
  scene.world.effects.fetch = (url, init) => (url.includes("chunks") ? held : fetch(url, init));
  const model = await load(scene);
  let left = 1;
  scene.server.fault = () => (left-- > 0 ? new Response(null, { status: 500 }) : null);
  expect(await scene.ask(model, 1)).toEqual([0]);
  left = 2;
  const run = scene.run(model, 3);
  await scene.pass(1_000);
  expect(left).toBe(0);
  answer(new Response(null, { status: 404 }));
  expect((await scene.world.finish(run)).outputs["y"]?.data[0]).toBe(6);
});

test("an unload ends the download of the weights, and the load with it", async () => {
  const scene = await stage({ placement: "auto" });
  const { fetch } = scene.world.effects;
  const signals: AbortSignal[] = [];
  scene.world.effects.fetch = (url, init) => {
    if (!url.includes("chunks")) return fetch(url, init);
    signals.push(init?.signal as AbortSignal);
    return new Promise(() => undefined);
  };
  const model = await load(scene);
  expect(signals.map(({ aborted }) => aborted)).toEqual([false]);
  model.unload();
  await scene.pass(100);
  expect(signals.map(({ aborted }) => aborted)).toEqual([true]);
});

test("a request that waits for this device ends with its signal, and with its deadline", async () => {
  const scene = await stage({ placement: "auto" });
  const { fetch } = scene.world.effects;
  scene.world.effects.fetch = (url, init) => (url.includes("chunks") ? new Promise(() => undefined) : fetch(url, init));
  const model = await load(scene);
  const stop = new AbortController();
  const cancelled = failure(scene.run(model, 1, { placement: "local", signal: stop.signal }));
  const late = failure(scene.run(model, 1, { placement: "local", deadlineMs: 50 }));
  await scene.pass(100);
  stop.abort(new Error("no longer wanted"));
  await scene.pass(100);
  const ends = [cancelled, late].map((each) => Promise.race([each, Promise.resolve("waits")]));
  expect(await Promise.all(ends)).toEqual([new Error("no longer wanted"), ["deadline-exceeded", undefined]]);
});

test("a request's own placement counts for a model that was loaded with auto", async () => {
  const scene = await stage({ placement: "auto" });
  const model = await load(scene);
  await scene.pass(2_000);
  const places = await scene.world.finish(
    Promise.all(
      (["local", "remote", "auto"] as const).map(async (placement) => (await scene.run(model, 4, { placement })).info),
    ),
  );
  expect(places.map(({ placement }) => placement).slice(0, 2)).toEqual(["local", "remote"]);
  expect(await failure(scene.run(model, 4, { placement: "elsewhere" as "local" }))).toBeInstanceOf(TypeError);
});

test("a server is not asked to help where the browser is offline or the user saves data", async () => {
  for (const change of [{ isOnline: () => false }, { savesData: () => true }]) {
    const scene = await stage({ placement: "auto", cores: 1 });
    const model = await scene.load("slow");
    await scene.pass(2_000);
    await scene.ask(model, 2);
    Object.assign(scene.world.effects, change);
    const many = await scene.world.finish(Promise.all(Array.from({ length: 20 }, (_, i) => scene.run(model, i))));
    expect(new Set(many.map(({ info }) => info.placement))).toEqual(new Set(["local"]));
  }
});

test("a model with a recurrent state is loaded on this device", async () => {
  const scene = await stage({ placement: "auto" });
  const model = await scene.load("sum");
  expect([model.backend, scene.server.seen]).toEqual(["wasm", []]);
  const state = model.stateful();
  const x: Tensor = { dtype: "float32", dims: [1, 2], data: Float32Array.of(1, 1) };
  const { info } = await scene.world.finish(state.run({ x }));
  expect(info.placement).toBe("local");
  expect(await scene.world.finish(failure(scene.load("sum", { placement: "remote" })))).toEqual([
    "no-backend",
    "pinned",
  ]);
});

test("rows are joined on a server only where the bundle says that they do not mix (rows-unknown)", async () => {
  const largest = async (...declared: readonly (boolean | undefined)[]): Promise<number> => {
    const { model, variants } = parseBundle(JSON.parse(toyBundle("m", 2)));
    const all = declared.map((mixesRows, i) => ({ ...(variants[0] as Variant), id: `v${i}`, mixesRows }));
    const bundles = { m: JSON.stringify(bundleJson({ model, variants: all })) };
    const scene = await stage({ placement: "remote", bundles });
    const loaded = await load(scene);
    for (let i = 0; i < 5; i += 1) expect(await scene.ask(loaded, 40)).toEqual(doubled(40));
    const answers = await scene.world.finish(Promise.all(Array.from({ length: 40 }, (_, i) => scene.run(loaded, i))));
    return Math.max(...answers.map(({ info }) => info.batchSize));
  };
  expect(await largest(false)).toBeGreaterThan(1);
  for (const declared of [[undefined], [true], [false, undefined]]) expect(await largest(...declared)).toBe(1);
});

test("with auto, rows that are joined on this device run one by one on a server (rows-unknown)", async () => {
  const sizes = async (mixesRows: boolean | undefined): Promise<Record<string, number>> => {
    const { model, variants } = parseBundle(JSON.parse(toyBundle("m", 2, "together")));
    const all = variants.map((x) => ({ ...x, mixesRows }));
    const bundles = { m: JSON.stringify(bundleJson({ model, variants: all })) };
    const files = { [`${TOY_CHUNK.path}.bin`]: new TextEncoder().encode(TOY_CHUNK.content) };
    const scene = await stage({ placement: "auto", cores: 1, bundles, files });
    const loaded = await load(scene);
    await scene.pass(2_000);
    for (let i = 0; i < 5; i += 1) expect(await scene.ask(loaded, 100)).toEqual(doubled(100));
    const runs = Array.from({ length: 400 }, (_, i) => scene.run(loaded, i));
    const most: Record<string, number> = { local: 0, remote: 0 };
    for (const { info } of await scene.world.finish(Promise.all(runs)))
      most[info.placement] = Math.max(most[info.placement] ?? 0, info.batchSize);
    return most;
  };
  const [joined, alone] = [await sizes(false), await sizes(undefined)];
  expect(joined["remote"]).toBeGreaterThan(1);
  expect(alone["remote"]).toBe(1);
  expect(alone["local"]).toBeGreaterThan(1);
});

test("wrong options are refused with their name", async () => {
  const open = (remote: unknown, placement?: unknown): Promise<unknown> =>
    failure(openScene({ remote, placement } as SceneOptions));
  for (const remote of [{}, { endpoints: [] }, { endpoints: ["ftp://x"] }, { endpoints: ["https://u:p@x"] }, null])
    expect(await open(remote)).toBeInstanceOf(TypeError);
  const endpoints = [URL_A];
  for (const more of [{ costMs: -1 }, { concurrency: 0 }, { timeoutMs: 0 }, { attempts: 0 }])
    expect(await open({ endpoints, ...more })).toBeInstanceOf(RangeError);
  for (const more of [
    { headers: {} },
    { models: { m: 1 } },
    { models: { m: { name: "x" } } },
    { binary: "yes" },
    { x: 1 },
  ])
    expect(await open({ endpoints, ...more })).toBeInstanceOf(TypeError);
  const messages = [
    [{ endpoints, costMs: "5" }, 'remote.costMs: expected a number from 0 to 86400000, got "5"'],
    [{ endpoints, concurrency: 1.5 }, "remote.concurrency: expected a whole number from 1 to 16, got 1.5"],
    [{ endpoints, timeoutMs: "9" }, 'remote.timeoutMs: expected a number from 1 to 2147483647, got "9"'],
    [{ endpoints, models: { m: { version: 2 } } }, 'remote.models["m"].version: expected a string, got 2'],
    [{ endpoints, models: { m: { name: "x" } } }, 'remote.models["m"]: there is no option "name", only model, version'],
    [{ endpoints, costMS: 5 }, 'remote: there is no option "costMS", only endpoints, headers, models, costMs'],
    [{}, "remote.endpoints: expected a list of addresses, got undefined"],
  ] as const;
  for (const [remote, message] of messages)
    await expect(open(remote)).resolves.toHaveProperty("message", expect.stringContaining(message));
  expect(await open({ endpoints }, "server")).toBeInstanceOf(TypeError);
  const scene = await openScene();
  expect(await failure(scene.load("m", { placement: "auto" }))).toBeInstanceOf(TypeError);
});
