// Deadlines and cancels of requests that run on a server: real engine, worker code and client in a simulated world.
import { expect, test } from "vitest";
import { failure, load, MODELS, stage, URL_A } from "../test-support/remote/remote-stage.ts";
import type { RemoteStage } from "../test-support/remote/remote-stage.ts";

/** Records the signals of the requests to infer; those of `hanging` are never answered. */
function watch({ world }: RemoteStage, hanging = false): AbortSignal[] {
  const { fetchRemote } = world;
  const signals: AbortSignal[] = [];
  world.fetchRemote = (url, init) => {
    if (!url.endsWith("/infer")) return fetchRemote(url, init);
    const { signal } = init;
    signals.push(signal as AbortSignal);
    if (!hanging) return fetchRemote(url, init);
    return new Promise((_, reject) => {
      signal?.addEventListener("abort", () => {
        reject(signal.reason as Error);
      });
    });
  };
  return signals;
}

type Timed = readonly [outcome: unknown, ms: number];

/** Resolves to the outcome of a run, and its time. */
async function timing({ world }: RemoteStage, run: Promise<unknown>): Promise<Timed> {
  const startMs = world.now;
  const outcome = await failure(run);
  return [Array.isArray(outcome) ? outcome[0] : outcome, world.now - startMs];
}

/** The same, and lets time pass until then. */
function timed(scene: RemoteStage, run: Promise<unknown>): Promise<Timed> {
  return scene.world.finish(timing(scene, run));
}

test("a request to a server that does not answer ends at its own deadline, and so does its HTTP request", async () => {
  const scene = await stage({ placement: "remote" });
  const model = await load(scene);
  const signals = watch(scene, true);
  const [outcome, ms] = await timed(scene, scene.run(model, 1, { deadlineMs: 700 }));
  expect(outcome).toBe("deadline-exceeded");
  expect(ms).toBeGreaterThan(690);
  expect(ms).toBeLessThan(720);
  await scene.pass(50);
  expect(signals.map(({ aborted }) => aborted)).toEqual([true]);
});

test("nothing is sent again for a request whose deadline has passed", async () => {
  const scene = await stage({ placement: "remote" });
  const model = await load(scene);
  const signals = watch(scene);
  scene.server.ms = 80;
  scene.server.fault = () => new Response("", { status: 503 });
  const [outcome] = await timed(scene, scene.run(model, 1, { deadlineMs: 100 }));
  expect(outcome).toBe("deadline-exceeded");
  await scene.pass(20_000);
  expect(signals).toHaveLength(1);
});

test("a Retry-After beyond the deadline is not waited for, and the lane stays as it is", async () => {
  const scene = await stage({ placement: "remote", remote: { endpoints: [URL_A], models: MODELS, concurrency: 1 } });
  const model = await load(scene);
  const signals = watch(scene);
  scene.server.fault = () => new Response("", { status: 429, headers: { "retry-after": "5" } });
  const [outcome, ms] = await timed(scene, scene.run(model, 1, { deadlineMs: 1_000 }));
  expect([outcome, ms < 100]).toEqual(["deadline-exceeded", true]);
  const [again, againMs] = await timed(scene, scene.run(model, 1, { deadlineMs: 1_000 }));
  expect([again, againMs < 100]).toEqual(["deadline-exceeded", true]);
  expect(signals).toHaveLength(1);
  scene.server.fault = null;
  const [patient, patientMs] = await timed(scene, scene.run(model, 1));
  expect(patient).toBe("answered");
  expect(patientMs).toBeGreaterThan(4_500);
  expect(scene.server.seen.filter((path) => path === "/v2/models/m")).toHaveLength(1);
});

test("with auto, this device answers in time what the server asks to wait for", async () => {
  const scene = await stage({ placement: "auto" });
  const model = await load(scene);
  await scene.pass(2_000);
  await scene.ask(model, 2);
  scene.server.fault = () => new Response("", { status: 429, headers: { "retry-after": "30" } });
  const results = await scene.world.finish(
    Promise.all(Array.from({ length: 30 }, (_, i) => scene.run(model, i, { deadlineMs: 3_000 }))),
  );
  expect(results.map(({ outputs }) => outputs["y"]?.data[0])).toEqual(results.map((_, i) => 2 * i));
});

