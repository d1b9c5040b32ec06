// Two real servers with two versions of a model, which are two models, behind real HTTP: answers never mix. The device is
// simulated, and its clock stands still while a request is under way.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describe as describeModel } from "../compress/bundle/describe.ts";
import { writeBundle } from "../compress/bundle/pack.ts";
import { floatTensor } from "../compress/onnx/tensor-proto.ts";
import type { RemoteModelOption } from "../engine/options.ts";
import { smallModel } from "../test-support/compress/fixtures.ts";
import { goldenBundle } from "../test-support/remote/remote-stage.ts";
import { openScene } from "../test-support/simulate/fixtures.ts";
import { counted } from "../test-support/simulate/real-work.ts";
import { startServer } from "./server.ts";
import type { RunningServer } from "./server.ts";

let folder: string;
let servers: readonly RunningServer[];

/** Starts a server whose model `m` is y = factor x. */
async function serve(version: string, factor: number): Promise<RunningServer> {
  const bundle = join(folder, version);
  const model = smallModel({
    opset: 17,
    inputs: { x: ["n", 2] },
    outputs: ["y"],
    outputDims: { y: ["n", 2] },
    initializers: [floatTensor("factor", [1], Float32Array.of(factor))],
    nodes: [{ opType: "Mul", input: ["x", "factor"], output: ["y"] }],
  });
  const variants = [{ id: "f32", needs: [], files: [{ path: "model.onnx", model }] }];
  const description = await describeModel(model, "m.onnx", undefined);
  await writeBundle(bundle, { model: { ...description, name: "m", version }, variants });
  const server = await startServer({ bundles: [bundle], port: 0, lanes: 1, threads: 1, logLevel: "silent" });
  await server.ready;
  return server;
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "selvedge-versions-test-"));
  servers = [await serve("1", 2), await serve("2", 7)];
}, 120_000);

afterAll(async () => {
  for (const server of servers) await server.close();
  rmSync(folder, { recursive: true, force: true });
}, 120_000);

/** Makes requests in crowds; returns the factors of the answers, and the servers that gave them. */
async function ask(option: RemoteModelOption): Promise<{ factors: Set<number>; endpoints: Set<string | null> }> {
  const endpoints = servers.map((x) => x.url);
  const golden = goldenBundle({ f32: 2 });
  const scene = await openScene({ placement: "remote", remote: { endpoints, models: { m: option } }, ...golden });
  scene.world.fetchRemote = (url, init) =>
    counted(
      (async () => {
        const reply = await fetch(url, init);
        return new Response(await reply.arrayBuffer(), reply);
      })(),
    );
  const model = await scene.load("m");
  const factors = new Set<number>();
  const seen = new Set<string | null>();
  for (let crowd = 0; crowd < 5; crowd += 1) {
    const runs = Array.from({ length: 12 }, (_, i) => scene.run(model, i + 1));
    for (const [i, { outputs, info }] of (await scene.world.finish(Promise.all(runs))).entries()) {
      factors.add(Number(outputs["y"]?.data[0]) / (i + 1));
      seen.add(info.endpoint);
    }
    await scene.pass(2_000);
  }
  await scene.world.finish(scene.engine.close());
  return { factors, endpoints: seen };
}

test("the version that answers the bundle's golden answers, and the other one is refused", async () => {
  expect(await ask({})).toEqual({ factors: new Set([2]), endpoints: new Set([servers[0]?.url]) });
});

test("of two versions that the app vouches for one answers", async () => {
  const { factors, endpoints } = await ask({ verified: true });
  expect([factors.size, endpoints.size]).toEqual([1, 1]);
});

test("the version that the app names answers", async () => {
  expect(await ask({ verified: true, version: "2" })).toEqual({
    factors: new Set([7]),
    endpoints: new Set([servers[1]?.url]),
  });
});
