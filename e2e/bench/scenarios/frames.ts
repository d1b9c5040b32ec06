// Cases of scenario `overhead`: main-thread cost of converting a frame to a tensor, passed directly or read back
// through a canvas and normalised in JavaScript. On WebGPU, where the former stays on the GPU.
import type { Case, Subject } from "../kernel/kernel.ts";
import type { Bench } from "../kernel/run.ts";
import type { FrameCost, Way } from "../../pages/frame-cost.ts";

const BY_HAND: Way = "getImageData and JavaScript";
const FRAMES = 3;

/** Yields the case; it holds a page of its own open. */
export async function* frameCases({ browser, url, rounds }: Bench): AsyncGenerator<Case> {
  const page = await browser.newPage();
  await page.goto(`${url}frame-cost.html`);
  await page.waitForFunction("globalThis.frameCost !== undefined");
  await page.evaluate("globalThis.frameCost.setUp()");
  const subject = (way: Way): Subject => ({
    name: way,
    sample: async (slowBy) => {
      const given = JSON.stringify([way, FRAMES, slowBy]);
      const { ms, backend } = await page.evaluate<FrameCost>(`globalThis.frameCost.sample(...${given})`);
      return { value: ms, backend, model: "face", variant: "f32" };
    },
  });
  yield {
    name: "frame-to-tensor",
    unit: "ms",
    statistic: "median",
    subjects: [subject(BY_HAND), subject("handed over")],
    of: BY_HAND,
    goals: [],
    rounds: rounds(10),
    warmups: 1,
  };
  await page.close();
}