test("a server has all of a request's time where this device could not answer in the rest of it (server-share)", async () => {
  const remote = { endpoints: [URL_A], models: MODELS, costMs: 0, concurrency: 1 };
  const scene = await stage({ placement: "auto", cores: 1, remote });
  scene.server.ms = 5;
  const model = await scene.load("slow"); // 50 to 150 ms on this device
  await scene.pass(2_000);
  for (const placement of ["local", "remote", "local", "remote", "local", "remote"] as const)
    await scene.world.finish(scene.run(model, 1, { placement }));
  scene.server.ms = 70;
  const { info } = await scene.world.finish(scene.run(model, 1, { deadlineMs: 110 }));
  expect([info.placement, info.attempts]).toEqual(["remote", 1]);
});

test("a call to a server that hangs ends for all its requests in time for the first deadline (server-batch)", async () => {
  const remote = { endpoints: [URL_A], models: MODELS, costMs: 0, concurrency: 1 };
  const scene = await stage({ placement: "auto", cores: 1, remote });
  scene.server.ms = 5;
  const model = await scene.load("slow");
  await scene.pass(2_000);
  await scene.ask(model, 40); // measures both sides
  const signals = watch(scene, true);
  const runs = [20_000, 2_000].map((deadlineMs) => timing(scene, scene.run(model, 1, { deadlineMs })));
  const [first, second] = await scene.world.finish(Promise.all(runs));
  expect([first?.[0], second?.[0], signals.length]).toEqual(["answered", "answered", 1]);
});

test.each([
  [1, 0, [20_000, 900, 900]],
  [12, 100, [20_000, 3_000, 6_000]],
])(
  "requests behind a call that hangs are answered by a device of pace %d in time, at costMs %d (server-staged)",
  async (pace, costMs, deadlines) => {
    const remote = { endpoints: [URL_A], models: MODELS, costMs, concurrency: 1 };
    const scene = await stage({ placement: "auto", cores: 1, remote });
    scene.world.drawPace = () => [pace, 1];
    scene.server.ms = 5;
    const model = await scene.load("slow");
    await scene.pass(2_000 * pace);
    await scene.ask(model, 40); // measures both sides
    const signals = watch(scene, true);
    const outcomes: Promise<Timed>[] = [];
    for (const [i, deadlineMs] of deadlines.entries()) {
      const placement = i === 0 ? "remote" : "auto";
      outcomes.push(timing(scene, scene.run(model, 1, { deadlineMs, placement })));
      await scene.pass(2);
    }
    const ended = await scene.world.finish(Promise.all(outcomes));
    expect(ended.map(([outcome]) => outcome)).toEqual(["deadline-exceeded", "answered", "answered"]);
    expect(signals.length).toBeLessThan(3);
  },
);

test("requests that run together end at their own deadlines, and the last one to wait cancels the call", async () => {
  const scene = await stage({ placement: "remote" });
  const model = await load(scene);
  await scene.ask(model, 4);
  const signals = watch(scene, true);
  const runs = [300, 900, 600].map((deadlineMs) => timing(scene, scene.run(model, 1, { deadlineMs })));
  for (const [i, [outcome, ms]] of (await scene.world.finish(Promise.all(runs))).entries()) {
    expect(outcome).toBe("deadline-exceeded");
    expect(Math.abs(ms - ([300, 900, 600][i] as number))).toBeLessThan(20);
  }
  await scene.pass(50);
  expect(signals.every(({ aborted }) => aborted)).toBe(true);
});

test("a cancelled request cancels its HTTP request, unless another one waits for the same call", async () => {
  const scene = await stage({ placement: "remote" });
  const model = await load(scene);
  const signals = watch(scene, true);
  const stop = new AbortController();
  const run = failure(scene.run(model, 1, { signal: stop.signal }));
  await scene.pass(50);
  expect(signals.map(({ aborted }) => aborted)).toEqual([false]);
  stop.abort("enough");
  expect(await run).toBe("enough");
  await scene.pass(10);
  expect(signals.map(({ aborted }) => aborted)).toEqual([true]);
});

test("a request that may be late is answered late, and its call has the lane's own time", async () => {
  const scene = await stage({ placement: "remote" });
  const model = await load(scene);
  scene.server.ms = 400;
  const [outcome, ms] = await timed(scene, scene.run(model, 1, { deadlineMs: 100, onLate: "finish" }));
  expect(outcome).toBe("answered");
  expect(ms).toBeGreaterThan(390);
});

test("a server that was too slow for a deadline is expected to be slow", async () => {
  const scene = await stage({ placement: "remote" });
  const model = await load(scene);
  scene.server.ms = 400;
  const times: number[] = [];
  for (let i = 0; i < 8; i += 1) {
    const [outcome, ms] = await timed(scene, scene.run(model, 1, { deadlineMs: 200 }));
    expect(outcome).toBe("deadline-exceeded");
    times.push(ms);
  }
  expect(times.filter((ms) => ms > 50).length).toBeLessThan(4);
});
