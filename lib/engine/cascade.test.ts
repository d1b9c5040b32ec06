// A larger model on servers for unsure answers: real engine, scheduler, worker code and client in a simulated world. The
// small model is y = 2 x and the large one y = 5 x, both decoded to two classes by softmax.
import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { slice } from "../test-support/slice.ts";
import type { Bundle } from "../core/bundle.ts";
import { isSelvedgeError } from "../core/errors.ts";
import type { CascadeCounts } from "../observe/offload.ts";
import { Random } from "../test-support/random.ts";
import { failure, goldenBundle, stage, URL_A } from "../test-support/remote/remote-stage.ts";
import type { RemoteStage, RemoteStageOptions } from "../test-support/remote/remote-stage.ts";
import type { Model } from "./model.ts";
import type { CascadeOptions, LoadOptions, RunOptions } from "./options.ts";
import type { RunResult } from "./result.ts";

type Described = Bundle["model"];

/** Confidence of the small model: 0.6 for x = 0.2, 0.998 for x = 3. */
const [UNSURE, SURE] = [0.2, 3];

const classes = (model: Described): Described => ({
  ...model,
  outputs: model.outputs.map((x) => ({ ...x, decode: { op: "softmax" } })),
});

interface Cascaded {
  readonly scene: RemoteStage;
  readonly model: Model;
}

/** Opens a stage whose server has both models; `describe` changes the description of the large one. */
async function open(
  cascade: Partial<CascadeOptions> = {},
  options: RemoteStageOptions & { readonly describe?: (model: Described) => Described } = {},
  load: LoadOptions = {},
  factor = 5,
): Promise<Cascaded> {
  const { describe = classes, ...rest } = options;
  const [small, large] = [goldenBundle({ f32: 2 }, classes), goldenBundle({ f32: 5 }, describe, "big")];
  const of = { bundle: "https://app.test/big.json", escalateBelow: 0.9, ...cascade };
  const scene = await stage({
    placement: "auto",
    cores: 1,
    remote: { endpoints: [URL_A], models: { m: { cascade: of } }, costMs: 100_000 },
    bundles: { ...small.bundles, ...large.bundles },
    files: { ...small.files, ...large.files },
    ...rest,
  });
  scene.server.others["big"] = factor;
  const model = await scene.load("m", load);
  if (load.placement !== "local") await connected(scene, model);
  return { scene, model };
}

/** Waits until this device has the small model, and the larger one's golden was checked. */
async function connected(scene: RemoteStage, model: Model): Promise<void> {
  const isReady = (): boolean => model.backend === "wasm" && inferred(scene) > 0;
  for (let i = 0; i < 1_000 && !isReady(); i += 1) await scene.pass(10);
  expect(isReady()).toBe(true);
  await pass(scene, 200);
}

/** Advances time in small steps, so that what Node does outside of it (bodies of responses) keeps up. */
async function pass(scene: RemoteStage, ms: number): Promise<void> {
  for (let i = 0; i < 40; i += 1) await scene.pass(ms / 40);
}

const ask = (model: Model, x: number, options: RunOptions = {}): Promise<RunResult> =>
  model.run({ x: { dtype: "float32", dims: [1, 2], data: Float32Array.of(x, 0) } }, options);

const answered = async ({ scene, model }: Cascaded, x: number, options: RunOptions = {}): Promise<RunResult> =>
  scene.world.finish(ask(model, x, options));

/** Returns a request's first output, where it ran, and why. */
const ends = ({ outputs, info }: RunResult): unknown[] => [
  Number((outputs["y"]?.data[0] as number).toFixed(3)),
  info.placement,
  info.why.code === "escalated",
];

const LOCAL = [0.4, "local", false];
const LARGE = [1, "remote", true];

/** Number of requests to infer that the large model has got, and those that the small one has got on the server. */
const inferred = ({ server }: RemoteStage, name = "big"): number =>
  server.seen.filter((path) => path === `/v2/models/${name}/infer`).length;

const counts = ({ engine }: RemoteStage): CascadeCounts => engine.stats().offload?.cascade as CascadeCounts;

