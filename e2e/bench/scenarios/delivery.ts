// Cost of delivery over a line of 20 Mbit/s and 40 ms that all connections share (line.ts): the first result
// of ocr-rec in a new browser profile and in a used one, beside transformers.js and beside a plain fetch with ONNX
// Runtime Web; the cost of hashing at each load; the bytes that a load interrupted at 90 % fetches again; the bytes of
// an update (update-bytes.ts); many models in little memory (many-models.ts).
import { openPages, PEER, preparePages, sizeOf, VARIANTS } from "./delivery-line.ts";
import type { PageName } from "./delivery-line.ts";
import type { Case, Sample } from "../kernel/kernel.ts";
import { manyModels } from "./many-models.ts";
import type { Bench } from "../kernel/run.ts";
import { CACHES_CODE, Profiles } from "./profiles.ts";
import { updateCases } from "./update-bytes.ts";

/** Pages that are compared. */
const NAMES: readonly PageName[] = [PEER, "fetch and ONNX Runtime Web, f32", "selvedge, f32", "selvedge, as shipped"];

/** Yields the cases. */
export async function* scenario(bench: Bench): AsyncGenerator<Case> {
  for (const item of await updateCases()) yield item;
  yield* manyModels(bench);
  await preparePages();
  const line = await openPages();
  const profiles = new Profiles<PageName>(bench, { ...line, before: CACHES_CODE });
  const of = (page: PageName, value: number): Sample => ({
    value,
    backend: "wasm",
    model: "ocr-rec",
    variant: VARIANTS[page],
  });
  try {
    yield {
      name: "first result, new profile",
      unit: "ms",
      statistic: "median",
      subjects: NAMES.map((name) => ({
        name,
        sample: async (slowBy) => of(name, (await profiles.visitNew(name)) * (1 + slowBy)),
      })),
      of: PEER,
      goals: [
        { subject: "selvedge, f32", on: "ratio", atMost: 0.9 },
        { subject: "selvedge, as shipped", on: "ratio", atMost: 0.5 },
      ],
      control: PEER,
      rounds: bench.rounds(5),
      warmups: 0,
    };
    yield {
      name: "first result, been here before",
      unit: "ms",
      statistic: "median",
      subjects: [
        {
          name: "selvedge, as shipped, new profile",
          sample: async () => of("selvedge, as shipped", await profiles.visitNew("selvedge, as shipped")),
        },
        ...NAMES.map((name) => ({ name, sample: async () => of(name, await profiles.visitUsed(name)) })),
      ],
      of: "selvedge, as shipped, new profile",
      goals: [{ subject: "selvedge, as shipped", on: "ratio", atMost: 0.2 }],
      rounds: bench.rounds(5),
      warmups: 0,
    };
    yield {
      name: "first result from the store",
      unit: "ms",
      statistic: "median",
      subjects: (
        ["selvedge, f32", "selvedge, f32, the hash left out", "selvedge, f32, from the HTTP cache"] as const
      ).map((name) => ({
        name,
        sample: async (slowBy) => of(name, (await profiles.visitUsed(name)) * (1 + slowBy)),
      })),
      of: "selvedge, f32, the hash left out",
      goals: [
        { subject: "selvedge, f32", on: "ratio", atMost: 1.1 },
        { subject: "selvedge, f32", minus: "selvedge, f32, from the HTTP cache", on: "value", atMost: 0 },
      ],
      control: "selvedge, f32, the hash left out",
      rounds: bench.rounds(9),
      warmups: 1,
    };
    yield {
      name: "bytes of weights, been here before",
      unit: "bytes",
      statistic: "max",
      subjects: (["selvedge, f32", "selvedge, as shipped"] as const).map((name) => ({
        name,
        sample: async () => {
          await profiles.used(name);
          const before = line.weightBytes();
          await profiles.visitUsed(name);
          return of(name, line.weightBytes() - before);
        },
      })),
      goals: [
        { subject: "selvedge, f32", on: "value", atMost: 0 },
        { subject: "selvedge, as shipped", on: "value", atMost: 0 },
      ],
      rounds: 1,
      warmups: 0,
    };
    yield {
      name: "fetched again after a tab closed at 90 %",
      unit: "share of the weights",
      statistic: "max",
      subjects: [
        {
          name: "selvedge, f32",
          sample: async () => {
            const context = await bench.newProfile();
            try {
              const tab = await context.newPage();
              await tab.goto(line.address("selvedge, f32"));
              const total = sizeOf("f32");
              const most = `globalThis.loadedBytes >= ${Math.floor(0.9 * total)}`;
              await tab.waitForFunction(most, undefined, { timeout: 60_000, polling: 20 });
              await tab.close();
              await line.idle();
              const before = line.weightBytes();
              await profiles.visit(context, "selvedge, f32");
              return of("selvedge, f32", (line.weightBytes() - before) / sizeOf("f32"));
            } finally {
              await context.close();
            }
          },
        },
      ],
      goals: [{ subject: "selvedge, f32", on: "value", atMost: 0.12 }],
      rounds: bench.rounds(3),
      warmups: 0,
    };
  } finally {
    await profiles.close();
    await line.server.close();
  }
}
