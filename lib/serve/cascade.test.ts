// A cascade with a real server: the larger model runs in ONNX Runtime behind real HTTP; the device, with the small model,
// is simulated, and its clock stands still while a request is under way.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describe as describeModel } from "../compress/bundle/describe.ts";
import { writeBundle } from "../compress/bundle/pack.ts";
import { floatTensor } from "../compress/onnx/tensor-proto.ts";
import type { Bundle } from "../core/bundle.ts";
import type { Model } from "../engine/model.ts";
import type { RunResult } from "../engine/result.ts";
import { smallModel } from "../test-support/compress/fixtures.ts";
import { goldenBundle } from "../test-support/remote/remote-stage.ts";
import { openScene } from "../test-support/simulate/fixtures.ts";
import type { EngineScene } from "../test-support/simulate/fixtures.ts";
import { counted } from "../test-support/simulate/real-work.ts";
import { startServer } from "./server.ts";
import type { RunningServer } from "./server.ts";

let folder: string;
let server: RunningServer;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "selvedge-cascade-test-"));
  const model = smallModel({
    opset: 17,
    inputs: { x: ["n", 2] },
    outputs: ["y"],
    outputDims: { y: ["n", 2] },
    initializers: [floatTensor("five", [1], Float32Array.of(5))],
    nodes: [{ opType: "Mul", input: ["x", "five"], output: ["y"] }],
  });
  const variants = [{ id: "f32", needs: [], files: [{ path: "model.onnx", model }] }];
  await writeBundle(folder, { model: await describeModel(model, "big.onnx", undefined), variants });
  server = await startServer({ bundles: [folder], port: 0, lanes: 1, threads: 1, logLevel: "silent" });
  await server.ready;
}, 120_000);

afterAll(async () => {
  await server.close();
  rmSync(folder, { recursive: true, force: true });
}, 120_000);

/** Opens a device with the small model, y = 2 x, whose unsure answers go to the larger one, y = 5 x. */
async function open(): Promise<{ readonly scene: EngineScene; readonly model: Model }> {
  const classes = (model: Bundle["model"]): Bundle["model"] => ({
    ...model,
    outputs: model.outputs.map((x) => ({ ...x, decode: { op: "softmax" } })),
  });
  const [small, big] = [goldenBundle({ f32: 2 }, classes), goldenBundle({ f32: 5 }, classes, "big")];
  const cascade = { bundle: "/big.json", escalateBelow: 0.9, waitMs: 5_000 };
  const scene = await openScene({
    placement: "auto",
    remote: { endpoints: [server.url], models: { m: { cascade } }, costMs: 100_000 },
    bundles: { ...small.bundles, ...big.bundles },
    files: { ...small.files, ...big.files },
  });
  const whole = async (url: string, init: RequestInit): Promise<Response> => {
    const reply = await fetch(url, init);
    return new Response(await reply.arrayBuffer(), reply);
  };
  scene.world.fetchRemote = (url, init) => counted(whole(url, init));
  return { scene, model: await scene.load("m") };
}

const ask = ({ scene, model }: Awaited<ReturnType<typeof open>>, x: number): Promise<RunResult> =>
  scene.world.finish(model.run({ x: { dtype: "float32", dims: [1, 2], data: Float32Array.of(x, 0) } }));

/** Requests that the server has answered for the larger model. */
const answered = async (): Promise<number> => {
  const text = await (await fetch(`${server.url}/metrics`)).text();
  return Number(/selvedge_requests_total\{[^}]*big[^}]*status="200"[^}]*\} (\d+)/.exec(text)?.[1] ?? 0);
};

test("the larger model of a real server answers what the device is unsure of, until the server ends", async () => {
  const both = await open();
  await expect.poll(async () => (await ask(both, 0.2)).info.why.code, { timeout: 20_000 }).toBe("escalated");
  const before = await answered();
  const unsure = await ask(both, 0.3);
  expect([Number(unsure.outputs["y"]?.data[0]), unsure.info.endpoint]).toEqual([1.5, server.url]);
  const sure = await ask(both, 3);
  expect([Number(sure.outputs["y"]?.data[0]), sure.info.placement]).toEqual([6, "local"]);
  expect(await answered()).toBe(before + 1);
  await server.close();
  const alone = await ask(both, 0.3);
  expect([Number(alone.outputs["y"]?.data[0]).toFixed(3), alone.info.placement]).toEqual(["0.600", "local"]);
  expect(both.scene.engine.stats().requests).toMatchObject({ failed: 0, queued: 0, running: 0 });
});
