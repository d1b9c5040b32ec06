// Rows of the other bundlers, and of pages without one.
import { TEMPLATES } from "../../../lib/cli/templates.ts";
import { snippetsOf } from "../../support/snippets.ts";
import type { Row } from "../row.ts";
import { OWN_WORKER } from "./vite.ts";

const BOTH = ["chromium", "firefox"] as const;
/** Copies the page and the public files, which these bundlers leave where they are. */
const COPY_PAGE = "cp -r index.html public/. dist/";
const copyAssets = (to: string): string =>
  `mkdir -p ${to} && cp node_modules/selvedge/dist/worker-*.js node_modules/selvedge/dist/*.wasm ${to}`;
const FROM_DIST = { template: "vanilla", serve: { kind: "folder", folder: "dist" } } as const;
const WEBPACK = { webpack: "5.113.0", "webpack-cli": "7.3.1" };
const RSPACK = { "@rspack/core": "2.3.3", "@rspack/cli": "2.2.8" };
/** An app below a path, whose page names its files relatively. */
const SUB_PATH = {
  serve: { kind: "folder", folder: "dist", base: "/some/app/" },
  edits: [
    ["index.html", "/main.js", "./main.js"],
    ["index.html", "/style.css", "./style.css"],
  ],
} as const;
const BUILD_WEBPACK = "webpack --mode production --entry ./main.js --output-path dist";
const BUILD_RSPACK = "rspack build --mode production --entry ./main.js --output-path dist";
/** The scripts of docs/extensions.md, "Offscreen document". */
const [BACKGROUND = "", OFFSCREEN = ""] = snippetsOf("docs/extensions.md").flatMap(({ language, code }) =>
  language === "js" ? [code] : [],
);

/** Rows of bundlers other than Vite. */
export const BUNDLER_ROWS: readonly Row[] = [
  {
    ...FROM_DIST,
    id: "webpack-5",
    title: "webpack 5",
    needed: "nothing",
    packages: WEBPACK,
    build: [BUILD_WEBPACK, COPY_PAGE],
    browsers: BOTH,
    isInSlice: true,
  },
  {
    ...FROM_DIST,
    id: "webpack-5-worker",
    title: "webpack 5, engine in an own worker",
    needed: "nothing",
    packages: WEBPACK,
    files: OWN_WORKER,
    build: [BUILD_WEBPACK, COPY_PAGE],
  },
  {
    ...FROM_DIST,
    ...SUB_PATH,
    id: "webpack-5-sub-path",
    title: "webpack 5, below a path",
    needed: "nothing",
    packages: WEBPACK,
    build: [BUILD_WEBPACK, COPY_PAGE],
  },
  {
    ...FROM_DIST,
    id: "webpack-5-dev",
    title: "webpack 5, development, `webpack serve`",
    needed: "nothing",
    packages: { ...WEBPACK, "webpack-dev-server": "5.2.7" },
    files: {
      "webpack.config.js": `export default { mode: "development", entry: "./main.js", devServer: { static: [".", "public"] } };\n`,
    },
    serve: { kind: "command", command: "webpack serve --port {port} --host localhost" },
  },
  {
    ...FROM_DIST,
    id: "rspack-2",
    title: "Rspack 2",
    needed: "nothing",
    packages: RSPACK,
    build: [BUILD_RSPACK, COPY_PAGE],
    browsers: BOTH,
  },
  {
    ...FROM_DIST,
    ...SUB_PATH,
    id: "rspack-2-sub-path",
    title: "Rspack 2, below a path",
    needed: "nothing",
    packages: RSPACK,
    build: [BUILD_RSPACK, COPY_PAGE],
  },
  {
    ...FROM_DIST,
    id: "rollup-4",
    title: "Rollup 4",
    needed: "`@web/rollup-plugin-import-meta-assets`",
    packages: {
      rollup: "4.68.8",
      "@rollup/plugin-node-resolve": "16.0.3",
      "@web/rollup-plugin-import-meta-assets": "2.3.3",
    },
    files: {
      "rollup.config.js": `import { nodeResolve } from "@rollup/plugin-node-resolve";
import { importMetaAssets } from "@web/rollup-plugin-import-meta-assets";

export default { input: "main.js", output: { dir: "dist" }, plugins: [nodeResolve(), importMetaAssets()] };
`,
    },
    build: ["rollup --config", COPY_PAGE],
  },
  {
    ...FROM_DIST,
    id: "esbuild-esm",
    title: "esbuild, ESM",
    needed: "`cp node_modules/selvedge/dist/{worker-*.js,*.wasm}` beside the output",
    packages: { esbuild: "0.28.2" },
    build: ["esbuild main.js --bundle --splitting --format=esm --outdir=dist", copyAssets("dist"), COPY_PAGE],
    isInSlice: true,
  },
  {
    ...FROM_DIST,
    id: "esbuild-iife",
    title: "esbuild, IIFE",
    needed: '`cp` of the same files to `selvedge/`, and `assetsBase: "/selvedge/"`',
    packages: { esbuild: "0.28.2" },
    edits: [
      ["main.js", "createEngine()", 'createEngine({ assetsBase: "/selvedge/" })'],
      ["index.html", 'type="module"', "defer"],
    ],
    build: ["esbuild main.js --bundle --format=iife --outdir=dist", copyAssets("dist/selvedge"), COPY_PAGE],
  },
  {
    ...FROM_DIST,
    id: "parcel-2",
    title: "Parcel 2",
    needed: "nothing",
    packages: { parcel: "2.16.4" },
    edits: [["index.html", 'href="/style.css"', 'href="./public/style.css"']],
    build: ["parcel build index.html --no-source-maps", "cp -r public/. dist/"],
  },
  {
    ...FROM_DIST,
    id: "parcel-2-sub-path",
    title: "Parcel 2, `selvedge/cache` and `selvedge/wasm`",
    needed: "nothing",
    packages: { parcel: "2.16.4" },
    edits: [
      ["index.html", 'href="/style.css"', 'href="./public/style.css"'],
      [
        "main.js",
        'import { createEngine } from "selvedge";',
        'import { openCache } from "selvedge/cache";\nimport { createEngine } from "selvedge/wasm";\n\nopenCache().list().catch(console.error);',
      ],
    ],
    build: ["parcel build index.html --no-source-maps", "cp -r public/. dist/"],
  },
];

