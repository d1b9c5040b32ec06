// `selvedge doctor` without a browser: targets, exit codes, what a terminal is sent. e2e/specs/site/doctor has the rest.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { contentTypeOf, startServer } from "../compress/check/local-server.ts";
import type { LocalServer } from "../compress/check/local-server.ts";
import type { DoctorReport } from "../doctor/doctor.ts";
import { main } from "./cli.ts";

const WASM = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);
const SCRIPT = `const mark = Symbol.for("selvedge.error"); new URL("./worker-wasm.js", import.meta.url); new URL("./ort-wasm.wasm", import.meta.url);`;

let folder: string;
let out: string;
let server: LocalServer | null = null;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "selvedge-doctor-"));
  mkdirSync(join(folder, "site"));
  out = "";
  vi.spyOn(process.stderr, "write").mockReturnValue(true);
  vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    out += String(text);
    return true;
  });
});
afterEach(async () => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true, force: true });
  await server?.close();
  server = null;
});

/** Writes a site whose script names the package's files. */
function site(files: Readonly<Record<string, string | Uint8Array>>): string {
  const all = { "index.html": `<script type="module" src="main.js"></script>`, "main.js": SCRIPT, ...files };
  for (const [name, body] of Object.entries(all)) writeFileSync(join(folder, "site", name), body);
  return join(folder, "site");
}

const doctor = (...words: string[]): Promise<number> => main(["doctor", ...words, "--browser", "/no/browser"]);

test("a site whose files are there ends with 0, and says that no browser was started", async () => {
  const path = site({
    "worker-wasm.js": "0;",
    "ort-wasm.wasm": WASM,
    "ort-wasm-rest.wasm": WASM,
    "worker-cache.js": "0;",
  });
  expect(await doctor(path)).toBe(0);
  expect(out).toContain("--browser /no/browser does not exist");
  expect(out).toContain("Nothing found.");
});

test("a folder that was built for a base path is served below it", async () => {
  const path = site({
    ...{ "worker-wasm.js": "0;", "ort-wasm.wasm": WASM, "ort-wasm-rest.wasm": WASM, "worker-cache.js": "0;" },
    "index.html": `<script type="module" src="/sub/main.js"></script>`,
  });
  expect(await doctor(path, "--json")).toBe(0);
  const report = JSON.parse(out) as DoctorReport;
  expect([new URL(report.url).pathname, report.findings, report.hasSelvedge]).toEqual(["/sub/", [], true]);
});

test("a folder whose index.html is a folder has none", async () => {
  mkdirSync(join(folder, "site", "index.html"));
  expect(await doctor(join(folder, "site"), "--json")).toBe(2);
  expect(out).toContain("no index.html in ");
});

test("hints on a folder leave out what its host decides", async () => {
  const files = {
    ...{ "ort-wasm-Ab3dEf9h.wasm": WASM, "worker-wasm-Ab3dEf9h.js": "0;", "worker-cache-Ab3dEf9h.js": "0;" },
    "main.js": SCRIPT.replace(/\.\/(worker|ort)-wasm/g, "./$1-wasm-Ab3dEf9h"),
  };
  const path = site(files);
  expect(await doctor(path, "--hints", "--json")).toBe(0);
  expect((JSON.parse(out) as DoctorReport).findings).toEqual([]);
  server = await startServer((request, response) => {
    const name = request.url === "/" ? "index.html" : (request.url ?? "").slice(1);
    const body: string | Uint8Array | undefined = {
      "index.html": `<script type="module" src="main.js"></script>`,
      ...files,
    }[name];
    response.writeHead(body === undefined ? 404 : 200, { "content-type": contentTypeOf(name), etag: '"1"' }).end(body);
  });
  out = "";
  expect(await doctor(server.origin, "--hints", "--json")).toBe(0);
  const ids = (JSON.parse(out) as DoctorReport).findings.map((x) => x.id);
  expect(ids.sort()).toEqual(["assets-not-cached", "wasm-uncompressed"]);
});

