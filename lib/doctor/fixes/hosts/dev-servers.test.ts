import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import type { Bundler, Change, Host } from "../../evidence.ts";
import { fixOf } from "../../fixes.ts";
import { fixFor } from "../../../test-support/doctor-fixes.ts";

test("a header of a development server is written in its own configuration", () => {
  const change: Change = { kind: "header", path: "/*", name: "X", value: "y" };
  const fixOn = (host: Host, bundler: Bundler): readonly [where: string, line: string] => {
    const { where, line } = fixOf(change, { stack: { host, bundler, isDev: true }, url: "http://localhost/" });
    return [where, line];
  };
  const entry = '"X": "y",';
  expect(fixOn("vite", "vite")).toEqual([
    "vite.config, in server: { headers: { } } and preview: { headers: { } }",
    entry,
  ]);
  // SvelteKit answers with pages, and with files of static/, without Vite's headers.
  expect(fixOn("vite", "sveltekit")).toEqual([
    "vite.config, in plugins: [ ], before sveltekit(); for vite preview a second time, with configurePreviewServer; of adapter-node, the middleware alone, before its handler in a server of your own",
    expect.stringMatching(/^\{\n {2}name: "headers",\n {2}configureServer: .*\n {4}response\.setHeader\("X", "y"\);\n/),
  ]);
  expect(fixOn("webpack-dev-server", "webpack")).toEqual(["webpack.config, in devServer: { headers: { } }", entry]);
  expect(fixOn("webpack-dev-server", "rspack")).toEqual(["rspack.config, in devServer: { headers: { } }", entry]);
  expect(fixOn("ng-serve", "angular")).toEqual([
    'angular.json, architect.serve.options, in "headers": { }',
    '"X": "y"',
  ]);
  expect(fixOn("astro-dev", "astro")).toEqual(["astro.config, in server: { headers: { } }", entry]);
  expect(fixOn("nuxt-dev", "nuxt")).toEqual([
    'nuxt.config, in routeRules: { "/**": { headers: { } } } and vite: { server: { headers: { } } }',
    entry,
  ]);
});

test("a development server's headers, which all files have, get none that is one file's", () => {
  const dev = ["vite", "webpack-dev-server", "ng-serve", "nuxt-dev", "astro-dev"] as const;
  const path = "/w.js";
  for (const host of dev) {
    for (const [name, value] of [
      ["Content-Encoding", "br"],
      ["Content-Type", "text/javascript"],
      ["Cache-Control", "public, max-age=31536000, immutable"],
    ] as const)
      expect(fixFor(host, { kind: "header", path, name, value })).toEqual([
        "the server, on /w.js alone",
        `${name}: ${value}`,
      ]);
    for (const name of ["Cache-Control", "Cross-Origin-Embedder-Policy"])
      expect(fixFor(host, { kind: "header", path, name, value: "no-cache" })[0]).toContain("headers");
  }
});

test("SvelteKit's plugin has all headers of a report, each once", () => {
  const set = (path: string, name: string, value: string): Change => ({ kind: "header", path, name, value });
  const seen = { policies: ["default-src 'self'"], index: 0, isMeta: false };
  const all: readonly Change[] = [
    set("/*", "A", "1"),
    set("/w.js", "Content-Encoding", "br"),
    set("/*", "B", '"2"'),
    { kind: "csp", path: "/", directive: "worker-src", sources: ["blob:"], seen },
  ];
  const stack = { host: "vite", bundler: "sveltekit", isDev: true } as const;
  const lines = all.map((x) => fixOf(x, { stack, url: "https://x.example/" }, all).line);
  expect(new Set(lines)).toEqual(new Set([lines[0], "Content-Encoding: br"]));
  const [plugin] = runInNewContext(`[${lines[0]}]`) as [{ configureServer(server: unknown): unknown }];
  const sent: unknown[] = [];
  const response = { setHeader: (...words: unknown[]) => sent.push(words) };
  const middlewares = { use: (run: (...words: unknown[]) => void) => run({}, response, () => sent.push("next")) };
  // A function would be called once more, after Vite's own.
  expect(plugin.configureServer({ middlewares })).toBe(undefined);
  const policy = "default-src 'self'; worker-src blob:";
  expect(sent).toEqual([["A", "1"], ["B", '"2"'], ["Content-Security-Policy", policy], "next"]);
});
