// Broken sites, one fault each, and what the doctor must find there. The fix is the doctor's own: `mend` makes the changes
// that the finding names, and the page must answer then.
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { brotliDecompressSync } from "node:zlib";
import { build as esbuild } from "esbuild";
import { build as vite } from "vite";
import type { FindingId } from "../../lib/doctor/evidence.ts";
import { addModel } from "../../lib/test-support/backend-models.ts";
import { ROOT } from "../support/prepare.ts";
import { folderFiles, makeSite, packageFiles } from "./site.ts";
import type { App, HeaderRule, Site } from "./site.ts";

const MAIN = join(ROOT, "e2e/doctor/main.ts");
export const OWN_WORKER: string = join(ROOT, "e2e/doctor/own-worker.ts");
const ALIAS = { selvedge: join(ROOT, "dist/index.js") };
export const LFS = Buffer.from(
  `version https://git-lfs.github.com/spec/v1\noid sha256:${"4d7a214614ab2935c943f9e0ff69d22e".repeat(2)}\nsize 5303904\n`,
);
export const POLICY = "Content-Security-Policy";
export const FULL =
  "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'; img-src data:; base-uri 'self'";

/** A broken site. */
export interface Broken {
  readonly name: string;
  /** Id of the one finding. */
  readonly finding: FindingId;
  /** Default "error". A hint is found where hints are asked for. */
  readonly severity?: "warning" | "hint";
  /** Whether the app does not start at all, so that it reports nothing. */
  readonly isSilent?: true;
  /** Word that the fix must contain. */
  readonly line: RegExp;
  /** Word that the evidence must contain. */
  readonly evidence?: RegExp;
  /** Makes the page work, where the fix is the app's own and no change names it. */
  readonly mendApp?: (site: Site) => void;
  make(): Promise<Site>;
}

/** Bundles the page, or another entry, by esbuild. */
export async function byEsbuild(
  options: {
    readonly minify?: boolean;
    readonly path?: string;
    readonly format?: "esm" | "iife";
    readonly entry?: string;
  } = {},
): Promise<Map<string, Uint8Array>> {
  const { minify = true, path = "/main.js", format = "esm", entry = MAIN } = options;
  const { outputFiles } = await esbuild({
    entryPoints: [entry],
    bundle: true,
    minify,
    format,
    target: "es2022",
    alias: ALIAS,
    write: false,
    logLevel: "error",
  });
  return new Map([[path, outputFiles[0]?.contents ?? new Uint8Array()]]);
}

/** Pattern of the names of assets, or the pattern for each. */
export type AssetNames = string | ((asset: { readonly names: readonly string[] }) => string);

/** Builds the page by Vite; the entry's name has a hash, as everything. */
export async function byVite(
  base = "/",
  names?: AssetNames,
): Promise<{ files: Map<string, Uint8Array>; script: string }> {
  const outDir = mkdtempSync(join(tmpdir(), "selvedge-doctor-"));
  await vite({
    configFile: false,
    root: join(ROOT, "e2e/doctor"),
    base,
    logLevel: "error",
    resolve: { alias: ALIAS },
    build: {
      outDir,
      target: "es2022",
      rolldownOptions: {
        input: MAIN,
        ...(names !== undefined && { output: { assetFileNames: names, entryFileNames: "main-[hash].js" } }),
      },
    },
  });
  const files = folderFiles(outDir, base);
  const script = [...files.keys()].find((x) => /\/main-[^/]*\.js$/.test(x)) ?? "";
  return { files, script };
}

export const app = (given: Partial<App> = {}): App => ({ model: "model.onnx", script: "main.js", ...given });
export const header = (path: string, name: string, value: string): HeaderRule => ({ path, name, value });
export const model = (path = "/model.onnx"): [string, Uint8Array] => [path, addModel()];
export const BUNDLE = (to: string): Map<string, Uint8Array> => folderFiles(join(ROOT, "models/dist/fashion-cnn"), to);

/** A site as esbuild and `cp` make it. */
export async function copied(given: Partial<Site> = {}): Promise<Site> {
  const files = new Map([...(await byEsbuild()), ...packageFiles("/"), model(), ...(given.files ?? [])]);
  return makeSite({ app: app(), ...given, files });
}

