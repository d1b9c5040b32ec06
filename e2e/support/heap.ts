// Size of the JavaScript heap of a page and its workers after garbage collection. Each browser reports it in its own
// way: Chromium by its debugger, also of each worker; Firefox by the report of about:memory, which it writes on request
// through a named pipe.
import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { chromium, firefox } from "@playwright/test";
import type { Browser, Page } from "@playwright/test";
import { chromiumLaunch, firefoxLaunch } from "./browsers.ts";

/** A browser whose heap can be measured. */
export interface Weighed {
  readonly browser: Browser;
  /** Prepares a page, before its first worker starts; returns a function that measures its heap in bytes. */
  weigh(page: Page): Promise<() => Promise<number>>;
  /** Closes the browser. */
  close(): Promise<void>;
}

/**
 * V8 flags without compilers: machine code that is made of hot functions, some of it only after hundreds of rounds, is
 * 0.5 to 1 MB of a heap to which no object is added (by heap snapshots), and would hide what a page keeps.
 */
const INTERPRETED = "--js-flags=--no-sparkplug,--no-maglev,--no-turbofan";

/** Starts Chromium; its JavaScript is interpreted, so that its heap holds what pages keep. */
export async function weighedChromium(): Promise<Weighed> {
  const launch = chromiumLaunch();
  const browser = await chromium.launch({ ...launch, args: [...(launch.args ?? []), INTERPRETED] });
  return { browser, weigh: weighChromium, close: () => browser.close() };
}

/** Starts Firefox; its heap is that of all pages of one site, so open no other. */
export async function weighedFirefox(): Promise<Weighed> {
  const folder = mkdtempSync(join(tmpdir(), "selvedge-heap-"));
  const launch = firefoxLaunch();
  const browser = await firefox.launch({
    ...launch,
    env: { ...process.env, TMPDIR: folder }, // folder of the report
    firefoxUserPrefs: {
      ...launch.firefoxUserPrefs,
      "memory_info_dumper.watch_fifo.enabled": true,
      "memory_info_dumper.watch_fifo.directory": folder,
    },
  });
  return {
    browser,
    weigh: () => Promise.resolve(() => reportedBytes(folder)),
    async close() {
      await browser.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

interface HeapUsage {
  readonly usedSize: number;
  readonly backingStorageSize: number;
}

/**
 * Prepares a page of Chromium, before its first worker starts; returns a function that measures its heap in bytes.
 * Playwright hides the debugger's sessions of workers, so they are addressed within the page's own.
 */
export async function weighChromium(page: Page): Promise<() => Promise<number>> {
  const session = await page.context().newCDPSession(page);
  const workers = new Set<string>();
  const waiting = new Map<string, (result: unknown) => void>();
  let lastId = 0;
  session.on("Target.attachedToTarget", ({ sessionId }) => workers.add(sessionId));
  session.on("Target.detachedFromTarget", ({ sessionId }) => {
    workers.delete(sessionId);
    for (const [key, resolve] of waiting) if (key.startsWith(sessionId)) resolve(undefined);
  });
  session.on("Target.receivedMessageFromTarget", ({ sessionId, message }) => {
    const { id, result } = JSON.parse(message) as { id?: number; result?: unknown };
    waiting.get(`${sessionId} ${id}`)?.(result);
    waiting.delete(`${sessionId} ${id}`);
  });
  await session.send("Target.setAutoAttach", { autoAttach: true, waitForDebuggerOnStart: false, flatten: false });
  const ask = (sessionId: string, method: string): Promise<unknown> =>
    new Promise((resolve) => {
      const id = ++lastId;
      waiting.set(`${sessionId} ${id}`, resolve);
      const message = JSON.stringify({ id, method });
      session.send("Target.sendMessageToTarget", { sessionId, message }).catch(resolve);
    });
  const bytesOf = (usage: HeapUsage | undefined): number => (usage?.usedSize ?? 0) + (usage?.backingStorageSize ?? 0);
  return async () => {
    let bytes = 0;
    for (const worker of workers) {
      await ask(worker, "HeapProfiler.collectGarbage");
      bytes += bytesOf((await ask(worker, "Runtime.getHeapUsage")) as HeapUsage | undefined);
    }
    await session.send("HeapProfiler.collectGarbage");
    return bytes + bytesOf(await session.send("Runtime.getHeapUsage"));
  };
}

interface Report {
  readonly reports: readonly { readonly process: string; readonly path: string; readonly amount: number }[];
}

const HEAPS = /^explicit\/(workers|window-objects|js-non-window)\//;
const REPORT_MS = 60_000;

async function reportedBytes(folder: string): Promise<number> {
  appendFileSync(join(folder, "debug_info_trigger"), "minimize memory report\n");
  const untilMs = Date.now() + REPORT_MS;
  let report = takeReport(folder);
  while (report === null) {
    if (Date.now() > untilMs) throw new Error("Firefox wrote no memory report");
    await new Promise((resolve) => setTimeout(resolve, 100));
    report = takeReport(folder);
  }
  const { reports } = report;
  const own = reports.filter(({ process, path }) => process.startsWith("webCOOP+COEP=") && HEAPS.test(path));
  return own.reduce((sum, { amount }) => sum + amount, 0);
}

/**
 * Reads and removes the report; null until it is complete: Firefox renames it to its final name before its last bytes.
 */
function takeReport(folder: string): Report | null {
  const name = readdirSync(folder).find((x) => x.startsWith("unified-")); // "incomplete-" before
  if (name === undefined) return null;
  const path = join(folder, name);
  const report = whole(readFileSync(path));
  if (report !== null) rmSync(path);
  return report;
}

function whole(bytes: Uint8Array): Report | null {
  try {
    return JSON.parse(gunzipSync(bytes).toString()) as Report;
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === "Z_BUF_ERROR") return null;
    throw thrown;
  }
}
