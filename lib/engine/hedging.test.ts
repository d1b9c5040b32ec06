// Copies of requests that are late, sent to a server: real engine, scheduler, worker code and client in a simulated world.
import { expect, test } from "vitest";
import { slice } from "../test-support/slice.ts";
import { isSelvedgeError } from "../core/errors.ts";
import { Random } from "../test-support/random.ts";
import { failure, load, MODELS, stage, URL_A } from "../test-support/remote/remote-stage.ts";
import type { RemoteStage, RemoteStageOptions } from "../test-support/remote/remote-stage.ts";
import type { Model } from "./model.ts";
import type { RemoteEngineOptions } from "./options.ts";
import { readTrace } from "../replay/file.ts";
import { Hedger } from "../schedule/hedge.ts";
import type { OffloadStats } from "../observe/offload.ts";

const USUAL = { endpoints: [URL_A], models: MODELS };

interface Hedged {
  readonly scene: RemoteStage;
  readonly model: Model;
  /** Time that the next runs take longer on this device, the first one first. */
  readonly late: number[];
}

/** Opens a stage whose model has answered 60 requests on this device and one on the server. */
async function open(
  hedge: RemoteEngineOptions["hedge"] = true,
  options: RemoteStageOptions = {},
  name = "m",
): Promise<Hedged> {
  const late: number[] = [];
  const scene = await stage({
    placement: "auto",
    cores: 1,
    remote: { ...USUAL, hedge, costMs: 100_000 },
    change: (toy, _worker, world) => {
      const { run } = toy;
      toy.run = async (...given) => {
        const ms = late.shift() ?? 0;
        if (ms > 0) await new Promise<void>((resolve) => void world.at(ms, resolve));
        return run(...given);
      };
      return toy;
    },
    ...options,
  });
  const model = await load(scene);
  if (name === "m") {
    await scene.pass(2_000);
    await scene.world.finish(scene.run(model, 1, { placement: "remote" }));
    for (let i = 0; i < 60; i += 1) await scene.world.finish(scene.run(model, i));
  }
  return { scene, model, late };
}

function offloadOf({ engine }: RemoteStage): OffloadStats {
  return engine.stats().offload as OffloadStats;
}

/** Number of requests to infer that have reached the server. */
const inferred = ({ server }: RemoteStage): number => server.seen.filter((path) => path.endsWith("/infer")).length;

/** Records the signals of later HTTP requests. */
function watch({ world }: RemoteStage): AbortSignal[] {
  const signals: AbortSignal[] = [];
  const { fetchRemote } = world;
  world.fetchRemote = (url, init) => {
    signals.push(init.signal as AbortSignal);
    return fetchRemote(url, init);
  };
  return signals;
}

test("a request that is late on this device is answered by the server, and says so", async () => {
  const { scene, model, late } = await open();
  const before = inferred(scene);
  late.push(2_000);
  const startMs = scene.world.now;
  const { outputs, info } = await scene.world.finish(scene.run(model, 21));
  expect(outputs["y"]?.data[0]).toBe(42);
  expect([info.placement, info.endpoint, info.why.code]).toEqual(["remote", URL_A, "hedged"]);
  expect(info.why.text).toMatch(
    /^remote: no answer on this device within \d+ ms \(p95 of its last answers\); a server answered first/,
  );
  expect(scene.world.now - startMs).toBeLessThan(200);
  expect(inferred(scene) - before).toBe(1);
  const { hedges, remote } = offloadOf(scene);
  expect([hedges.sent, hedges.won, remote.requests]).toEqual([1, 1, 2]);
  expect(hedges.seconds).toBeGreaterThan(0.02);
});

test("where this device answers first, the copy is cancelled and counted", async () => {
  const { scene, model, late } = await open();
  scene.server.ms = 5_000;
  const signals = watch(scene);
  late.push(300);
  const { outputs, info } = await scene.world.finish(scene.run(model, 21));
  expect([outputs["y"]?.data[0], info.placement]).toEqual([42, "local"]);
  await scene.pass(20);
  expect(signals.map(({ aborted }) => aborted)).toEqual([true]);
  const { hedges, remote, local } = offloadOf(scene);
  expect([hedges.sent, hedges.won, remote.requests, local.requests]).toEqual([1, 0, 1, 61]);
});

