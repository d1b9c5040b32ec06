// Rows of Vite: versions, a hoisted workspace, an engine in a worker of the app, clients that install, policies, and a
// bundle that is not a public file.
import type { Row } from "../row.ts";

const BOTH = ["chromium", "firefox"] as const;
const VITE_8 = { vite: "8.3.8" };
const VITE_7 = { vite: "7.3.8" };
const VITE_6 = { vite: "6.4.6" };
const VITE_5 = { vite: "5.4.21" };
const BUILD = { template: "vanilla", build: ["vite build"], serve: { kind: "folder", folder: "dist" } } as const;
const DEV = {
  template: "vanilla",
  serve: { kind: "command", command: "vite --port {port} --strictPort --host localhost" },
} as const;

/** An app whose engine runs in a worker of its own, started as bundlers want it. */
export const OWN_WORKER: Readonly<Record<string, string>> = {
  "main.js": `const worker = new Worker(new URL("./reader.js", import.meta.url), { type: "module" });
worker.onmessage = ({ data }) => (document.querySelector("output").value = data);
worker.onerror = ({ message }) => (document.querySelector("output").value = message);
`,
  "reader.js": `import { createEngine } from "selvedge";

async function read() {
  const engine = await createEngine();
  const model = await engine.load(new URL("/models/ocr-rec/bundle.json", location.origin).href);
  const { answer } = await model.run({ x: await (await fetch("/sample.png")).blob() });
  return answer.text;
}
read().then(postMessage, (error) => postMessage(error.message));
`,
};

/** Counts the threads that the page starts, which ONNX Runtime waits for; without one the app shows that instead. */
const COUNT_THREADS = `let threads = 0;
window.Worker = class extends Worker {
  constructor(url, options) {
    super(url, options);
    threads += options?.name === "em-pthread" ? 1 : 0;
  }
};
`;

/** Sends the policies that a careful host sends, all at once. */
const STRICT = {
  "content-security-policy":
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; img-src 'self' blob: data:; require-trusted-types-for 'script'; trusted-types app",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
};

/** The library of docs/recipes.md, "A library that wraps Selvedge", as a package of its own: reader. */
const LIBRARY: Readonly<Record<string, string>> = {
  "reader/package.json": JSON.stringify({
    ...{ name: "reader", version: "1.0.0", type: "module", exports: "./dist/reader.js" },
    peerDependencies: { selvedge: "*" },
  }),
  "reader/src/index.js": `import { createEngine } from "selvedge";

export async function createReader(url) {
  const model = await (await createEngine()).load(url);
  return async (picture) => (await model.run({ x: picture })).answer.text;
}
`,
  "reader/vite.config.js": `import { defineConfig } from "vite";

export default defineConfig({
  build: { lib: { entry: "src/index.js", formats: ["es"] }, rollupOptions: { external: [/^selvedge/] } },
});
`,
  "main.js": `import { createReader } from "reader";

const output = document.querySelector("output");
const read = async () => (await createReader("models/ocr-rec/bundle.json"))(await (await fetch("sample.png")).blob());
read().then((text) => (output.value = text), (error) => (output.value = error.message));
`,
};

/** A service worker that answers from its cache before it asks the network, as many apps have one. */
const CACHE_FIRST: Readonly<Record<string, string>> = {
  "public/sw.js": `addEventListener("install", () => skipWaiting());
addEventListener("activate", (event) => event.waitUntil(clients.claim()));
async function answer(request) {
  const cache = await caches.open("v1");
  const kept = await cache.match(request);
  if (kept) return kept;
  const response = await fetch(request);
  if (response.status === 200) await cache.put(request, response.clone());
  return response;
}
addEventListener("fetch", (event) => {
  if (event.request.method === "GET") event.respondWith(answer(event.request));
});
`,
};

