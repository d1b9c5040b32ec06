// Builds the package into dist/, in the layout that every bundler tried takes (`npm run build`):
//   *.js                  by tsc from the entries (entries.ts): the page's side, one file each, no bundling
//   *.d.ts                by API Extractor: one file per entry (declarations.ts)
//   testing.cjs           by esbuild: the fake engine, for Jest; as a module in testing/
//   react.cjs             by esbuild: the React hooks, for Jest
//   selvedge.min.js       by esbuild: the main entry in one file, for import maps and CDNs; its declarations are index.d.ts
//   worker-<build>.js     by esbuild: the worker with ONNX Runtime's glue inside, one classic-format file per build
//   worker-cache.js       by esbuild: the worker that fetches models
//   worker-offline.js     by esbuild: the service worker that keeps pages
//   bundle.schema.json    the JSON schema of bundle.json
//   brotli.wasm           the decoder of chunks where the browser has none, as brotli-dec-wasm ships it
//   cli.js, compress.js   by esbuild: the toolchain for Node, with what it needs but the optional packages
//   templates/            the apps that `selvedge init` writes, and the model that they load (models/dist/ocr-rec)
//   ort-<build>.wasm      the usual functions of onnxruntime-web's binary, which is a development dependency for that reason
//   ort-<build>-rest.wasm the other functions, linked when one is called (build/split.ts); `npm run usual` profiles them
//
//     npm run build -- --whole         ships onnxruntime-web's binaries as they are, without a second part
//     npm run build -- --out folder    writes there instead of into dist/
//     npm run build -- --accept-api    takes the public API as it is now into docs/api/
//
// A bundler's library mode is no choice here: it rewrites the worker's URL and inlines the wasm as base64.
import { execFileSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { bundleJsonSchema } from "../compress/bundle/json-schema.ts";
import { copyTemplates } from "./templates.ts";
import { UNFINISHED } from "./check-pack.ts";
import { bundleDeclarations } from "./declarations.ts";
import { readEntries } from "./entries.ts";
import { splitWasm } from "./split.ts";
import { readUsual } from "./hot-functions.ts";
import { withoutMethods } from "./leave-out.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const { values: options } = parseArgs({
  options: {
    whole: { type: "boolean", default: false },
    out: { type: "string", default: "dist" },
    "accept-api": { type: "boolean", default: false },
  },
});
const DIST = resolve(ROOT, options.out);
const require = createRequire(import.meta.url);
const ENTRIES = readEntries(ROOT);
const ORT_DIST = dirname(require.resolve("onnxruntime-web/jspi"));

/** Each build of ONNX Runtime Web that ships, with the name of its binary there. */
const BUILDS = [
  { name: "jspi", wasm: "ort-wasm-simd-threaded.jspi.wasm" },
  { name: "wasm", wasm: "ort-wasm-simd-threaded.wasm" },
];

rmSync(DIST, { recursive: true, force: true });
mkdirSync(DIST, { recursive: true });
writeFileSync(join(DIST, UNFINISHED), "");

const workers = ["cache/worker-cache", "offline/worker-offline", ...BUILDS.map((each) => `worker/worker-${each.name}`)];
await Promise.all(
  workers.map((entry) =>
    build({
      entryPoints: [join(ROOT, `lib/${entry}.ts`)],
      outfile: join(DIST, `${basename(entry)}.js`),
      bundle: true,
      minify: true,
      format: "iife",
      platform: "browser",
      target: "es2022",
      legalComments: "eof",
      // ONNX Runtime starts threads from its own address, which is this worker's.
      define: { "import.meta.url": "self.location.href" },
      logLevel: "warning",
    }),
  ),
);
for (const entry of workers) {
  // Vite reads worker scripts that it serves and warns of ONNX Runtime's import of a variable, which is never reached.
  const path = join(DIST, `${basename(entry)}.js`);
  writeFileSync(path, readFileSync(path, "utf8").replaceAll(/\bimport\((?=[\w$]+\))/g, "import(/* @vite-ignore */ "));
}
await build({
  entryPoints: [
    { in: join(ROOT, "lib/cli/cli.ts"), out: "cli" },
    ...ENTRIES.filter((x) => x.isNode).map(({ source, code }) => ({ in: join(ROOT, `lib/${source}.ts`), out: code })),
  ],
  outdir: DIST,
  bundle: true,
  splitting: true,
  chunkNames: "compress-[hash]",
  // Commander is CommonJS and requires modules of Node, which esbuild leaves to a global `require`.
  banner: {
    js: 'import { createRequire as requireOf } from "node:module";const require = requireOf(import.meta.url);',
  },
  format: "esm",
  platform: "node",
  target: "node20",
  legalComments: "eof",
  logLevel: "warning",
});
for (const { name, wasm } of BUILDS) {
  const whole = readFileSync(join(ORT_DIST, wasm));
  if (options.whole) {
    writeFileSync(join(DIST, `ort-${name}.wasm`), whole);
    continue;
  }
  const { id, isUsual } = readUsual(name, whole);
  const { first, rest } = splitWasm(whole, id, isUsual);
  writeFileSync(join(DIST, `ort-${name}.wasm`), first);
  writeFileSync(join(DIST, `ort-${name}-rest.wasm`), rest);
}