test("a copy that waited for its lane until this device answered was not sent, and is not counted", async () => {
  const remote = { ...USUAL, hedge: true, costMs: 100_000, concurrency: 1 };
  const { scene, model, late } = await open(true, { remote });
  const before = inferred(scene);
  scene.server.ms = 4_000;
  const other = scene.run(model, 1, { placement: "remote" });
  await scene.pass(20);
  expect(inferred(scene) - before).toBe(1);
  late.push(1_000);
  const { info } = await scene.world.finish(scene.run(model, 21));
  expect(info.placement).toBe("local");
  await scene.world.finish(other);
  await scene.pass(5_000);
  expect([inferred(scene) - before, offloadOf(scene).hedges]).toEqual([1, { sent: 0, won: 0, seconds: 0 }]);
});

test("each request has one answer, and at most a tenth of them a copy, however late this device is", async () => {
  const { scene, model, late } = await open();
  const before = { ...scene.engine.stats().requests };
  const sent = inferred(scene);
  for (let i = 0; i < 300; i += 1) {
    late.push(i % 3 === 0 ? 150 : 0);
    const { outputs } = await scene.world.finish(scene.run(model, i));
    expect(outputs["y"]?.data[0]).toBe(2 * i);
  }
  await scene.pass(10_000);
  const { requests, offload } = scene.engine.stats();
  expect([requests.asked - before.asked, requests.done - before.done, requests.failed]).toEqual([300, 300, 0]);
  expect([requests.queued, requests.running]).toEqual([0, 0]);
  const copies = inferred(scene) - sent;
  expect(copies).toBeGreaterThan(5);
  expect(copies).toBeLessThanOrEqual(36);
  expect(offload?.hedges.sent).toBe(copies);
  expect((offload?.local.requests ?? 0) + (offload?.remote.requests ?? 0)).toBe(361);
});

test("the share and the quantile are the option's", async () => {
  const { scene, model, late } = await open({ share: 0, quantile: 0.5 });
  late.push(2_000);
  const { info } = await scene.world.finish(scene.run(model, 1));
  expect([info.placement, offloadOf(scene).hedges.sent]).toEqual(["local", 0]);
});

test("nothing is hedged without the option, and with placement local", async () => {
  for (const [hedge, placement] of [
    [false, "auto"],
    [true, "local"],
  ] as const) {
    const { scene, model, late } = await open(hedge);
    const before = inferred(scene);
    late.push(2_000);
    const { info } = await scene.world.finish(scene.run(model, 1, { placement }));
    expect([info.placement, inferred(scene)]).toEqual(["local", before]);
  }
});

test("a copy that the server refuses costs nothing but itself", async () => {
  const { scene, model, late } = await open();
  const before = inferred(scene);
  scene.server.fault = () => new Response("no", { status: 400 });
  late.push(400);
  const { outputs, info } = await scene.world.finish(scene.run(model, 21));
  expect([outputs["y"]?.data[0], info.placement]).toEqual([42, "local"]);
  await scene.pass(5_000);
  expect(inferred(scene) - before).toBe(1);
});

test("a copy saves a request whose run fails on this device", async () => {
  const { scene, model } = await open();
  let faults = 8;
  scene.world.drawFault = () => (faults-- > 0 ? "hang" : null);
  const { outputs } = await scene.world.finish(scene.run(model, 21));
  expect(outputs["y"]?.data[0]).toBe(42);
  expect(offloadOf(scene).hedges.won).toBe(1);
});

test("the caller's cancel ends both, with its reason", async () => {
  const { scene, model, late } = await open();
  scene.server.ms = 5_000;
  late.push(3_000);
  const signals = watch(scene);
  const stop = new AbortController();
  const run = failure(scene.run(model, 1, { signal: stop.signal }));
  await scene.pass(500);
  expect(signals.map(({ aborted }) => aborted)).toEqual([false]);
  stop.abort("enough");
  expect(await run).toBe("enough");
  await scene.pass(100);
  expect(signals.map(({ aborted }) => aborted)).toEqual([true]);
  expect(scene.engine.stats().requests).toMatchObject({ cancelled: 1, queued: 0, running: 0 });
});

