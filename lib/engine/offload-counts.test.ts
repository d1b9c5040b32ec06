// Counters of answers by placement: real engine, worker code and client in a simulated world with servers.
import { expect, test } from "vitest";
import { failure, goldenBundle, load, MODELS, stage, URL_A } from "../test-support/remote/remote-stage.ts";
import type { RemoteStage } from "../test-support/remote/remote-stage.ts";
import type { OffloadStats } from "../observe/offload.ts";
import { openScene } from "../test-support/simulate/fixtures.ts";

/** Adds up the bodies of all replies, and the time that their requests were under way. */
function watch({ world }: RemoteStage): { bytes: number; ms: number; calls: number } {
  const { fetchRemote } = world;
  const seen = { bytes: 0, ms: 0, calls: 0 };
  world.fetchRemote = async (url, init) => {
    const startMs = world.now;
    seen.calls += 1;
    const response = await fetchRemote(url, init).finally(() => (seen.ms += world.now - startMs));
    seen.bytes += (await response.clone().arrayBuffer()).byteLength;
    return response;
  };
  return seen;
}

function offloadOf({ engine }: RemoteStage): OffloadStats {
  const { offload } = engine.stats();
  if (offload === null) throw new Error("no counters");
  return offload;
}

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

test("an engine without servers has no counters of them", async () => {
  const scene = await openScene();
  expect(scene.engine.stats().offload).toBeNull();
});

test("calls, bytes and time are those of the HTTP requests", async () => {
  const scene = await stage({ placement: "remote" });
  const seen = watch(scene);
  const model = await load(scene);
  await scene.ask(model, 5);
  const { local, remote, server, saved, localShare } = offloadOf(scene);
  expect([local.requests, remote.requests, localShare]).toEqual([0, 5, 0]);
  expect(local.latencyMs).toBeNull();
  expect(remote.latencyMs?.p50).toBeGreaterThanOrEqual(30);
  expect(server.calls).toBe(seen.calls);
  expect(server.sentBytes).toBe(sum(scene.server.bodies));
  expect(server.receivedBytes).toBe(seen.bytes);
  expect(server.seconds).toBeGreaterThanOrEqual(seen.ms / 1_000 - 0.001);
  expect(server.seconds).toBeLessThan((1.2 * seen.ms) / 1_000);
  expect(saved).toEqual({ requests: 0, seconds: 0, sentBytes: 0, receivedBytes: 0 });
});

test("the estimate of what this device saved is its answers times the mean of the remote ones, checks not counted", async () => {
  const scene = await stage({ placement: "auto", remote: { endpoints: [URL_A] }, ...goldenBundle({ f32: 2 }) });
  const model = await load(scene);
  await scene.pass(2_000);
  const checks = scene.server.bodies.length;
  expect(checks).toBeGreaterThan(0);
  for (const value of [1, 2]) await scene.world.finish(scene.run(model, value, { placement: "remote" }));
  for (const value of [1, 2, 3, 4, 5, 6]) await scene.world.finish(scene.run(model, value, { placement: "local" }));
  const { local, remote, localShare, saved, server } = offloadOf(scene);
  expect([local.requests, remote.requests, localShare]).toEqual([6, 2, 0.75]);
  const own = sum(scene.server.bodies.slice(checks));
  expect(saved?.requests).toBe(6);
  expect(saved?.sentBytes).toBe(3 * own);
  expect(server.sentBytes).toBe(sum(scene.server.bodies));
  expect(saved?.seconds).toBeGreaterThan(0.17);
  expect(saved?.seconds).toBeLessThan(0.25);
});

test("with placement local nothing was sent, and no saving is claimed", async () => {
  const scene = await stage();
  const model = await load(scene);
  await scene.ask(model, 4);
  const { local, remote, server, saved } = offloadOf(scene);
  expect([local.requests, remote.requests, saved]).toEqual([4, 0, null]);
  expect(server).toEqual({ calls: 0, sentBytes: 0, receivedBytes: 0, seconds: 0 });
});

test("requests that fail are sent, and are no answers", async () => {
  const scene = await stage({ placement: "remote" });
  const model = await load(scene);
  const before = offloadOf(scene).server.calls;
  scene.server.fault = () => new Response("no", { status: 400 });
  expect(await failure(scene.world.finish(scene.run(model, 1)))).not.toBe("answered");
  const { remote, server, saved } = offloadOf(scene);
  expect([remote.requests, saved]).toEqual([0, null]);
  expect(server.calls).toBeGreaterThan(before);
});

test("requests that fail raise no estimate of what this device saved", async () => {
  const scene = await stage({ placement: "auto", remote: { endpoints: [URL_A] }, ...goldenBundle({ f32: 2 }) });
  const model = await load(scene);
  await scene.pass(2_000);
  await scene.world.finish(scene.run(model, 1, { placement: "remote" }));
  for (const value of [1, 2, 3]) await scene.world.finish(scene.run(model, value, { placement: "local" }));
  const before = offloadOf(scene).saved?.seconds ?? 0;
  expect(before).toBeGreaterThan(0);
  scene.server.fault = () => new Response("no", { status: 400 });
  for (let i = 0; i < 20; i += 1) await failure(scene.world.finish(scene.run(model, i, { placement: "remote" })));
  expect(offloadOf(scene).saved?.seconds).toBeLessThan(1.5 * before);
});

test("answers from the result cache count for neither placement", async () => {
  const scene = await stage({ placement: "remote", remote: { endpoints: [URL_A] }, ...goldenBundle({ f32: 2 }) });
  const model = await load(scene, { cache: true });
  await scene.world.finish(scene.run(model, 1));
  await scene.world.finish(scene.run(model, 1));
  const { remote, cached } = offloadOf(scene);
  expect([remote.requests, cached]).toEqual([1, 1]);
});

test("models are estimated each by its own calls", async () => {
  const scene = await stage({ placement: "auto", remote: { endpoints: [URL_A], models: MODELS } });
  const [small, slow] = [await load(scene), await scene.load("slow")];
  await scene.pass(2_000);
  await scene.world.finish(scene.run(small, 1, { placement: "remote" }));
  await scene.world.finish(scene.run(slow, 1, { placement: "local" }));
  expect(offloadOf(scene).saved?.requests).toBe(0);
  await scene.world.finish(scene.run(small, 1, { placement: "local" }));
  expect(offloadOf(scene).saved?.requests).toBe(1);
});
