// Opens the page that loads models for measurements of memory, each time in a new browser, and measures the peak of the
// browser's processes above the idle page whose runtime has started. Linux only (resident.ts).
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import type { MemoryName } from "../pages/memory.ts";
import { BareChromium } from "./bare-chromium.ts";
import { BareFirefox } from "./bare-firefox.ts";
import { modelOf } from "../../lib/test-support/onnx/onnx-graphs.ts";
import { Resident } from "./resident.ts";
import { MEMORY_FOLDER } from "./server.ts";

const SETTLE_MS = 1_500;

/** A browser to be measured in. */
export interface MemoryBrowser {
  readonly browserName: "chromium" | "firefox";
  /** URL of the tests' pages, with a trailing slash. */
  readonly url: string;
}

/** Calls a function of the page. */
export type CallPage = <T>(method: string, ...args: readonly unknown[]) => Promise<T>;

/** Bytes above the idle page. */
export interface MemoryTaken<T> {
  readonly peakBytes: number;
  readonly settledBytes: number;
  readonly result: T;
}

/** A subject, and the folder in which its browser keeps its profile. */
export interface MemorySubject {
  readonly name: MemoryName;
  readonly backend: "wasm" | "webgpu";
  readonly profile: string;
}

/** Calls with a folder for a new browser profile, and removes it afterwards. */
export async function withProfile<T>(use: (profile: string) => Promise<T>): Promise<T> {
  const profile = mkdtempSync(join(tmpdir(), "selvedge-memory-"));
  try {
    return await use(profile);
  } finally {
    await wait(SETTLE_MS); // a closed Chromium may write for some moments more
    rmSync(profile, { recursive: true, force: true, maxRetries: 50, retryDelay: 200 });
  }
}

/** Returns the path for a model's file, in a folder of the layout that transformers.js reads. */
export function hubPath(name: string): string {
  const folder = join(MEMORY_FOLDER, name);
  mkdirSync(join(folder, "onnx"), { recursive: true });
  writeFileSync(join(folder, "config.json"), JSON.stringify({ model_type: "custom" }));
  return join(folder, "onnx/model.onnx");
}

/**
 * Measures the memory of some work.
 * @param prepare - called before the idle page is measured
 */
export async function memoryOf<T>(
  browser: MemoryBrowser,
  { name, backend, profile }: MemorySubject,
  work: (call: CallPage) => Promise<T>,
  prepare: (call: CallPage) => Promise<unknown> = () => Promise.resolve(),
): Promise<MemoryTaken<T>> {
  writeIdentity();
  const { call, collect, close } = await open(browser, profile);
  try {
    await call("start", name, backend);
    await prepare(call);
    await collect();
    await wait(SETTLE_MS);
    const resident = new Resident(profile);
    const before = resident.bytes;
    let result!: T;
    const peak = await resident.peak(async () => {
      result = await work(call);
    });
    await wait(SETTLE_MS);
    return { peakBytes: peak - before, settledBytes: resident.bytes - before, result };
  } finally {
    await close();
  }
}

/** A page of a new browser, whose processes have the profile's folder in their command line, or a parent that has. */
interface Opened {
  readonly call: CallPage;
  /** Collects the garbage of the start, in Chromium: memory that it frees would hide a load's. */
  readonly collect: () => Promise<void>;
  readonly close: () => Promise<void>;
}

/** Opens the page without Playwright, under which browsers keep the bodies of responses. */
async function open({ browserName, url }: MemoryBrowser, profile: string): Promise<Opened> {
  const address = `${url}memory.html`;
  if (browserName === "firefox") {
    const browser = await BareFirefox.open(profile, address);
    const call = (method: string, ...args: readonly unknown[]): Promise<unknown> => browser.call(method, args);
    return { call: call as CallPage, collect: () => Promise.resolve(), close: () => browser.close() };
  }
  const browser = new BareChromium(profile);
  const page = await browser.open(address);
  while ((await page.evaluate("globalThis.memoryPage !== undefined")) !== true) await wait(50);
  const call = (method: string, ...args: readonly unknown[]): Promise<unknown> =>
    page.evaluate(`globalThis.memoryPage.${method}(${args.map((x) => JSON.stringify(x)).join(", ")})`);
  return { call: call as CallPage, collect: () => page.collectGarbage(), close: () => browser.close() };
}

/** Writes the model with which the page starts the runtime. */
function writeIdentity(): void {
  const path = hubPath("identity");
  if (existsSync(path)) return;
  const x = { dtype: "float32", dims: [1, 4] } as const;
  const nodes = [{ opType: "Identity", input: ["x"], output: ["y"] }];
  writeFileSync(path, modelOf({ inputs: { x }, outputs: ["y"], nodes }).write());
}
