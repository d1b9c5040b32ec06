// Rules of evidence: what a browser said and what the response was decide on a cause, on sites of a server in this
// process. The same faults in real browsers: e2e/doctor.
import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { delivery } from "./checks/delivery.ts";
import { isolation } from "./checks/isolation.ts";
import { reachable } from "./checks/reachable.ts";
import { versions } from "./checks/versions.ts";
import type { DoctorReport } from "./doctor.ts";
import type { Evidence, SiteFile } from "./evidence.ts";
import { examineSite, idsOf, seen } from "../test-support/doctor-site.ts";
import type { SiteAnswer } from "../test-support/doctor-site.ts";
import { Random } from "../test-support/random.ts";
import { writeText } from "./report.ts";

const WASM = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);
const PACKAGE = `Symbol.for("selvedge.error"); export const createEngine = 1;`;

const errorsOf = (report: DoctorReport): string[] => idsOf(report).filter((x) => x.startsWith("error"));
const fixesOf = ({ findings }: DoctorReport): string => findings.flatMap((x) => x.fixes.map((y) => y.line)).join("\n");

const IMPORT = `import { createEngine } from "selvedge"; await createEngine();`;
const inline = (code = IMPORT, type = ` type="module"`): string => `<script${type}>${code}</script>`;
const map = (json: string): string => `<script type="importmap">${json}</script>`;
const MAP = `{"imports":{"selvedge":"/selvedge/selvedge.min.js"}}`;
const MODULE = { "/selvedge/selvedge.min.js": PACKAGE };
const CHROMIUM = `TypeError: Failed to resolve module specifier "selvedge". Relative references must start with either "/", "./", or "../".`;
const FIREFOX =
  "TypeError: The specifier “selvedge” was a bare specifier, but was not remapped to anything. Relative module specifiers must start with “./”, “../” or “/”.";

test.each([CHROMIUM, FIREFOX, ""])("an import that does not resolve is named, with the map: «%s»", async (words) => {
  const said = words === "" ? undefined : () => ({ console: [words] });
  for (const [html, files, cause] of [
    [inline(), MODULE, /no import map/],
    [inline() + map(MAP), MODULE, /comes after/],
    [map(MAP.replace('"/selvedge/', '"selvedge/')) + inline(), MODULE, /"selvedge\/selvedge\.min\.js" does not begin/],
    [map('{"imports":{"vue":"/vue.js"}}') + inline(), MODULE, /does not have the name/],
    [`<script type="module" src="/main.js"></script>`, { ...MODULE, "/main.js": `// app\n${IMPORT}` }, /no import map/],
  ] as const) {
    if (words === "" && /comes after/.test(cause.source)) continue;
    const report = await examineSite({ "/": html, ...files }, said);
    expect([html, idsOf(report)]).toEqual([html, ["error import-unresolved"]]);
    expect(report.findings[0]?.message).toMatch(cause);
    expect(report.findings[0]?.evidence.join()).toContain(words);
    expect(fixesOf(report)).toMatch(/^<script type="importmap">.*"selvedge":"(?:\.?\/)selvedge\/selvedge\.min\.js"/);
    expect(report.hasSelvedge).toBe(true);
  }
});

test("without a browser, an inline module before its import map does not resolve", async () => {
  expect(idsOf(await examineSite({ "/": inline() + map(MAP), ...MODULE }))).toEqual(["error import-unresolved"]);
  const workers = { "/selvedge/selvedge.min.js": PACKAGE };
  expect(idsOf(await examineSite({ "/": map(MAP) + inline(), ...workers }))).toEqual([]);
});

test("an import that runs later needs the map too, unless code writes the map itself", async () => {
  const click = inline(`b.onclick = async () => (await import("selvedge")).createEngine();`);
  for (const shown of [undefined, () => ({})]) {
    const report = await examineSite({ "/": click, ...MODULE }, shown);
    expect(idsOf(report)).toEqual(["warning import-unresolved"]);
    expect(report.findings[0]?.evidence.join()).toContain('import … "selvedge"');
    expect(fixesOf(report)).toContain('"selvedge":"/selvedge/selvedge.min.js"');
    expect(idsOf(await examineSite({ "/": click + map(MAP), ...MODULE }, shown))).toEqual([]);
    const own = inline(`const map = document.createElement("script"); map.type = "importmap";`);
    expect(idsOf(await examineSite({ "/": own + click, ...MODULE }, shown))).toEqual([]);
    const sample = inline(`code.textContent = 'import("selvedge")';`);
    expect(idsOf(await examineSite({ "/": sample, ...MODULE }, shown))).toEqual([]);
  }
});

test("an import that runs later and fails, or is handled, is a warning: code may never come to it", async () => {
  for (const code of [
    `async function ocr() { try { return await import("selvedge"); } catch { return null; } }`,
    `if (typeof window === "undefined") await import("selvedge");`,
    `b.onclick = () => import("/selvedge/selvedge.min.js").catch(() => import("selvedge"));`,
  ])
    for (const shown of [undefined, () => ({})]) {
      const { findings } = await examineSite({ "/": inline(code), ...MODULE }, shown);
      expect(findings.map((x) => `${x.severity} ${x.id}: ${x.message}`)).toEqual([
        'warning import-unresolved: Code imports "selvedge" when it is used, and nothing resolves it: ' +
          "the page has no import map, and no bundler has replaced the name.",
      ]);
    }
  const click = inline(`b.onclick = () => import("selvedge");`);
  expect(idsOf(await examineSite({ "/": click, ...MODULE }, () => ({ console: [CHROMIUM] })))).toEqual([
    "error import-unresolved",
  ]);
});

