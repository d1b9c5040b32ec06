// Starts an engine at once, like an app that ignores prerendering, and reports its observations in its own URL. The
// browser's debugger can't be used: Chromium does not prerender a page that is debugged.
import { createEngine } from "selvedge";
import { addModel } from "../../lib/test-support/backend-models.ts";

/** Observations of a prerendered page. */
export interface Prerendered {
  /** Whether it was prerendered, and for how long, in ms. */
  readonly wasPrerendered: boolean;
  readonly waitedMs: number;
  /** Workers started before it was shown. */
  readonly early: number;
  /** Number of eight runs that were answered correctly, and the errors. */
  readonly right: number;
  readonly failed: readonly string[];
  /** Workers that were restarted: healthy ones that were terminated. */
  readonly restarts: number;
}

/** Much shorter than the page is prerendered: a watchdog that counted that time would terminate a healthy worker. */
const BOUND_MS = 2_000;
const COUNT = 8;

const isHidden = (): boolean => Reflect.get(document, "prerendering") === true;
const wasPrerendered = isHidden();
let early = 0;
globalThis.Worker = class extends Worker {
  constructor(url: string | URL, options?: WorkerOptions) {
    super(url, options);
    if (isHidden()) early += 1;
  }
};

const failed: string[] = [];
let right = 0;
let restarts = 0;
const began = performance.now();
// The page that prerenders this one goes to it some time after this.
localStorage.setItem("started", "yes");
const shown = new Promise<number>((resolve) => {
  if (!wasPrerendered) resolve(0);
  document.addEventListener("prerenderingchange", () => {
    resolve(performance.now() - began);
  });
});
try {
  const engine = await createEngine({ backends: ["wasm"], workers: 2, callTimeoutMs: BOUND_MS });
  const model = await engine.load(addModel());
  const answers = Array.from({ length: COUNT }, async (_, i) => {
    const a = { dtype: "float32", dims: [1, 3], data: Float32Array.of(i, i, i) } as const;
    const { outputs } = await model.run({ a, b: a });
    if (Number(outputs["y"]?.data[2]) === 2 * i) right += 1;
  });
  await Promise.all(answers);
  restarts = engine.stats().lanes.reduce((sum, { crashes }) => sum + crashes, 0);
  await engine.close();
} catch (error) {
  failed.push(String(error));
}
const seen: Prerendered = { wasPrerendered, waitedMs: await shown, early, right, failed, restarts };
location.replace(`./blank.html?done=${encodeURIComponent(JSON.stringify(seen))}`);
