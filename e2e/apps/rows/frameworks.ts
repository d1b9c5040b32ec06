// Rows of frameworks that render on a server or build by themselves. Each app imports the package at the top of a file
// that the server evaluates too, and starts the engine on the page.
import { TEMPLATES } from "../../../lib/cli/templates.ts";
import type { Row } from "../row.ts";

const BOTH = ["chromium", "firefox"] as const;
const NEXT = { template: "next", packages: TEMPLATES.next.dependencies } as const;
const NEXT_START = { kind: "command", command: "next start -p {port}" } as const;
/** The vanilla template without its page. */
const NO_PAGE = { "index.html": null, "main.js": null };
/** The body of a function that starts an engine and has the text of the picture in `text`. */
const READ = (engine = "createEngine()"): string => `const engine = await ${engine};
    const model = await engine.load("/models/ocr-rec/bundle.json");
    const { answer } = await model.run({ x: await (await fetch("/sample.png")).blob() });
    const { text } = answer;`;

const NEXT_15 = { ...TEMPLATES.next.dependencies, next: "15.5.29" };
/** A page in TypeScript, for which Next writes a tsconfig.json. */
const TYPED_PAGE = `"use client";

import { useEffect, useState } from "react";
import { createEngine } from "selvedge";

async function read(): Promise<string> {
  const engine = await createEngine();
  const model = await engine.load("/models/ocr-rec/bundle.json");
  const { answer } = await model.run({ x: await (await fetch("/sample.png")).blob() });
  return answer?.kind === "text" ? answer.text : "no text";
}

export default function Page() {
  const [text, setText] = useState("Loading…");
  useEffect(() => void read().then(setText, (error: Error) => setText(error.message)), []);
  return <output>{text}</output>;
}
`;

const NEXT_ROWS: readonly Row[] = [
  {
    ...NEXT,
    id: "next-16-build",
    title: "Next 16, build (Turbopack)",
    needed: "nothing",
    build: ["next build"],
    serve: NEXT_START,
    emitted: ".next/static",
    browsers: BOTH,
    isInSlice: true,
  },
  {
    ...NEXT,
    id: "next-16-webpack",
    title: "Next 16, build --webpack",
    needed: "nothing",
    build: ["next build --webpack"],
    serve: NEXT_START,
    emitted: ".next/static",
    browsers: BOTH,
  },
  {
    ...NEXT,
    id: "next-16-react",
    title: "Next 16, `selvedge/react`, cache components, another page during a load",
    needed: "nothing",
    files: {
      "next.config.mjs": `export default { cacheComponents: true };\n`,
      "app/engine.jsx": `"use client";

export { EngineProvider } from "selvedge/react";
`,
      "app/page.jsx": `"use client";

import { useEffect } from "react";
import { useRouter } from "next/navigation";
import { useModel } from "selvedge/react";

/** Leaves for a page that wants the same model, as soon as the load has begun. */
export default function Page() {
  const hasBegun = useModel("/models/ocr-rec/bundle.json").progress !== null;
  const router = useRouter();
  useEffect(() => {
    if (hasBegun) router.push("/read");
  }, [hasBegun, router]);
  return <p>Loading…</p>;
}
`,
      "app/read/page.jsx": `"use client";

import { Suspense, useEffect } from "react";
import { useModel, useRun } from "selvedge/react";

function Reader() {
  const { model } = useModel("/models/ocr-rec/bundle.json", { suspense: true });
  const { run, result, error } = useRun(model);
  useEffect(() => {
    const read = async () => run({ x: await (await fetch("/sample.png")).blob() });
    void read();
  }, [run]);
  return <output>{error?.message ?? result?.answer?.text ?? "Loading…"}</output>;
}

export default function Page() {
  return (
    <Suspense fallback={<output>Loading…</output>}>
      <Reader />
    </Suspense>
  );
}
`,
    },
    edits: [
      [
        "app/layout.jsx",
        "export const metadata",
        'import { EngineProvider } from "./engine.jsx";\n\nexport const metadata',
      ],
      ["app/layout.jsx", "<body>{children}</body>", "<body><EngineProvider>{children}</EngineProvider></body>"],
    ],
    build: ["next build"],
    serve: NEXT_START,
    emitted: ".next/static",
    browsers: BOTH,
  },
  {
    ...NEXT,
    id: "next-16-dev",
    title: "Next 16, dev",
    needed: "nothing",
    serve: { kind: "command", command: "next dev -p {port}" },
    browsers: BOTH,
  },
  {
    ...NEXT,
    id: "next-16-webpack-dev",
    title: "Next 16, dev, webpack",
    needed: "nothing",
    serve: { kind: "command", command: "next dev --webpack -p {port}" },
  },
  {
    ...NEXT,
    id: "next-16-export",
    title: "Next 16, static export with `basePath`",
    needed: "the prefix in addresses of models, as for any public file: `NEXT_PUBLIC_BASE` in `.env`",
    files: {
      "next.config.mjs": `export default { output: "export", basePath: "/docs" };\n`,
      ".env": "NEXT_PUBLIC_BASE=/docs\n",
    },
    build: ["next build"],
    serve: { kind: "folder", folder: "out", base: "/docs/" },
  },
  {
    ...NEXT,
    id: "next-16-i18n",
    title: "Next 16, the i18n proxy of its guide",
    needed: "nothing",
    files: {
      "proxy.js": `import { NextResponse } from "next/server";

export function proxy(request) {
  if (request.nextUrl.pathname.startsWith("/en")) return;
  request.nextUrl.pathname = \`/en\${request.nextUrl.pathname}\`;
  return NextResponse.redirect(request.nextUrl);
}

export const config = { matcher: ["/((?!api|_next|.*\\\\..*).*)"] };
`,
      "app/en/page.jsx": `export { default } from "../page.jsx";\n`,
    },
    build: ["next build"],
    serve: NEXT_START,
    emitted: ".next/static",
    path: "/en",
  },
  {
    ...NEXT,
    id: "next-16-strict",
    title: "Next 16, the CSP of its guide, and isolation, on every file",
    needed: "`'wasm-unsafe-eval'` in `script-src`",
    files: {
      "next.config.mjs": `const policy = "default-src 'self'; script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' blob: data:";
const headers = [
  { key: "Content-Security-Policy", value: policy },
  { key: "Cross-Origin-Opener-Policy", value: "same-origin" },
  { key: "Cross-Origin-Embedder-Policy", value: "require-corp" },
];
export default { headers: () => [{ source: "/:path*", headers }] };
`,
    },
    edits: [
      ["app/page.jsx", "createEngine()", 'createEngine({ backends: ["wasm"], threads: 2 })'],
      [
        "app/page.jsx",
        "read(picture) {",
        'read(picture) {\n  if (!crossOriginIsolated) throw new Error("not isolated");',
      ],
    ],
    build: ["next build"],
    serve: NEXT_START,
    emitted: ".next/static",
  },
  {
    ...NEXT,
    id: "next-15-build",
    title: "Next 15.5, build, TypeScript",
    needed: "nothing",
    packages: { ...NEXT_15, typescript: "5.9.3", "@types/react": "19.2.0", "@types/node": "20.19.43" },
    files: { "app/page.jsx": null, "app/page.tsx": TYPED_PAGE },
    build: ["next build"],
    serve: NEXT_START,
    emitted: ".next/static",
  },
  {
    ...NEXT,
    id: "next-15-dev",
    title: "Next 15.5, dev",
    needed: "nothing",
    packages: NEXT_15,
    serve: { kind: "command", command: "next dev -p {port}" },
  },
  {
    ...NEXT,
    id: "next-15-turbopack-dev",
    title: "Next 15.5, dev, Turbopack",
    needed: "nothing",
    packages: NEXT_15,
    serve: { kind: "command", command: "next dev --turbopack -p {port}" },
  },
];