/** Returns the site without the files that match. */
export function without(site: Site, pattern: RegExp): Site {
  for (const path of [...site.files.keys()])
    if (pattern.test(path)) {
      site.store.set(path, site.files.get(path) ?? new Uint8Array());
      site.files.delete(path);
    }
  return site;
}

/** The broken sites. */
export const SITES: readonly Broken[] = [
  {
    name: "a binary that is missing",
    finding: "wasm-missing",
    line: /ort-.*\.wasm|\*\.wasm/,
    make: async () => without(await copied(), /ort-.*\.wasm$/),
  },
  {
    name: "workers of an esbuild app that nobody copied",
    finding: "worker-missing",
    line: /cp node_modules\/selvedge\/dist/,
    make: async () => without(await copied(), /worker-.*\.js$|\.wasm$/),
  },
  {
    name: "a single-page app's page in place of the workers",
    finding: "worker-is-html",
    line: /cp |404/,
    make: async () => without(await copied({ fallback: "missing" }), /worker-.*\.js$|\.wasm$/),
  },
  {
    name: "chunks that the host answers with the page",
    finding: "chunk-is-html",
    line: /serve|404/,
    make: async () => copied({ files: BUNDLE("/m/"), app: app({ model: "m/bundle.json" }), fallback: /\/chunks\// }),
  },
  {
    name: "binaries as text/plain",
    finding: "wasm-type",
    severity: "warning",
    line: /application\/wasm/,
    make: async () => {
      const site = await copied();
      site.types[".wasm"] = "text/plain";
      return site;
    },
  },
  {
    name: "workers as text/plain",
    finding: "script-type",
    line: /text\/javascript/,
    make: async () => {
      const site = await copied({ app: app({ script: "main.mjs" }) });
      site.files.set("/main.mjs", site.files.get("/main.js") ?? new Uint8Array());
      site.types[".js"] = "text/plain";
      return site;
    },
  },
  {
    name: "a policy without 'wasm-unsafe-eval'",
    finding: "csp-wasm",
    line: /'wasm-unsafe-eval'/,
    make: () => copied({ headers: [header("*", POLICY, FULL.replace(" 'wasm-unsafe-eval'", ""))] }),
  },
  {
    name: "a policy without workers",
    finding: "csp-worker",
    line: /worker-src 'self'/,
    make: () => copied({ headers: [header("*", POLICY, FULL.replace("worker-src 'self'", "worker-src 'none'"))] }),
  },
  {
    name: "a policy without requests",
    finding: "csp-connect",
    line: /connect-src 'self'/,
    make: () => copied({ headers: [header("*", POLICY, FULL.replace("connect-src 'self'; ", ""))] }),
  },
  {
    name: "Trusted Types without a policy",
    finding: "trusted-types",
    line: /trustedTypesPolicy/,
    make: () => copied({ headers: [header("/", POLICY, "require-trusted-types-for 'script'")] }),
  },
  {
    name: "COEP on the page alone",
    finding: "coep-worker",
    line: /Cross-Origin-Embedder-Policy/,
    make: () =>
      copied({
        headers: [
          header("/", "Cross-Origin-Embedder-Policy", "require-corp"),
          header("/", "Cross-Origin-Opener-Policy", "same-origin"),
        ],
      }),
  },
  {
    name: "a model on another origin without CORS",
    finding: "cors",
    line: /Access-Control-Allow-Origin/,
    make: () =>
      copied({ app: app({ model: "{other}/model.onnx" }), other: makeSite({ app: app(), files: new Map([model()]) }) }),
  },
  {
    name: "plain http on a network address",
    finding: "insecure-context",
    severity: "warning",
    line: /https/,
    make: () => copied({ hostname: "0.0.0.0" }),
  },
  {
    name: "workers of another version",
    finding: "version-mismatch",
    line: /cp node_modules\/selvedge\/dist/,
    make: async () => {
      const site = await copied();
      // ONNX Runtime's glue and binary of two builds, as of two versions, do not fit each other.
      site.files.set("/ort-wasm.wasm", site.files.get("/ort-jspi.wasm") ?? new Uint8Array());
      return site;
    },
  },
  {
    name: "a Git LFS pointer as the model",
    finding: "lfs-pointer",
    line: /git lfs pull/,
    make: () => copied({ files: new Map([["/model.onnx", LFS]]), store: new Map([model()]) }),
  },
  {
    name: "chunks that the host rewrites",
    finding: "chunk-changed",
    line: /chunks/,
    make: () =>
      copied({
        files: BUNDLE("/m/"),
        app: app({ model: "m/bundle.json" }),
        transform: (path, body) => (path.includes("/chunks/") ? Buffer.concat([body, Buffer.from("\n")]) : body),
      }),
  },
  {
    name: "a package that Vite 7 has pre-bundled in a hoisted workspace",
    finding: "vite-prebundled",
    line: /optimizeDeps: \{ exclude: \["selvedge"\] \}/,
    make: prebundled,
  },
  {
    name: "a model without validators",
    finding: "model-no-validator",
    severity: "warning",
    line: /ETag/,
    make: () => copied({ validators: false }),
  },
  {
    name: "binaries that are not compressed, beside scripts that are",
    finding: "wasm-uncompressed",
    severity: "warning",
    line: /application\/wasm/,
    make: () => copied({ compress: new Set(["text/javascript", "text/html"]) }),
  },
];

/** Vite 7's dev server in a workspace: the package in the cache folder, its workers nowhere. */
async function prebundled(): Promise<Site> {
  const path = "/node_modules/.vite/deps/selvedge.js";
  const bundled = await byEsbuild({ minify: false, path });
  const [, code = new Uint8Array()] = [...bundled][0] ?? [];
  const files = new Map([
    ["/src/main.ts.js", Buffer.from(`import "/@vite/client.js";\nimport "${path}?v=4f2a6c1b";`)],
    ["/@vite/client.js", Buffer.from("// /@vite/client\n")],
    [path, code],
    model(),
  ]);
  const mended = new Map([
    [
      "/src/main.ts.js",
      Buffer.from(`import "/@vite/client.js";\nimport "/@fs/repo/node_modules/selvedge/dist/index.js";`),
    ],
    ["/@fs/repo/node_modules/selvedge/dist/index.js", code],
    ...packageFiles("/@fs/repo/node_modules/selvedge/dist/"),
  ]);
  return makeSite({ app: app({ script: "src/main.ts.js" }), files, mended, fallback: "missing" });
}

/** Sites on which nothing is wrong. */
export const GOOD: readonly { readonly name: string; make(): Promise<Site> }[] = [
  { name: "esbuild and cp", make: () => copied() },
  {
    name: "esbuild and cp, with a bundle",
    make: () => copied({ files: BUNDLE("/m/"), app: app({ model: "m/bundle.json" }) }),
  },
  {
    name: "Vite's output under a sub-path, isolated, with threads and a full policy",
    make: async () => {
      const base = "/sub/app/";
      const { files, script } = await byVite(base);
      const headers = [
        header("*", POLICY, FULL),
        header("*", "Cross-Origin-Opener-Policy", "same-origin"),
        header("*", "Cross-Origin-Embedder-Policy", "require-corp"),
      ];
      return makeSite({
        app: app({ script, threads: 2 }),
        base,
        headers,
        files: new Map([...files, model(`${base}model.onnx`)]),
      });
    },
  },
  {
    name: "an engine that starts on a click",
    make: () => copied({ app: app({ isLazy: true }) }),
  },
  {
    name: "a host that decompresses chunks, which the engine takes",
    make: () =>
      copied({
        files: BUNDLE("/m/"),
        app: app({ model: "m/bundle.json" }),
        transform: (path, body) => {
          if (!path.includes("/chunks/")) return body;
          try {
            return brotliDecompressSync(body);
          } catch {
            return body;
          }
        },
      }),
  },
  {
    name: "files in a folder by assetsBase",
    make: async () => {
      const site = without(await copied({ app: app({ assetsBase: "/selvedge/" }) }), /worker-|\.wasm$/);
      for (const [path, body] of packageFiles("/selvedge/")) site.files.set(path, body);
      return site;
    },
  },
];