test("a name in a scope of the import map counts: for what runs later, and for modules in that scope", async () => {
  const scoped = (prefix: string): string => map(`{"scopes":{"${prefix}":{"selvedge":"/selvedge/selvedge.min.js"}}}`);
  const click = inline(`b.onclick = () => import("selvedge");`);
  const main = { "/app/main.js": IMPORT, ...MODULE };
  const tag = `<script type="module" src="/app/main.js"></script>`;
  for (const html of [scoped("/") + inline(), scoped("/lib/") + click, scoped("/app/") + tag, scoped("./app/") + tag])
    expect([html, await examineSite({ "/": html, ...main })]).toMatchObject([
      html,
      { findings: [], hasSelvedge: true },
    ]);
  const other = await examineSite({ "/": scoped("/lib/") + tag, ...main });
  expect(idsOf(other)).toEqual(["error import-unresolved"]);
  expect(other.findings[0]?.message).toContain("has the name in scopes alone, which are of other modules");
});

test("an import map keeps its scopes and its integrity, also where it is no JSON", async () => {
  const scopes = { "/a/": { vue: "/vue2.js" } };
  const integrity = { "/vue.js": "sha384-x" };
  const text = JSON.stringify({ imports: { vue: "https://cdn.example//vue@3/vue.js" }, scopes, integrity });
  const whole = `<script type="importmap">${JSON.stringify({
    imports: { vue: "https://cdn.example//vue@3/vue.js", selvedge: "/selvedge/selvedge.min.js" },
    scopes,
    integrity,
  })}</script>`;
  expect(fixesOf(await examineSite({ "/": map(text) + inline(), ...MODULE }))).toBe(whole);
  const broken = whole.replace("}}</", "},}</").replace('"imports":', "imports: /* names */");
  expect(fixesOf(await examineSite({ "/": broken + inline(), ...MODULE }))).toBe(whole);
  const lost = map(JSON.stringify({ imports: { selvedge: "/lib/selvedge.min.js" }, scopes, integrity }));
  const missing = await examineSite({ "/": lost + inline(), ...MODULE });
  expect(idsOf(missing)).toEqual(["error script-missing"]);
  expect(fixesOf(missing)).toBe(whole.replace('"vue":"https://cdn.example//vue@3/vue.js",', ""));
});

test("what a browser makes no script of is none: in templates, in text, in a frame's own markup, of another type", async () => {
  for (const html of [
    `<template>${inline()}<template></template>${inline()}</template>`,
    `<textarea>${inline()}</textarea>`,
    `<iframe srcdoc='${inline()}'></iframe>`,
    `<noscript>${inline()}</noscript>`,
    inline(IMPORT, ` type="text/plain"`),
  ])
    for (const shown of [undefined, () => ({})])
      expect([html, await examineSite({ "/": html, ...MODULE }, shown)]).toMatchObject([
        html,
        { findings: [], hasSelvedge: false },
      ]);
  const open = `<div><template shadowrootmode="open">${inline()}</template></div><template></template>`;
  expect(idsOf(await examineSite({ "/": open, ...MODULE }))).toEqual(["error import-unresolved"]);
  const after = `<textarea></textarea><template></template>${inline("`<template>`;")}${inline()}`;
  expect(idsOf(await examineSite({ "/": after, ...MODULE }))).toEqual(["error import-unresolved"]);
});

test("modules of es-module-shims get their names from its own map, which the browser does not read", async () => {
  const shim = map(MAP).replace("importmap", "importmap-shim");
  const click = `b.onclick = () => import("selvedge");`;
  for (const html of [
    shim + inline(click, ` type="module-shim"`),
    shim + inline(IMPORT, ` type="module-shim"`),
    `${shim}<script type="module-shim" src="/main.js"></script>`,
    `${shim}<script>importShim("/main.js")</script><script src="/main.js"></script>`,
  ])
    for (const shown of [undefined, () => ({})])
      expect([html, await examineSite({ "/": html, "/main.js": click, ...MODULE }, shown)]).toMatchObject([
        html,
        { findings: [], hasSelvedge: true },
      ]);
  const native = await examineSite({ "/": shim + inline(), ...MODULE });
  expect(idsOf(native)).toEqual(["error import-unresolved"]);
  expect(native.findings[0]?.message).toContain("no import map");
});

test("an import map keeps the addresses that it has beside the package's", async () => {
  const html = map('{"imports":{"vue":"/vue.js"}}') + inline();
  expect(fixesOf(await examineSite({ "/": html, ...MODULE }, () => ({ console: [CHROMIUM] })))).toContain(
    '{"imports":{"vue":"/vue.js","selvedge":"/selvedge/selvedge.min.js"}}',
  );
});

test("a page that imports nothing of the package, or has it run, gets no finding on imports", async () => {
  const other = inline(`import { ref } from "vue";`);
  const said = { console: [CHROMIUM.replace("selvedge", "vue")] };
  expect(await examineSite({ "/": other }, () => said)).toMatchObject({ findings: [], hasSelvedge: false });
  expect(idsOf(await examineSite({ "/": inline() }, () => ({ console: [CHROMIUM], hasStarted: true })))).toEqual([]);
  const sample = 'const sample = `\nimport { createEngine } from "selvedge";\n`;';
  expect(await examineSite({ "/": inline(sample) })).toMatchObject({ findings: [], hasSelvedge: false });
});

test("a name of another package is the cause where the module that imports it imports this package too", async () => {
  const both = inline(`import { ref } from "vue"; ${IMPORT}`);
  const report = await examineSite({ "/": map(MAP) + both, ...MODULE }, () => ({
    console: [CHROMIUM.replace("selvedge", "vue")],
  }));
  expect(idsOf(report)).toEqual(["error import-unresolved"]);
  expect(report.findings[0]?.message).toContain('imports "vue"');
  const apart = inline(`import { ref } from "vue";`) + inline();
  const said = (url: string) => ({
    console: [CHROMIUM.replace("selvedge", "vue")],
    seen: [seen(url, "/selvedge/selvedge.min.js")],
  });
  expect(idsOf(await examineSite({ "/": map(MAP) + apart, ...MODULE }, said))).toEqual([]);
});

