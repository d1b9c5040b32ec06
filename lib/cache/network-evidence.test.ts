// Causes of requests without an answer, in a worker whose network and policy are stubs.
import { afterEach, expect, test, vi } from "vitest";
import { causeOf } from "./network-evidence.ts";
import { request, retry } from "./http.ts";

const BLOB = "blob:https://app.example/1f";

/** A worker of https://app.example in which every request fails, and some violate `connect-src`. */
function open(violates: (url: string) => boolean = () => false): void {
  const target = new EventTarget();
  const location = new URL("https://app.example/worker.js");
  vi.stubGlobal("self", Object.assign(target, { location }));
  vi.stubGlobal("navigator", { onLine: true });
  vi.stubGlobal("fetch", (url: string) => {
    if (violates(url)) {
      const violation = { effectiveDirective: "connect-src", disposition: "enforce" };
      target.dispatchEvent(Object.assign(new Event("securitypolicyviolation"), violation));
    }
    return Promise.reject(new TypeError("Failed to fetch"));
  });
}

afterEach(() => {
  vi.unstubAllGlobals();
});

test("a blob: URL that was revoked: its own cause, and no second request", async () => {
  open();
  let asked = 0;
  const effects = {
    fetch: () => {
      asked += 1;
      return Promise.reject(new TypeError("Failed to fetch"));
    },
    setTimer: (callback: () => void, ms: number) => {
      if (ms < 20_000) callback();
      return () => undefined;
    },
    random: () => 0,
    causeOf,
  };
  const net = { effects, signal: new AbortController().signal };
  const failed = retry(net, () => request(BLOB, {}, net));
  await expect(failed).rejects.toMatchObject({
    code: "download-failed",
    retryable: false,
    details: { reason: "not-found", final: true },
    message: expect.stringMatching(/was revoked, is of another page.*pass the Blob or File itself/) as unknown,
  });
  expect(asked).toBe(1);
});

test("a blob: or data: URL that the policy forbids: the source that allows it", async () => {
  open(() => true);
  expect(await causeOf(BLOB)).toMatchObject({
    reason: "csp",
    text: expect.stringContaining("connect-src blob:`") as unknown,
  });
  expect(await causeOf("data:,x")).toMatchObject({
    reason: "csp",
    text: expect.stringContaining("connect-src data:`") as unknown,
  });
});

test("an address of the page's own that the policy forbids: 'self'", async () => {
  open((url) => url.endsWith("/m.onnx"));
  const cause = await causeOf("https://app.example/m.onnx");
  expect(cause).toMatchObject({ reason: "csp", text: expect.stringContaining("connect-src 'self'`") as unknown });
});

test.each(["/m.onnx", "https://cdn.example/m.onnx"])(
  "a redirect without end is named, and tried again, since its target may be away: %s",
  async (path) => {
    open();
    const url = new URL(path, "https://app.example/").href;
    vi.stubGlobal("fetch", (to: string, { redirect, mode }: RequestInit) =>
      redirect === "manual" && mode !== "no-cors"
        ? Promise.resolve({ type: "opaqueredirect", body: null })
        : to === url
          ? Promise.reject(new TypeError("Failed to fetch"))
          : Promise.resolve({ type: "opaque", body: null }),
    );
    const effects = {
      fetch: () => Promise.reject(new TypeError("Failed to fetch")),
      setTimer: () => () => undefined,
      random: () => 0,
      causeOf,
    };
    const net = { effects, signal: new AbortController().signal };
    await expect(request(url, {}, net)).rejects.toMatchObject({
      code: "download-failed",
      retryable: true,
      details: { reason: "unreachable" },
      message: expect.stringContaining("redirected without end") as unknown,
    });
  },
);

test("an address of the page's own while its origin is away: offline", async () => {
  open();
  expect(await causeOf("https://app.example/m.onnx")).toMatchObject({ reason: "offline" });
});