test("an unsure answer goes to the larger model, and a sure one stays", async () => {
  const both = await open();
  const before = inferred(both.scene);
  const sure = await answered(both, SURE);
  expect([ends(sure), inferred(both.scene)]).toEqual([[6, "local", false], before]);
  const unsure = await answered(both, UNSURE);
  expect(ends(unsure)).toEqual(LARGE);
  expect(unsure.answer).toMatchObject({ kind: "probabilities", probabilities: { length: 2 } });
  const { variant, endpoint, why } = unsure.info;
  expect([variant, endpoint]).toEqual(["big/f32", URL_A]);
  expect(why.text).toMatch(
    /^remote: this device's answer was unsure \(its confidence 0\.599 is below 0\.9\); big answered; /,
  );
  expect([inferred(both.scene), both.scene.engine.stats().models]).toEqual([before + 1, 1]);
});

test("the counters have it as remote, with the larger model's traffic for the requests of the small one", async () => {
  const { scene, model } = await open();
  for (const x of [SURE, SURE, SURE, 0.1, 0.2, 0.3, 0.4]) await answered({ scene, model }, x);
  await scene.pass(10);
  const { local, remote, cascade, saved } = scene.engine.stats().offload ?? {};
  expect([local?.requests, remote?.requests, cascade]).toEqual([3, 4, { unsure: 4, sent: 4, answered: 4 }]);
  // Each answer here saves what one of the larger model took: 30 ms at the server. A simulated world may deliver the notice
  // of an HTTP request after its answer, and it is then not known to be this model's.
  expect(saved?.requests).toBe(3);
  expect(saved?.seconds).toBeGreaterThan(0.04);
  expect(saved?.seconds).toBeLessThan(0.1);
  const { requests } = scene.engine.stats();
  expect([requests.asked, requests.done, requests.queued, requests.running]).toEqual([7, 7, 0, 0]);
});

test("the threshold is the option's: 0 sends nothing, 1 all but the certain", async () => {
  const none = await open({ escalateBelow: 0 });
  const before = inferred(none.scene);
  expect(ends(await answered(none, UNSURE))).toEqual(LOCAL);
  expect([inferred(none.scene), counts(none.scene).unsure]).toEqual([before, 0]);
  const all = await open({ escalateBelow: 1 });
  expect((await answered(all, SURE)).info.placement).toBe("remote");
  expect((await answered(all, 100)).info.placement).toBe("local");
});

test("a request of several rows goes where one of them is unsure", async () => {
  const { scene, model } = await open();
  const rows = (...x: number[]): Promise<RunResult> =>
    scene.world.finish(model.run({ x: { dtype: "float32", dims: [2, 2], data: Float32Array.of(...x) } }));
  expect((await rows(SURE, 0, SURE, 0)).info.placement).toBe("local");
  const mixed = await rows(SURE, 0, UNSURE, 0);
  expect([mixed.info.placement, [...(mixed.outputs["y"]?.data as Float32Array)].map(Math.round)]).toEqual([
    "remote",
    [15, 0, 1, 0],
  ]);
});

test("nothing is sent with placement local, of the model or the request", async () => {
  const own = await open({}, {}, { placement: "local" });
  expect(ends(await answered(own, UNSURE))).toEqual(LOCAL);
  expect(own.scene.server.seen).toEqual([]);
  const both = await open();
  const before = both.scene.server.seen.length;
  expect(ends(await answered(both, UNSURE, { placement: "local" }))).toEqual(LOCAL);
  expect([both.scene.server.seen.length, counts(both.scene).unsure]).toEqual([before, 0]);
});

test("an answer of the small model by a server stays", async () => {
  const both = await open();
  const before = inferred(both.scene);
  const { outputs, info } = await answered(both, UNSURE, { placement: "remote" });
  expect([outputs["y"]?.data[0], info.placement, info.why.code]).toEqual([
    expect.closeTo(0.4),
    "remote",
    "remote-only",
  ]);
  expect(inferred(both.scene)).toBe(before);
});

test("a step of a recurrent state is never sent", async () => {
  const remote = { endpoints: [URL_A], models: { sum: { cascade: { bundle: "big.json", escalateBelow: 1 } } } };
  const scene = await stage({ placement: "auto", remote });
  const model = await scene.load("sum", { placement: "auto" });
  const state = model.stateful();
  await scene.world.finish(state.run({ x: { dtype: "float32", dims: [1, 2], data: Float32Array.of(1, 1) } }));
  expect(scene.server.seen).toEqual([]);
});