test("an error ends with 1, and the report is JSON where that is asked for", async () => {
  const path = site({
    "worker-wasm.js": "0;",
    "ort-wasm.wasm": "<!doctype html><title>app</title>",
    "ort-wasm-rest.wasm": WASM,
    "worker-cache.js": "0;",
  });
  expect(await doctor(path, "--json")).toBe(1);
  const report = JSON.parse(out) as DoctorReport;
  expect(report.findings.map((x) => x.id)).toEqual(["wasm-is-html"]);
  expect(report.findings[0]?.evidence.join()).toContain("status 200");
});

test("the sources of an app of Vite are to be built, and no import map is written for them", async () => {
  const main = `import { createEngine } from "selvedge"; createEngine();`;
  for (const name of ["main.js", "main.jsx", "main.ts"]) {
    const path = site({
      "package.json": JSON.stringify({ devDependencies: { vite: "7" } }),
      "index.html": `<script type="module" src="/${name}"></script>`,
      [name]: main,
    });
    out = "";
    expect(await doctor(path, "--json")).toBe(1);
    const { findings } = JSON.parse(out) as DoctorReport;
    expect(findings.map((x) => x.id)).toEqual(["not-built"]);
    expect(findings[0]?.fixes.map((x) => x.line)).toEqual(["npx vite build && npx selvedge doctor dist"]);
  }
  const later = site({
    "package.json": JSON.stringify({ devDependencies: { vite: "7" } }),
    "index.html": `<script type="module" src="/main.js"></script>`,
    "main.js": `button.onclick = () => import("selvedge");`,
  });
  out = "";
  expect(await doctor(later, "--json")).toBe(0);
  const [warning] = (JSON.parse(out) as DoctorReport).findings;
  expect(warning).toMatchObject({ id: "import-unresolved", severity: "warning" });
  expect(warning?.fixes.map((x) => x.line)).toEqual(["npx vite build && npx selvedge doctor dist"]);
  const path = site({
    "index.html": `<script type="importmap">{"imports":{"vue":"/vue.js"}}</script><script type="module" src="/main.js"></script>`,
    "main.js": main,
  });
  out = "";
  expect(await doctor(path, "--json")).toBe(1);
  expect((JSON.parse(out) as DoctorReport).findings.map((x) => x.id)).toEqual(["import-unresolved"]);
});

test("a page without a trace of the package, a target that is none, and a silent server end with 2", async () => {
  writeFileSync(join(folder, "site/index.html"), "<p>no scripts</p>");
  expect(await doctor(join(folder, "site"))).toBe(2);
  expect(await doctor(join(folder, "nowhere"))).toBe(2);
  expect(await doctor("http://127.0.0.1:9/")).toBe(2);
});

test.each(["ftp://me:secret@x.example/", "https:/me:secret@x.example/", "me:secret@x.example"])(
  "the login of %s, which is no address of a site, is in no message",
  async (target) => {
    expect(await doctor(target, "--json")).toBe(2);
    expect(out).toMatch(/^\{"error":"[^:]*…@x\.example\/? is neither a folder/);
  },
);

test("a folder without a page is named as that", async () => {
  mkdirSync(join(folder, "empty"));
  expect(await doctor(join(folder, "empty"), "--json")).toBe(2);
  expect(JSON.parse(out)).toEqual({
    error: expect.stringContaining(`no index.html in ${join(folder, "empty")}`) as string,
  });
});

test("a header of a stranger reaches the terminal without what a terminal obeys", async () => {
  server = await startServer((request, response) => {
    const isPage = request.url === "/";
    response.setHeader("content-type", isPage ? "text/html" : "text/plain; a=\u009b31m");
    response.end(isPage ? `<script src="/main.js"></script>` : request.url === "/main.js" ? SCRIPT : "x");
  });
  expect(await doctor(server.origin)).toBe(1);
  expect(out).toContain("script-type");
  expect(out).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u0080-\u009f]/);
});
