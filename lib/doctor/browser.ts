// The page in a real browser. Playwright or Puppeteer is the app's own, found at run time: an app without end-to-end
// tests gets the checks that HTTP alone allows. A browser that is installed on the machine is used as it is.
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { homedir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { BrowserEvidence, Seen } from "./evidence.ts";
import type { Login } from "./http.ts";
import { HAS_ENGINE, IS_PENDING, OBSERVE, probeWorker, READ, SERVICE_WORKER_READY } from "./page-script.ts";
import { roleByName } from "./urls.ts";

/** Packages that drive a browser, in order of preference. */
const DRIVERS = ["playwright-core", "@playwright/test", "playwright", "puppeteer-core", "puppeteer"] as const;

/** Command that installs a driver. */
export const INSTALL_DRIVER = "npm install --save-dev playwright-core@1.64.1";

/** Quiet time after which a page counts as loaded. */
const QUIET_MS = 1_500;
/** The same where an engine was started and no model has come: its retries are seconds apart. */
const RETRY_MS = 6_000;

/** Time after which a request without an answer counts as one that failed. */
const SILENT_MS = 5_000;
/** Time for code in the page to answer: in a sandbox without scripts none ever runs. */
export const EVALUATE_MS = 15_000;
/** Observations of a page that runs no code. */
const UNREAD: Observed = {
  isSecureContext: true,
  isIsolated: false,
  errors: [],
  scriptErrors: [],
  violations: [],
  workers: [],
  hasStarted: false,
  resources: [],
  wasmRefusal: null,
  serviceWorker: null,
};

type PageLog = Pick<BrowserEvidence, "console"> & { readonly seen: Seen[]; readonly console: string[] };
type Observed = Omit<BrowserEvidence, "name" | "isSilent" | "console" | "seen" | "engineFrames">;

/** Members that requests of Playwright and Puppeteer share. */
interface RequestLike {
  url(): string;
  resourceType?(): string;
  failure(): { errorText: string } | null;
}

interface ResponseLike {
  url(): string;
  status(): number;
  headers(): Record<string, string>;
  fromServiceWorker(): boolean;
  request(): RequestLike;
  body?(): Promise<Uint8Array>;
  buffer?(): Promise<Uint8Array>;
}

interface FrameLike {
  url(): string;
  evaluate(expression: string): Promise<unknown>;
}

interface PageLike extends FrameLike {
  on(event: "request" | "requestfailed" | "requestfinished", listener: (request: RequestLike) => void): unknown;
  on(event: "response", listener: (response: ResponseLike) => void): unknown;
  on(event: "console", listener: (message: { text(): string; type(): string }) => void): unknown;
  on(event: "pageerror", listener: (error: unknown) => void): unknown;
  on(event: "dialog", listener: (dialog: { dismiss(): Promise<void> }) => void): unknown;
  goto(url: string, options: { waitUntil: "load"; timeout: number }): Promise<unknown>;
  reload(options: { waitUntil: "load"; timeout: number }): Promise<unknown>;
  frames(): FrameLike[];
  mainFrame(): FrameLike;
  addInitScript?(script: { content: string }): Promise<unknown>;
  evaluateOnNewDocument?(script: string): Promise<unknown>;
}

interface BrowserLike {
  newContext?(options: Record<string, unknown>): Promise<{ newPage(): Promise<PageLike>; close(): Promise<void> }>;
  createBrowserContext?(): Promise<{ newPage(): Promise<PageLike>; close(): Promise<void> }>;
  version(): string | Promise<string>;
  close(): Promise<void>;
}

interface LauncherLike {
  launch(options: Record<string, unknown>): Promise<BrowserLike>;
}

type DriverModule = Readonly<Record<string, LauncherLike | undefined>>;

/** A browser that the doctor may open pages in. */
export interface DoctorBrowser {
  readonly name: string;
  /** Whether a login goes to its own origin alone: Puppeteer sends one to every origin that asks. */
  readonly keepsLogin: boolean;
  /**
   * Opens a page in a fresh profile and waits until nothing more happens, for `waitMs` at most.
   * @param login - for its origin; only where `keepsLogin`
   * @throws Error where the page itself is not there in `waitMs`
   */
  open(url: string, waitMs: number, login?: Login | null): Promise<OpenPage>;
  close(): Promise<void>;
}

/** A page that is open. */
export interface OpenPage {
  /** Returns the evidence up to now. */
  read(): Promise<BrowserEvidence>;
  /** Starts a worker script as Selvedge would. */
  probe(url: string): Promise<void>;
  close(): Promise<void>;
}

/** Places of browsers, as they are installed on Linux, macOS and Windows. */
function installed(): string[] {
  const linux = ["google-chrome-stable", "google-chrome", "chromium", "chromium-browser", "microsoft-edge"];
  const mac = ["Google Chrome", "Chromium", "Microsoft Edge"];
  const windows = ["Google\\Chrome\\Application\\chrome.exe", "Microsoft\\Edge\\Application\\msedge.exe"];
  const roots = ["PROGRAMFILES", "PROGRAMFILES(X86)", "LOCALAPPDATA"].flatMap((name) => process.env[name] ?? []);
  return [
    ...linux.flatMap((name) => [`/usr/bin/${name}`, `/snap/bin/${name}`]),
    ...mac.flatMap((name) => ["", homedir()].map((root) => `${root}/Applications/${name}.app/Contents/MacOS/${name}`)),
    ...roots.flatMap((root) => windows.map((path) => join(root, path))),
    "/usr/bin/firefox",
    "/usr/bin/firefox-esr",
    "/Applications/Firefox.app/Contents/MacOS/firefox",
  ];
}

/**
 * Starts a browser.
 * @param folders - where a driver is looked up: the app's folder, the working directory
 * @returns a reason where there is none: the text says what to install
 */
export async function startBrowser(folders: readonly string[], path?: string): Promise<DoctorBrowser | string> {
  if (path !== undefined && !existsSync(path)) return `--browser ${path} does not exist`;
  const driver = await loadDriver(folders);
  if (driver === null) return `no browser is driven, since no driver is installed: ${INSTALL_DRIVER}`;
  const executable = path ?? installed().find((x) => existsSync(x));
  const isFirefox = /firefox/i.test(executable ?? "");
  try {
    const browser = await launch(driver, executable, isFirefox);
    const name = `${isFirefox ? "Firefox" : "Chromium"} ${await browser.version()}`;
    return {
      name,
      keepsLogin: browser.newContext !== undefined,
      open: (url, waitMs, login = null) => open(browser, name, url, waitMs, login),
      close: () => browser.close(),
    };
  } catch (error) {
    const reason = error instanceof Error ? (error.message.split("\n")[0] ?? "") : String(error);
    return `no browser was started (${reason}): install Chrome, or name one by --browser <path>`;
  }
}

async function loadDriver(folders: readonly string[]): Promise<DriverModule | null> {
  for (const folder of folders)
    for (const name of DRIVERS) {
      try {
        const path = createRequire(join(folder, "package.json")).resolve(name);
        const found = (await import(pathToFileURL(path).href)) as DriverModule & { default?: DriverModule };
        return { ...found.default, ...found };
      } catch {
        // The next one may be installed.
      }
    }
  return null;
}

function launch(driver: DriverModule, executablePath: string | undefined, isFirefox: boolean): Promise<BrowserLike> {
  const isRoot = process.getuid?.() === 0;
  const args = isFirefox
    ? []
    : ["--no-first-run", "--disable-background-networking", ...(isRoot ? ["--no-sandbox"] : [])];
  const options = { headless: true, args, ...(executablePath !== undefined && { executablePath }) };
  const playwright = driver[isFirefox ? "firefox" : "chromium"];
  if (playwright !== undefined) return playwright.launch(isFirefox ? { ...options, channel: "moz-firefox" } : options);
  const puppeteer = driver as unknown as LauncherLike;
  return puppeteer.launch({ ...options, browser: isFirefox ? "firefox" : "chrome", acceptInsecureCerts: true });
}

async function open(
  browser: BrowserLike,
  name: string,
  url: string,
  waitMs: number,
  login: Login | null,
): Promise<OpenPage> {
  // In the address, they would be in that of the page, which then may fetch nothing by a relative one.
  const httpCredentials = login ?? undefined;
  const options = { ignoreHTTPSErrors: true, httpCredentials };
  const context = await (browser.newContext?.(options) ?? browser.createBrowserContext?.());
  if (context === undefined) throw new Error("this driver has no contexts: update it");
  const page = await context.newPage();
  const log: PageLog = { console: [], seen: [] };
  const { settle, isWaiting, unanswered } = watch(page, log);
  await (page.addInitScript?.({ content: OBSERVE }) ?? page.evaluateOnNewDocument?.(OBSERVE));
  const load = { waitUntil: "load", timeout: waitMs } as const;
  const loaded = async (visit: Promise<unknown>): Promise<void> => {
    await visit.catch((error: unknown) => {
      // A script or a picture that is never answered: the page is there all the same.
      if ((error as Error).name !== "TimeoutError" || page.url() === "about:blank") throw error;
    });
  };
  await loaded(page.goto(url, load));
  await settle(waitMs);
  if (isWaiting()) await settle(waitMs, SILENT_MS + 1_000);
  const isServed = log.seen.some((x) => x.status === 200 && ["model", "chunk"].includes(roleByName(x.url) ?? ""));
  // The engine tries again what failed on its way, a file of labels beside a model too.
  const isRetrying = log.seen.some((x) => x.failure !== undefined || x.status >= 500);
  const run = runner(page, () => settle(waitMs));
  if ((!isServed || isRetrying) && (await run(IS_PENDING)) === true) await settle(waitMs, RETRY_MS);
  if ((await run(SERVICE_WORKER_READY)) === true) {
    // The worker answers from the second visit on.
    await loaded(page.reload(load));
    await settle(waitMs);
  }
  return {
    read: async () => {
      const observed = (await run(READ)) as Observed | null;
      return {
        ...(observed ?? UNREAD),
        isSilent: observed === null,
        engineFrames: await engineFrames(page),
        name,
        console: [...log.console],
        seen: [...log.seen, ...unanswered()],
      };
    },
    probe: async (script) => {
      await run(probeWorker(script));
      await settle(waitMs);
    },
    close: () => context.close(),
  };
}

/** Returns the addresses of the frames below the page's own that have started an engine. */
async function engineFrames(page: PageLike): Promise<string[]> {
  const frames = page.frames().filter((x) => x !== page.mainFrame());
  // A frame may go while it is asked.
  const has = await Promise.all(frames.map((x) => runner(x)(HAS_ENGINE).catch(() => null)));
  return frames.filter((_, i) => has[i] === true).map((x) => x.url());
}

/**
 * Returns a function that runs code in a frame, to null where the frame runs none.
 * @param whenLeft - waits for the next page, where the frame goes to another address while the code runs
 */
function runner(page: FrameLike, whenLeft?: () => Promise<void>): (expression: string) => Promise<unknown> {
  let isDead = false;
  const once = async (expression: string): Promise<unknown> => {
    if (isDead) return null;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<null>((resolve) => {
      timer = setTimeout(() => {
        isDead = true;
        resolve(null);
      }, EVALUATE_MS);
    });
    try {
      return await Promise.race([page.evaluate(expression), late]);
    } finally {
      clearTimeout(timer);
    }
  };
  return async (expression) => {
    try {
      return await once(expression);
    } catch (error) {
      if (whenLeft === undefined || !/context was destroyed/i.test(String(error))) throw error;
      await whenLeft();
      return once(expression);
    }
  };
}

/** Records what a page requests and prints. */
function watch(
  page: PageLike,
  log: PageLog,
): {
  /** Waits until the page is quiet. */
  readonly settle: (waitMs: number, quietMs?: number) => Promise<void>;
  /** Whether a file of the package or of a model was requested, and no answer has come. */
  readonly isWaiting: () => boolean;
  /** Returns the requests that have waited for an answer for long. */
  readonly unanswered: () => Seen[];
} {
  let changedAt = performance.now();
  const pending = new Map<RequestLike, number>();
  /** Answers whose bodies are still being read. */
  let reading = 0;
  const changed = (): void => {
    changedAt = performance.now();
  };
  page.on("request", (request) => {
    changed();
    pending.set(request, changedAt);
  });
  page.on("requestfinished", changed);
  page.on("requestfailed", (request) => {
    changed();
    pending.delete(request);
    const failure = request.failure()?.errorText ?? "failed";
    log.seen.push({ url: request.url(), status: 0, headers: {}, failure, isFromServiceWorker: false });
  });
  page.on("response", (response) => {
    changed();
    pending.delete(response.request());
    reading += 1;
    void record(response).then((seen) => {
      log.seen.push(seen);
      reading -= 1;
    });
  });
  page.on("console", (message) => {
    changed();
    if (message.type() === "error" || message.type().startsWith("warn")) log.console.push(message.text());
  });
  page.on("pageerror", (error) => {
    changed();
    log.console.push(error instanceof Error ? `${error.name}: ${error.message}` : String(error));
  });
  // An alert() stops the page until it is answered; of Puppeteer's pages nothing answers it.
  page.on("dialog", (dialog) => void dialog.dismiss().catch(() => undefined));
  const settle = async (waitMs: number, quietMs = QUIET_MS): Promise<void> => {
    const until = performance.now() + waitMs;
    changed();
    while (performance.now() < until && (reading > 0 || performance.now() - changedAt < quietMs))
      await new Promise((resolve) => setTimeout(resolve, 100));
  };
  const isWaiting = (): boolean =>
    [...pending.keys()].some((x) => roleByName(x.url()) !== null || /\.wasm\b/.test(x.url()));
  const unanswered = (): Seen[] => {
    const long = [...pending].filter(([, atMs]) => performance.now() - atMs > SILENT_MS);
    return long.map(([request]) => {
      return { url: request.url(), status: 0, headers: {}, failure: "no answer", isFromServiceWorker: false };
    });
  };
  return { settle, isWaiting, unanswered };
}

async function record(response: ResponseLike): Promise<Seen> {
  const url = response.url();
  const isFromServiceWorker = response.fromServiceWorker();
  const isByCode = ["fetch", "xhr"].includes(response.request().resourceType?.() ?? "");
  const seen = { url, status: response.status(), headers: response.headers(), isFromServiceWorker, isByCode };
  if (!isFromServiceWorker || roleByName(url) === null) return seen;
  try {
    const body = await (response.body?.() ?? response.buffer?.());
    return body === undefined ? seen : { ...seen, sha256: createHash("sha256").update(body).digest("hex") };
  } catch {
    return seen; // the page was left, or the body was not kept
  }
}
