// The binary of ONNX Runtime split for one model: the first part has the functions that the model runs and no other. No
// profile that also serves other models can make the first part smaller.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { chromium } from "@playwright/test";
import { splitWasm } from "../../lib/build/split.ts";
import type { ModuleParts } from "../../lib/build/split.ts";
import { chromiumLaunch } from "./browsers.ts";
import { modelCases } from "./profile-models.ts";
import { binaryOf, runWorker, serveCases } from "./profile-run.ts";
import type { Build } from "./profile-run.ts";

/**
 * Runs the models of a folder on WebAssembly in Chromium, and splits a build by the functions that ran.
 * @throws Error where a model does not run
 */
export async function splitForModels(folder: string, name: Build): Promise<ModuleParts> {
  const cases = modelCases(folder);
  const [functions, failures] = [new Set<number>(), new Map<number, string>()];
  const server = await serveCases(cases);
  const browser = await chromium.launch(chromiumLaunch());
  try {
    const page = await browser.newPage();
    await page.goto(server.origin);
    const ran = { functions, failures, onMarks: () => undefined };
    let left: readonly number[] = [...cases.keys()];
    while (left.length > 0) left = await runWorker(page, name, ran, { backend: "wasm", cases: left, every: 1 });
  } finally {
    await browser.close();
    await server.close();
  }
  for (const [i, message] of failures) throw new Error(`${cases[i]?.title ?? "start"}: ${message}`);
  const whole = readFileSync(binaryOf(name));
  const id = createHash("sha256")
    .update(whole)
    .update([...functions].sort((a, b) => a - b).join())
    .digest("hex");
  return splitWasm(whole, id.slice(0, 12), (index) => functions.has(index));
}