test("an import map that is no JSON is the cause, and its line is written as JSON", async () => {
  for (const broken of [
    MAP.replace("}}", ",}}"),
    `{ imports: { "selvedge": "/selvedge/selvedge.min.js" } }`,
    `{"imports":{"selvedge":"/selvedge/selvedge.min.js" // the engine\n}}`,
  ]) {
    const error = { line: 1, message: "SyntaxError: Failed to parse import map: invalid JSON" };
    const report = await examineSite({ "/": map(broken) + inline(), ...MODULE }, (url) => ({
      console: [CHROMIUM],
      scriptErrors: [{ ...error, url }],
    }));
    expect([broken, idsOf(report)]).toEqual([broken, ["error import-map-invalid"]]);
    expect(fixesOf(report)).toBe(`<script type="importmap">${MAP}</script>`);
    expect(report.hasSelvedge).toBe(true);
    expect(idsOf(await examineSite({ "/": map(broken) + inline(), ...MODULE }))).toEqual(["error import-map-invalid"]);
  }
});

test("a script with imports that is no module is named as that, in the words of each browser", async () => {
  for (const message of [
    "SyntaxError: Cannot use import statement outside a module",
    "SyntaxError: import declarations may only appear at top level of a module",
  ]) {
    const page = await examineSite({ "/": map(MAP) + inline(IMPORT, ""), ...MODULE }, (url) => ({
      scriptErrors: [{ url, line: 1, message }],
    }));
    expect(idsOf(page)).toEqual(["error script-not-module"]);
    expect(fixesOf(page)).toBe(`<script type="module">`);
    expect(page.hasSelvedge).toBe(true);
    const files = { "/": map(MAP) + `<script src="/app.js"></script>`, "/app.js": IMPORT, ...MODULE };
    const own = await examineSite(files, (url) => ({
      seen: [seen(url, "/app.js")],
      scriptErrors: [{ url: `${url}app.js`, line: 1, message }],
    }));
    expect(idsOf(own)).toEqual(["error script-not-module"]);
    expect(fixesOf(own)).toBe(`<script type="module" src="/app.js"></script>`);
  }
  expect(idsOf(await examineSite({ "/": map(MAP) + inline(IMPORT, ""), ...MODULE }))).toEqual([
    "error script-not-module",
  ]);
});

test("an import map that leads to no file gets the map's line, or the copy where there is no such file", async () => {
  const lost = MAP.replace("/selvedge/", "/lib/");
  const requested = (url: string) => ({ seen: [seen(url, "/lib/selvedge.min.js", 404)] });
  const mended = `<script type="importmap">${MAP}</script>`;
  const wrong = await examineSite({ "/": map(lost) + inline(), ...MODULE }, requested);
  expect([idsOf(wrong), fixesOf(wrong)]).toEqual([["error script-missing"], mended]);
  const blind = await examineSite({ "/": map(lost) + inline(), ...MODULE });
  expect([idsOf(blind), fixesOf(blind)]).toEqual([["error script-missing"], mended]);
  const two = await examineSite({ "/": map(lost) + map(MAP) + inline(), ...MODULE }, requested);
  expect([idsOf(two), fixesOf(two)]).toEqual([["error script-missing"], mended]);
  const copied = await examineSite({ "/": map(lost) + inline() }, requested);
  expect(fixesOf(copied)).toContain("cp node_modules/selvedge/dist/selvedge.min.js node_modules/selvedge/dist/worker-");
  const html = { headers: { "content-type": "text/html" }, body: "<!doctype html><title>app</title>" };
  const page = await examineSite({ "/": map(lost) + inline(), "/lib/selvedge.min.js": html, ...MODULE }, requested);
  expect([idsOf(page), fixesOf(page)]).toEqual([["error script-is-html"], mended]);
  expect(page.findings[0]?.message).toContain("is answered with an HTML page (status 200)");
});

const MAIN = { "/": `<script type="module" src="/main.js"></script>`, "/main.js": PACKAGE };

test("status 206 with the whole of a binary or worker is no fault, and a part of a model is one", async () => {
  const files = {
    ...MAIN,
    "/ort-wasm.wasm": { status: 206, body: WASM },
    "/worker-wasm.js": { status: 206, body: PACKAGE },
    "/worker-cache.js": PACKAGE,
    "/ort-wasm-rest.wasm": { body: WASM },
    "/m.onnx": { status: 206, body: "model" },
  };
  const shown = (url: string) => ({
    hasStarted: true,
    seen: [seen(url, "/ort-wasm.wasm", 206), seen(url, "/worker-wasm.js", 206), seen(url, "/m.onnx", 206)],
  });
  expect(idsOf(await examineSite(files, shown))).toEqual([]);
  const error = {
    ...{ code: "download-failed", reason: "server", message: "status 206", url: null, help: null, isHandled: false },
  };
  const partial = await examineSite(files, (url) => ({ ...shown(url), errors: [error] }));
  expect(idsOf(partial)).toEqual(["error model-partial"]);
  expect(partial.findings[0]?.message).toMatch(/as a part of a file \(status 206\)/);
  expect(fixesOf(partial)).toContain("answer requests of /m.onnx that have no Range header with status 200");
});

test("a policy of the page alone that refuses requests is a warning for the binary, and nothing for a model", async () => {
  const none = { "content-security-policy": "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'" };
  const page = { headers: none, body: MAIN["/"] };
  const files = { ...MAIN, "/": page, "/worker-wasm.js": PACKAGE, "/worker-cache.js": PACKAGE, "/m.onnx": "model" };
  const binaries = { "/ort-wasm.wasm": { body: WASM }, "/ort-wasm-rest.wasm": { body: WASM } };
  const shown = (url: string) => ({
    hasStarted: true,
    seen: [seen(url, "/worker-wasm.js"), seen(url, "/ort-wasm.wasm"), seen(url, "/m.onnx")],
  });
  const soft = await examineSite({ ...files, ...binaries }, shown);
  expect(idsOf(soft)).toEqual(["warning csp-connect"]);
  expect(soft.findings[0]?.message).toContain("each worker fetches and compiles it by itself");
  const worker = { headers: none, body: PACKAGE };
  const hard = await examineSite({ ...files, ...binaries, "/worker-cache.js": worker }, shown);
  expect(idsOf(hard)).toEqual(["error csp-connect"]);
});

