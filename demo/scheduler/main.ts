// The page /scheduler/: a load of four classes, what Selvedge's lanes make of it, and beside it a simulation of first
// in, first out with the same requests.
//
//   ?backend=wasm   leaves the GPU out
//   ?load=calm      or full, over: the initial load
import { createEngine } from "selvedge";
import type { Engine, Model } from "selvedge";
import { backendIn, find, Status } from "../status.ts";
import { CLASSES } from "./classes.ts";
import type { Class } from "./classes.ts";
import { Fifo } from "./fifo.ts";
import { isUsual, Load } from "./load.ts";
import { Tally } from "./tally.ts";
import { Timeline } from "./timeline.ts";

const query = new URLSearchParams(location.search);
const WINDOW_MS = 10_000;
/** Few enough frames per second that drawing takes nothing from the lanes. */
const DRAW_MS = matchMedia("(prefers-reduced-motion: reduce)").matches ? 2_000 : 100;
const TABLE_MS = 1_000;
const PATIENCE_MS = 2_000;
const TRACE_SECONDS = 5;
/** Initial rates as shares of the lanes' measured capacity: camera, fraud check, recommendation, index. */
const LOADS = { calm: [0.02, 0.05, 0.1, 0.1], full: [0.03, 0.1, 0.2, 0.5], over: [0.05, 0.3, 0.6, 1.2] } as const;
const RATE_MAX = 400;

const status = new Status(find("status"), find("progress", HTMLProgressElement));
const ours = new Tally(WINDOW_MS);
const plain = new Tally(WINDOW_MS);
const sliders = new Map<Class, HTMLInputElement>();
const reasons = new Map<Class, string>();

async function start(): Promise<void> {
  const only = backendIn(query);
  const engine = await createEngine(only === undefined ? {} : { backends: [only] });
  const models = await loadModels(engine);
  const used = new Set([...models.values()].map(({ backend }) => backend));
  const lanes = engine
    .stats()
    .lanes.filter(({ backend }) => used.has(backend))
    .map(({ id }) => id);
  const usual = lanes.filter(isUsual);
  const fifo = new Fifo(Math.max(1, usual.length), PATIENCE_MS);
  const load = new Load(models, {
    onCall: (of, calledMs) => {
      plain.add(fifo.arrive(of, calledMs));
    },
    onSettled: (settled, ms) => {
      ours.add(settled);
      reasons.set(settled.of, settled.outcome === "answered" ? settled.why : `${settled.outcome}: ${settled.why}`);
      if (ms !== null) fifo.learn(settled.of.model, ms);
    },
  });
  status.say("Running each model a few times …");
  const most = await load.warmUp();
  ours.clear();
  offer(engine, load, fifo, most);
  const pictures = [
    { timeline: new Timeline(find("selvedge", HTMLCanvasElement), lanes), tally: ours },
    { timeline: new Timeline(find("fifo", HTMLCanvasElement), fifo.lanes), tally: plain },
  ];
  load.start();
  status.show("ready", `Requests run on ${[...used].join(" and ")}, on ${lanes.length} lanes.`);
  setInterval(() => {
    const nowMs = performance.now();
    if (!document.hidden) for (const { timeline, tally } of pictures) timeline.draw(nowMs, tally.recent(nowMs));
  }, DRAW_MS);
  setInterval(() => {
    tell(engine);
  }, TABLE_MS);
}

async function loadModels(engine: Engine): Promise<Map<string, Model>> {
  const names = [...new Set(CLASSES.map(({ model }) => model))];
  const models = new Map<string, Model>();
  for (const [i, name] of names.entries()) {
    const bundle = new URL(`../models/${name}/bundle.json`, document.baseURI).href;
    const onProgress = ({ loadedBytes, totalBytes }: { loadedBytes: number; totalBytes: number | null }): void => {
      if (totalBytes !== null) status.progress((i + loadedBytes / totalBytes) / names.length);
    };
    models.set(name, await engine.load(bundle, { onProgress }));
  }
  return models;
}

