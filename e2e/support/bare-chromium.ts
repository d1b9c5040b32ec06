// A Chromium without Playwright, whose page memory is only the page's own: Playwright's debugger keeps the bodies of
// fetched resources inside the page's process, up to 100 MB of them. This one gets three commands through the
// debugger's pipe, and keeps nothing.
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import type { Readable, Writable } from "node:stream";
import { chromium } from "@playwright/test";
import { chromiumLaunch } from "./browsers.ts";

interface Message {
  readonly id?: number;
  readonly sessionId?: string;
  readonly method?: string;
  readonly params?: unknown;
  readonly result?: unknown;
  readonly error?: { readonly message: string };
}

interface Evaluated {
  readonly result: { readonly value?: unknown };
  readonly exceptionDetails?: { readonly text: string; readonly exception?: { readonly description?: string } };
}

/** The browser. */
export class BareChromium {
  readonly #process: ChildProcess;
  readonly #waiting: Map<number, { readonly sessionId: string | undefined; end(message: Message): void }> = new Map();
  /** Sessions of the workers of each page. */
  readonly #workers: Map<string, Set<string>> = new Map();
  #lastId = 0;

  /** Starts one, headless, with a profile on the disk. */
  constructor(profile: string) {
    const { executablePath = chromium.executablePath(), args = [] } = chromiumLaunch();
    const flags = [...args, "--headless", "--remote-debugging-pipe", `--user-data-dir=${profile}`];
    this.#process = spawn(executablePath, flags, { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
    let text = "";
    (this.#process.stdio[4] as Readable).setEncoding("utf8").on("data", (part: string) => {
      const messages = (text + part).split("\0");
      text = messages.pop() ?? "";
      for (const message of messages) this.#take(JSON.parse(message) as Message);
    });
  }

  /** Opens a page. */
  async open(url: string): Promise<BarePage> {
    const { targetId } = (await this.call("Target.createTarget", { url: "about:blank" })) as { targetId: string };
    const attached = await this.call("Target.attachToTarget", { targetId, flatten: true });
    const { sessionId } = attached as { sessionId: string };
    const workers = new Set<string>();
    this.#workers.set(sessionId, workers);
    await this.call(
      "Target.setAutoAttach",
      { autoAttach: true, waitForDebuggerOnStart: false, flatten: true },
      sessionId,
    );
    await this.call("Page.navigate", { url }, sessionId);
    return new BarePage(this, targetId, sessionId, workers);
  }

  /** Sends a command to the debugger. */
  async call(method: string, params: object = {}, sessionId?: string): Promise<unknown> {
    const id = ++this.#lastId;
    const answered = new Promise<Message>((end) => this.#waiting.set(id, { sessionId, end }));
    (this.#process.stdio[3] as Writable).write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    const { result, error } = await answered;
    if (error !== undefined) throw new Error(`${method}: ${error.message}`);
    return result;
  }

  /** Closes the browser. */
  async close(): Promise<void> {
    const ended = once(this.#process, "exit");
    this.#process.kill();
    await ended;
  }

  #take(message: Message): void {
    if (message.id !== undefined) {
      this.#waiting.get(message.id)?.end(message);
      this.#waiting.delete(message.id);
      return;
    }
    const workers = this.#workers.get(message.sessionId ?? "");
    const { sessionId = "" } = (message.params ?? {}) as { sessionId?: string };
    if (message.method === "Target.attachedToTarget") workers?.add(sessionId);
    if (message.method !== "Target.detachedFromTarget") return;
    workers?.delete(sessionId);
    for (const waiting of this.#waiting.values()) if (waiting.sessionId === sessionId) waiting.end({});
  }
}

/** A page of the browser. */
export class BarePage {
  readonly #browser: BareChromium;
  readonly #targetId: string;
  readonly #sessionId: string;
  readonly #workers: ReadonlySet<string>;

  /** Created by `BareChromium.open`. */
  constructor(browser: BareChromium, targetId: string, sessionId: string, workers: ReadonlySet<string>) {
    this.#browser = browser;
    this.#targetId = targetId;
    this.#sessionId = sessionId;
    this.#workers = workers;
  }

  /** Returns the awaited value of an expression. */
  async evaluate(expression: string): Promise<unknown> {
    const params = { expression, awaitPromise: true, returnByValue: true };
    const { result, exceptionDetails } = (await this.#browser.call(
      "Runtime.evaluate",
      params,
      this.#sessionId,
    )) as Evaluated;
    if (exceptionDetails !== undefined)
      throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  }

  /** Collects garbage in the page and in its workers. */
  async collectGarbage(): Promise<void> {
    for (const sessionId of [...this.#workers, this.#sessionId])
      await this.#browser.call("HeapProfiler.collectGarbage", {}, sessionId);
  }

  /** Closes the page. */
  async close(): Promise<void> {
    await this.#browser.call("Target.closeTarget", { targetId: this.#targetId });
  }
}
