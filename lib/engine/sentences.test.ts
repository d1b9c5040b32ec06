// Every sentence of `info.why` and `model.why`, in sentences.txt: to be read, and reviewed, without the code.
import { join } from "node:path";
import { expect, test } from "vitest";
import type { Bundle, Variant } from "../core/bundle.ts";
import { candidates, decide, settled, whySpared } from "../core/choose-variant.ts";
import type { AdapterFacts, DeviceFacts } from "../core/device.ts";
import { plan } from "../cache/plan.ts";
import { faultOf } from "../core/compare-outputs.ts";
import { SelvedgeError } from "../core/errors.ts";
import { WHY_CODES } from "../core/reasons.ts";
import type { Tensor } from "../core/tensor.ts";
import type { StartWhy } from "../schedule/events.ts";
import { criteriaFor } from "../test-support/cache-fixtures.ts";
import { errorTexts } from "../test-support/error-texts.ts";
import { whyEscalated } from "./cascade.ts";
import { whyHedged } from "./hedging.ts";
import { whyRemote } from "./remote-load.ts";
import { whyRefused } from "./why-refused.ts";
import { NOT_MEASURED } from "./choose-backend.ts";
import { explain, whyShared } from "./explain-run.ts";
import { whyKept } from "./result-cache.ts";
import { whyFallback } from "./routes.ts";
import { unverified } from "./unverified.ts";

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
const REFUSED = faults().map((fault) => `WebGPU int8 refused: ${fault} (golden check)`);
const BUNDLE: Bundle = {
  format: 2,
  model: { name: "reader", version: "1", licence: "MIT", inputs: [], outputs: [] },
  variants: [VARIANT],
};

/** Where the texts are that say why an answer of WebGPU was not compared. */
const UNVERIFIED = { returned: ["golden", "of"], given: { onUnchecked: 0 }, isWithoutErrors: true };

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
    ["only-backend", place(GPU, ["wasm"])],
    ["only-backend", place(GPU, ["webgpu"])],
    ["software-adapter", place({ ...GPU, software: true }, ["webgpu", "wasm"])],
    ["not-measured", NOT_MEASURED.why.text],
    ["measured", measured(30, 3)],
    ["measured", measured(30, 29.9)],
    ["measurement-failed", measured(30, null, "device-lost")],
    ["measurement-failed", measured(null, 5, "out-of-memory")],
    ...REFUSED.map((refusal) => refused(new SelvedgeError("wrong-result", "", { refusal }))),
    refused(unverified("int8", "out-of-memory")),
    ["gpu-fallback", whyFallback("wasm").text],
    ["crashed-before", whySpared({ backend: "webgpu", variant: VARIANT }).text],
    ...memoryShort().map((text) => ["memory-short", text] as const),
    ...(["remote-only", "remote-helps", "weights-coming"] as const).map((x) => [x, whyRemote(x).text] as const),
    ["hedged", whyHedged(31.2, 0.95).text],
    ["escalated", whyEscalated("reader-large", 0.4137, 0.68).text],
    ["local-failed", whyRemote("local-failed", "reader does not fit in memory").text],
  ];
}

/** A refused variant. */
function refused(error: SelvedgeError): readonly [code: string, text: string] {
  const { code, text } = whyRefused(error);
  return [code, text];
}

/** The faults of answers. */
function faults(): string[] {
  const of = (own: Partial<Tensor>, wanted: Partial<Tensor> = {}): string => {
    const y: Tensor = { dtype: "float32", dims: [2], data: Float32Array.of(1, 2) };
    return faultOf({ y: { ...y, ...own } as Tensor }, { y: { ...y, ...wanted } as Tensor }, false) ?? "";
  };
  const classes = (...of: number[]) => ({ dtype: "int32", data: Int32Array.from(of) }) as const;
  return [
    faultOf({}, { y: { dtype: "float32", dims: [1], data: Float32Array.of(1) } }, false) ?? "",
    of({ dims: [1, 2] }),
    of(classes(3, 5), classes(3, 4)),
    of({ data: Float32Array.of(1, Number.NaN) }),
    of({ data: Float32Array.of(1, 0.5) }, { data: Float32Array.of(1, Infinity) }),
    of({ data: Float32Array.of(1, 2.14) }),
  ];
}

/** The sentences on devices of little memory: each limit, and what was done. */
function memoryShort(): (string | undefined)[] {
  const variant = (id: string, more: Partial<Variant> = {}): Variant => ({ ...VARIANT, id, ...more });
  const large = variant("f32", { memoryBytes: { wasm: 800e6, webgpu: 800e6 } });
  const small = variant("int8", { memoryBytes: { wasm: 90e6, webgpu: 90e6 }, speed: { wasm: 2, webgpu: 2 } });
  const device: DeviceFacts = { cores: 4, isolated: false, secure: true, jspi: true, memoryBytes: null, gpu: null };
  const memory = { budgetBytes: null, copiesBlobs: false, holdsBlobs: false };
  const planned = (variants: readonly Variant[], more: Parameters<typeof criteriaFor>[0] = {}) =>
    plan(
      { bundle: { ...BUNDLE, variants }, identity: "", data: null, seen: null, refused: null },
      criteriaFor({ device, memory, ...more }),
    );
  const spared = (...given: Parameters<typeof planned>): string | undefined => planned(...given).spared?.text;
  const both = [large, small];
  const gpu = { ...GPU, limits: { maxBufferSize: 2e9, maxStorageBufferBindingSize: 128e6 } };
  const tables = { ...large, tensorBytes: 0.2e9, activationBytes: { wasm: 0, webgpu: 0 } };
  return [
    spared(both, { device: { ...device, memoryBytes: 2 ** 30 } }),
    spared(both, { device: { ...device, memoryBytes: 2 ** 32 }, memory: { ...memory, elsewhereBytes: 500e6 } }),
    spared(both, { memory: { ...memory, budgetBytes: 200e6 } }),
    spared([{ ...large, memoryBytes: { wasm: 4.1e9 } }, small]),
    spared([tables, small], { backends: ["webgpu"], device: { ...device, memoryBytes: 2 ** 35, gpu } }),
    spared(both, { full: [{ backend: "wasm", variant: large }] }),
    planned(both).smaller?.why?.text,
    spared([large], { memory: { ...memory, budgetBytes: 200e6 } }),
  ];
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
  expect(sentences.filter(([, text]) => text === undefined || /undefined|NaN|refused: +\(/.test(text))).toEqual([]);
  // After a reason for WebGPU whose answers could not be compared.
  const found = errorTexts(join(import.meta.dirname, "loader.ts"), UNVERIFIED);
  const unchecked = [...found.values()]
    .flat()
    .map((text) => `  “; ${text.replace(/^(?:; unverified: )?/, "unverified: ")}”\n`);
  lines.push(`After each of them, on WebGPU\n${unchecked.join("")}`);
  await expect(lines.join("\n")).toMatchFileSnapshot("sentences.txt");
});
