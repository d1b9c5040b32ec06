import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { launchOf, serve } from "./browser.ts";
import type { LocalServer } from "./local-server.ts";

let dist: string;
let server: LocalServer;
beforeEach(async () => {
  dist = mkdtempSync(join(tmpdir(), "selvedge-dist-"));
  writeFileSync(join(dist, "index.js"), "export {};");
  server = await serve(dist, new Map([["/bundle/bundle.json", new TextEncoder().encode("{}")]]));
});
afterEach(async () => {
  await server.close();
  rmSync(dist, { recursive: true });
});

/** Sends a raw request line and returns the response's status. */
const statusOf = (target: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const socket = connect(server.port, "127.0.0.1", () => {
      socket.write(`GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
    });
    socket.once("data", (data) => resolve(data.toString().split(" ")[1] ?? ""));
    socket.once("error", reject);
    socket.once("end", () => resolve(""));
  });

test.each(["/dist/%", "/%E0%A4%A", "//", "/dist/..%2f..%2fetc/passwd", "/dist/", "/dist"])(
  "a request that names no file gets 404, and the server keeps running: %s (store-C19)",
  async (target) => {
    expect(await statusOf(target)).toBe("404");
    expect(await statusOf("/dist/index.js")).toBe("200");
  },
);

test("serves the page, the package and the files in memory", async () => {
  expect(await (await fetch(server.origin)).text()).toContain("/dist/index.js");
  expect((await fetch(new URL("/dist/index.js", server.origin))).headers.get("content-type")).toBe("text/javascript");
  expect(await (await fetch(new URL("/bundle/bundle.json", server.origin))).json()).toEqual({});
});

test.each(["chromium", "firefox"] as const)("signals are left to the command line while %s runs", (browser) => {
  expect(launchOf(browser)).toMatchObject({ handleSIGINT: false, handleSIGTERM: false, handleSIGHUP: false });
});
