// The page /faults/: a stream of requests, buttons that inject faults, and the result of each request.
//
//   ?bound=10000   timeout of every call in ms: how long a stalled worker goes unnoticed
//   ?backend=wasm  leaves the GPU out
import { createEngine } from "selvedge";
import type { Progress } from "selvedge";
import { backendIn, find, Status } from "../status.ts";
import { Saboteur } from "./saboteur.ts";
import { Stream } from "./stream.ts";
import type { Settled } from "./stream.ts";
import { Timeline } from "./timeline.ts";

const query = new URLSearchParams(location.search);
const BOUND_MS = Math.max(1_000, Number(query.get("bound") ?? 10_000) || 10_000);
const DRAW_MS = 200;
const PATHS = 12;
/** Browsers disable WebGPU for a page that loses it twice within this time. */
const GPU_REST_MS = 120_000;

const status = new Status(find("status"), find("progress", HTMLProgressElement));
const pauseButton = find("pause", HTMLButtonElement);
const saboteur = new Saboteur();

async function start(): Promise<void> {
  find("bound").textContent = `${BOUND_MS / 1000} s`;
  const only = backendIn(query);
  const engine = await createEngine({ workers: 2, callTimeoutMs: BOUND_MS, ...(only && { backends: [only] }) });
  const lanes = engine.stats().lanes.map(({ id }) => id);
  const timeline = new Timeline(find("timeline"), lanes);
  const stream = new Stream((settled) => {
    timeline.add(settled);
    if (settled.history.length > 1 || settled.error !== null || !settled.isRight) tell(settled);
  });
  const bundle = new URL("../models/ocr-cls/bundle.json", document.baseURI).href;
  const used: string[] = [];
  let without = "";
  for (const backend of ["wasm", "webgpu"] as const) {
    if (!lanes.some((lane) => lane.startsWith(backend))) continue;
    try {
      await stream.add(await engine.load(bundle, { backend, onProgress: showProgress }));
      used.push(backend);
    } catch (error) {
      if (used.length === 0) throw error;
      without = ` The GPU is left out: ${messageOf(error)}`;
    }
  }
  stream.start();
  offer(stream, used.includes("webgpu"));
  status.show("ready", `Requests run on ${used.join(" and ")}.${without}`);
  setInterval(() => {
    count(stream);
    timeline.draw(performance.now(), [...stream.inFlight.values()]);
  }, DRAW_MS);
}

function showProgress({ loadedBytes, totalBytes }: Progress): void {
  if (totalBytes !== null) status.progress(loadedBytes / totalBytes);
}

function offer(stream: Stream, hasGpu: boolean): void {
  for (const button of document.querySelectorAll<HTMLButtonElement>("button[data-fault]")) {
    const fault = button.dataset["fault"] as "kill" | "throw" | "hang" | "destroy";
    if (fault === "destroy" && !hasGpu) {
      button.title = "This device has no WebGPU adapter that is fast enough.";
      continue;
    }
    button.disabled = false;
    button.addEventListener("click", () => {
      if (fault === "destroy") {
        saboteur.harmAll(fault, true);
        button.disabled = true;
        setTimeout(() => {
          button.disabled = false;
        }, GPU_REST_MS);
      } else if (fault === "kill") saboteur.endNext();
      else saboteur.harmUsed(fault, true);
      status.say(SAID[fault]);
    });
  }
  let isPaused = false;
  pauseButton.disabled = false;
  pauseButton.addEventListener("click", () => {
    isPaused = !isPaused;
    pauseButton.textContent = isPaused ? "Resume" : "Pause";
    if (isPaused) stream.stop();
    else stream.start();
  });
}

const SAID = {
  kill: "The worker of the next call is terminated. No event is fired; its Web Lock is released.",
  throw: "The next call crashes its worker.",
  hang: "The next call hangs; the watchdog must detect it.",
  destroy: "The GPU device will be destroyed during the next run.",
} as const;

/**
 * Shows the counts. A request is lost if it is neither settled nor still can be: three attempts, each with its timeout.
 */
function count({ counts, inFlight }: Stream): void {
  const oldest = performance.now() - 3 * (2 * BOUND_MS + 10_000);
  const lost = [...inFlight.values()].filter((sentMs) => sentMs < oldest).length;
  const { sent, answered, again, failed, wrong } = counts;
  const shown = { sent, answered, retried: again, "in flight": inFlight.size, failed, wrong, lost };
  const list = find("counts");
  Object.assign(list.dataset, { sent, answered, again, failed, wrong, lost });
  list.replaceChildren(
    ...Object.entries(shown).map(([name, value]) => {
      const pair = document.createElement("div");
      const term = document.createElement("dt");
      const number = document.createElement("dd");
      term.textContent = name;
      number.textContent = String(value);
      if (["failed", "wrong", "lost"].includes(name) && value > 0) pair.className = "bad";
      pair.append(term, number);
      return pair;
    }),
  );
}

/** Reports the attempts of a request that was not answered at the first one. */
function tell({ id, startMs, endMs, history, error, isRight }: Settled): void {
  const list = find("paths");
  const item = document.createElement("li");
  const tries = history.map(({ lane, ms, error }) => `${lane} ${error ?? "answered"} after ${ms.toFixed(0)} ms`);
  const end = error !== null ? `failed: ${error}` : isRight ? "right" : "WRONG";
  item.textContent = `Request ${id}: ${[...tries, end].join(" → ")}; ${(endMs - startMs).toFixed(0)} ms in total`;
  if (error !== null || !isRight) item.className = "bad";
  list.querySelector(".none")?.remove();
  list.prepend(item);
  while (list.children.length > PATHS) list.lastElementChild?.remove();
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

try {
  await start();
} catch (error) {
  status.show("error", messageOf(error));
}