test("a worker from another origin has the page's policy, whatever its own response says", async () => {
  const names = ["/worker-wasm.js", "/worker-cache.js", "/ort-wasm.wasm", "/ort-wasm-rest.wasm"];
  const find = async (policy: string): Promise<DoctorReport> => {
    const cors = { "access-control-allow-origin": "*" };
    const own = { ...cors, "content-security-policy": "default-src 'none'" };
    const files = {
      "/worker-wasm.js": { headers: own, body: PACKAGE },
      "/worker-cache.js": { headers: own, body: PACKAGE },
      "/ort-wasm.wasm": { headers: cors, body: WASM },
      "/ort-wasm-rest.wasm": { headers: cors, body: WASM },
    };
    const page = { headers: { "content-security-policy": policy }, body: MAIN["/"] };
    return examineSite({ ...MAIN, ...files, "/": page }, (url) => ({
      hasStarted: true,
      seen: names.map((x) => seen(elsewhere(url), x)),
    }));
  };
  const script = "script-src 'self' http://localhost:* 'wasm-unsafe-eval'";
  const worker = "worker-src 'self' blob: http://localhost:*";
  const connect = "connect-src 'self' http://localhost:*";
  const refused = await find(`${script}; ${worker}; connect-src 'self'`);
  expect(errorsOf(refused)).toEqual(["error csp-connect"]);
  expect(refused.findings[0]?.message).toMatch(/keeps files from being fetched.*http:\/\/localhost:\d+/);
  expect(fixesOf(refused)).toMatch(/; connect-src 'self' http:\/\/localhost:\d+/);
  const wasm = await find(`${script.replace(" 'wasm-unsafe-eval'", "")}; ${worker}; ${connect}`);
  expect(errorsOf(wasm)).toEqual(["error csp-wasm"]);
  const blob = await find(`${script}; ${worker.replace(" blob:", "")}; ${connect}`);
  expect(errorsOf(blob)).toEqual(["error csp-worker"]);
  expect(fixesOf(blob)).toMatch(/; worker-src 'self' http:\/\/localhost:\* blob:;/);
  expect(errorsOf(await find(`${script}; ${worker}; ${connect}`))).toEqual([]);
  // A new directive replaces default-src, and keeps the addresses that it admits.
  const byDefault = await find(`default-src 'self' https://api.example 'nonce-a'; ${script}; ${worker}`);
  const kept = /; connect-src http:\/\/localhost:\d+ 'self' https:\/\/api\.example$/;
  expect(fixesOf(byDefault)).toMatch(kept);
});

/** Another origin of the same server. */
function elsewhere(url: string): string {
  return url.replace("127.0.0.1", "localhost");
}

test("a file that is compressed twice, or not as its header says, is named as that", async () => {
  const gzip = { "content-encoding": "gzip" };
  const names = { "/ort-wasm.wasm": WASM, "/worker-wasm.js": Buffer.from(PACKAGE), "/m.onnx": Buffer.from("\b\u0007") };
  const whole = {
    ...MAIN,
    "/worker-wasm.js": PACKAGE,
    "/worker-cache.js": PACKAGE,
    "/ort-wasm.wasm": { body: WASM },
    "/ort-wasm-rest.wasm": { body: WASM },
    "/m.onnx": "model",
  };
  const find = (path: string, given: SiteAnswer): Promise<DoctorReport> =>
    examineSite({ ...whole, [path]: given }, (url) => ({
      hasStarted: true,
      seen: [...Object.keys(names)].map((x) => seen(url, x)),
    }));
  for (const [path, body] of Object.entries(names)) {
    const kind = `error ${path === "/m.onnx" ? "model" : path === "/ort-wasm.wasm" ? "wasm" : "script"}-content`;
    const twice = gzipSync(gzipSync(body));
    for (const given of [
      { headers: gzip, body: twice },
      { body, packed: { headers: gzip, body: twice } },
    ]) {
      const report = await find(path, given);
      expect([path, errorsOf(report)]).toEqual([path, [kind]]);
      expect(report.findings[0]?.message).toMatch(/is compressed twice: what Content-Encoding: gzip undoes/);
      expect(fixesOf(report)).toContain(`serve ${path} as stored`);
    }
    const lie = await find(path, { headers: gzip, body });
    expect([path, errorsOf(lie)]).toEqual([path, [kind]]);
    expect(lie.findings[0]?.message).toMatch(/is not compressed as its Content-Encoding: gzip says/);
    expect(fixesOf(lie)).toContain(`send ${path} without Content-Encoding: gzip`);
    expect(errorsOf(await find(path, { headers: gzip, body: gzipSync(body) }))).toEqual([]);
  }
});

test("a binary that fails on the server names the request whose log says more", async () => {
  const report = await examineSite({ ...MAIN, "/ort-wasm.wasm": { status: 500 } }, (url) => ({
    seen: [seen(url, "/ort-wasm.wasm", 500)],
  }));
  expect(idsOf(report)).toEqual(["error wasm-missing"]);
  expect(fixesOf(report)).toContain("answer requests of /ort-wasm.wasm  (status 500; its log says more)");
});

test("a file that the host refuses is not deployed again: the host must answer it to every visitor", async () => {
  const body = "<!doctype html><title>Error</title>";
  for (const given of [{ status: 401 }, { status: 403 }, { status: 403, body }]) {
    const report = await examineSite({ ...MAIN, "/m.onnx": given }, (url) => ({
      seen: [seen(url, "/m.onnx", given.status)],
    }));
    expect(idsOf(report)).toEqual(["error model-forbidden"]);
    expect(fixesOf(report)).toMatch(/^answer \/m\.onnx to every visitor/);
    expect(fixesOf(report)).not.toContain("deploy");
  }
  // A host's own page for what is missing is no page of the app.
  const missing = await examineSite({ ...MAIN, "/m.onnx": { status: 404, body } }, (url) => ({
    seen: [seen(url, "/m.onnx", 404)],
  }));
  expect([idsOf(missing), fixesOf(missing)]).toEqual([["error model-missing"], "deploy /m.onnx"]);
});