test("without a network, and where the user saves data, the answer of this device stays", async () => {
  const both = await open();
  const before = inferred(both.scene);
  const { effects } = both.scene.world;
  effects.isOnline = () => false;
  expect(ends(await answered(both, UNSURE))).toEqual(LOCAL);
  effects.isOnline = () => true;
  effects.savesData = () => true;
  expect(ends(await answered(both, UNSURE))).toEqual(LOCAL);
  expect([inferred(both.scene), counts(both.scene)]).toEqual([before, { unsure: 2, sent: 0, answered: 0 }]);
  effects.savesData = () => false;
  expect(ends(await answered(both, UNSURE))).toEqual(LARGE);
});

test("a server that fails leaves the answer of this device, and is asked again after a pause that grows", async () => {
  const both = await open();
  const { scene } = both;
  scene.server.isUp = false;
  const startMs = scene.world.now;
  expect(ends(await answered(both, UNSURE))).toEqual(LOCAL);
  expect(scene.world.now - startMs).toBeLessThan(600);
  const before = scene.server.seen.length;
  expect(ends(await answered(both, UNSURE))).toEqual(LOCAL);
  expect(counts(scene)).toEqual({ unsure: 2, sent: 1, answered: 0 });
  expect(scene.server.seen.filter((path, i) => i >= before && path.endsWith("big/infer"))).toEqual([]);
  for (let i = 0; i < 100; i += 1) {
    expect(ends(await answered(both, UNSURE))).toEqual(LOCAL);
    await scene.pass(100);
  }
  // 12 s: after 1, 2, 4 s, and the trials themselves.
  expect(counts(scene).sent).toBeLessThan(8);
  expect(counts(scene).sent).toBeGreaterThan(2);
  scene.server.isUp = true;
  await pass(scene, 61_000);
  expect(ends(await answered(both, UNSURE))).toEqual(LARGE);
  expect(ends(await answered(both, UNSURE))).toEqual(LARGE);
});

test("requests that fail together count as one failure", async () => {
  const { scene, model } = await open();
  scene.server.isUp = false;
  const many = Array.from({ length: 8 }, (_, i) => ask(model, UNSURE + i / 1_000));
  const placements = (await scene.world.finish(Promise.all(many))).map(({ info }) => info.placement);
  expect(new Set(placements)).toEqual(new Set(["local"]));
  scene.server.isUp = true;
  await pass(scene, 1_500);
  expect(ends(await answered({ scene, model }, UNSURE))).toEqual(LARGE);
});

test("a server that refuses one request leaves the answer of this device", async () => {
  const both = await open();
  both.scene.server.fault = () => new Response("no", { status: 400 });
  expect(ends(await answered(both, UNSURE))).toEqual(LOCAL);
  both.scene.server.fault = null;
  await both.scene.pass(1_100);
  expect(ends(await answered(both, UNSURE))).toEqual(LARGE);
});

test("a server that is late leaves the answer of this device after `waitMs`, and its request is cancelled", async () => {
  const both = await open({ waitMs: 200 });
  const { scene } = both;
  const signals: AbortSignal[] = [];
  const { fetchRemote } = scene.world;
  scene.world.fetchRemote = (url, init) => {
    signals.push(init.signal as AbortSignal);
    return fetchRemote(url, init);
  };
  scene.server.ms = 5_000;
  const startMs = scene.world.now;
  expect(ends(await answered(both, UNSURE))).toEqual(LOCAL);
  expect(scene.world.now - startMs).toBeGreaterThan(200);
  expect(scene.world.now - startMs).toBeLessThan(260);
  await scene.pass(20);
  expect(signals.map(({ aborted }) => aborted)).toEqual([true]);
  scene.server.ms = 30;
  await scene.pass(1_100);
  expect(ends(await answered(both, UNSURE))).toEqual(LARGE);
});