copyFileSync(require.resolve("brotli-dec-wasm/web/bg.wasm"), join(DIST, "brotli.wasm"));
writeFileSync(join(DIST, "bundle.schema.json"), `${JSON.stringify(bundleJsonSchema(), null, 2)}\n`);

if (existsSync(join(ROOT, "lib/index.ts"))) {
  compile("tsconfig.build.json", false);
  compile("tsconfig.node.json", true);
  // The toolchain's declarations import it; tsc takes it as it is and does not copy it.
  writeFileSync(
    join(DIST, "compress/onnx/onnx.gen.d.ts"),
    messagesAlone(readFileSync(join(ROOT, "lib/compress/onnx/onnx.gen.d.ts"), "utf8")),
  );
  bundleDeclarations(ROOT, DIST, options["accept-api"]);
  await bundleTesting();
  await bundleReact();
  for (const file of unreached()) rmSync(join(DIST, file));
  leaveOutReplay();
  if (options.whole) for (const file of ["assets.js", "jspi-files.js"]) dropRest(join(DIST, file));
  stamp(["core/build-id.js", ...workers.map((entry) => `${basename(entry)}.js`)]);
  await writeOneFile();
}

/** Bundles `selvedge/testing`, which needs Comlink: as a module, and as CommonJS for Jest. */
async function bundleTesting(): Promise<void> {
  for (const [format, file] of [
    ["esm", "testing/index.js"],
    ["cjs", "testing.cjs"],
  ] as const)
    await build({
      entryPoints: [join(ROOT, "lib/testing/index.ts")],
      outfile: join(DIST, file),
      ...{ bundle: true, minify: true, format, platform: "neutral", mainFields: ["module", "main"], target: "es2022" },
      ...{ legalComments: "eof", logLevel: "error" },
      // CommonJS has none. The addresses of a fake engine's workers are relative to its page.
      ...(format === "cjs" ? { define: { "import.meta.url": "undefined" } } : {}),
    });
  typesOfCommonJs("testing");
}

/** Writes the React hooks as CommonJS too, for Jest: an app's tests mock the package that they import. */
async function bundleReact(): Promise<void> {
  await build({
    entryPoints: [join(DIST, "bindings/react.js")],
    outfile: join(DIST, "react.cjs"),
    ...{ bundle: true, format: "cjs", platform: "neutral", external: ["react", "selvedge"], target: "es2022" },
    logLevel: "warning",
  });
  typesOfCommonJs("react");
}

