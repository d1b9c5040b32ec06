// The changes that mend a cause, in the words of `selvedge doctor`: its table (fixes.ts) has the line for each
// bundler and host. Addresses stand for the app's own.
import type { Change } from "./evidence.ts";

/** Address of the page in the lines. */
export const PAGE = "https://app.example/";

const FILES: Change = { kind: "copy", files: ["worker-*.js", "*.wasm"], to: "/" };
const PREBUNDLE: Change = { kind: "exclude-prebundle" };
const NO_FALLBACK: Change = { kind: "no-fallback", paths: ["/models/"] };
const LFS: Change = { kind: "replace", url: "the file", command: "git lfs pull" };
const csp = (directive: string, ...sources: readonly string[]): Change => ({
  kind: "csp",
  path: "/",
  directive,
  sources,
});
const header = (path: string, name: string, value: string): Change => ({ kind: "header", path, name, value });
const CORS = header("/models/*", "Access-Control-Allow-Origin", "*");

/** Changes by code and reason; a cause without one has no line that depends on a bundler or host. */
export const CHANGES: Readonly<Record<string, readonly Change[]>> = {
  "setup-failed insecure-context": [{ kind: "secure-context" }],
  "setup-failed trusted-types": [{ kind: "trusted-types" }],
  "setup-failed cross-origin": [{ kind: "same-origin-files" }],
  "setup-failed worker-missing": [FILES, PREBUNDLE],
  "setup-failed worker-html": [FILES, PREBUNDLE],
  "setup-failed worker-type": [{ kind: "type", extension: ".js", type: "text/javascript" }],
  "setup-failed worker-invalid": [FILES],
  "setup-failed worker-csp": [csp("worker-src", "'self'")],
  "setup-failed worker-coep": [header("/*", "Cross-Origin-Embedder-Policy", "require-corp")],
  "setup-failed wasm-missing": [FILES],
  "setup-failed wasm-html": [FILES],
  "setup-failed wasm-invalid": [FILES],
  "setup-failed wasm-encoding": [{ kind: "no-header", path: "/ort-*.wasm", name: "Content-Encoding", value: "br" }],
  "setup-failed wasm-csp": [csp("script-src", "'self'", "'wasm-unsafe-eval'")],
  "setup-failed bundler": [FILES, { kind: "assets-base", to: "/selvedge/" }],
  "setup-failed version": [FILES, { kind: "refresh-service-worker", url: "the service worker" }],
  "download-failed not-found": [{ kind: "copy", files: ["/models/"], to: "/models/" }],
  "download-failed html": [NO_FALLBACK],
  "download-failed git-lfs": [LFS],
  "download-failed cors": [CORS],
  "download-failed csp": [csp("connect-src", "'self'", "https://models.example")],
  "download-failed mixed-content": [{ kind: "https", url: "http://models.example/model.onnx" }],
  "model-invalid html": [NO_FALLBACK],
  "model-invalid git-lfs": [LFS],
  "bundle-invalid html": [NO_FALLBACK],
  "bundle-invalid git-lfs": [LFS],
  "integrity-failed hash": [{ kind: "as-stored", path: "/models/*" }],
};