test("a deadline bounds the wait, so that the answer of this device is not late", async () => {
  const both = await open();
  const { scene } = both;
  scene.server.ms = 500;
  for (const onLate of ["reject", "finish"] as const) {
    const startMs = scene.world.now;
    expect(ends(await answered(both, UNSURE, { deadlineMs: 150, onLate }))).toEqual(LOCAL);
    expect(scene.world.now - startMs).toBeLessThanOrEqual(150);
  }
  // The second one was not sent: the first one told that the time does not suffice.
  expect(counts(scene)).toEqual({ unsure: 2, sent: 1, answered: 0 });
  expect(scene.engine.stats().requests.late).toBe(0);
  // It says nothing about requests that have more time.
  expect(ends(await answered(both, UNSURE))).toEqual(LARGE);
  expect(ends(await answered(both, UNSURE, { deadlineMs: 800 }))).toEqual(LARGE);
});

test("the caller's cancel ends the request to the larger model, with its reason", async () => {
  // A request with a placement of its own is not coalesced, which would answer its cancel before.
  for (const placement of [undefined, "auto"] as const) {
    const { scene, model } = await open();
    scene.server.ms = 5_000;
    const stop = new AbortController();
    const run = failure(ask(model, UNSURE, { signal: stop.signal, placement }));
    await scene.pass(300);
    stop.abort("enough");
    expect(await run).toBe("enough");
    expect(scene.engine.stats().requests).toMatchObject({ cancelled: 1, queued: 0, running: 0 });
  }
});

test("a model that is unloaded while the larger one is asked sends nothing more, and no answer is lost", async () => {
  const { scene, model } = await open({ waitMs: 5_000 });
  scene.server.ms = 700;
  const before = inferred(scene);
  const runs = Array.from({ length: 12 }, (_, i) => ask(model, UNSURE + i / 1_000));
  await scene.pass(400);
  model.unload();
  const answers = await scene.world.finish(Promise.all(runs));
  const escalated = answers.filter(({ info }) => info.placement === "remote").length;
  // Each of the two lanes had two at most, or checked the golden.
  expect(escalated).toBeLessThanOrEqual(4);
  await pass(scene, 60_000);
  expect(inferred(scene)).toBeLessThanOrEqual(before + 5);
});

test("the larger model's answer is not cached as the small one's", async () => {
  const both = await open();
  for (let i = 0; i < 2; i += 1) expect(ends(await answered(both, UNSURE, { cache: true }))).toEqual(LARGE);
  both.scene.server.isUp = false;
  expect(ends(await answered(both, UNSURE, { cache: true }))).toEqual(LOCAL);
});

test("an unsure answer that the larger model did not improve is not cached: the next request asks it (cascade-cache)", async () => {
  const both = await open();
  both.scene.server.isUp = false;
  expect(ends(await answered(both, UNSURE, { cache: true }))).toEqual(LOCAL);
  both.scene.server.isUp = true;
  await pass(both.scene, 61_000);
  expect(ends(await answered(both, UNSURE, { cache: true }))).toEqual(LARGE);
  // A sure one is.
  for (const isCached of [false, true])
    expect((await answered(both, SURE, { cache: true })).info).toMatchObject({ placement: "local", isCached });
});

test("a server's model that does not answer the larger bundle's golden is never asked", async () => {
  const both = await open({}, {}, {}, 7);
  expect(ends(await answered(both, UNSURE))).toEqual(LOCAL);
  expect(counts(both.scene)).toEqual({ unsure: 1, sent: 0, answered: 0 });
});

test("a larger model that does not suit is refused, and the load says why", async () => {
  const decoded = (decode: NonNullable<Described["outputs"][number]["decode"]>) => (model: Described) => ({
    ...model,
    outputs: model.outputs.map((x) => ({ ...x, decode })),
  });
  for (const [describe, text] of [
    [(model: Described) => model, /"big" is no bundle with one output that is decoded to classes/],
    [decoded({ op: "sigmoid" }), /"big" is no bundle with one output that is decoded to classes/],
    [
      (model: Described) => ({
        ...classes(model),
        outputs: classes(model).outputs.map((x) => ({ ...x, dims: ["n", 3] })),
      }),
      null,
    ],
    [
      (model: Described) => ({ ...classes(model), inputs: model.inputs.map((x) => ({ ...x, name: "z" })) }),
      /"big" has the inputs "z", and "m" has "x"/,
    ],
    [
      (model: Described) => ({
        ...classes(model),
        inputs: model.inputs.map((x) => ({ ...x, dtype: "int32" as const })),
      }),
      /"big" has in the input x the dtype "int32", and "m" has "float32"/,
    ],
    [
      (model: Described) => ({ ...classes(model), outputs: classes(model).outputs.map((x) => ({ ...x, name: "z" })) }),
      /"big" has the output "z", and "m" has "y"/,
    ],
  ] as const) {
    const loading = open({}, { describe });
    // A size that one of the two leaves open is compared where both state it.
    if (text === null) expect((await loading).model.name).toBe("m");
    else await expect(loading).rejects.toThrow(text);
    if (text !== null) await expect(open({}, { describe })).rejects.toThrow(/^remote\.models\["m"\]\.cascade: /);
  }
});

