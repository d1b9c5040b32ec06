// Searches demo models for the smallest and the fastest form within half a point, and writes the results to
// searched.json: `npm run measure:search`, or `npx tsx models/search.ts fashion-cnn spam --minutes 10 --samples 1000`.
//
// Each model has a time budget; an interrupted search resumes when called again (`models/dist/search/<name>`). The
// result is validated on at least as many held-out samples as the search used. Bundles are made from recipes, not from
// this: a search shows what is possible.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { readModel } from "../lib/compress/onnx/model.ts";
import { References } from "../lib/compress/run/references.ts";
import { firstFeeds } from "../lib/compress/run/samples.ts";
import type { SearchOutcome } from "../lib/compress/search/search.ts";
import { search } from "../lib/compress/search/search.ts";
import { simplify } from "../lib/compress/simplify/simplify.ts";
import { RECIPES } from "./recipes.ts";
import { searchTask } from "./search-tasks.ts";

const PATH = join(import.meta.dirname, "searched.json");
/** Calibration samples. */
const CALIBRATION = 256;

/** Stored results of a search. */
interface Searched extends Pick<SearchOutcome, "uniform" | "isCutShort" | "seconds" | "ortSeconds" | "peakBytes"> {
  readonly metric: string;
  readonly float32Bytes: number;
  readonly tried: number;
  readonly chosen: SearchOutcome["chosen"];
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { minutes: { type: "string", default: "10" }, samples: { type: "string", default: "1000" } },
});
const known = RECIPES.map((x) => x.name);
for (const name of positionals)
  if (!known.includes(name)) throw new TypeError(`search: "${name}" is none of ${known.join(", ")}`);
const results: Record<string, Searched> = existsSync(PATH)
  ? (JSON.parse(readFileSync(PATH, "utf8")) as Record<string, Searched>)
  : {};
for (const recipe of RECIPES) {
  if (positionals.length > 0 && !positionals.includes(recipe.name)) continue;
  const input = await recipe.build();
  const source = input.variants.find((x) => x.id === "f32")?.files[0]?.bytes;
  if (source === undefined) throw new Error(`${recipe.name} has no variant f32`);
  const model = readModel(source).transform(simplify());
  const bytes = model.write();
  const simple = { model, source: bytes, byteLength: bytes.length };
  const folder = join(import.meta.dirname, "dist/search", recipe.name);
  mkdirSync(folder, { recursive: true });
  const path = join(folder, "model.onnx");
  writeFileSync(path, bytes);
  const { samples, seen, metric, labels } = await searchTask(input, bytes, Number(values.samples));
  const { outcome } = await search({
    references: new References(path, samples),
    metric,
    labels,
    simple,
    feeds: await firstFeeds(samples, Math.min(CALIBRATION, seen)),
    isSynthetic: false,
    targets: ["webgpu", "wasm"],
    seen,
    statePath: join(folder, "search.json"),
    budgetMs: Number(values.minutes) * 60_000,
    onProgress: (line) => console.log(`${recipe.name}: ${line}`),
  });
  const { candidates, chosen, uniform, isCutShort, seconds, ortSeconds, peakBytes } = outcome;
  results[recipe.name] = {
    ...{ metric: metric.name, float32Bytes: bytes.length, tried: candidates.length },
    ...{ uniform, chosen, isCutShort, seconds, ortSeconds, peakBytes },
  };
  writeFileSync(PATH, `${JSON.stringify(results, null, 2)}\n`);
  for (const { id, form, bytes, macs, heldOut } of chosen)
    console.log(
      `${recipe.name}: ${id} is ${form}, ${bytes} bytes (uniform ${uniform?.bytes ?? "none"}), ${Math.round(macs)} multiply-adds; lost ${((heldOut.loss?.mean ?? 0) * 100).toFixed(2)} points on ${heldOut.n}`,
    );
}