/** Rows of Vite. */
export const VITE_ROWS: readonly Row[] = [
  {
    ...BUILD,
    id: "vite-8-build",
    title: "Vite 8, build",
    needed: "nothing",
    packages: VITE_8,
    browsers: BOTH,
    isInSlice: true,
  },
  {
    ...DEV,
    id: "vite-8-dev",
    title: "Vite 8, dev",
    needed: "nothing",
    packages: VITE_8,
    browsers: BOTH,
  },
  { ...BUILD, id: "vite-7-build", title: "Vite 7, build", needed: "nothing", packages: VITE_7, browsers: BOTH },
  { ...DEV, id: "vite-7-dev", title: "Vite 7, dev", needed: "nothing", packages: VITE_7 },
  { ...BUILD, id: "vite-6-build", title: "Vite 6, build", needed: "nothing", packages: VITE_6, browsers: BOTH },
  { ...DEV, id: "vite-6-dev", title: "Vite 6, dev", needed: "nothing", packages: VITE_6 },
  { ...BUILD, id: "vite-5-build", title: "Vite 5, build", needed: "nothing", packages: VITE_5 },
  { ...DEV, id: "vite-5-dev", title: "Vite 5, dev", needed: "nothing", packages: VITE_5 },
  {
    ...DEV,
    id: "vite-8-workspace",
    title: "Vite 8, dev, npm workspace",
    needed: "nothing",
    packages: VITE_8,
    isWorkspace: true,
  },
  {
    ...DEV,
    id: "vite-7-workspace",
    title: "Vite 7, dev, npm workspace",
    needed: '`optimizeDeps: { exclude: ["selvedge"] }`',
    packages: VITE_7,
    isWorkspace: true,
    files: { "vite.config.js": `export default { optimizeDeps: { exclude: ["selvedge"] } };\n` },
  },
  {
    ...BUILD,
    id: "vite-8-worker",
    title: "Vite 8, build, engine in an own worker",
    needed: "nothing",
    packages: VITE_8,
    files: OWN_WORKER,
  },
  {
    ...DEV,
    id: "vite-8-worker-dev",
    title: "Vite 8, dev, engine in an own worker",
    needed: "nothing",
    packages: VITE_8,
    files: OWN_WORKER,
  },
  {
    ...BUILD,
    id: "vite-7-worker",
    title: "Vite 7, build, engine in an own worker",
    needed: '`worker: { format: "es" }`',
    packages: VITE_7,
    files: { ...OWN_WORKER, "vite.config.js": `export default { worker: { format: "es" } };\n` },
  },
  {
    ...DEV,
    id: "vite-8-bundle-in-source",
    title: "Vite 8, dev, bundle outside `public/`",
    needed: "nothing",
    packages: VITE_8,
    files: { "vite.config.js": `export default { publicDir: false };\n` },
    edits: [
      ["main.js", '"models/', '"public/models/'],
      ["main.js", '"sample.png"', '"public/sample.png"'],
    ],
  },
  {
    ...BUILD,
    id: "vite-8-strict",
    title: "Vite 8, CSP, Trusted Types and isolation together",
    needed:
      "`trustedTypesPolicy`, and `script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; trusted-types <policy>`",
    packages: VITE_8,
    browsers: BOTH,
    serve: { kind: "folder", folder: "dist", headers: STRICT },
    edits: [
      [
        "main.js",
        "createEngine()",
        'createEngine({ backends: ["wasm"], threads: 2, trustedTypesPolicy: window.trustedTypes?.createPolicy("app", { createScriptURL: (x) => x }) })',
      ],
      ["main.js", "const [input,", `${COUNT_THREADS}const [input,`],
      ["main.js", "answer.text;", 'threads > 0 ? answer.text : "no threads";'],
    ],
  },
  {
    ...BUILD,
    id: "vite-8-sub-path",
    title: "Vite 8, below a path",
    needed: '`base: "./"`',
    packages: VITE_8,
    build: ["vite build --base ./"],
    serve: { kind: "folder", folder: "dist", base: "/some/app/" },
  },
  {
    ...BUILD,
    id: "vite-8-pwa",
    title: "Vite 8, `vite-plugin-pwa`, and offline after two visits",
    needed: "[two options](recipes.md#pwa)",
    packages: { ...VITE_8, "vite-plugin-pwa": "2.0.0", "workbox-build": "7.4.1", "workbox-window": "7.4.1" },
    files: {
      "vite.config.js": `import { VitePWA } from "vite-plugin-pwa";

const pwa = {
  includeAssets: ["sample.png"],
  workbox: {
    globIgnores: ["**/*.wasm", "**/chunks/**"],
    runtimeCaching: [{ urlPattern: /\\.wasm$/, handler: "CacheFirst", options: { cacheName: "wasm", expiration: { maxEntries: 10 } } }],
  },
};
export default { plugins: [VitePWA(pwa)] };
`,
    },
    opensOffline: true,
  },
  {
    ...BUILD,
    id: "vite-8-cache-first",
    title: "Vite 8, a service worker that answers from its cache first, and offline after two visits",
    needed: "nothing",
    packages: VITE_8,
    files: CACHE_FIRST,
    edits: [["main.js", "const [input,", 'navigator.serviceWorker.register("/sw.js");\nconst [input,']],
    opensOffline: true,
  },
  {
    ...BUILD,
    id: "vite-8-library",
    title: "Vite 8, a library that wraps the package, built in library mode",
    needed: "`external: [/^selvedge/]` in the library",
    packages: VITE_8,
    files: LIBRARY,
    build: [
      "vite build reader",
      "test $(wc -c < reader/dist/reader.js) -lt 5000",
      "mkdir -p node_modules/reader && cp -r reader/package.json reader/dist node_modules/reader",
      "vite build",
    ],
  },
  {
    ...BUILD,
    id: "serve-single",
    title: "Vite 8, `serve -s`",
    needed: "nothing",
    packages: { ...VITE_8, serve: "14.2.7" },
    serve: { kind: "command", command: "serve -s dist -L -l tcp://localhost:{port}" },
    emitted: "dist",
  },
  { ...BUILD, id: "pnpm", title: "pnpm 10, Vite 8", needed: "nothing", packages: VITE_8, install: "pnpm" },
  {
    ...DEV,
    id: "pnpm-vite-7",
    title: "pnpm 10, Vite 7, dev",
    needed: "nothing",
    packages: VITE_7,
    install: "pnpm",
  },
  { ...BUILD, id: "yarn-1", title: "yarn 1, Vite 8", needed: "nothing", packages: VITE_8, install: "yarn-1" },
  {
    ...BUILD,
    id: "yarn-pnp",
    title: "yarn 4 PnP, Vite 8",
    needed: "nothing",
    packages: VITE_8,
    install: "yarn-pnp",
    build: ["node .yarn/releases/yarn.cjs vite build"],
  },
  {
    ...DEV,
    id: "yarn-pnp-dev",
    title: "yarn 4 PnP, Vite 8, dev",
    needed: "nothing",
    packages: VITE_8,
    install: "yarn-pnp",
    serve: {
      kind: "command",
      command: "node .yarn/releases/yarn.cjs vite --port {port} --strictPort --host localhost",
    },
  },
  {
    ...BUILD,
    id: "react",
    title: "React 19, StrictMode, Vite 8",
    needed: "nothing",
    template: "react",
    packages: { react: "19.3.1", "react-dom": "19.3.1", ...VITE_8 },
    browsers: BOTH,
  },
  {
    ...DEV,
    id: "react-dev",
    title: "React 19, StrictMode, Vite 8, dev",
    needed: "nothing",
    template: "react",
    packages: { react: "19.3.1", "react-dom": "19.3.1", ...VITE_8 },
  },
];