test("a script that the server fails to send, or refuses, is not said to be missing", async () => {
  const find = async (status: number, hasStarted = true): Promise<DoctorReport> =>
    examineSite({ ...MAIN, "/lazy.js": { status } }, (url) => ({ hasStarted, seen: [seen(url, "/lazy.js", status)] }));
  const failing = await find(501);
  expect(idsOf(failing)).toEqual(["error script-missing"]);
  expect(failing.findings[0]?.message).toBe(
    "The script /lazy.js fails on the server (status 501; see its log): what imports it does not run.",
  );
  expect(fixesOf(failing)).toBe("answer requests of /lazy.js  (status 501; its log says more)");
  expect(idsOf(await find(403))).toEqual(["error script-forbidden"]);
  const missing = await find(404, false);
  expect(missing.findings[0]?.message).toBe("The script /lazy.js is missing (status 404): the app does not start.");
  expect(fixesOf(missing)).toBe("deploy /lazy.js");
});

test("one line stands for many files of a folder, and each of a few is named", async () => {
  const find = async (count: number, status: number): Promise<string> => {
    const names = Array.from({ length: count }, (_, i) => `/m/${i}.onnx`);
    const files = Object.fromEntries(names.map((x) => [x, { status }]));
    return fixesOf(
      await examineSite({ ...MAIN, ...files }, (url) => ({ seen: names.map((x) => seen(url, x, status)) })),
    );
  };
  expect(await find(7, 501)).toBe("answer requests of /m/*  (status 501; its log says more)");
  expect(await find(7, 404)).toBe("deploy /m/*");
  expect((await find(2, 501)).split("\n")).toHaveLength(2);
});

test("a model over http of a page over https is mixed content, whatever its host answers", () => {
  const url = "http://models.example/m.onnx";
  const answer = (status: number) => ({
    url,
    status,
    headers: {},
    body: new Uint8Array(8),
    isWhole: true,
    redirects: [],
  });
  const find = (status: number, given: Partial<SiteFile> = {}, page = "https://app.example/") => {
    const file = {
      url,
      role: "model",
      source: "requested",
      answer: answer(status),
      packed: null,
      range: null,
      seen: null,
    };
    const files = [{ ...file, ...given }];
    const browser = { console: [`Mixed Content: blocked '${url}'`], errors: [], resources: [], seen: [] };
    return reachable({ url: page, files, browser, stack: {} } as unknown as Evidence);
  };
  for (const status of [0, 200, 404]) {
    const [found, ...others] = find(status);
    expect(others).toEqual([]);
    expect(found).toMatchObject({ id: "mixed-content", changes: [{ kind: "https", url }] });
    expect(found?.message).toContain(`The page is https and ${url} is http`);
  }
  expect(find(200, { seen: { url, status: 200, headers: {}, isFromServiceWorker: false } })).toEqual([]);
  expect(find(200, { url: "http://localhost:5480/m.onnx" })).toEqual([]);
  expect(find(200, {}, "http://app.example/")).toEqual([]);
});

test("a page of which nothing names the package has no trace of it, and one whose import failed has", async () => {
  const summary = (report: DoctorReport): string => writeText(report, (text) => text, String);
  expect(summary(await examineSite({ "/": "<p>hello" }, () => ({})))).toContain("No trace of selvedge");
  expect(summary(await examineSite({ "/": inline() }, () => ({})))).not.toContain("No trace");
});

/** An error of the engine about a file. */
const errorAt = (url: string, path: string, code: string, reason: string) => {
  const at = new URL(path, url).href;
  return { code, reason, message: "no", url: at, help: `npx selvedge explain ${code}`, isHandled: false };
};

test("a file under a name that says nothing is judged by its answer where the engine has failed on it", async () => {
  const shown = (url: string) => ({
    hasStarted: true,
    errors: [errorAt(url, "/data/labels.txt", "download-failed", "not-found")],
  });
  const report = await examineSite(MAIN, shown);
  expect(idsOf(report)).toEqual(["error file-missing"]);
  expect(fixesOf(report)).toContain("/data/labels.txt");
  const there = await examineSite({ ...MAIN, "/data/labels.txt": "red" }, shown);
  expect(idsOf(there)).toEqual(["error engine-error"]);
  expect(fixesOf(there)).toContain("/data/labels.txt");
});

test("a redirect without end is the cause, and taking it off the fix, unless the browser got the file", async () => {
  for (const location of ["/ort-wasm.wasm", "ort-wasm.wasm?again"]) {
    const files = {
      ...MAIN,
      "/ort-wasm.wasm": { status: 302, headers: { location } },
      "/ort-wasm.wasm?again": { status: 307, headers: { location: "/ort-wasm.wasm" } },
    };
    const report = await examineSite(files, (url) => ({
      seen: [{ ...seen(url, "/ort-wasm.wasm", 302), failure: "loop" }],
    }));
    expect(errorsOf(report)).toEqual(["error wasm-redirected"]);
    expect(report.findings[0]?.message).toMatch(/is redirected without end \(status 30\d, to \/ort-wasm\.wasm\)/);
    expect(fixesOf(report)).toContain("answer /ort-wasm.wasm with the file, without a redirect to /ort-wasm.wasm");
    const arrived = await examineSite(files, (url) => ({ seen: [seen(url, "/ort-wasm.wasm")] }));
    expect(errorsOf(arrived)).toEqual([]);
  }
  await expect(examineSite({ "/": { status: 302, headers: { location: "/" } } })).rejects.toThrow(
    "redirected without end",
  );
});

