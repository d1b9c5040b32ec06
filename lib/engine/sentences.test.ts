// Every sentence of `info.why` and `model.why`, in sentences.txt: to be read, and reviewed, without the code.
import { expect, test } from "vitest";
import type { Bundle, Variant } from "../core/bundle.ts";
import { candidates, decide, settled, whySpared } from "../core/choose-variant.ts";
import type { AdapterFacts, DeviceFacts } from "../core/device.ts";
import { SelvedgeError } from "../core/errors.ts";
import { fitOf } from "../core/fit.ts";
import { WHY_CODES } from "../core/reasons.ts";
import type { StartWhy } from "../schedule/events.ts";
import { whyEscalated } from "./cascade.ts";
import { whyHedged } from "./hedging.ts";
import { whyRemote } from "./remote-load.ts";
import { whyRefused } from "./why-refused.ts";
import { NOT_MEASURED } from "./choose-backend.ts";
import { explain, whyShared } from "./explain-run.ts";
import { whyKept } from "./result-cache.ts";
import { whyFallback } from "./routes.ts";

const LANES = ["only-lane", "earliest-finish", "lane-queue-full", "express-lane", "wide-lane", "state-kept"] as const;
const BATCHES = [
  ...(["batched", "batch-tried", "unbatchable", "nothing-to-join"] as const),
  ...(["batch-costs", "lanes-idle", "batch-limit"] as const),
];
const START: StartWhy = {
  ...{ lane: "earliest-finish", inMs: 32, other: "wasm-1", otherInMs: 80.4 },
  ...{ batch: "batched", waitedMs: 1.8, apartMs: 44, togetherMs: 22 },
};
const GPU: AdapterFacts = {
  ...{ vendor: "google", architecture: "swiftshader", description: "", software: false },
  ...{ features: [], limits: {} },
};
const VARIANT: Variant = { id: "int8", needs: [], files: [{ path: "m", bytes: 10, chunks: [] }] };
const REFUSED = new SelvedgeError("wrong-result", "", {
  refusal: "WebGPU int8 refused: error 0.07 above 0.001 (golden check)",
});
const BUNDLE: Bundle = {
  format: 2,
  model: { name: "reader", version: "1", licence: "MIT", inputs: [], outputs: [] },
  variants: [VARIANT],
};

/** Reasons for a backend, as `model.why` has them. */
function placements(): (readonly [code: string, text: string | undefined])[] {
  const free = { backend: undefined, variant: undefined };
  const place = (
    gpu: AdapterFacts | null,
    backends: readonly ("webgpu" | "wasm")[],
    pins = free,
  ): string | undefined => {
    const device: DeviceFacts = { cores: 4, isolated: false, secure: true, jspi: true, memoryBytes: null, gpu };
    return settled(candidates(BUNDLE, device, backends, pins), device, pins)?.why.text;
  };
  const measured = (wasm: number | null, webgpu: number | null, cause?: string): string =>
    decide({ wasm, webgpu }, cause).why.text;
  return [
    ["pinned", place(GPU, ["webgpu", "wasm"], { ...free, backend: "webgpu" as never })],
    ["only-backend", place(null, ["wasm"])],
    ["only-backend", place(GPU, ["webgpu"])],
    ["software-adapter", place({ ...GPU, software: true }, ["webgpu", "wasm"])],
    ["not-measured", NOT_MEASURED.why.text],
    ["measured", measured(30, 3)],
    ["measured", measured(30, 29.9)],
    ["measurement-failed", measured(30, null, "device-lost")],
    ["measurement-failed", measured(null, 5, "out-of-memory")],
    ["golden-failed", whyRefused(REFUSED).text],
    ["gpu-fallback", whyFallback("wasm").text],
    ["crashed-before", whySpared({ backend: "webgpu", variant: VARIANT }).text],
    ["memory-short", memoryShort()],
    ...(["remote-only", "remote-helps", "weights-coming"] as const).map((x) => [x, whyRemote(x).text] as const),
    ["hedged", whyHedged(31.2, 0.95).text],
    ["escalated", whyEscalated("reader-large", 0.4137, 0.68).text],
    ["local-failed", whyRemote("local-failed", "reader does not fit in memory").text],
  ];
}

/** The sentence for a device of little memory. */
function memoryShort(): string {
  const device: DeviceFacts = {
    ...{ cores: 4, isolated: false, secure: true, jspi: true, gpu: null },
    memoryBytes: 2 ** 30,
  };
  const variant = { ...VARIANT, memoryBytes: { wasm: 800e6 } };
  return fitOf({ backend: "wasm", variant }, device, { budgetBytes: null, copiesBlobs: false, holdsBlobs: false }).why;
}

/** Reasons of a run, as `info.why` has them. */
function runs(): (readonly [code: string, text: string | undefined])[] {
  const routeWhy = { code: "measured", text: "" } as const;
  const grounds = { routeWhy, start: START, lane: "wasm-0", count: 4, failures: [], lateMs: 0 };
  const failures = [{ lane: "webgpu-0", ms: 120.2, error: "device-lost" }];
  const all = explain({ ...grounds, failures, lateMs: 3.14 }).reasons;
  return [
    ...LANES.map((lane) => [lane, explain({ ...grounds, start: { ...START, lane } }).reasons[1]?.text] as const),
    ...BATCHES.map((batch) => [batch, explain({ ...grounds, start: { ...START, batch } }).reasons[2]?.text] as const),
    ["retried", all.find((x) => x.code === "retried")?.text],
    ["late", all.find((x) => x.code === "late")?.text],
    ["cached", whyKept("wasm-0", 31).text],
    ["coalesced", whyShared("wasm-0", 31).text],
  ];
}

test("every code has its meaning and its sentence, which read without the code", async () => {
  const sentences = [...placements(), ...runs()];
  const lines = Object.entries(WHY_CODES).map(([code, meaning]) => {
    const texts = sentences.filter(([x]) => x === code).map(([, text]) => `  “${text}”\n`);
    return `${code}\n  ${meaning}\n${texts.join("")}`;
  });
  expect([...new Set(sentences.map(([code]) => code))].sort()).toEqual(Object.keys(WHY_CODES).sort());
  expect(sentences.filter(([, text]) => text === undefined || /undefined|NaN/.test(text))).toEqual([]);
  await expect(lines.join("\n")).toMatchFileSnapshot("sentences.txt");
});
