// For tests of what the doctor says to change: each host, bundler and kind of change, and the line of one of them.
import type { Bundler, Change, Host } from "../doctor/evidence.ts";
import { fixOf } from "../doctor/fixes.ts";

/** Each host; null: not recognised. */
export const HOSTS: readonly (Host | null)[] = [
  ...(["nginx", "apache", "caddy", "netlify", "vercel", "cloudflare-pages", "github-pages", "firebase"] as const),
  ...(["serve", "http-server", "express", "iis", "vite", "webpack-dev-server", "next", "python"] as const),
  ...(["ng-serve", "nuxt-dev", "astro-dev", "cloudflare"] as const),
  null,
];

/** Each bundler; null: not recognised. */
export const BUNDLERS: readonly (Bundler | null)[] = [
  ...(["vite", "webpack", "rspack", "next", "nuxt", "sveltekit", "angular", "parcel", "rollup", "esbuild"] as const),
  ...(["astro", "importmap"] as const),
  null,
];

/** A change of each kind. */
export const CHANGES: readonly Change[] = [
  { kind: "header", path: "/*", name: "Cross-Origin-Embedder-Policy", value: "require-corp" },
  { kind: "header", path: "/m/model.onnx", name: "Cache-Control", value: "no-cache" },
  { kind: "type", extension: ".wasm", type: "application/wasm" },
  { kind: "copy", files: ["worker-*.js", "*.wasm"], to: "/selvedge/" },
  { kind: "copy", files: ["/models/x.onnx"], to: "/models/" },
  { kind: "no-fallback", paths: ["/worker-wasm.js"] },
  { kind: "csp", path: "/", directive: "worker-src", sources: ["'self'"] },
  { kind: "as-stored", path: "/m/chunks/*" },
  { kind: "ranges", path: "/m/model.onnx" },
  { kind: "compress", extension: ".wasm", type: "application/wasm" },
  { kind: "secure-context" },
  { kind: "no-header", path: "/ort-wasm.wasm", name: "Content-Encoding", value: "gzip" },
  { kind: "whole", path: "/m/model.onnx" },
  { kind: "allow", path: "/m/model.onnx", status: 403 },
  { kind: "https", url: "http://models.example/m.onnx" },
  { kind: "import-map", imports: { selvedge: "/selvedge/selvedge.min.js" } },
  { kind: "module", script: null },
  { kind: "build" },
  { kind: "worker-by-blob", url: "https://cdn.example/reader.js" },
];

/** Place and line of a change on a host, alone in its report. */
export function fixFor(host: Host, change: Change): readonly [where: string, line: string] {
  const { where, line } = fixOf(change, { stack: { host, bundler: null, isDev: false }, url: "https://x.example/" });
  return [where, line];
}

/** Lines of a report for a host, each once. */
export function linesFor(host: Host, ...all: readonly Change[]): string[] {
  const evidence = { stack: { host, bundler: null, isDev: false }, url: "https://x.example/" };
  return [...new Set(all.map((x) => fixOf(x, evidence, all).line))];
}
