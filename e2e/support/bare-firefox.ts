// A Firefox without a driver: by WebDriver BiDi it keeps a copy of the body of every response, of any size. Its page asks a
// server of this process for calls of its functions, and answers them (e2e/pages/memory.ts).
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { BROWSER_PATHS, firefoxLaunch } from "./browsers.ts";

/** The answer of a call. */
interface Answer {
  readonly value?: unknown;
  readonly error?: string;
}

/** The browser, with one page. */
export class BareFirefox {
  readonly #process: ChildProcess;
  /** Resolves with how the process ended. */
  readonly #ended: Promise<string>;
  readonly #server: Server;
  /** Resolves with the request of the page for its next call. */
  #asked: Promise<ServerResponse>;
  #onAsked!: (response: ServerResponse) => void;
  #onAnswered: (answer: Answer) => void = () => undefined;

  private constructor(profile: string, url: string, server: Server) {
    this.#server = server;
    this.#asked = this.#nextAsked();
    server.on("request", (request, response: ServerResponse) => {
      response.setHeader("access-control-allow-origin", "*");
      void text(request)
        .then((answer) => {
          this.#onAnswered(JSON.parse(answer) as Answer);
          this.#onAsked(response);
        })
        // A page that ends while it answers.
        .catch((error: unknown) => this.#onAnswered({ error: String(error) }));
    });
    const prefs = Object.entries(firefoxLaunch().firefoxUserPrefs ?? {});
    const lines = prefs.map((x) => `user_pref(${x.map((y) => JSON.stringify(y)).join(", ")});\n`);
    writeFileSync(join(profile, "user.js"), lines.join(""));
    const { port } = server.address() as AddressInfo;
    const args = ["--headless", "--no-remote", "--profile", profile, `${url}?calls=http://127.0.0.1:${port}/`];
    this.#process = spawn(BROWSER_PATHS.firefox, args, { stdio: "ignore" });
    this.#ended = once(this.#process, "exit").then(
      ([code, signal]) => `Firefox ended: ${String(code ?? signal)}`,
      (error: unknown) => `Firefox did not start: ${String(error)}`,
    );
  }

  /** Starts one, headless, with its profile in a folder, and opens a page. */
  static async open(profile: string, url: string): Promise<BareFirefox> {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    return new BareFirefox(profile, url, server);
  }

  /** Id of its process; undefined where it did not start. */
  get pid(): number | undefined {
    return this.#process.pid;
  }

  /** Calls a function of the page, and returns its awaited value. Rejects where the browser ends before. */
  async call(method: string, args: readonly unknown[]): Promise<unknown> {
    const gone = this.#ended.then((how) => {
      throw new Error(how);
    });
    const response = await Promise.race([this.#asked, gone]);
    this.#asked = this.#nextAsked();
    const answered = new Promise<Answer>((resolve) => (this.#onAnswered = resolve));
    response.end(JSON.stringify({ method, args }));
    const { value, error } = await Promise.race([answered, gone]);
    if (error !== undefined) throw new Error(error);
    return value;
  }

  /** Closes the browser. */
  async close(): Promise<void> {
    this.#process.kill();
    await this.#ended;
    this.#server.closeAllConnections();
    this.#server.close();
  }

  #nextAsked(): Promise<ServerResponse> {
    return new Promise((resolve) => (this.#onAsked = resolve));
  }
}