test("a trace has the copies as steps, and decides the same ones again", async () => {
  const { scene, late } = await open(true, {}, "sum");
  const model = await load(scene);
  await scene.pass(2_000);
  await scene.world.finish(scene.run(model, 1, { placement: "remote" }));
  const recording = scene.engine.trace({ seconds: 600 });
  for (let i = 0; i < 150; i += 1) {
    late.push(i % 10 === 9 ? 150 : 0);
    await scene.world.finish(scene.run(model, i));
  }
  await scene.engine.close();
  const { told } = readTrace(JSON.stringify(await recording));
  const hedger = new Hedger();
  let [copies, decided] = [0, 0];
  for (const { event, now, decisions } of told) {
    if (event.type === "arrived" && event.step.routes.every(({ costMs }) => costMs !== undefined)) {
      copies += 1;
      decided += hedger.due(now).length;
      expect(decided).toBe(copies);
    }
    hedger.handle(event, now, decisions);
  }
  expect(copies).toBe(offloadOf(scene).hedges.sent);
  expect(copies).toBeGreaterThan(2);
});

test("a recurrent state is never hedged", async () => {
  const { scene } = await open(true, {}, "sum");
  const model = await scene.load("sum", { placement: "auto" });
  const state = model.stateful();
  for (let i = 0; i < 60; i += 1)
    await scene.world.finish(state.run({ x: { dtype: "float32", dims: [1, 2], data: Float32Array.of(i, i) } }));
  expect(inferred(scene)).toBe(0);
});

test("with faults on both sides each request is settled once, rightly, and copies stay within their share", async () => {
  let copies = 0;
  for (let seed = 1; seed <= slice(4, 12); seed += 1) {
    const random = new Random(seed);
    const { scene, model } = await open();
    const chance = (share: number): boolean => random.next() < share;
    scene.world.drawFault = () => {
      if (!chance(0.15)) return null;
      return (
        (["slow", "slow", "slow", "crash", "error", "out-of-memory", "hang"] as const)[Math.floor(7 * random.next())] ??
        null
      );
    };
    scene.server.fault = () => (chance(0.2) ? new Response("", { status: chance(0.5) ? 503 : 400 }) : null);
    const ends: string[] = [];
    const all: Promise<unknown>[] = [];
    for (let i = 0; i < 120; i += 1) {
      if (chance(0.03)) scene.server.isUp = !scene.server.isUp;
      const stop = new AbortController();
      const deadlineMs = chance(0.2) ? 50 + 400 * random.next() : undefined;
      const run = scene.run(model, i, { signal: stop.signal, deadlineMs }).then(
        ({ outputs }) => ends.push(outputs["y"]?.data[0] === 2 * i ? "right" : "wrong"),
        (error: unknown) => ends.push(error === "enough" ? "cancelled" : isSelvedgeError(error) ? error.code : "other"),
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
    expect([seed, ends.length, ends.filter((x) => x === "wrong" || x === "other")]).toEqual([seed, 120, []]);
    const { requests, offload } = scene.engine.stats();
    const { asked, done, failed, rejected, cancelled, queued, running } = requests;
    expect([seed, done + failed + rejected + cancelled, queued, running]).toEqual([seed, asked, 0, 0]);
    expect(done).toBe((offload?.local.requests ?? 0) + (offload?.remote.requests ?? 0));
    expect(offload?.hedges.sent).toBeLessThanOrEqual(0.1 * asked);
    copies += offload?.hedges.sent ?? 0;
  }
  expect(copies).toBeGreaterThan(slice(4, 12));
});

test("a wrong option is named", async () => {
  for (const [hedge, text] of [
    [{ share: 2 }, /remote\.hedge\.share/],
    [{ quantile: 1 }, /remote\.hedge\.quantile/],
    ["yes", /remote\.hedge/],
  ] as const)
    await expect(stage({ remote: { ...USUAL, hedge: hedge as never } })).rejects.toThrow(text);
});