const SVELTE: Omit<Row, "id" | "title" | "needed" | "serve"> = {
  template: "vanilla",
  packages: {
    "@sveltejs/kit": "2.70.4",
    "@sveltejs/adapter-node": "5.5.7",
    "@sveltejs/vite-plugin-svelte": "7.3.1",
    svelte: "5.57.3",
    vite: "8.3.8",
  },
  files: {
    ...NO_PAGE,
    "svelte.config.js": `import adapter from "@sveltejs/adapter-node";
// Without this option the adapter compresses every wasm file at brotli's highest quality, for minutes.
export default { kit: { adapter: adapter({ precompress: false }), files: { assets: "public" } } };
`,
    "vite.config.js": `import { sveltekit } from "@sveltejs/kit/vite";
export default { plugins: [sveltekit()] };
`,
    "src/app.html": `<!doctype html>
<html lang="en"><head><meta charset="utf-8" />%sveltekit.head%</head><body><div>%sveltekit.body%</div></body></html>
`,
    "src/routes/+page.svelte": `<script>
  import { onMount } from "svelte";
  import { createEngine } from "selvedge";
  let shown = $state("Loading…");
  const read = async () => {
    ${READ()}
    return text;
  };
  onMount(() => void read().then((x) => (shown = x), (error) => (shown = error.message)));
</script>
<output>{shown}</output>
`,
  },
};

const NUXT: Omit<Row, "id" | "title" | "needed" | "serve"> = {
  template: "vanilla",
  packages: { nuxt: "4.4.2", vue: "3.5.45", "vue-router": "4.6.5" },
  files: {
    ...NO_PAGE,
    "app.vue": `<script setup>
import { onMounted, ref } from "vue";
import { createEngine } from "selvedge";
const shown = ref("Loading…");
const read = async () => {
    ${READ()}
  return text;
};
onMounted(() => void read().then((x) => (shown.value = x), (error) => (shown.value = error.message)));
</script>
<template><output>{{ shown }}</output></template>
`,
  },
};

