// Opens the page that loads models for measurements of memory, each time in a new browser, and measures the peak of the
// browser's processes above the idle page whose runtime has started. Linux only (resident.ts).
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import type { BrowserContext } from "@playwright/test";
import type { MemoryName } from "../pages/memory.ts";
import { BareChromium } from "./bare-chromium.ts";
import { modelOf } from "./onnx-graphs.ts";
import { ROOT } from "./prepare.ts";
import { Resident } from "./resident.ts";

/** Folder of the models, which is served as `/corpus/memory/`. */
export const MEMORY_FOLDER = join(ROOT, "e2e/.cache/memory");
const SETTLE_MS = 1_500;

/** A browser to be measured in. */
export interface MemoryBrowser {
  readonly browserName: "chromium" | "firefox";
  readonly newProfile: () => Promise<BrowserContext>;
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

/**
 * Measures the memory of some work.
 * @param prepare - called before the idle page is measured
 */
export async function memoryOf<T>(
  browser: MemoryBrowser,
  [name, backend]: readonly [MemoryName, "wasm" | "webgpu"],
  work: (call: CallPage) => Promise<T>,
  prepare: (call: CallPage) => Promise<unknown> = () => Promise.resolve(),
): Promise<MemoryTaken<T>> {
  writeIdentity();
  const { word, page, close } = await open(browser);
  const call: CallPage = (method, ...args) =>
    page.evaluate(`globalThis.memoryPage.${method}(${args.map((x) => JSON.stringify(x)).join(", ")})`);
  try {
    while (!(await page.evaluate<boolean>("globalThis.memoryPage !== undefined"))) await wait(50);
    await call("start", name, backend);
    await prepare(call);
    await wait(SETTLE_MS);
    const resident = new Resident(word);
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

/** A page of a new browser, and a word in the command lines of the browser's processes. */
interface Opened {
  readonly word: string;
  readonly page: { evaluate<T>(expression: string): Promise<T> };
  readonly close: () => Promise<void>;
}

/** Opens the page; in Chromium without Playwright, which keeps the bodies of what a page fetches. */
async function open({ browserName, newProfile, url }: MemoryBrowser): Promise<Opened> {
  const address = `${url}memory.html`;
  if (browserName === "firefox") {
    const context = await newProfile();
    const page = await context.newPage();
    await page.goto(address);
    return { word: "firefox", page, close: () => context.close() };
  }
  const word = mkdtempSync(join(tmpdir(), "selvedge-memory-"));
  const browser = new BareChromium(word);
  const page = (await browser.open(address)) as Opened["page"];
  const close = async (): Promise<void> => {
    await browser.close();
    await wait(SETTLE_MS); // a closed Chromium may write for some moments more
    rmSync(word, { recursive: true, force: true, maxRetries: 50, retryDelay: 200 });
  };
  return { word, page, close };
}

/** Writes the model with which the page starts the runtime. */
function writeIdentity(): void {
  const path = join(MEMORY_FOLDER, "identity.onnx");
  if (existsSync(path)) return;
  mkdirSync(MEMORY_FOLDER, { recursive: true });
  const x = { dtype: "float32", dims: [1, 4] } as const;
  const nodes = [{ opType: "Identity", input: ["x"], output: ["y"] }];
  writeFileSync(path, modelOf({ inputs: { x }, outputs: ["y"], nodes }).write());
}
