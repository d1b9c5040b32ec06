// Deadlines of requests that have left one backend and wait until the next one can take them.
import { expect, test } from "vitest";
import { codeOf } from "../core/errors.ts";
import { load, stage } from "../test-support/remote/remote-stage.ts";

/** An engine whose device has answered and then breaks, beside a server that does not answer its first request. */
async function broken() {
  let isBroken = false;
  const scene = await stage({ placement: "auto", cores: 1, drawFault: () => (isBroken ? "error" : null) });
  scene.server.ms = 1e8;
  const model = await load(scene);
  await scene.pass(500);
  expect(model.backend).toBe("wasm");
  isBroken = true;
  scene.world.faults = true;
  return { scene, model };
}

test.each([500, 1_000])(
  "a deadline of %d ms holds while a server does not answer (between-deadline)",
  async (deadlineMs) => {
    const { scene, model } = await broken();
    const startMs = scene.world.now;
    const code = await scene.world.finish(scene.run(model, 1, { deadlineMs }).then(() => null, codeOf));
    expect(code).toBe("deadline-exceeded");
    expect(scene.world.now - startMs).toBeGreaterThanOrEqual(deadlineMs);
    expect(scene.world.now - startMs).toBeLessThan(deadlineMs + 100);
  },
);

test("a request without a deadline waits until the server counts as failed", async () => {
  const { scene, model } = await broken();
  const startMs = scene.world.now;
  const code = await scene.world.finish(scene.run(model, 1).then(() => null, codeOf));
  expect(code).toBe("remote-failed");
  expect(scene.world.now - startMs).toBeGreaterThan(2_000);
});