const ANGULAR: Omit<Row, "id" | "title" | "needed" | "serve"> = {
  template: "vanilla",
  packages: {
    "@angular/build": "20.3.41",
    "@angular/cli": "20.3.43",
    "@angular/common": "20.3.35",
    "@angular/compiler": "20.3.35",
    "@angular/compiler-cli": "20.3.35",
    "@angular/core": "20.3.35",
    "@angular/platform-browser": "20.3.35",
    rxjs: "7.8.2",
    tslib: "2.9.1",
    typescript: "5.9.3",
  },
  files: {
    ...NO_PAGE,
    "angular.json": JSON.stringify({
      version: 1,
      projects: {
        app: {
          projectType: "application",
          root: "",
          architect: {
            build: {
              builder: "@angular/build:application",
              options: {
                browser: "main.ts",
                index: { input: "app.html", output: "index.html" },
                outputPath: { base: "dist", browser: "" },
                tsConfig: "tsconfig.json",
                assets: [
                  { glob: "**/*", input: "public" },
                  { glob: "{worker-*.js,*.wasm}", input: "node_modules/selvedge/dist", output: "selvedge" },
                ],
              },
            },
            serve: { builder: "@angular/build:dev-server", options: { buildTarget: "app:build" } },
          },
        },
      },
    }),
    "tsconfig.json": JSON.stringify({
      compilerOptions: {
        target: "es2022",
        module: "es2022",
        moduleResolution: "bundler",
        strict: true,
        skipLibCheck: true,
        experimentalDecorators: true,
        lib: ["es2022", "dom", "dom.iterable", "esnext.disposable"],
      },
      files: ["main.ts"],
    }),
    "app.html": `<!doctype html><html lang="en"><head><base href="/" /></head><body><app-root></app-root></body></html>\n`,
    "main.ts": `import { Component, provideZonelessChangeDetection, signal } from "@angular/core";
import { bootstrapApplication } from "@angular/platform-browser";
import { createEngine } from "selvedge";

@Component({ selector: "app-root", template: "<output>{{ shown() }}</output>" })
class App {
  shown = signal("Loading…");
  constructor() {
    this.read().then((x) => this.shown.set(x), (error: Error) => this.shown.set(error.message));
  }
  async read(): Promise<string> {
    const engine = await createEngine({ assetsBase: "selvedge/" });
    const model = await engine.load("/models/ocr-rec/bundle.json");
    const { answer } = await model.run({ x: await (await fetch("/sample.png")).blob() });
    return answer?.kind === "text" ? answer.text : "no text";
  }
}

void bootstrapApplication(App, { providers: [provideZonelessChangeDetection()] });
`,
  },
};

const OTHERS: readonly Row[] = [
  {
    ...SVELTE,
    id: "sveltekit-2",
    title: "SvelteKit 2, build and Node server",
    needed: "nothing; `precompress: false` spares minutes",
    build: ["vite build"],
    serve: { kind: "command", command: "node build" },
    emitted: "build/client",
  },
  {
    ...SVELTE,
    id: "sveltekit-2-dev",
    title: "SvelteKit 2, dev",
    needed: "nothing",
    serve: { kind: "command", command: "vite dev --port {port} --strictPort --host localhost" },
  },
  {
    ...NUXT,
    id: "nuxt-4-build",
    title: "Nuxt 4, build",
    needed: "nothing",
    build: ["nuxt build"],
    serve: { kind: "command", command: "node .output/server/index.mjs" },
    emitted: ".output/public",
  },
  {
    ...NUXT,
    id: "nuxt-4-dev",
    title: "Nuxt 4, dev",
    needed: "nothing",
    serve: { kind: "command", command: "nuxt dev --port {port} --host localhost --no-fork" },
  },
  {
    ...ANGULAR,
    id: "angular-20-build",
    title: "Angular 20, build",
    needed: '`assets` of angular.json with `node_modules/selvedge/dist`, and `assetsBase: "selvedge/"`',
    build: ["ng build --no-progress"],
    serve: { kind: "folder", folder: "dist" },
  },
  {
    ...ANGULAR,
    id: "angular-20-csp",
    title: "Angular 20, CSP",
    needed: "the same, and `'wasm-unsafe-eval'` in `script-src`",
    build: ["ng build --no-progress"],
    serve: {
      kind: "folder",
      folder: "dist",
      headers: { "content-security-policy": "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'" },
    },
  },
  {
    ...ANGULAR,
    id: "angular-20-dev",
    title: "Angular 20, ng serve",
    needed: "the same",
    serve: { kind: "command", command: "ng serve --port {port} --host localhost --no-hmr" },
  },
  {
    id: "astro-5",
    title: "Astro 5, build",
    needed: "nothing",
    template: "vanilla",
    packages: { astro: "5.18.2" },
    files: {
      "index.html": null,
      "src/pages/index.astro": `---
import { isSelvedgeError } from "selvedge";
---
<!doctype html>
<html lang="en"><body data-server={typeof isSelvedgeError}>
<label>Picture <input type="file" /></label><img alt="" /><output>Loading…</output>
<script>import "../../main.js";</script>
</body></html>
`,
    },
    build: ["astro build"],
    serve: { kind: "folder", folder: "dist" },
  },
];

/** Rows of frameworks. */
export const FRAMEWORK_ROWS: readonly Row[] = [...NEXT_ROWS, ...OTHERS];
