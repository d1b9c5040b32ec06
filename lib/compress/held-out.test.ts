import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { classifier, seededFloats, twoLayers } from "../test-support/compress/fixtures.ts";
import { compress } from "./compress.ts";
import type { CompressOptions } from "./compress-options.ts";
import type { CompressReport, FormReport } from "./report/report.ts";
import { sqnrTally, winners } from "./run/metric.ts";
import { firstFeeds, openSamples } from "./run/samples.ts";
import { runAll } from "./run/session.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "selvedge-held-out-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const write = (name: string, content: string | Uint8Array): string => {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
};

/** A random sample; seeds that lie close together would begin alike. */
const sample = (seed: number, inputs: number): number[] => [
  ...seededFloats(inputs, 1 + ((seed * 7_368_787) % 2 ** 31)),
];

async function run(path: string, samples: number, options: Partial<CompressOptions> = {}): Promise<CompressReport> {
  const lines = Array.from({ length: samples }, (_, i) => JSON.stringify([sample(i, 96)]));
  const given = { samples: write("samples.jsonl", lines.join("\n")), targets: ["wasm"], sensitivityMs: 0 } as const;
  return compress(path, { out: join(folder, "out"), forms: ["int8"], ...given, ...options });
}

const mlp = (): string => write("model.onnx", twoLayers({ opset: 13, inputs: 96, units: 160, outputs: 48 }).write());
const formOf = (report: CompressReport, id: string): FormReport | undefined => report.forms.find((x) => x.id === id);

test("the score holds on samples that the toolchain never saw, within its interval", { timeout: 120_000 }, async () => {
  const path = mlp();
  const report = await run(path, 48);
  expect(report.samples).toEqual({ n: 48, fitted: 24, scored: 24, isSynthetic: false });
  const int8 = formOf(report, "int8");
  expect(int8?.interval?.method).toBe("bootstrap");
  const unseen = Array.from({ length: 24 }, (_, i) => ({
    x: { dtype: "float32" as const, dims: [1, 96], data: Float32Array.from(sample(50_000 + i, 96)) },
  }));
  const tally = sqnrTally();
  const [was, now] = [await runAll(path, unseen), await runAll(join(folder, "out", "int8.onnx"), unseen)];
  for (const [i, reference] of was.entries()) tally.add({ reference, outputs: now[i] ?? {} });
  expect(tally.value()).toBeGreaterThanOrEqual(int8?.interval?.low ?? Infinity);
  expect(tally.value()).toBeLessThanOrEqual(int8?.interval?.high ?? -Infinity);
});

test("with too few samples no form is called passed, and float32 is the default", { timeout: 120_000 }, async () => {
  const report = await run(mlp(), 12);
  expect(formOf(report, "int8")).toMatchObject({ isTooFewToTell: true, isWithinBudget: false });
  expect(report.defaults).toEqual({ wasm: "f32" });
  expect(report.bundle?.variants).toEqual(["f32"]);
});

describe("a form that runs float32's kernels once loaded", () => {
  test("takes float32's time by construction", { timeout: 120_000 }, async () => {
    const report = await run(mlp(), 40);
    expect(formOf(report, "int8")?.checks).toMatchObject([{ target: "wasm", verdict: "passed", speed: 1 }]);
  });
});

test(
  "class folders are labelled samples: float32's own answers as folders give it a score of 1",
  { timeout: 120_000 },
  async () => {
    const path = write("model.onnx", classifier({ channels: 3, size: 12, classes: 5 }).write());
    const images = Array.from({ length: 36 }, (_, i) => {
      const pixels = Uint8Array.from(seededFloats(432, 1 + i * 7_368_787), (x) => Math.round((x + 1) * 127));
      return sharp(pixels, { raw: { width: 12, height: 12, channels: 3 } }).png();
    });
    mkdirSync(join(folder, "all"));
    for (const [i, image] of images.entries()) await image.toFile(join(folder, "all", `${i}.png`));
    const port = { name: "x", dtype: "float32", dims: [1, 3, 12, 12], batchAxis: null } as const;
    const feeds = await firstFeeds(await openSamples(join(folder, "all"), [port], 100), 100);
    const answers = (await runAll(path, feeds)).map((x) => winners(x)[0] ?? 0);
    const names = readdirSync(join(folder, "all")).sort();
    for (const [i, name] of names.entries()) {
      mkdirSync(join(folder, "photos", String(answers[i])), { recursive: true });
      renameSync(join(folder, "all", name), join(folder, "photos", String(answers[i]), name));
    }
    const out = join(folder, "out");
    const samples = join(folder, "photos");
    expect(new Set(answers).size).toBeGreaterThan(1);
    const report = await compress(path, { out, samples, targets: ["wasm"], forms: [], sensitivityMs: 0 });
    expect(report).toMatchObject({ metric: { name: "top1", reference: 1 }, samples: { n: 36, scored: 18 } });
  },
);

