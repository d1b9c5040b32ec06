// Addresses of the worker scripts and wasm binaries. Bundlers find and copy them by the literal `new URL("./x",
// import.meta.url)` below: keep each in one piece. Functions, so that nothing is resolved at import and a bundle whose
// `import.meta.url` is empty (esbuild's iife) works with `assetsBase`.
import { withoutCredentials } from "./core/credentials.ts";
import { SelvedgeError } from "./core/errors.ts";
import type { Effects, ScriptUrl, WorkerSource } from "./effects/effects.ts";

/**
 * A build of ONNX Runtime Web: `jspi` serves both backends; `wasm`, which is smaller and starts sooner, the CPU only.
 */
export type OrtBuild = "jspi" | "wasm";

/** The addresses of one build. */
export interface Assets {
  readonly workerUrl: string;
  /** The worker that fetches models; the same for every build. */
  readonly cacheUrl: string;
  /** The brotli decoder, for browsers that have none of their own; the same for every build. */
  readonly brotliUrl: string;
  readonly wasmUrl: string;
  /** The second part of the wasm binary. */
  readonly restUrl: string;
}

/** Worker script and binaries of a build, as the package's script names them. */
export type BuildFiles = readonly [worker: URL, wasm: URL, rest: URL];

/**
 * Resolves the addresses of a build: below `assetsBase` where given (relative to `baseUrl`), else beside the package.
 * The files of the JSPI build are the caller's to name (jspi-files.ts): a bundler emits whatever a module names, and
 * `selvedge/wasm` leaves them out.
 * @throws SelvedgeError `setup-failed` with the setting, where a bundler has broken them
 */
export function resolveAssets(
  build: OrtBuild,
  assetsBase: string | undefined,
  baseUrl: string,
  jspiFiles: (() => BuildFiles) | null,
): Assets {
  if (assetsBase !== undefined) {
    const base = new URL(assetsBase.endsWith("/") ? assetsBase : `${assetsBase}/`, baseUrl);
    const names = [
      `worker-${build}.js`,
      "worker-cache.js",
      "brotli.wasm",
      `ort-${build}.wasm`,
      `ort-${build}-rest.wasm`,
    ];
    return assetsOf(names.map((name) => new URL(name, base).href));
  }
  try {
    const [worker, wasm, rest] =
      build === "jspi" && jspiFiles !== null
        ? jspiFiles()
        : [
            new URL("./worker-wasm.js", import.meta.url),
            new URL("./ort-wasm.wasm", import.meta.url),
            new URL("./ort-wasm-rest.wasm", import.meta.url),
          ];
    const cache = new URL("./worker-cache.js", import.meta.url);
    const brotli = new URL("./brotli.wasm", import.meta.url);
    // Turbopack's are relative.
    const urls = [worker, cache, brotli, wasm, rest];
    return assetsOf(urls.map(({ href }) => new URL(mend(href), baseUrl || undefined).href));
  } catch (error) {
    const fix = "Serve the package's dist/ at `assetsBase`; in Vite use selvedge/vite.";
    const text = `A bundler moved Selvedge away: ${String(error)}. ${fix}`;
    throw new SelvedgeError("setup-failed", text, { reason: "bundler" }, error);
  }
}

function assetsOf(urls: readonly string[]): Assets {
  // Those of Firefox's `import.meta.url` hold the user name and the password that its page was opened with.
  const [workerUrl, cacheUrl, brotliUrl, wasmUrl, restUrl] = urls.map((url) => withoutCredentials(url));
  return { workerUrl, cacheUrl, brotliUrl, wasmUrl, restUrl } as Assets;
}

/** Creates TrustedScriptURLs where the page enforces Trusted Types. */
export interface ScriptPolicy {
  createScriptURL(url: string): ScriptUrl;
}

/** Returns a worker script as the Worker constructor takes it. */
export function workerSource(effects: Effects, policy: ScriptPolicy | undefined, href: string): WorkerSource {
  const url = effects.sameOriginUrl?.(href) ?? href;
  return { href, script: policy === undefined ? url : policy.createScriptURL(url) };
}

/** Corrects an address that a bundler rewrote, or throws with the setting that prevents it. */
export function mend(href: string): string {
  if (href.startsWith("data:")) throw new TypeError("inlined as data:");
  // Vite up to 7 serves a pre-bundled package from its cache folder, which has scripts only; the files themselves are in
  // the package. The folder is node_modules/.vite, or node_modules/.cache/… (Nuxt, Storybook), or .vitepress/cache. Not
  // found by this: packages hoisted out of the app. Delete when Vite 7 is out of use.
  return href.replace(
    /(\/node_modules)?\/\.[^/]+(\/[^/]+)*\/deps(_[^/]*)?\/(?=[^/]+$)/,
    "/node_modules/selvedge/dist/",
  );
}
