// A page or files below an address with a user name and a password: both work, and no message shows either.
import { afterEach, expect, test, vi } from "vitest";
import { resolveAssets } from "../assets.ts";
import { request } from "../cache/http.ts";
import { diagnose } from "../effects/diagnose-worker.ts";
import { browserEffects } from "../effects/effects.ts";
import { networkEffects } from "../effects/network.ts";
import { ownDescription } from "../engine/own-description.ts";
import { remoteSide } from "../engine/remote-lanes.ts";
import { resolveRepository } from "../engine/repository-source.ts";
import { jspiFiles } from "../jspi-files.ts";
import { answerFailure } from "../worker/backend/wasm-file.ts";
import { resolveAddress, resolveSource } from "./resolve-source.ts";

const PAGE = "https://ann:pa55word@example.com/app/index.html";
const SOURCE = "https://ann:pa55word@example.com/m.onnx";

afterEach(() => {
  vi.unstubAllGlobals();
});

/** Effects of a page below that address; every request is answered with a status. */
function onPage(status = 404) {
  vi.stubGlobal("document", { baseURI: PAGE });
  vi.stubGlobal("location", new URL(PAGE));
  vi.stubGlobal("self", globalThis);
  vi.stubGlobal("fetch", () => Promise.resolve(new Response("", { status })));
  return browserEffects();
}

test("a page's relative URLs are resolved against its address without them", () => {
  const { baseUrl } = onPage().facts;
  expect(baseUrl).toBe("https://example.com/app/index.html");
  expect(resolveSource("/m.onnx", baseUrl)).toBe("https://example.com/m.onnx");
  expect(resolveAddress("labels.txt", baseUrl)).toBe("https://example.com/app/labels.txt");
});

test("a worker's relative URLs too, and those of a client of servers", () => {
  onPage();
  vi.stubGlobal("document", undefined);
  expect(browserEffects().facts.baseUrl).toBe("https://example.com/app/index.html");
  expect(networkEffects().baseUrl).toBe("https://example.com/app/index.html");
});

test.each(["/static/", "https://ann:pa55word@example.com/static/"])("assetsBase %s has none", (base) => {
  const { workerUrl, wasmUrl } = resolveAssets("jspi", base, PAGE, jspiFiles);
  expect(workerUrl).toBe("https://example.com/static/worker-jspi.js");
  expect(wasmUrl).toBe("https://example.com/static/ort-jspi.wasm");
});

test.each([
  ["/a//b@c/d", "/a//b@c/d"],
  ["https://example.com/@scope/x@1/", "https://example.com/@scope/x@1/"],
  ["file:///home/me@work/", "file:///home/me@work/"],
])("an @ in the path of %s stays", (path, expected) => {
  vi.stubGlobal("document", { baseURI: path });
  expect(browserEffects().facts.baseUrl).toBe(expected);
});

const net = { effects: { ...networkEffects(), random: () => 0 }, signal: new AbortController().signal };

/** Faults of a page below such an address, each by the call that reports it. */
const FAULTS: Readonly<Record<string, () => unknown>> = {
  "a worker script that is not there": async () => {
    const { baseUrl } = onPage().facts;
    const { workerUrl } = resolveAssets("wasm", "/static/", baseUrl, jspiFiles);
    return diagnose({ href: workerUrl, script: workerUrl }, "no");
  },
  "a worker script below such an assetsBase": async () => {
    onPage();
    const { workerUrl } = resolveAssets("wasm", PAGE, "", jspiFiles);
    return diagnose({ href: workerUrl, script: workerUrl }, undefined);
  },
  "a binary that is not there": () => answerFailure(resolveAssets("wasm", PAGE, "", jspiFiles).wasmUrl, 404, ""),
  "a model that is not there": async () => {
    const { baseUrl } = onPage().facts;
    await request(resolveAddress("/m.onnx", baseUrl), {}, net);
  },
  "a model's own address with them": () => request(SOURCE, {}, net),
  "a source that is no URL": () => resolveSource("https://ann:pa55word@", PAGE),
  "a source in a list": () => resolveAddress([SOURCE] as never, PAGE),
  "labels of a bundle": () => ownDescription(`${SOURCE}/bundle.json`, { labels: ["a"] }, ""),
  "labels that are a number of an address": () => ownDescription(SOURCE, { labels: { from: 1 } as never }, ""),
  "an address in place of a repository's name": () => resolveRepository({ repo: SOURCE }, {}, {}, PAGE),
  "a hub that is no address": () => resolveRepository({ repo: "a/b", host: "https://ann:pa55word@" }, {}, {}, ""),
  "an inference server": () => remoteSide(onPage(), { endpoints: [SOURCE] }),
};

test.each(Object.entries(FAULTS))("%s: the error shows no password", async (_, fails) => {
  const error = await Promise.resolve()
    .then(fails)
    .then(
      (returned) => returned,
      (thrown: unknown) => thrown,
    );
  expect(error).toBeInstanceOf(Error);
  const { message, details, cause } = error as Error & { details?: object };
  expect(message).not.toBe("");
  expect(`${message} ${JSON.stringify(details)} ${String(cause)}`).not.toMatch(/pa55word|ann/);
});