test("the labels of both models must be the same ones", async () => {
  const labelled = (model: Described): Described => ({
    ...model,
    outputs: model.outputs.map((x) => ({
      ...x,
      dims: ["n", 2],
      decode: { op: "labels", asset: "l.txt", logits: true },
    })),
  });
  const load = async (text: string): Promise<Model> => {
    const files: Record<string, Uint8Array<ArrayBuffer>> = {};
    const bundleOf = (name: string, factor: number, labels: string): string => {
      const made = goldenBundle({ f32: factor }, labelled, name);
      const bytes = new TextEncoder().encode(labels);
      const sha256 = createHash("sha256").update(bytes).digest("hex");
      Object.assign(files, made.files, { [`chunks/${sha256}.bin`]: bytes });
      const chunks = [{ sha256, bytes: bytes.length }];
      const assets = [{ path: "l.txt", bytes: bytes.length, chunks }];
      return JSON.stringify({ ...(JSON.parse(made.bundles[name] as string) as object), assets });
    };
    const bundles = { m: bundleOf("m", 2, "Coat\nBag\n"), big: bundleOf("big", 5, text) };
    const cascade = { bundle: "big.json", escalateBelow: 0.9 };
    const scene = await stage({
      ...{ placement: "auto", bundles, files },
      remote: { endpoints: [URL_A], models: { m: { cascade } } },
    });
    scene.server.others["big"] = 5;
    return scene.load("m");
  };
  await expect(load("Bag\nCoat\n")).rejects.toThrow('remote.models["m"].cascade: "big" has other labels than "m"');
  expect((await load("Coat\r\nBag")).name).toBe("m");
});

test("a description that can't be read yet does not hold up the load, and is read again", async () => {
  const [small, large] = [goldenBundle({ f32: 2 }, classes), goldenBundle({ f32: 5 }, classes, "big")];
  const cascade = { bundle: "big.json", escalateBelow: 0.9 };
  const scene = await stage({
    placement: "auto",
    remote: { endpoints: [URL_A], models: { m: { cascade } }, costMs: 100_000 },
    bundles: { ...small.bundles, ...large.bundles },
    files: { ...small.files, ...large.files },
  });
  scene.server.others["big"] = 5;
  const { fetch } = scene.world.effects;
  let isThere = false;
  let asked = 0;
  scene.world.effects.fetch = (url, init) => {
    if (!url.endsWith("big.json") || isThere) return fetch(url, init);
    asked += 1;
    return asked === 1 ? new Promise(() => undefined) : Promise.resolve(new Response("", { status: 404 }));
  };
  let model: Model | null = null;
  let loadedMs = Infinity;
  // Other work of the load may take any time of this world: bodies of responses are read outside of it.
  let waitMs = 0;
  const { setTimer } = scene.world.effects;
  scene.world.effects.setTimer = (callback, ms) => {
    if (ms === 2_000) waitMs = scene.world.now;
    return setTimer(callback, ms);
  };
  void scene.engine.load("https://app.test/m.json").then((loaded) => {
    model = loaded;
    loadedMs = scene.world.now;
  });
  const until = async (isDone: () => boolean): Promise<void> => {
    for (let i = 0; i < 20_000 && !isDone(); i += 1) await scene.pass(10);
    expect(isDone()).toBe(true);
  };
  await until(() => model?.backend === "wasm");
  // Times are sums of fractions: 2,000 ms may read as 1,999.9999999999995.
  expect(loadedMs - waitMs).toBeGreaterThan(1_999.999);
  expect(loadedMs - waitMs).toBeLessThanOrEqual(2_010);
  const both = { scene, model: model as unknown as Model };
  expect(ends(await answered(both, UNSURE))).toEqual(LOCAL);
  await until(() => asked > 1);
  isThere = true;
  await until(() => inferred(scene) > 0);
  await pass(scene, 200);
  expect(ends(await answered(both, UNSURE))).toEqual(LARGE);
});

