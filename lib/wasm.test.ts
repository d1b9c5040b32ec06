import { expect, test } from "vitest";
import { createEngine } from "./wasm.ts";
import { World } from "./test-support/simulate/world.ts";
import { Random } from "./test-support/random.ts";
import { TOY_GPU } from "./test-support/simulate/fixtures.ts";
import { createToyBackend, TOY_CHUNK, toyBundle } from "./test-support/simulate/toy-backend.ts";

const BUNDLE = "https://app.test/m.json";

/** A browser with a GPU and JSPI. */
const world = (): World =>
  new World({
    random: new Random(1),
    gpu: TOY_GPU,
    cores: 2,
    files: new Map([
      [BUNDLE, toyBundle("m", 2)],
      [`https://app.test/${TOY_CHUNK.path}`, TOY_CHUNK.content],
    ]),
    createBackend: createToyBackend,
    drawFault: () => null,
    log: null,
  });

test("the GPU is not used, nor even probed", async () => {
  const page = world();
  const effects = { ...page.effects, probeGpu: () => Promise.reject(new Error("probed")) };
  const engine = await createEngine({ effects });
  const model = await page.finish(engine.load(BUNDLE));
  expect(engine.device.gpu).toBeNull();
  expect(model.backend).toBe("wasm");
});

test.each([[["webgpu"]], [["webgpu", "wasm"]]] as const)("backends %j are refused by name", async (backends) => {
  await expect(createEngine({ effects: world().effects, backends })).rejects.toThrow(
    /^backends: "selvedge\/wasm" has no "webgpu"; import "selvedge"/,
  );
});

test("a load that sets webgpu says that this entry has no build for it", async () => {
  const page = world();
  const engine = await createEngine({ effects: page.effects });
  await expect(page.finish(engine.load(BUNDLE, { backend: "webgpu" }))).rejects.toMatchObject({
    code: "no-backend",
    message: expect.stringMatching(/"selvedge\/wasm" has no "webgpu"; import "selvedge"/) as string,
    details: { backend: "webgpu", reason: "pinned" },
  });
});