describe("what does not fit is refused by name", () => {
  const image = (...dims: readonly number[]): unknown => {
    const [first = 0, ...rest] = dims;
    return rest.length === 0 ? [...seededFloats(first, 5)] : Array.from({ length: first }, () => image(...rest));
  };
  /** A classifier of 3 × 12 × 12 pixels in 5 classes, with samples of the given dims, and labels. */
  async function classify(dims: readonly number[], labels: readonly string[]): Promise<CompressReport> {
    const path = write("model.onnx", classifier({ channels: 3, size: 12, classes: 5 }).write());
    const lines = labels.map(() => JSON.stringify(image(...dims)));
    const [samples, right] = [write("x.jsonl", lines.join("\n")), write("labels.txt", labels.join("\n"))];
    const out = join(folder, "out");
    return compress(path, { out, samples, labels: right, targets: ["wasm"], forms: [], sensitivityMs: 0 });
  }
  const many = (label: string): string[] => Array.from({ length: 4 }, () => label);

  test("samples with channels last for a model with channels first", async () => {
    await expect(classify([12, 12, 3], many("1"))).rejects.toThrow(
      /\[12, 12, 3\].*np\.transpose\(sample, \(2, 0, 1\)\)/,
    );
  });
  test("one-hot labels", async () => {
    await expect(classify([3, 12, 12], many("0 0 1 0 0"))).rejects.toThrow(/sample 1 is one-hot.*here 2/);
  });
  test.each(["5", "-1", "77"])("the label %s of 5 classes", async (label) => {
    await expect(classify([3, 12, 12], ["0", label])).rejects.toThrow(/sample \d is .*the classes 0 to 4/);
  });
  test("labels without samples", async () => {
    const labels = write("labels.txt", "1\n2\n");
    await expect(compress(mlp(), { out: join(folder, "out"), labels })).rejects.toThrow(/labels: .*add --samples/);
  });
  test("more labels than samples", async () => {
    const labels = write("labels.txt", Array.from({ length: 9 }, () => "1").join("\n"));
    await expect(run(mlp(), 8, { labels })).rejects.toThrow(/each of the 8 samples, got 9/);
  });
  test("NaN in a sample", async () => {
    const samples = write(
      "samples.mjs",
      "export const samples = [1, 2, 3].map((x) => [Array.from({ length: 96 }, (_, i) => x === 2 && i === 7 ? NaN : x)]);",
    );
    const options = { out: join(folder, "out"), samples, targets: ["wasm"] as const };
    await expect(compress(mlp(), options)).rejects.toThrow(/sample 2 holds NaN in "x", value 8 of 96/);
  });
  test("a float32 model that is always wrong, or no better than by chance", async () => {
    const answers = await runAll(
      write("m.onnx", twoLayers({ opset: 13, inputs: 96, units: 160, outputs: 4 }).write()),
      Array.from({ length: 40 }, (_, i) => ({
        x: { dtype: "float32" as const, dims: [1, 96], data: Float32Array.from(sample(i, 96)) },
      })),
    );
    const right = answers.map(({ y }) => Array.from(y?.data ?? []).indexOf(Math.max(...Array.from(y?.data ?? []))));
    const path = join(folder, "m.onnx");
    const wrong = write("labels.txt", right.map((x) => (x + 1) % 4).join("\n"));
    await expect(run(path, 40, { labels: wrong })).rejects.toThrow(/none of the 40 samples.*--metric sqnr/s);
    const chance = write("labels.txt", right.map((x, i) => (i % 4 === 0 ? x : (x + 1 + (i % 3)) % 4)).join("\n"));
    await expect(run(path, 40, { labels: chance })).rejects.toThrow(/at chance/);
    await expect(run(path, 40, { labels: write("labels.txt", right.join("\n")), forms: [] })).resolves.toMatchObject({
      metric: { name: "top1", reference: 1 },
    });
  });
});