test("with faults on both sides each request is settled once, rightly, and within its deadline where it can be", async () => {
  let escalated = 0;
  for (let seed = 1; seed <= slice(4, 12); seed += 1) {
    const random = new Random(seed);
    const both = await open({ waitMs: 300 }, withHedge(seed % 2 === 0));
    const { scene, model } = both;
    const chance = (share: number): boolean => random.next() < share;
    scene.world.drawFault = () =>
      chance(0.1)
        ? ((["slow", "crash", "error", "out-of-memory"] as const)[Math.floor(4 * random.next())] ?? null)
        : null;
    scene.server.fault = () => (chance(0.2) ? new Response("", { status: chance(0.5) ? 503 : 400 }) : null);
    const found: string[] = [];
    const all: Promise<unknown>[] = [];
    for (let i = 0; i < 120; i += 1) {
      if (chance(0.03)) scene.server.isUp = !scene.server.isUp;
      const isSure = chance(0.5);
      // Equal inputs would be coalesced.
      const x = (isSure ? SURE : UNSURE) + i / 10_000;
      const stop = new AbortController();
      const deadlineMs = chance(0.2) ? 50 + 400 * random.next() : undefined;
      const run = ask(model, x, { signal: stop.signal, deadlineMs }).then(
        ({ outputs, info }) => {
          const factor = info.variant.startsWith("big") ? 5 : 2;
          const isRight = Math.abs(Number(outputs["y"]?.data[0]) - factor * x) < 1e-3;
          if (factor === 5) escalated += 1;
          found.push(isRight && (factor === 2 || !isSure) ? "right" : "wrong");
        },
        (error: unknown) =>
          found.push(error === "enough" ? "cancelled" : isSelvedgeError(error) ? error.code : "other"),
      );
      all.push(run);
      if (chance(0.05))
        scene.world.at(30 * random.next(), () => {
          stop.abort("enough");
        });
      await scene.pass(40 * random.next());
    }
    await scene.world.finish(Promise.all(all));
    scene.world.drawFault = () => null;
    await scene.pass(30_000);
    expect([seed, found.length, found.filter((x) => x === "wrong" || x === "other")]).toEqual([seed, 120, []]);
    const { requests, offload } = scene.engine.stats();
    const { asked, done, failed, rejected, cancelled, queued, running } = requests;
    expect([seed, done + failed + rejected + cancelled, queued, running]).toEqual([seed, asked, 0, 0]);
    expect(done).toBe((offload?.local.requests ?? 0) + (offload?.remote.requests ?? 0));
  }
  expect(escalated).toBeGreaterThan(slice(8, 25));
});

/** Options with a cascade, and hedging. */
function withHedge(hedge: boolean): RemoteStageOptions {
  const cascade = { bundle: "https://app.test/big.json", escalateBelow: 0.9, waitMs: 300 };
  return { remote: { endpoints: [URL_A], models: { m: { cascade } }, costMs: 100_000, hedge } };
}

test("a wrong option is named", async () => {
  const bundle = "/big.json";
  for (const [cascade, text] of [
    [{ bundle, escalateBelow: 2 }, /remote\.models\["m"\]\.cascade\.escalateBelow: expected a number from 0 to 1/],
    [{ bundle }, /remote\.models\["m"\]\.cascade\.escalateBelow/],
    [{ escalateBelow: 0.5 }, /remote\.models\["m"\]\.cascade\.bundle: expected a URL/],
    [{ bundle, escalateBelow: 0.5, waitMs: 0 }, /remote\.models\["m"\]\.cascade\.waitMs/],
    [{ bundle, escalateBelow: 0.5, model: "x" }, /there is no option "model"/],
    ["big.json", /remote\.models\["m"\]\.cascade: expected an object/],
  ] as const)
    await expect(
      stage({ remote: { endpoints: [URL_A], models: { m: { cascade: cascade as never } } } }),
    ).rejects.toThrow(text);
});