/** Writes an entry's declarations for CommonJS, which may import the types of a module if it says so. */
function typesOfCommonJs(name: string): void {
  const types = readFileSync(join(DIST, `${name}.d.ts`), "utf8");
  const asModule = 'from "selvedge" with { "resolution-mode": "import" }';
  writeFileSync(join(DIST, `${name}.d.cts`), types.replaceAll(/from ["']selvedge["']/g, asModule));
}

/** Writes the main entry as one file. Parts that are loaded on demand are inside: a request costs more than they do. */
async function writeOneFile(): Promise<void> {
  await build({
    entryPoints: [join(DIST, "index.js")],
    outfile: join(DIST, "selvedge.min.js"),
    ...{ bundle: true, minify: true, format: "esm", platform: "browser", target: "es2022" },
    ...{ legalComments: "eof", logLevel: "warning" },
  });
  writeFileSync(join(DIST, "min.d.ts"), 'export * from "selvedge";\n');
}

/** Writes the build's identity into the page's code and the workers: its version, and a hash of what both consist of. */
function stamp(into: readonly string[]): void {
  const hash = createHash("sha256");
  const written = readdirSync(DIST, { recursive: true, encoding: "utf8" }).sort();
  for (const file of written) if (/\.(js|wasm)$/.test(file)) hash.update(readFileSync(join(DIST, file)));
  const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { version: string };
  const id = `${version}+${hash.digest("hex").slice(0, 8)}`;
  for (const file of into) {
    const path = join(DIST, file);
    writeFileSync(path, readFileSync(path, "utf8").replaceAll("@selvedge-build@", id));
  }
}

/** Leaves out of the page's scheduler what only `selvedge replay` calls, whose own code is in cli.js. */
function leaveOutReplay(): void {
  const folder = join(DIST, "schedule");
  for (const name of readdirSync(folder).filter((x) => x.endsWith(".js")))
    writeFileSync(join(folder, name), withoutMethods(readFileSync(join(folder, name), "utf8"), "restore"));
}

/** Compiles the entries of the page or those of Node with tsc, which takes a list of files from a project alone. */
function compile(config: string, isNode: boolean): void {
  const folder = join(ROOT, "node_modules/.cache/selvedge");
  mkdirSync(folder, { recursive: true });
  const project = join(folder, config);
  const files = ENTRIES.filter((x) => x.isNode === isNode).map(({ source }) => join(ROOT, `lib/${source}.ts`));
  writeFileSync(project, JSON.stringify({ extends: join(ROOT, config), files, include: [] }));
  execFileSync(process.execPath, [require.resolve("typescript/bin/tsc"), "-p", project, "--outDir", DIST], {
    cwd: ROOT,
    stdio: "inherit",
  });
}

/** Has the address of the second part be that of the first, which says that there is none (backend/ort.ts). */
function dropRest(path: string): void {
  const code = readFileSync(path, "utf8");
  const changed = code.replaceAll("-rest.wasm", ".wasm");
  if (changed === code) throw new Error(`${path} names no second part of the binary`);
  writeFileSync(path, changed);
}

/** Takes the protobuf library out of generated declarations: a user has it not, and the messages' types need it not. */
function messagesAlone(declarations: string): string {
  const message = "type Message<Name extends string> = { readonly $typeName: Name };";
  return declarations
    .replaceAll(/^export declare const \w+: Gen\w+(<\w+>)?;$/gm, "")
    .replaceAll(/^import type \{ Gen.*$/gm, "")
    .replaceAll(/^import type \{ Message \}.*$/gm, message);
}

/** Lists the code that tsc wrote and no entry imports: of files that export types alone. */
function unreached(): string[] {
  const written = readdirSync(DIST, { recursive: true, encoding: "utf8" });
  const reached = new Set<string>();
  const visit = (file: string): void => {
    if (reached.has(file) || !written.includes(file)) return;
    reached.add(file);
    for (const [, name = ""] of readFileSync(join(DIST, file), "utf8").matchAll(/["'](\.\.?\/[^"']+)\.js["']/g))
      visit(`${join(dirname(file), name)}.js`);
  };
  for (const entry of [...ENTRIES.map(({ code }) => code), "cli"]) visit(`${entry}.js`);
  return written.filter((x) => x.endsWith(".js") && !reached.has(x) && !basename(x).startsWith("worker-"));
}

const files = readdirSync(DIST, { recursive: true, encoding: "utf8" }).filter((x) => statSync(join(DIST, x)).isFile());

// Users compile against our declarations with whatever WebGPU types they have, or none.
for (const file of files.filter((x) => x.endsWith(".d.ts"))) {
  const code = readFileSync(join(DIST, file), "utf8").replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, "");
  const name = /\bGPU[A-Z]\w*/.exec(code);
  if (name !== null)
    throw new Error(`dist/${file} names ${name[0]}: keep GPU types out of the published declarations.`);
}

let page = 0;
for (const file of files.filter((x) => /\.(js|wasm)$/.test(x)).sort()) {
  const bytes = readFileSync(join(DIST, file));
  const gzip = file.endsWith(".wasm") ? null : gzipSync(bytes).byteLength;
  if (file.startsWith("worker-") || gzip === null) {
    console.log(`${file}  ${kilobytes(bytes.byteLength)}${gzip === null ? "" : `, gzip ${kilobytes(gzip)}`}`);
  } else if (!/^(cli|compress|selvedge\.min|testing|bindings\/vite)\b/.test(file)) page += gzip;
}
console.log(`page side, unbundled  gzip ${kilobytes(page)}`);

// Last: what is above looks at the package's own code.
copyTemplates(ROOT, join(DIST, "templates"));
rmSync(join(DIST, UNFINISHED));

function kilobytes(bytes: number): string {
  return `${(bytes / 1000).toFixed(1)} kB`;
}