test("a worker with Git's line ends, or rewritten by a dev server, is the same, and one with other code is not", () => {
  const release = "0.1.0 1.30.0";
  const name = "worker-wasm.js";
  const find = (written: string, sent: string, folder = ""): number => {
    const file = (path: string, body: string): SiteFile => ({
      url: `https://x.example/${path}`,
      role: path === "main.js" ? "script" : "worker",
      source: "requested",
      answer: {
        url: `https://x.example/${path}`,
        status: 200,
        headers: {},
        body: Buffer.from(body),
        isWhole: true,
        redirects: [],
      },
      packed: null,
      range: null,
      seen: null,
    });
    const sha256 = createHash("sha256").update(written).digest("hex");
    const files = [file("main.js", `"selvedge", "${release}"`), file(folder + name, sent)];
    return versions({ files, own: { release, files: { [name]: sha256 } } } as unknown as Evidence).length;
  };
  expect(find("a = 1;\nb = 2;\n", "a = 1;\r\nb = 2;\r\n")).toBe(0);
  expect(find("a = 1;\nb = 2;\n", "a = 1;\r\nb = 3;\r\n")).toBe(1);
  const rewritten = "import '/@vite/env';\na = 1;\nb = 2;\n";
  expect(find("a = 1;\nb = 2;\n", rewritten, "node_modules/selvedge/dist/")).toBe(0);
  expect(find("a = 1;\nb = 2;\n", rewritten, "selvedge/")).toBe(1);
});

test("a script that the browser can't parse is named by what it is", async () => {
  const told = (url: string) => ({ scriptErrors: [{ url: `${url}main.js`, line: 1, message: "SyntaxError: no" }] });
  const sent = (main: SiteAnswer) => examineSite({ ...MAIN, "/main.js": main }, told);
  const gzip = { "content-encoding": "gzip" };
  const twice = await sent({ headers: gzip, body: gzipSync(gzipSync(PACKAGE)) });
  expect([idsOf(twice), twice.findings[0]?.message]).toEqual([
    ["error script-content"],
    "The script /main.js is compressed twice: what Content-Encoding: gzip undoes is compressed still.",
  ]);
  const wide = await sent({ body: Buffer.from(`\ufeff${PACKAGE}`, "utf16le") });
  expect([idsOf(wide), fixesOf(wide)]).toEqual([["error script-content"], expect.stringMatching(/^iconv -f UTF-16 /)]);
  const pointer = await sent({ body: "version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 1\n" });
  expect(idsOf(pointer)).toEqual(["error lfs-pointer"]);
  expect(fixesOf(await sent({ body: `${PACKAGE}}` }))).toBe("npm run build  (then deploy /main.js again)");
});

/** A bundle of one chunk that is stored by brotli. */
const CHUNK = "ab".repeat(32);
const BROTLI_BUNDLE = JSON.stringify({
  schema: "selvedge/bundle@2",
  variants: [{ files: [{ chunks: [{ sha256: CHUNK, bytes: 9, wireBytes: 7, encoding: "br" }] }] }],
});

test("a bundle by brotli needs the decoder beside the fetch worker, and a policy there that compiles it", async () => {
  const needs = { ...MAIN, "/worker-cache.js": PACKAGE, "/m/bundle.json": BROTLI_BUNDLE };
  const shown = (url: string) => ({ seen: [seen(url, "/worker-cache.js"), seen(url, "/m/bundle.json")] });
  const missing = await examineSite(needs, shown);
  expect(idsOf(missing)).toContain("error wasm-missing");
  expect(fixesOf(missing)).toContain("dist/*.wasm <output folder>/");
  const none = { "content-security-policy": "default-src 'none'; connect-src 'self'" };
  const strict = { ...needs, "/brotli.wasm": { body: WASM }, "/worker-cache.js": { headers: none, body: PACKAGE } };
  const refused = await examineSite(strict, shown);
  expect(idsOf(refused)).toContain("error csp-wasm");
  expect(refused.findings.find((x) => x.id === "csp-wasm")?.fixes[0]?.where).toContain("(on /worker-cache.js)");
  const plain = { ...strict, "/m/bundle.json": BROTLI_BUNDLE.replace(',"encoding":"br"', "") };
  expect(idsOf(await examineSite(plain, shown))).not.toContain("error csp-wasm");
});

test("a chunk that lacks bytes was not uploaded whole; one with other bytes is changed by the host", async () => {
  const shown = (url: string) => ({ seen: [seen(url, "/m/bundle.json")] });
  const chunk = async (body: string) => {
    const files = { ...MAIN, "/m/bundle.json": BROTLI_BUNDLE, [`/m/chunks/${CHUNK}.bin`]: body };
    const { findings } = await examineSite(files, shown);
    return findings.find((x) => x.id === "chunk-changed");
  };
  expect((await chunk(""))?.message).toMatch(/is empty: its upload was not completed/);
  expect((await chunk("four"))?.fixes.map((x) => x.line)).toEqual(["deploy /m/chunks/*"]);
  expect((await chunk("seven, and more"))?.fixes.map((x) => x.line)).toEqual([expect.stringContaining("as stored")]);
});

test("a chunk or a binary with other line ends was copied as text, and is copied again", async () => {
  const stored = "a\nb\r\nc\n";
  const sha256 = createHash("sha256").update(stored).digest("hex");
  const file = { chunks: [{ sha256, bytes: stored.length, wireBytes: stored.length }] };
  const bundle = JSON.stringify({ schema: "selvedge/bundle@2", variants: [{ files: [file] }] });
  const path = `/m/chunks/${sha256}.bin`;
  const shown = (url: string) => ({ seen: [seen(url, "/m/bundle.json"), seen(url, "/ort-wasm.wasm")] });
  const wasm = Buffer.from([...WASM, 1, 3, 10, 3, 10]);
  const asText = (x: string | Buffer): Buffer =>
    Buffer.from(Buffer.from(x).toString("latin1").replaceAll("\n", "\r\n"), "latin1");
  const find = async (write: (x: string | Buffer) => string | Buffer): Promise<DoctorReport> =>
    examineSite({ ...MAIN, "/m/bundle.json": bundle, [path]: write(stored), "/ort-wasm.wasm": write(wasm) }, shown);
  const { findings } = await find(asText);
  for (const id of ["chunk-changed", "wasm-content"]) {
    const found = findings.find((x) => x.id === id);
    expect(found?.message).toContain("it was copied as text");
    expect(found?.fixes.map((x) => x.line).join()).toMatch(/deploy|cp /);
  }
  expect((await find((x) => x)).findings.map((x) => x.id)).not.toContain("chunk-changed");
});

