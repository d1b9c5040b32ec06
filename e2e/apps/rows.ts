// The matrix: every way into an app that is tested. `npm test` runs the slice, the soak all.
import { TEMPLATES } from "../../lib/cli/templates.ts";
import type { Row } from "./row.ts";

const BOTH = ["chromium", "firefox"] as const;
const VITE = { vite: "8.3.8" };
const VITE_7 = { vite: "7.3.8" };
const VITE_DEV = "vite --port {port} --strictPort --host localhost";
/** Copies what no bundler of a row moves: the page and the public files. */
const COPY_PAGE = "cp -r index.html public/. dist/";

const vite: readonly Row[] = [
  {
    id: "vite-8-build",
    title: "Vite 8, build",
    needed: "nothing",
    template: "vanilla",
    packages: VITE,
    build: ["vite build"],
    serve: { kind: "folder", folder: "dist" },
    browsers: BOTH,
    isInSlice: true,
  },
  {
    id: "vite-8-dev",
    title: "Vite 8, dev",
    needed: "nothing",
    template: "vanilla",
    packages: VITE,
    serve: { kind: "command", command: VITE_DEV },
    browsers: BOTH,
    isInSlice: true,
  },
  {
    id: "vite-7-build",
    title: "Vite 7, build",
    needed: "nothing",
    template: "vanilla",
    packages: VITE_7,
    build: ["vite build"],
    serve: { kind: "folder", folder: "dist" },
  },
  {
    id: "vite-7-dev",
    title: "Vite 7, dev",
    needed: "nothing",
    template: "vanilla",
    packages: VITE_7,
    serve: { kind: "command", command: VITE_DEV },
  },
];

const bundlers: readonly Row[] = [
  {
    id: "webpack-5",
    title: "webpack 5",
    needed: "nothing",
    template: "vanilla",
    packages: { webpack: "5.113.0", "webpack-cli": "7.3.1" },
    build: ["webpack --mode production --entry ./main.js --output-path dist", COPY_PAGE],
    serve: { kind: "folder", folder: "dist" },
    browsers: BOTH,
    isInSlice: true,
  },
  {
    id: "esbuild-esm",
    title: "esbuild, ESM",
    needed: "`cp node_modules/selvedge/dist/{worker-*.js,*.wasm}` beside the output",
    template: "vanilla",
    packages: { esbuild: "0.28.2" },
    build: [
      "esbuild main.js --bundle --splitting --format=esm --outdir=dist",
      "cp node_modules/selvedge/dist/worker-*.js node_modules/selvedge/dist/*.wasm dist/",
      COPY_PAGE,
    ],
    serve: { kind: "folder", folder: "dist" },
    isInSlice: true,
  },
  {
    id: "esbuild-iife",
    title: "esbuild, IIFE",
    needed: '`cp` of the same files to `selvedge/`, and `assetsBase: "/selvedge/"`',
    template: "vanilla",
    packages: { esbuild: "0.28.2" },
    edits: [
      ["main.js", "createEngine()", 'createEngine({ assetsBase: "/selvedge/" })'],
      ["index.html", 'type="module"', "defer"],
    ],
    build: [
      "esbuild main.js --bundle --format=iife --outdir=dist",
      "mkdir dist/selvedge",
      "cp node_modules/selvedge/dist/worker-*.js node_modules/selvedge/dist/*.wasm dist/selvedge/",
      COPY_PAGE,
    ],
    serve: { kind: "folder", folder: "dist" },
    isInSlice: true,
  },
];

const bare: readonly Row[] = [
  {
    id: "import-map",
    title: "import map, no build",
    needed: "a copy of `node_modules/selvedge/dist/` in the site",
    template: "static",
    packages: TEMPLATES.static.dependencies,
    build: ["npm run copy"],
    serve: { kind: "command", command: "http-server . -c-1 -p {port} -a localhost" },
    browsers: BOTH,
    isInSlice: true,
  },
  {
    id: "mv3-page",
    title: "MV3 extension, page",
    needed: "a copy of `node_modules/selvedge/dist/`, and `'wasm-unsafe-eval'` in `extension_pages`",
    template: "extension",
    packages: {},
    build: ["npm run copy"],
    serve: { kind: "extension", folder: "." },
    isInSlice: true,
  },
];

const next: readonly Row[] = [
  {
    id: "next-16-build",
    title: "Next 16, build (Turbopack)",
    needed: "nothing",
    template: "next",
    packages: TEMPLATES.next.dependencies,
    build: ["next build"],
    serve: { kind: "command", command: "next start -p {port}" },
    emitted: ".next/static",
    browsers: BOTH,
    isInSlice: true,
  },
  {
    id: "next-16-webpack",
    title: "Next 16, build --webpack",
    needed: "nothing",
    template: "next",
    packages: TEMPLATES.next.dependencies,
    build: ["next build --webpack"],
    serve: { kind: "command", command: "next start -p {port}" },
    emitted: ".next/static",
  },
  {
    id: "next-16-dev",
    title: "Next 16, dev",
    needed: "nothing",
    template: "next",
    packages: TEMPLATES.next.dependencies,
    serve: { kind: "command", command: "next dev -p {port}" },
  },
];

/** All rows. */
export const ROWS: readonly Row[] = [...vite, ...bundlers, ...next, ...bare];