const EXTENSION = { template: "extension", packages: {}, serve: { kind: "extension", folder: "." } } as const;

/** Rows without a bundler. */
export const BARE_ROWS: readonly Row[] = [
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
    id: "other-origin",
    title: "import map, package on another origin (CDN)",
    needed: "CORS there; one thread",
    template: "static",
    packages: {},
    edits: [["index.html", "./selvedge/selvedge.min.js", "{origin}/selvedge.min.js"]],
    serve: { kind: "folder", folder: ".", otherOrigin: "node_modules/selvedge/dist" },
    browsers: BOTH,
  },
  {
    ...EXTENSION,
    id: "mv3-page",
    title: "MV3 extension, page",
    needed: "a copy of `node_modules/selvedge/dist/`, and `'wasm-unsafe-eval'` in `extension_pages`",
    build: ["npm run copy"],
    isInSlice: true,
  },
  {
    ...EXTENSION,
    id: "mv3-offscreen",
    title: "MV3 extension, offscreen document",
    needed: "the same, and the permission `offscreen`",
    build: ["npm run copy"],
    files: {
      "page.js": `chrome.runtime.onMessage.addListener(({ text }) => {
  if (text !== undefined) document.querySelector("output").value = text;
});
chrome.runtime.sendMessage({ read: true });
`,
      "offscreen.html": `<!doctype html><title>reader</title><script type="module" src="./offscreen.js"></script>\n`,
      "offscreen.js": OFFSCREEN,
      "background.js": BACKGROUND,
    },
    edits: [
      ["index.html", "./main.js", "./page.js"],
      ["manifest.json", '"manifest_version": 3,', '"manifest_version": 3,\n  "permissions": ["offscreen"],'],
    ],
  },
  {
    ...EXTENSION,
    id: "mv3-side-panel",
    title: "MV3 extension, side panel",
    needed: "the same, and the permission `sidePanel`",
    build: ["npm run copy"],
    files: {
      "opener.html": `<!doctype html><title>opener</title><button>Open</button><output></output><script type="module" src="./opener.js"></script>\n`,
      "opener.js": `chrome.runtime.onMessage.addListener(({ text }) => (document.querySelector("output").value = text));
const { id } = await chrome.windows.getCurrent();
document.querySelector("button").onclick = () => chrome.sidePanel.open({ windowId: id });
`,
    },
    edits: [
      [
        "manifest.json",
        '"manifest_version": 3,',
        '"manifest_version": 3,\n  "permissions": ["sidePanel"],\n  "side_panel": { "default_path": "index.html" },',
      ],
      ["main.js", "output.value = answer.text", "chrome.runtime.sendMessage({ text: answer.text })"],
      ["main.js", "(output.value = reason.message)", "chrome.runtime.sendMessage({ text: reason.message })"],
    ],
    path: "opener.html",
    click: "button",
  },
];