test('a chunk or a binary whose "\\r\\n" became "\\n", or that was read as UTF-8, was copied as text', async () => {
  const random = new Random(1);
  const stored = Buffer.from(Uint8Array.from({ length: 2 ** 20 }, () => random.below(256)));
  const sha256 = createHash("sha256").update(stored).digest("hex");
  const file = { chunks: [{ sha256, bytes: stored.length, wireBytes: stored.length }] };
  const bundle = JSON.stringify({ schema: "selvedge/bundle@2", variants: [{ files: [file] }] });
  // A section of 2 ** 20 bytes.
  const wasm = Buffer.concat([WASM, Buffer.of(0, 0x80, 0x80, 0x40), stored]);
  const path = `/m/chunks/${sha256}.bin`;
  const shown = (url: string) => ({ seen: [seen(url, "/m/bundle.json"), seen(url, "/ort-wasm.wasm")] });
  const find = async (write: (x: Buffer) => Buffer): Promise<string[]> => {
    const files = { ...MAIN, "/m/bundle.json": bundle, [path]: write(stored), "/ort-wasm.wasm": write(wasm) };
    const { findings } = await examineSite(files, shown);
    const found = findings.filter((x) => x.id === "chunk-changed" || x.id === "wasm-content");
    return found.map((x) => `${x.message} ${x.fixes.map((y) => y.line).join()}`);
  };
  const again = [
    expect.stringMatching(/copied as text, with other line ends.*cp /),
    expect.stringMatching(/copied as text, with other line ends.*deploy /),
  ];
  expect(await find((x) => Buffer.from(x.toString("latin1").replaceAll("\r\n", "\n"), "latin1"))).toEqual(again);
  expect(await find((x) => Buffer.from(x.toString("utf8")))).toEqual([
    expect.stringMatching(/copied as text: .*U\+FFFD.*cp /),
    expect.stringMatching(/copied as text: .*U\+FFFD.*deploy /),
  ]);
  for (const lost of [8, 2 ** 18])
    expect(await find((x) => x.subarray(0, x.length - lost))).toEqual([
      expect.stringMatching(/is cut short/),
      expect.stringMatching(/is cut short/),
    ]);
  expect(await find((x) => x)).toEqual([]);
});

/** A site whose engine has started, with headers on its page and on its workers. */
async function policed(page: string | null, workers: string | null, tags = ""): Promise<DoctorReport> {
  const sent = (value: string | null) => (value === null ? {} : { headers: { "content-security-policy": value } });
  const files = {
    "/": { ...sent(page), body: `${tags}<script type="module" src="/main.js"></script>` },
    "/main.js": PACKAGE,
    "/worker-wasm.js": { ...sent(workers), body: PACKAGE },
    "/worker-cache.js": { ...sent(workers), body: PACKAGE },
    ...{ "/ort-wasm.wasm": WASM, "/ort-wasm-rest.wasm": WASM, "/model.onnx": "x" },
  };
  const names = Object.keys(files);
  return examineSite(files, (url) => ({ hasStarted: true, seen: names.map((x) => seen(url, x)) }));
}

test("a policy of the whole site is one line, which is right for the page and for its workers", async () => {
  for (const policy of ["default-src 'none'", "default-src 'none', default-src 'none'"]) {
    const report = await policed(policy, policy);
    expect(idsOf(report)).toEqual(["error csp-wasm", "error csp-worker", "error csp-connect"]);
    const lines = new Set(report.findings.flatMap((x) => x.fixes.map((y) => `${y.where}: ${y.line}`)));
    expect(lines.size).toBe(1);
    const [, value = ""] = /^the server, .*: Content-Security-Policy: (.*)$/.exec([...lines].join()) ?? [];
    expect(idsOf(await policed(value, value))).toEqual([]);
    const text = writeText(report, (x) => x, String);
    expect(text.split("\n").filter((x) => x.includes("  fix: "))).toHaveLength(3);
  }
});

test("a policy that stands in the header and in the markup is changed in both", async () => {
  const policy = "worker-src 'none'";
  const meta = `<meta http-equiv="Content-Security-Policy" content="${policy}">`;
  const report = await policed(policy, null, meta);
  expect(idsOf(report)).toEqual(["error csp-worker"]);
  expect(fixesOf(report)).toBe(`Content-Security-Policy: worker-src 'self'\n${meta.replace("'none'", "'self'")}`);
});

test("a comma begins another policy in markup too", async () => {
  const meta = (x: string) => `<meta http-equiv="Content-Security-Policy" content="img-src https:, worker-src ${x}">`;
  const report = await policed(null, null, meta("'none'"));
  expect([idsOf(report), fixesOf(report)]).toEqual([["error csp-worker"], meta("'self'")]);
});

test("a sandbox is read in any case, and in the header alone", async () => {
  const page = `<script type="module" src="/main.js"></script>`;
  const sandboxed = (headers: Record<string, string>, tags = "") =>
    examineSite({ "/": { headers, body: tags + page }, "/main.js": PACKAGE });
  const policy = (value: string) => ({ "content-security-policy": value });
  expect(idsOf(await sandboxed(policy("sandbox Allow-Scripts ALLOW-SAME-ORIGIN")))).toEqual([]);
  expect(idsOf(await sandboxed(policy("sandbox allow-scripts")))).toEqual(["error csp-sandbox"]);
  const meta = `<meta http-equiv="Content-Security-Policy" content="sandbox">`;
  expect(idsOf(await sandboxed({}, meta))).toEqual([]);
});