function offer(engine: Engine, load: Load, fifo: Fifo, most: ReadonlyMap<Class, number>): void {
  const fieldset = find("load", HTMLFieldSetElement);
  for (const of of CLASSES) {
    const max = Math.min(RATE_MAX, Math.ceil((most.get(of) ?? 1) / 5) * 10);
    const { row, input, output } = slider(of, max);
    const set = (): void => {
      const rate = Number(input.value);
      output.textContent = `${rate}/s`;
      load.setRate(of, rate);
    };
    input.addEventListener("input", set);
    sliders.set(of, input);
    fieldset.append(row);
  }
  const choose = (name: keyof typeof LOADS): void => {
    for (const [i, of] of CLASSES.entries()) {
      const input = sliders.get(of) as HTMLInputElement;
      input.value = String(Math.max(1, Math.round((most.get(of) ?? 1) * (LOADS[name][i] ?? 0))));
      input.dispatchEvent(new Event("input"));
    }
    // Earlier results do not apply to this load.
    for (const tally of [ours, plain]) tally.clear();
    fifo.clear(performance.now());
  };
  for (const name of ["calm", "full", "over"] as const)
    ready(name).addEventListener("click", () => {
      choose(name);
      status.say(`${find(name).textContent}: request rates changed.`);
    });
  fieldset.disabled = false;
  const first = query.get("load");
  choose(first === "calm" || first === "over" ? first : "full");
  const pause = ready("pause");
  let isPaused = false;
  pause.addEventListener("click", () => {
    isPaused = !isPaused;
    pause.textContent = isPaused ? "Resume" : "Pause";
    if (isPaused) load.stop();
    else load.start();
  });
  const trace = ready("trace");
  trace.addEventListener("click", () => {
    trace.disabled = true;
    status.say(`Recording for ${TRACE_SECONDS} seconds …`);
    saveTrace(engine).then(
      (bytes) => {
        trace.disabled = false;
        status.say(`Saved trace.json, ${(bytes / 1e6).toFixed(1)} MB.`);
      },
      (error: unknown) => {
        trace.disabled = false;
        status.say(messageOf(error));
      },
    );
  });
}

function ready(id: string): HTMLButtonElement {
  const button = find(id, HTMLButtonElement);
  button.disabled = false;
  return button;
}

function slider(of: Class, max: number): { row: HTMLElement; input: HTMLInputElement; output: HTMLOutputElement } {
  const row = document.createElement("div");
  const label = document.createElement("label");
  const name = document.createElement("span");
  const key = document.createElement("span");
  const input = document.createElement("input");
  const output = document.createElement("output");
  key.className = `key ${of.id}`;
  name.append(key, of.name);
  label.htmlFor = input.id = `rate-${of.id}`;
  label.append(name, output);
  Object.assign(input, { type: "range", min: "0", max: String(max), step: "1", value: "0" });
  output.htmlFor.add(input.id);
  // A slider announces its value itself.
  output.setAttribute("aria-live", "off");
  row.append(label, input);
  return { row, input, output };
}

async function saveTrace(engine: Engine): Promise<number> {
  const trace = await engine.trace({ seconds: TRACE_SECONDS });
  const blob = new Blob([JSON.stringify(trace)], { type: "application/json" });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = "trace.json";
  link.click();
  // The browser holds its own reference once the download has begun.
  setTimeout(() => {
    URL.revokeObjectURL(link.href);
  }, 60_000);
  return blob.size;
}

/**
 * Fills the table, with the reasons for the placement of the last requests. It is not announced: it changes every
 * second.
 */
function tell(engine: Engine): void {
  const nowMs = performance.now();
  const [own, other] = [ours.counts(nowMs), plain.counts(nowMs)];
  find("outcome").replaceChildren(
    ...CLASSES.map((of) => {
      const row = document.createElement("tr");
      const [a, b] = [own.get(of), other.get(of)];
      const hasDeadline = of.deadlineMs < Number.POSITIVE_INFINITY;
      const head = document.createElement("th");
      head.scope = "row";
      head.textContent = of.name;
      row.append(head);
      const cells = [
        hasDeadline ? `${of.deadlineMs} ms` : "–",
        String(a?.asked ?? 0),
        hasDeadline ? share(a) : "–",
        hasDeadline ? share(b) : "–",
        msOf(a?.p99Ms),
        msOf(b?.p99Ms),
        String(a?.refused ?? 0),
      ];
      for (const [i, text] of cells.entries()) {
        const cell = document.createElement("td");
        cell.className = (i === 2 || i === 3) && isBad(text) ? "number bad" : "number";
        cell.textContent = text;
        row.append(cell);
      }
      Object.assign(row.dataset, { class: of.id, asked: a?.asked, ontime: a?.onTime, plain: b?.onTime });
      return row;
    }),
  );
  const { batches, lanes } = engine.stats();
  const busy = lanes.map(({ id, utilisation }) => `${id} ${Math.round(100 * utilisation)} %`);
  find("batches").textContent =
    `${batches.requests} requests in ${batches.executions} batches, ${batches.mean.toFixed(2)} per batch; lanes busy: ${busy.join(", ")}.`;
  find("reasons").replaceChildren(
    ...CLASSES.flatMap((of) => {
      const [term, text] = [document.createElement("dt"), document.createElement("dd")];
      term.textContent = of.name;
      text.textContent = reasons.get(of) ?? "–";
      return [term, text];
    }),
  );
}

function share(count: { readonly asked: number; readonly onTime: number } | undefined): string {
  if (count === undefined || count.asked === 0) return "–";
  return `${((100 * count.onTime) / count.asked).toFixed(1)} %`;
}

function isBad(text: string): boolean {
  return Number.parseFloat(text) < 95;
}

function msOf(ms: number | null | undefined): string {
  return ms == null ? "–" : `${ms.toFixed(ms < 10 ? 1 : 0)} ms`;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

try {
  await start();
} catch (error) {
  status.show("error", messageOf(error));
}
