// Causes of a worker that does not start, in a page of which each part is a stub: what its server answers, which
// directives a request and a worker violate.
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { diagnose } from "./diagnose-worker.ts";

const SCRIPT = "https://cdn.example/dist/worker-wasm.js";
const BLOB = "blob:https://app.example/1";

/** A page at https://app.example, whose workers never load. */
function open(request: () => Promise<Response>, violatedByWorker: string | null = null): void {
  const document = new EventTarget();
  vi.stubGlobal("document", document);
  vi.stubGlobal("location", new URL("https://app.example/"));
  vi.stubGlobal("self", { origin: "https://app.example" });
  vi.stubGlobal("navigator", { onLine: true });
  vi.stubGlobal("fetch", request);
  const fails = class {
    onerror: ((event: Event) => void) | null = null;
    constructor() {
      queueMicrotask(() => {
        if (violatedByWorker !== null) document.dispatchEvent(violation(violatedByWorker));
        this.onerror?.(new Event("error"));
      });
    }
    terminate(): void {
      // nothing runs
    }
  };
  vi.stubGlobal("Worker", fails);
}

function violation(effectiveDirective: string): Event {
  return Object.assign(new Event("securitypolicyviolation"), { disposition: "enforce", effectiveDirective });
}

const script = (): Promise<Response> =>
  Promise.resolve(new Response("code", { headers: { "content-type": "text/javascript" } }));
const away = (): Promise<Response> => Promise.reject(new TypeError("Failed to fetch"));
const forbidden = (): Promise<Response> => {
  // Browsers report it after the request has failed.
  setTimeout(() => document.dispatchEvent(violation("connect-src")), 10);
  return away();
};

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

async function cause(href: string, start: string = href): Promise<Record<string, unknown>> {
  const found = diagnose({ href, script: start }, undefined);
  await vi.advanceTimersByTimeAsync(30_000);
  const error = await found;
  return { code: error?.code, retryable: error?.retryable, message: error?.message ?? "", ...error?.details };
}

test("another origin: the advice has both sources of worker-src, which a Blob's import is checked against too", async () => {
  open(script);
  const { reason, message } = await cause(SCRIPT, BLOB);
  expect(reason).toBe("cross-origin");
  expect(message).toContain("allow `worker-src blob: https://cdn.example`, and https://cdn.example in `script-src`");
  expect(message).toMatch(/Content-Security-Policy that keeps a Blob from importing it/);
});

test("another origin, and connect-src keeps its server from being asked: the directive, and no word on CORS", async () => {
  open(forbidden);
  const { reason, directive, message } = await cause(SCRIPT, BLOB);
  expect({ reason, directive }).toEqual({ reason: "cross-origin", directive: "connect-src" });
  expect(message).toMatch(/the Content-Security-Policy forbids that \(connect-src\)\./);
});

test("another origin whose server is away or sends no CORS: that, and no directive", async () => {
  open(away);
  const { reason, directive, message } = await cause(SCRIPT, BLOB);
  expect({ reason, directive }).toEqual({ reason: "cross-origin", directive: undefined });
  expect(message).toMatch(/its server sends no Access-Control-Allow-Origin, or is away/);
});

test("another origin, and a policy forbids the worker: its own directive comes first", async () => {
  open(forbidden, "worker-src");
  expect(await cause(SCRIPT, BLOB)).toMatchObject({ reason: "cross-origin", directive: "worker-src" });
});

test.each([
  [500, "server", true],
  [429, "server", true],
  [501, "worker-missing", false],
  [505, "worker-missing", false],
  [403, "worker-missing", false],
])("status %i: %s", async (status, reason, retryable) => {
  open(() => Promise.resolve(new Response("", { status })));
  expect(await cause("https://app.example/worker-wasm.js")).toMatchObject({ reason, retryable });
});

test("status 403 for a file outside of the app's workspace, from Vite's dev server: its setting is named", async () => {
  const url = "https://app.example/@fs/store/selvedge/dist/worker-wasm.js";
  open(() => Promise.resolve(Object.defineProperty(new Response("", { status: 403 }), "url", { value: url })));
  const { reason, message } = await cause(url);
  expect(reason).toBe("worker-missing");
  expect(message).toMatch(/`server\.fs\.allow`, which the plugin of selvedge\/vite does\.$/);
});

test.each([
  ["without an end", away, /redirected without an end, as to itself, or to an address that can't be reached\./],
  [
    "to an end that the page may not read",
    script,
    /redirected to an address that this page can't read: .*another origin/,
  ],
])("a redirection %s is named so", async (_, follow, message) => {
  open(away);
  vi.stubGlobal("fetch", (_url: string, { redirect, mode }: RequestInit) => {
    if (redirect === "manual") return Promise.resolve({ type: "opaqueredirect" });
    return mode === "no-cors" ? follow() : away();
  });
  const outcome = await cause("https://app.example/worker-wasm.js");
  expect(outcome).toMatchObject({ code: "setup-failed", reason: "worker-redirected", retryable: false });
  expect(outcome["message"]).toMatch(message);
});

test("a script whose body stalls: its status is shown, not that no answer came", async () => {
  open(script);
  vi.stubGlobal("fetch", (_: string, { signal }: RequestInit) => {
    const stalled = new ReadableStream<Uint8Array>({
      start(controller) {
        controller.enqueue(new TextEncoder().encode("code"));
        signal?.addEventListener("abort", () => {
          controller.error(signal.reason);
        });
      },
    });
    return Promise.resolve(new Response(stalled));
  });
  const { reason, message } = await cause("https://app.example/worker-wasm.js");
  expect(reason).toBe("worker-stalled");
  expect(message).toMatch(/did not load \(status 200, and no end\): no data for 5 s/);
});

test("a request that waits for the worker's own in the browser's cache: the status comes from one beside it", async () => {
  open(script);
  const stopped: string[] = [];
  vi.stubGlobal("fetch", (_: string, { signal, cache = "default" }: RequestInit) => {
    signal?.addEventListener("abort", () => stopped.push(cache));
    return cache === "no-store" ? Promise.resolve(new Response(new ReadableStream())) : waitFor(signal);
  });
  const { message } = await cause("https://app.example/worker-wasm.js");
  expect(message).toMatch(/did not load \(status 200, and no end\): no data for 5 s/);
  expect(stopped).toEqual(["default", "no-store"]);
});

/** A request without an answer. */
function waitFor(signal: AbortSignal | null | undefined): Promise<Response> {
  return new Promise((_, reject) => {
    signal?.addEventListener("abort", () => {
      reject(signal.reason as Error);
    });
  });
}

/** Answers the page's own address; a request for the script fails, and violates `connect-src` where that is said. */
const scriptAlone =
  (isForbidden: boolean) =>
  (url: unknown): Promise<Response> =>
    String(url).endsWith("/") ? script() : isForbidden ? forbidden() : away();

test("the connection of the script is closed without an answer: waiting may help", async () => {
  open(away);
  vi.stubGlobal("fetch", scriptAlone(false));
  const found = await cause("https://app.example/worker-wasm.js");
  expect(found).toMatchObject({ code: "worker-crashed", reason: "server", retryable: true });
});

test("connect-src keeps the page from asking for the script: waiting does not help", async () => {
  open(away);
  vi.stubGlobal("fetch", scriptAlone(true));
  const found = await cause("https://app.example/worker-wasm.js");
  expect(found).toMatchObject({ code: "setup-failed", reason: "worker-unreachable", retryable: false });
});