test("a page in place of many files of a folder is named by the folder, with their ending", async () => {
  for (const [schema, shown] of [
    ["selvedge/bundle@2", "/m/chunks/*.bin"],
    ["selvedge/bundle@1", "/m/chunks/*"],
  ] as const) {
    const hashes = ["a", "b", "c", "d", "e"].map((x) => x.repeat(64));
    const chunks = hashes.map((sha256) => ({ sha256, bytes: 9 }));
    const ending = shown.replace("/m/chunks/*", "");
    const report = await examineSite(
      {
        ...MAIN,
        "/m/bundle.json": JSON.stringify({ schema, variants: [{ files: [{ chunks }] }] }),
        ...Object.fromEntries(hashes.map((x) => [`/m/chunks/${x}${ending}`, "<!doctype html>"])),
      },
      (url) => ({ seen: [seen(url, "/m/bundle.json")] }),
    );
    expect(idsOf(report)).toContain("error chunk-is-html");
    expect(fixesOf(report)).toContain(`answer ${shown} with the file`);
  }
});

test("a policy of Trusted Types is added to the names that the page allows; without such a list the header stays", async () => {
  const thrown = "TypeError: This document requires 'TrustedScriptURL' assignment.";
  const fixesFor = async (types: string) => {
    const policy = `require-trusted-types-for 'script'${types}`;
    const report = await examineSite({ "/": { headers: { "content-security-policy": policy }, body: "" } }, () => ({
      console: [thrown],
    }));
    expect(idsOf(report)).toEqual(["error trusted-types"]);
    return report.findings.flatMap((x) => x.fixes);
  };
  const engine = { where: "createEngine", line: expect.stringContaining("trustedTypesPolicy") as string };
  for (const types of ["", "; trusted-types *", "; trusted-types selvedge"])
    expect(await fixesFor(types)).toMatchObject([engine]);
  for (const [types, mended] of [
    ["; trusted-types dompurify default", "dompurify default selvedge"],
    ["; trusted-types 'none'", "selvedge"],
  ] as const)
    expect(await fixesFor(types)).toMatchObject([
      engine,
      { line: `Content-Security-Policy: require-trusted-types-for 'script'; trusted-types ${mended}` },
    ]);
});

test("a folder that has the page, or other files whose names stay, is not cached for a year with its hashed ones", () => {
  const linesOf = (...paths: readonly string[]): string[] => {
    const files = paths.map((path) => {
      const url = `https://x.example${path}`;
      const role = /worker/.test(path) ? "worker" : path.endsWith("/") ? "document" : "script";
      const answer = { url, status: 200, headers: {}, body: new Uint8Array(8), isWhole: true, redirects: [] };
      return { url, role, source: "requested", answer, packed: null, range: null, seen: null };
    });
    const found = delivery({ url: "https://x.example/", files, stack: { host: "vercel" } } as unknown as Evidence);
    return found.flatMap((x) => x.changes.flatMap((y) => (y.kind === "header" ? [y.path] : [])));
  };
  const main = "/a/main-12345678.js";
  expect(linesOf("/", main, "/a/worker-wasm-12345678.js", "/a/deep/m-12345678.onnx")).toEqual(["/a/*"]);
  for (const other of ["/a/", "/a/deep/bundle.json", "/a/m.onnx"])
    expect(linesOf("/", main, "/a/worker-wasm-12345678.js", other)).toEqual(["/a/worker-wasm-12345678.js"]);
  // A word is no hash.
  for (const other of ["image-classifier.onnx", "yolo-seg-fp16.onnx", "timm-mobilenetv2.onnx", "site-settings.js"])
    expect([other, linesOf("/", "/a/worker-wasm-12345678.js", `/a/${other}`)]).toEqual([
      other,
      ["/a/worker-wasm-12345678.js"],
    ]);
  for (const other of ["m-B3dEfg_x.onnx", "m.0123456789abcdef.onnx", "page-a-B_c-Dz.js", "x-ABCDEFGH.css"])
    expect([other, linesOf("/", "/a/worker-wasm-12345678.js", `/a/${other}`)]).toEqual([other, ["/a/*"]]);
  // The whole site, with its pages, is no folder of hashed files.
  expect(linesOf("/", "/worker-wasm-12345678.js")).toEqual(["/worker-wasm-12345678.js"]);
});

test("workers whose names change with each build get the page's COEP by their folder, unless that has it on one of them", () => {
  const coep = { "cross-origin-embedder-policy": "require-corp" };
  const linesOf = (...paths: readonly string[]): string[] => {
    const files = paths.map((text) => {
      const [path = "", isOwn] = text.split(" ");
      const url = `https://x.example${path}`;
      const role = path.includes("worker") ? "worker" : "document";
      const headers = role === "document" || isOwn !== undefined ? coep : {};
      const answer = { url, status: 200, headers, body: new Uint8Array(8), isWhole: true, redirects: [] };
      return { url, role, source: "requested", answer, packed: null, range: null, seen: null };
    });
    const found = isolation({ url: "https://x.example/", files, browser: null } as unknown as Evidence);
    return found.flatMap((x) => x.changes.flatMap((y) => (y.kind === "header" ? [y.path] : [])));
  };
  const [wasm, cache] = ["/a/worker-wasm-12345678.js", "/a/worker-cache-12345678.js"];
  expect(linesOf("/", wasm, cache)).toEqual(["/a/*"]);
  expect(linesOf("/", wasm, `${cache} own`)).toEqual([wasm]);
  expect(linesOf("/a/", wasm, cache)).toEqual([wasm, cache]);
  expect(linesOf("/", "/worker-wasm-12345678.js")).toEqual(["/worker-wasm-12345678.js"]);
  expect(linesOf("/", "/selvedge/worker-wasm.js")).toEqual(["/selvedge/worker-wasm.js"]);
});

test("a page that is isolated by credentialless is not told to require-corp, which its workers' line contradicts", async () => {
  const headers = { "cross-origin-embedder-policy": "credentialless" };
  const report = await examineSite({
    "/": { body: inline(`import { createEngine } from "/main.js"; createEngine({ threads: 4 });`), headers },
    "/main.js": PACKAGE,
  });
  const names = report.findings
    .filter((x) => x.id === "threads-not-isolated")
    .flatMap((x) => x.fixes.map((y) => y.line));
  expect(names).toEqual(["Cross-Origin-Opener-Policy: same-origin"]);
});
