// A small W3C WebDriver client (https://www.w3.org/TR/webdriver2/) for WebKitGTK, which Playwright can't drive. Starts
// WebKitWebDriver under a display of its own and ends the whole process group when it is closed, or when this process
// ends before that.
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { BROWSER_PATHS } from "./browsers.ts";
import { freePort } from "./free-port.ts";

const ELEMENT_KEY = "element-6066-11e4-a52e-4f735466cecf";
const START_MS = 30_000;

/** Refers to an element of the page. */
export interface ElementRef {
  readonly [ELEMENT_KEY]: string;
}

/** A session with one WebKitGTK window. */
export class WebDriver {
  readonly #child: ChildProcess;
  readonly #base: string;
  readonly #reap: () => void;
  #session = "";
  /** The capabilities that the browser reported, such as `browserVersion`. */
  capabilities: Readonly<Record<string, unknown>> = {};

  /** Internal: use `start`. */
  constructor(child: ChildProcess, base: string) {
    this.#child = child;
    this.#base = base;
    this.#reap = () => {
      endGroup(child);
    };
    process.once("exit", this.#reap);
  }

  /** Starts the browser; scripts time out after `scriptMs` (default 120 s). */
  static async start(scriptMs = 120_000): Promise<WebDriver> {
    const port = await freePort();
    const child = spawn(
      BROWSER_PATHS.xvfb,
      ["-a", "-s", "-screen 0 1280x1024x24", BROWSER_PATHS.webkitDriver, `--port=${port}`],
      { detached: true, stdio: "ignore", env: { ...process.env, WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS: "1" } },
    );
    const driver = new WebDriver(child, `http://127.0.0.1:${port}`);
    try {
      await driver.#untilReady();
      const { sessionId, capabilities } = (await driver.#call("POST", "/session", {
        capabilities: {
          alwaysMatch: {
            "webkitgtk:browserOptions": { binary: BROWSER_PATHS.webkitBrowser, args: ["--automation"] },
          },
        },
      })) as { sessionId: string; capabilities: Record<string, unknown> };
      driver.#session = `/session/${sessionId}`;
      driver.capabilities = capabilities;
      await driver.#call("POST", `${driver.#session}/timeouts`, { script: scriptMs, pageLoad: 60_000 });
      return driver;
    } catch (error) {
      await driver.close();
      throw error;
    }
  }

  /** Opens a URL and waits until it has loaded. */
  async navigate(url: string): Promise<void> {
    await this.#call("POST", `${this.#session}/url`, { url });
  }

  /** Closes the tab, with all that runs in it, and continues in a new one. */
  async killTab(): Promise<void> {
    const { handle } = (await this.#call("POST", `${this.#session}/window/new`, { type: "tab" })) as { handle: string };
    await this.#call("DELETE", `${this.#session}/window`);
    await this.#call("POST", `${this.#session}/window`, { handle });
  }

  /** Runs the body of an async function in the page, with `args` in scope, and returns its result. */
  async run(body: string, ...args: readonly unknown[]): Promise<unknown> {
    const script = `const args = [...arguments]; const done = args.pop();
      (async () => { ${body} })().then((value) => done({ value }), (error) => done({ error: String(error) }));`;
    const answer = (await this.#call("POST", `${this.#session}/execute/async`, { script, args })) as {
      value?: unknown;
      error?: string;
    };
    if (answer.error !== undefined) throw new Error(`in WebKit: ${answer.error}`);
    return answer.value;
  }

  /** Returns the first element that matches a CSS selector; rejects if there is none. */
  async find(selector: string): Promise<ElementRef> {
    const using = "css selector";
    return (await this.#call("POST", `${this.#session}/element`, { using, value: selector })) as ElementRef;
  }

  /** Sets the file of an `input[type=file]`. */
  async upload(element: ElementRef, path: string): Promise<void> {
    await this.#call("POST", `${this.#session}/element/${element[ELEMENT_KEY]}/value`, { text: path });
  }

  /** Takes a screenshot of the window, as PNG bytes. */
  async screenshot(): Promise<Buffer> {
    return Buffer.from((await this.#call("GET", `${this.#session}/screenshot`)) as string, "base64");
  }

  /** Ends the session, the browser, its driver and their display. */
  async close(): Promise<void> {
    process.removeListener("exit", this.#reap);
    if (this.#session !== "") await this.#call("DELETE", this.#session).catch(() => undefined);
    const ended = new Promise<void>((resolve) => {
      if (this.#child.exitCode !== null || this.#child.signalCode !== null) resolve();
      else
        this.#child.once("exit", () => {
          resolve();
        });
    });
    endGroup(this.#child);
    await ended;
  }

  async #untilReady(): Promise<void> {
    const until = Date.now() + START_MS;
    for (;;) {
      try {
        const status = (await this.#call("GET", "/status")) as { ready?: boolean };
        if (status.ready !== false) return;
      } catch (error) {
        if (Date.now() > until || this.#child.exitCode !== null) {
          throw new Error(`WebKitWebDriver did not start within ${START_MS} ms`, { cause: error });
        }
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  async #call(method: string, path: string, body?: unknown): Promise<unknown> {
    const response = await fetch(this.#base + path, {
      method,
      ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { "content-type": "application/json" } }),
    });
    const { value } = (await response.json()) as { value: unknown };
    if (!response.ok) {
      const { error, message } = value as { error: string; message: string };
      throw new Error(`WebDriver ${method} ${path}: ${error}: ${message}`);
    }
    return value;
  }
}

/** The child leads a process group of its own (detached), in which display, driver and browser live. */
function endGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, "SIGKILL");
  } catch {
    // The group has already ended.
  }
}
