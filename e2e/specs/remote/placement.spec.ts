// A server as one more lane, in the browser: `selvedge serve` in a process of its own serves the bundle that the page loads.
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { join } from "node:path";
import { expect, test } from "@playwright/test";
import type { Page } from "@playwright/test";
import { freePort } from "../../support/free-port.ts";
import { ROOT } from "../../support/prepare.ts";
import type * as Selvedge from "selvedge";

const BUNDLE = "/models/fashion-mlp/bundle.json";

/** A server in a process of its own. */
class Server {
  readonly url: string;
  readonly #port: number;
  #process: ChildProcess | null = null;

  constructor(port: number) {
    this.#port = port;
    this.url = `http://127.0.0.1:${port}`;
  }

  async start(): Promise<void> {
    const folder = join(ROOT, "models/dist/fashion-mlp");
    const args = ["--import", "tsx", "e2e/support/serve-bundle.ts", String(this.#port), folder];
    this.#process = spawn(process.execPath, args, { cwd: ROOT, stdio: "ignore" });
    await expect.poll(() => this.isReady(), { timeout: 60_000 }).toBe(true);
  }

  async isReady(): Promise<boolean> {
    return fetch(`${this.url}/v2/health/ready`).then(
      ({ ok }) => ok,
      () => false,
    );
  }

  /** Ends at once, as a killed process. */
  async kill(): Promise<void> {
    const own = this.#process;
    if (own?.pid === undefined || own.exitCode !== null) return;
    this.#process = null;
    const ended = once(own, "exit");
    own.kill("SIGKILL");
    await ended;
  }
}

let server: Server;

test.beforeEach(async ({ page }) => {
  const { pages } = test.info().config.metadata as { pages: string };
  server = new Server(await freePort());
  await server.start();
  await page.goto(`${pages}/engine.html`);
  await page.waitForFunction("globalThis.selvedge !== undefined");
});

test.afterEach(() => server.kill());

/** Where requests were answered, and their outputs. */
interface Answers {
  readonly places: readonly string[];
  readonly codes: readonly string[];
  readonly endpoint: string | null;
  readonly logits: readonly (readonly number[])[];
}

/** An engine and its model, as a test wants them. */
interface Wanted {
  readonly url: string;
  readonly bundle: string;
  readonly placement: Selvedge.Placement;
  readonly costMs: number;
}

/** Opens an engine on wasm, loads the bundle, and keeps both for the next calls. */
async function open({ url, bundle, placement, costMs }: Wanted): Promise<string> {
  const { createEngine } = (globalThis as unknown as { selvedge: typeof Selvedge }).selvedge;
  const remote = { endpoints: [url], costMs };
  const engine = await createEngine({ backends: ["wasm"], workers: 1, store: "memory", placement, remote });
  const model = await engine.load(bundle);
  Object.assign(globalThis, { engine, model });
  return model.backend;
}

/** Makes requests at once. */
async function ask(count: number): Promise<Answers> {
  const { model } = globalThis as unknown as { model: Selvedge.Model };
  const results = await Promise.all(
    Array.from({ length: count }, (_, i) => {
      const data = Float32Array.from({ length: 784 }, (_value, at) => Math.sin(at * 0.1 + i));
      return model.run({ image: { dtype: "float32", dims: [1, 1, 28, 28], data } });
    }),
  );
  return {
    places: results.map(({ info }) => info.placement),
    codes: results.map(({ info }) => info.why.code),
    endpoint: results[0]?.info.endpoint ?? null,
    logits: results.map(({ outputs }) => [...(outputs["logits"]?.data as Float32Array)]),
  };
}

/** Returns the backend that the model runs on now. */
function backend(): string {
  return (globalThis as unknown as { model: Selvedge.Model }).model.backend;
}

/** Opens the engine with the server; returns the backend of the model. */
function opened(page: Page, placement: Selvedge.Placement, costMs = 100): Promise<string> {
  const wanted: Wanted = { url: server.url, bundle: BUNDLE, placement, costMs };
  return page.evaluate(open, wanted);
}

/** Repeats requests until the model runs on this device. */
async function untilLocal(page: Page): Promise<void> {
  await expect
    .poll(
      async () => {
        await page.evaluate(ask, 1);
        return page.evaluate(backend);
      },
      { timeout: 60_000 },
    )
    .toBe("wasm");
}

test("with placement remote a page fetches no weights and answers as this device does", async ({ page }) => {
  const chunks: string[] = [];
  page.on("request", (request) => {
    if (/chunks/.test(request.url())) chunks.push(request.url());
  });
  expect(await opened(page, "remote")).toBe("remote");
  const remote = await page.evaluate(ask, 8);
  expect([new Set(remote.places), remote.endpoint]).toEqual([new Set(["remote"]), server.url]);
  const fetched = chunks.length;
  await opened(page, "local");
  const local = await page.evaluate(ask, 8);
  expect(new Set(local.places)).toEqual(new Set(["local"]));
  // Labels and goldens alone; the weights are three chunks at least.
  expect(chunks.length).toBeGreaterThan(fetched);
  for (const [i, row] of remote.logits.entries()) {
    const other = local.logits[i] ?? [];
    const top = (values: readonly number[]): number => values.indexOf(Math.max(...values));
    expect(top(row)).toBe(top(other));
  }
});

test("with auto a server answers while the weights are held back, and this device once they are there", async ({
  page,
}) => {
  let release = (): void => undefined;
  const held = new Promise<void>((resolve) => (release = resolve));
  let isHeld = true;
  await page.context().route(/chunks/, async (route) => {
    // Goldens and labels are small.
    const response = await route.fetch({ maxRetries: 3 });
    if (isHeld && (await response.body()).length > 50_000) await held;
    await route.fulfill({ response });
  });
  expect(await opened(page, "auto")).toBe("remote");
  const first = await page.evaluate(ask, 3);
  expect([new Set(first.places), new Set(first.codes)]).toEqual([new Set(["remote"]), new Set(["weights-coming"])]);
  isHeld = false;
  release();
  await untilLocal(page);
  const later = await page.evaluate(ask, 1);
  expect(later.places).toEqual(["local"]);
});

test("every request is answered where the server is killed under load", async ({ page }) => {
  await opened(page, "auto", 0);
  await untilLocal(page);
  const answers = page.evaluate(ask, 400);
  await server.kill();
  const { places } = await answers;
  expect(places).toHaveLength(400);
  expect((await page.evaluate(ask, 20)).places).toEqual(Array.from({ length: 20 }, () => "local"));
});

test("with placement local a server gets no request", async ({ page }) => {
  const seen: string[] = [];
  page.on("request", (request) => {
    if (request.url().startsWith(server.url)) seen.push(request.url());
  });
  await opened(page, "local");
  expect((await page.evaluate(ask, 20)).endpoint).toBeNull();
  expect(seen).toEqual([]);
});

/** Starts a TCP server that counts connections and received bytes, and answers nothing. */
async function startRecorder(): Promise<{ url: string; count: () => number; close: () => Promise<void> }> {
  let count = 0;
  const sockets = new Set<Socket>();
  const recorder = createServer((socket) => {
    count += 1;
    sockets.add(socket);
    socket.on("data", (part) => (count += part.length)).on("error", () => undefined);
  });
  await once(recorder.listen(0, "127.0.0.1"), "listening");
  const { port } = recorder.address() as AddressInfo;
  const close = async (): Promise<void> => {
    const closed = once(recorder, "close");
    recorder.close();
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  return { url: `http://127.0.0.1:${port}`, count: () => count, close };
}

interface Asked {
  readonly count: number;
  readonly deadlineMs?: number;
  readonly isEnded?: boolean;
}

/** Makes requests at once, and returns how each ended; `isEnded` ends all workers while they run. */
async function endings({ count, deadlineMs, isEnded }: Asked): Promise<string[]> {
  const { model, workers } = globalThis as unknown as { model: Selvedge.Model; workers: Worker[] };
  const pending = Array.from({ length: count }, (_, i) => {
    const data = Float32Array.from({ length: 784 }, (_value, at) => Math.cos(at * 0.1 + i));
    const options = deadlineMs === undefined ? {} : { deadlineMs };
    return model.run({ image: { dtype: "float32", dims: [1, 1, 28, 28], data } }, options).then(
      ({ info }) => info.placement,
      (error: unknown) => String(Reflect.get(error as object, "code")),
    );
  });
  if (isEnded === true) for (const worker of workers.splice(0)) worker.terminate();
  return Promise.all(pending);
}

/** Loads the bundle anew; returns the code and the reason of the error. */
async function refusal({ url, bundle, placement }: Wanted): Promise<string> {
  const { createEngine } = (globalThis as unknown as { selvedge: typeof Selvedge }).selvedge;
  const engine = await createEngine({ backends: ["wasm"], store: "memory", placement, remote: { endpoints: [url] } });
  const refused = await engine.load(bundle).then(
    () => null,
    (error: unknown) => error as Selvedge.SelvedgeError,
  );
  await engine.close();
  return refused === null ? "loaded" : `${refused.code} ${String(refused.details["reason"])}`;
}

test("with placement local not a byte goes to a server, whatever goes wrong here", async ({ page, context }) => {
  const recorder = await startRecorder();
  try {
    await page.evaluate(() => {
      const { Worker } = globalThis;
      const workers: Worker[] = [];
      class Kept extends Worker {
        constructor(...words: ConstructorParameters<typeof Worker>) {
          super(...words);
          workers.push(this);
        }
      }
      Object.assign(globalThis, { Worker: Kept, workers });
    });
    const wanted: Wanted = { url: recorder.url, bundle: BUNDLE, placement: "local", costMs: 0 };
    expect(await page.evaluate(open, wanted)).toBe("wasm");
    const local = (count: number): string[] => Array.from({ length: count }, () => "local");
    expect(await page.evaluate(endings, { count: 20, isEnded: true })).toEqual(local(20));
    expect(await page.evaluate(endings, { count: 50, deadlineMs: 1 })).toContain("deadline-exceeded");
    await context.setOffline(true);
    expect(await page.evaluate(endings, { count: 5 })).toEqual(local(5));
    await context.setOffline(false);
    // Weights that are missing, are not those of the bundle, or stop.
    for (const [spoil, reason] of [
      ["404", "download-failed not-found"],
      ["other bytes", "integrity-failed hash"],
      ["reset", "download-failed unreachable"],
    ] as const) {
      await context.route(/chunks/, (route) => {
        if (spoil === "404") return route.fulfill({ status: 404 });
        return spoil === "reset" ? route.abort("connectionreset") : route.fulfill({ body: "other bytes" });
      });
      expect(await page.evaluate(refusal, wanted), spoil).toBe(reason);
      await context.unroute(/chunks/);
    }
    expect(recorder.count()).toBe(0);
    // The recorder notes what an engine does send.
    const sending: Wanted = { ...wanted, placement: "remote" };
    await page.evaluate(open, sending).catch(() => undefined);
    expect(recorder.count()).toBeGreaterThan(0);
  } finally {
    await recorder.close();
  }
});

for (const [fault, url] of [
  ["whose name does not resolve", () => "https://infer.invalid"],
  ["without TLS behind an https address", () => server.url.replace("http:", "https:")],
] as const)
  test(`a server ${fault} costs no request with auto, and is named with remote`, async ({ page }) => {
    const wanted: Wanted = { url: url(), bundle: BUNDLE, placement: "auto", costMs: 0 };
    await page.evaluate(open, wanted);
    expect((await page.evaluate(ask, 20)).places).toEqual(Array.from({ length: 20 }, () => "local"));
    const alone: Wanted = { ...wanted, placement: "remote" };
    await expect(page.evaluate(open, alone)).rejects.toThrow(/no reply: the server is away/);
  });
