// Leaves and returns by itself, again and again, with requests in flight, and stores its observations in localStorage:
// a test's own connection to a page does not survive the back/forward cache in every browser.
//
//   ?rounds=5&backend=wasm&away=200
import { createEngine } from "selvedge";
import type { Model } from "selvedge";
import { addModel } from "../../lib/test-support/backend-models.ts";

/** Observations of a page. */
export interface Lived {
  /** Number of restores from the cache. */
  restored: number;
  /** Number of times that it was loaded again in place of being restored. */
  missed: number;
  /** Reasons why it was not restored, if the browser reports them. */
  reasons: string;
  /** Requests in flight when it left, and those made after it returned. */
  sent: number;
  right: number;
  /** Codes of errors. */
  failed: string[];
  /** Workers that were restarted: healthy ones that were terminated. */
  restarts: number;
}

const KEY = "life";
/** Number of attempts that the browser ended for a reason of its own. */
const MISSED_KEY = "life-missed";
const MOST_MISSED = 6;
/** The same where the browser tells no reason at all: a reason of the page's own would look alike. */
const MOST_UNTOLD = 2;
/** Longest pause before an attempt, which outlasts the load that another test makes. */
const LONGEST_PAUSE_MS = 16_000;
const query = new URLSearchParams(location.search);
const ROUNDS = Number(query.get("rounds"));
const AWAY = `./away.html?ms=${Number(query.get("away"))}`;

const lived: Lived = { restored: 0, missed: 0, reasons: "", sent: 0, right: 0, failed: [], restarts: 0 };

async function ask(model: Model, count: number): Promise<void> {
  const all = Array.from({ length: count }, async (_, i) => {
    lived.sent += 1;
    const a = { dtype: "float32", dims: [1, 3], data: Float32Array.of(i, i, i) } as const;
    try {
      const { outputs } = await model.run({ a, b: a });
      if (Number(outputs["y"]?.data[2]) === 2 * i) lived.right += 1;
    } catch (error) {
      lived.failed.push(String(error));
    }
  });
  await Promise.all(all);
}

function end(): void {
  lived.missed = Number(localStorage.getItem(MISSED_KEY) ?? 0);
  localStorage.setItem(KEY, JSON.stringify(lived));
  location.replace("./blank.html?done");
}

/**
 * Returns how often the browser may drop the page for the reason that it gives. Chromium has reasons that it keeps to
 * itself ("masked"), as where the page takes seconds to freeze (6 s in a handler of `freeze` show it), and names those
 * of a page that can't be cached; Firefox tells none.
 */
function mostMissed(entry: PerformanceEntry | undefined): number {
  const why = entry && (Reflect.get(entry, "notRestoredReasons") as { reasons?: unknown[] } | null | undefined);
  if (why === undefined) return MOST_UNTOLD;
  const reasons = (why?.reasons ?? []).map((x) => (x as { reason?: string }).reason);
  return reasons.length > 0 && reasons.every((x) => x === "masked") ? MOST_MISSED : 1;
}

/**
 * Resolves to whether the page was loaded again in place of being restored, and this attempt is to be reported as
 * failed. Where it may be tried again, a pause lets the machine come to rest.
 */
async function isReloaded(): Promise<boolean> {
  if (localStorage.getItem(KEY) !== "away") return false;
  const [entry] = performance.getEntriesByType("navigation");
  const missed = Number(localStorage.getItem(MISSED_KEY) ?? 0) + 1;
  localStorage.setItem(MISSED_KEY, String(missed));
  if (missed < mostMissed(entry)) {
    await new Promise((resolve) => setTimeout(resolve, Math.min(LONGEST_PAUSE_MS, 1000 * 2 ** missed)));
    // All rounds begin anew.
    return false;
  }
  lived.reasons = JSON.stringify((entry && Reflect.get(entry, "notRestoredReasons")) ?? null);
  return true;
}

async function live(): Promise<void> {
  if (await isReloaded()) {
    end();
    return;
  }
  const backend = query.get("backend") === "webgpu" ? "webgpu" : "wasm";
  const engine = await createEngine({ backends: [backend], workers: 2, callTimeoutMs: 10_000 });
  const model = await engine.load(addModel());
  // A page also marks by a lock which stored models it uses.
  if (backend === "wasm") await engine.load("/models/fashion-mlp/bundle.json");
  await ask(model, 8);
  // A lane's first start is none: the second one starts once there is work for it.
  const restarts = (): number => engine.stats().lanes.reduce((sum, lane) => sum + Math.max(0, lane.starts - 1), 0);
  let underWay: Promise<void> = Promise.resolve();
  const leave = (): void => {
    localStorage.setItem(KEY, "away");
    underWay = ask(model, 20);
    location.href = AWAY;
  };
  addEventListener("pageshow", ({ persisted }) => {
    if (!persisted) return;
    lived.restored += 1;
    void underWay
      .then(() => ask(model, 8))
      .then(async () => {
        lived.restarts = restarts();
        if (lived.restored < ROUNDS) {
          leave();
          return;
        }
        await engine.close();
        end();
      });
  });
  // Only a page that is shown and loaded can enter the cache when it is left.
  if (document.readyState !== "complete") await new Promise((resolve) => addEventListener("load", resolve));
  setTimeout(leave, 100);
}

await live();
