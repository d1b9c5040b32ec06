// `diagnose` by requests alone, on sites that a server in this process answers.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { startServer } from "../compress/check/local-server.ts";
import { threadsIn } from "./checks/isolation.ts";
import { diagnose } from "./doctor.ts";
import type { DoctorReport } from "./doctor.ts";
import type { BrowserEvidence, Seen } from "./evidence.ts";
import { examineSite, idsOf, seen } from "../test-support/doctor-site.ts";
import type { SiteAnswer } from "../test-support/doctor-site.ts";
import { painter, writeText } from "./report.ts";

const WASM = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);
const MARK = 'Symbol.for("selvedge.error");';

/** Diagnoses a site whose page has one script, in a browser that has started an engine. */
async function examine(
  files: Parameters<typeof examineSite>[0],
  shown?: (url: string) => Partial<BrowserEvidence>,
): Promise<DoctorReport> {
  const all = { "/": `<script type="module" src="/main.js"></script>`, ...files };
  return examineSite(all, shown && ((url) => ({ hasStarted: true, ...shown(url) })));
}

/** Hashed names as bundlers write them. */
const HASHED = ["worker-cache--wfHPyHE.js", "worker-cache.3xnis89a.js", "worker-cache-DLoQfuSz.mjs"];

test("the name and password of an address are sent to its origin alone, and are in no report", async () => {
  const authorization = `Basic ${Buffer.from("me:p@ss%").toString("base64")}`;
  const asked: (string | undefined)[] = [];
  const other = await startServer((request, response) => {
    asked.push(request.headers.authorization);
    response.writeHead(200, { "content-type": "text/javascript", "access-control-allow-origin": "*" }).end(MARK);
  });
  const far = `${other.origin}/far.js`;
  const PAGE = `<script type="module" src="/main.js"></script><script type="module" src="/moved.js"></script><script type="module" src="${far}"></script>`;
  const server = await startServer((request, response) => {
    const isKnown = request.headers.authorization === authorization;
    if (!isKnown) response.writeHead(401, { "www-authenticate": "Basic" }).end("login");
    else if (request.url === "/moved.js") response.writeHead(302, { location: far }).end();
    else if (request.url === "/") response.writeHead(200, { "content-type": "text/html" }).end(PAGE);
    else if (request.url === "/main.js") response.writeHead(200, { "content-type": "text/javascript" }).end(MARK);
    else response.writeHead(404).end();
  });
  const { port, origin } = server;
  try {
    const report = await diagnose(`HTTP://me:p%40ss%25@127.0.0.1:${port}`, { project: null, browser: "no driver" });
    expect([report.url, idsOf(report), report.hasSelvedge]).toEqual([`${origin}/`, [], true]);
    await expect(diagnose(report.url, { project: null, browser: "no driver" })).rejects.toThrow(
      `${report.url} answers with status 401: put a name and password before the host`,
    );
    expect(asked.length).toBeGreaterThan(0);
    expect(asked.filter((x) => x !== undefined)).toEqual([]);
    expect(JSON.stringify(report)).not.toContain("p@ss");
  } finally {
    await Promise.all([other, server].map((x) => x.close()));
  }
});

test("a script of the page without an answer is an error, and one that the browser got is none", async () => {
  const find = async (shown: Partial<Seen>): Promise<string[]> => {
    const report = await examine({ "/main.js": { status: 0 } }, (url) => ({
      hasStarted: false,
      seen: [{ ...seen(url, "/main.js"), ...shown }],
    }));
    return idsOf(report);
  };
  expect(await find({ status: 0, failure: "no answer" })).toEqual(["error script-unreachable"]);
  expect(await find({})).toEqual([]);
});

test("a script of another origin without an answer is an error where the app waits for it", async () => {
  const url = "http://127.0.0.1:1/gtag.js";
  const find = async (markup: string, hasStarted: boolean): Promise<string[]> => {
    const files = { "/": `${markup}<script type="module" src="/main.js"></script>`, "/main.js": MARK };
    const failure = "net::ERR_CONNECTION_REFUSED";
    return idsOf(await examine(files, (at) => ({ hasStarted, seen: [{ ...seen(at, url, 0), failure }] })));
  };
  const imported = `<script type="module">import "${url}";</script>`;
  const map = `<script type="importmap">{ "imports": { "selvedge": "${url}" } }</script>`;
  expect(await find(`<script async src="${url}"></script>`, false)).toEqual([]);
  expect(await find(`<script type="module" src="${url}"></script>`, false)).toEqual([]);
  expect(await find(imported, true)).toEqual([]);
  expect(await find(imported, false)).toEqual(["error script-unreachable"]);
  expect(await find(map, false)).toContain("error script-unreachable");
});

test("what is no address is named as that", async () => {
  await expect(diagnose("http://", { project: null, browser: "no driver" })).rejects.toThrow(
    /^http:\/\/ is not an address such as \S+$/,
  );
});

test("a password that makes another address of it is in no message", async () => {
  for (const [address, reason] of [
    ["https://me:sec/ret@staging.example/", "https://…@staging.example/ is not an address"],
    ["https://me:sec#r@t@staging.example/", "https://…@staging.example/ is not an address"],
    ["http://127.0.0.1:1/secret@staging.example/", "http://…@staging.example/ does not answer: connect ECONNREFUSED"],
  ] as const) {
    const found = diagnose(address, { project: null, browser: "no driver" });
    await expect(found).rejects.toThrow(reason);
    await expect(found).rejects.toThrow(/percent-encode the name and password, a \/ as %2F/);
    await expect(found).rejects.not.toThrow(/sec/);
  }
});

test("a login that is of no use is named as that: wrong, or of an address that is redirected to another origin", async () => {
  const [login, asked] = [{ "www-authenticate": "Negotiate, Basic realm=x" }, { project: null, browser: "no driver" }];
  let isOpen = false;
  const server = await startServer((_request, response) => {
    response.writeHead(isOpen ? 200 : 401, { ...login, "content-type": "text/html" }).end();
  });
  const { port, origin } = server;
  const first = await startServer((_request, response) => {
    response.writeHead(302, { location: `http://you:hidden@127.0.0.1:${port}/` }).end();
  });
  const moved = `127.0.0.1:${first.port}/`;
  try {
    await expect(diagnose(`${origin}/`, asked)).rejects.toThrow("401: put a name and password before");
    await expect(diagnose(`http://me:x@127.0.0.1:${port}/`, asked)).rejects.toThrow(
      "401: the name or password is wrong",
    );
    await expect(diagnose(`http://me:x@${moved}`, asked)).rejects.toThrow(
      `401: it was redirected to ${origin}, which gets no login of another origin; name that address`,
    );
    isOpen = true;
    expect((await diagnose(`http://${moved}`, asked)).url).toBe(`${origin}/`);
  } finally {
    await Promise.all([first, server].map((x) => x.close()));
  }
});

test("a login in markup or in a console is in no report", async () => {
  const far = "http://me:hidden@127.0.0.1:1/selvedge.min.js";
  const html = `<script type="module">import { createEngine } from "${far}";</script>`;
  const report = await examine({ "/": html }, (url) => ({
    hasStarted: false,
    console: [`Failed to load ${far}`],
    seen: [{ ...seen(url, far, 0), failure: "net::ERR_CONNECTION_REFUSED" }],
  }));
  expect(idsOf(report)).toEqual(["error script-unreachable"]);
  expect(JSON.stringify(report)).toContain("http://…@127.0.0.1:1/selvedge.min.js");
  expect(JSON.stringify(report)).not.toContain("hidden");
});

test("an answer of which a browser shows no page is named as that", async () => {
  const attachment = { "content-disposition": 'attachment; filename="index.html"' };
  await expect(examine({ "/": { headers: attachment } })).rejects.toThrow(/is a download for browsers .*: take that/);
  const plain = { headers: { "content-type": "text/plain; charset=utf-8" }, body: "<!doctype html>" };
  await expect(examine({ "/": plain })).rejects.toThrow("has the type text/plain, of which no browser makes a page");
  await expect(examine({ "/": { status: 204 } })).rejects.toThrow("status 204, which has no page");
  const inline = { "content-disposition": "inline" };
  expect(idsOf(await examine({ "/": { headers: inline, body: "<p>hello" } }))).toEqual([]);
});

test("a name in code is no missing file where the same file is served with a hash in its name", async () => {
  for (const cache of HASHED) {
    const main = `${MARK} f=(e,r)=>new URL(\`worker-cache.js\`,r); new URL("/a/${cache}",""+import.meta.url); new URL("/a/worker-wasm-DLoQfuSz.js",""+import.meta.url)`;
    const files = { "/main.js": main, "/a/worker-wasm-DLoQfuSz.js": "0;" };
    const headers = { "content-type": "text/javascript" };
    expect(idsOf(await examine({ ...files, [`/a/${cache}`]: { headers, body: "0;" } }))).toEqual([]);
    expect(idsOf(await examine(files))).toEqual(["error worker-missing"]);
  }
});

test("without a browser, the package is found behind a dev server's copies and behind an import map", async () => {
  const errors = `${MARK} new URL("worker-jspi.js", import.meta.url); throw Error('assetsBase: "\${base}"')`;
  const deps = "/node_modules/.vite/deps";
  const dev = await examine({
    "/main.js": `import { createEngine } from "${deps}/selvedge.js?v=1";`,
    [`${deps}/selvedge.js?v=1`]: `import { fail } from "./errors-a1.js?v=1";`,
    [`${deps}/errors-a1.js?v=1`]: { headers: { "content-type": "text/javascript" }, body: errors },
  });
  expect(dev.hasSelvedge).toBe(true);
  expect(dev.notes).toContain("the page has selvedge, and no worker was named: only a browser starts one");
  expect(idsOf(dev)).toEqual([]);

  const mapped = {
    "/": `<script type="importmap">{ "imports": { "selvedge": "./lib/selvedge.min.js" } }</script>
      <script type="module">import { createEngine } from "selvedge";</script>`,
    "/lib/selvedge.min.js": errors,
  };
  expect(idsOf(await examine(mapped))).toEqual(["error worker-missing"]);
  const whole = await examine({ ...mapped, "/lib/worker-jspi.js": "0;" });
  expect(whole.hasSelvedge).toBe(true);
});

test("without a browser, a page on which nothing is found is not said to lack the package", async () => {
  const report = await examine({ "/main.js": "0;" });
  expect(report.hasSelvedge).toBe(false);
  expect(writeText(report, painter(false), String)).toContain(
    "in the scripts that the page names. A browser sees more.",
  );
});

test("a worker of the other build in place of one that is missing does not stand for it", async () => {
  const main = `${MARK} new URL("/a/worker-jspi-DfEYqWkL.js",import.meta.url); new URL("/a/worker-wasm-DLoQfuSz.js",import.meta.url)`;
  expect(idsOf(await examine({ "/main.js": main, "/a/worker-wasm-DLoQfuSz.js": "0;" }))).toEqual([
    "error worker-missing",
  ]);
});

test("a bundle.json that the engine refuses is an error, with the reason, whether the page tells it or not", async () => {
  const good = readFileSync(new URL("../cache/frozen/schema-2/bundle.json", import.meta.url), "utf8");
  const main = `${MARK} load("/m/bundle.json")`;
  const find = (body: string): Promise<DoctorReport> =>
    examine({ "/main.js": main, "/m/bundle.json": body }, (url) => ({
      seen: [seen(url, "/m/bundle.json")],
    }));
  for (const [body, reason] of [
    [`// made by us\n${good}`, /not JSON/],
    [good.replace("bundle@2", "bundle@9"), /bundle@9/],
    [good.slice(0, good.length >> 1), /not JSON/],
    [good.replace('"variants"', '"variant"'), /variants/],
  ] as const) {
    const report = await find(body);
    const found = report.findings.filter((x) => x.id === "bundle-invalid");
    expect(found).toMatchObject([{ severity: "error" }]);
    expect(found[0]?.message).toMatch(reason);
  }
  expect((await find(good)).findings.filter((x) => x.id === "bundle-invalid")).toEqual([]);
});

test("another file of the name bundle.json is none of Selvedge's", async () => {
  const headers = { "cache-control": "public, max-age=31536000" };
  const files = { "/main.js": MARK, "/locales/bundle.json": { headers, body: '{"hello":"world"}' } };
  expect(idsOf(await examine(files, (url) => ({ seen: [seen(url, "/locales/bundle.json")] })))).toEqual([]);
});

test("a note says where workers ran and no model came, and where no worker was started", async () => {
  const files = { "/main.js": `${MARK} new URL("./worker-wasm.js", import.meta.url)`, "/model.onnx": "model" };
  const notesOf = async (shown: (url: string) => Partial<BrowserEvidence>): Promise<string> => {
    const { notes } = await examine(files, shown);
    return notes.join();
  };
  expect(await notesOf((url) => ({ seen: [seen(url, "/main.js")] }))).toContain("no model was fetched");
  expect(await notesOf((url) => ({ seen: [seen(url, "/model.onnx", 404)] }))).toContain("no model was fetched");
  expect(await notesOf((url) => ({ seen: [seen(url, "/model.onnx")] }))).toBe("");
  expect(await notesOf(() => ({ hasStarted: false }))).toContain("no worker was started");
});

test("a note says that an engine in a worker of the app is seen by its requests alone", async () => {
  const files = { "/main.js": `${MARK} new URL("./worker-wasm.js", import.meta.url)` };
  const own = (url: string): Partial<BrowserEvidence> => ({
    hasStarted: false,
    workers: [{ url: `${url}reader.js`, name: "", hasFailed: false, hasSpoken: true }],
  });
  const { notes } = await examine(files, own);
  expect(notes.join()).toMatch(
    /a worker of the app was started \(http\S+\/reader\.js\).*its errors and its workers are not seen/,
  );
});

test("a note names the frame whose engine is seen by its requests alone", async () => {
  const files = { "/main.js": `${MARK} new URL("./worker-wasm.js", import.meta.url)` };
  const { notes } = await examine(files, (url) => ({ hasStarted: false, engineFrames: [`${url}frame.html`] }));
  expect(notes).toHaveLength(1);
  expect(notes[0]).toMatch(/started in a frame \(http\S+\/frame\.html\).*on the frame's own address/);
});

test("a page whose script the browser refuses is an error, and one whose script it runs is none", async () => {
  const main = { "/main.js": MARK };
  const page = (
    headers: Readonly<Record<string, string>>,
    body = `<script type="module" src="main.js"></script>`,
  ): Readonly<Record<string, string | Uint8Array | SiteAnswer>> => ({
    ...main,
    "/": { headers, body },
  });
  const csp = (value: string): Readonly<Record<string, string>> => ({ "content-security-policy": value });
  const strict = "script-src 'nonce-a' 'strict-dynamic' 'wasm-unsafe-eval'";
  const wasm = "'wasm-unsafe-eval'";
  const meta = `<meta http-equiv="Content-Security-Policy" content="script-src 'none'">`;
  const script = `<script type="module" src="main.js"></script>`;
  for (const [files, expected] of [
    [page(csp(`script-src https://cdn.example.com ${wasm}`)), ["error csp-script"]],
    [page(csp(`script-src 'self' ${wasm}`)), []],
    [page(csp(strict)), ["error csp-script"]],
    [page(csp(strict), `<script nonce="a" type="module" src="main.js"></script>`), []],
    [page(csp("sandbox allow-scripts")), ["error csp-sandbox"]],
    [page(csp("sandbox allow-scripts allow-same-origin")), []],
    [page({}, `${meta}${script}`), ["error csp-script", "error csp-wasm"]],
    [page({}, `<!-- ${meta} -->${script}`), []],
    [page({}, `<!-- <script type="module" src="gone.js"></script> -->${script}`), []],
    [{ "/main.js": { headers: { "content-type": "text/plain" }, body: MARK } }, ["error script-type"]],
  ] as const) {
    const report = await examine(files);
    expect([JSON.stringify(files), idsOf(report)]).toEqual([JSON.stringify(files), expected]);
  }
});

test("a missing binary of another library is none of Selvedge's, and one whose name is a hash may be", async () => {
  const headers = { "content-length": String(2 ** 21) };
  const find = async (path: string, status: number): Promise<string[]> => {
    const other = status === 200 ? { [path]: Buffer.concat([WASM, Buffer.alloc(2 ** 21 - 8)]) } : {};
    const shown = (url: string) => ({ seen: [{ ...seen(url, path, status), headers }] });
    return idsOf(await examine({ "/main.js": MARK, ...other }, shown));
  };
  expect(await find("/missing.wasm", 404)).toEqual([]);
  expect(await find("/sql-wasm.wasm", 200)).toEqual([]);
  expect(await find("/static/0af91c3be27d.wasm", 404)).toEqual(["error wasm-missing"]);
  expect(await find("/static/CXeen5ls.wasm", 404)).toEqual(["error wasm-missing"]);
  expect(await find("/ort-wasm.wasm", 404)).toEqual(["error wasm-missing"]);
});

test("a limit of requests, a login and a cut binary are named as what they are", async () => {
  const find = (
    path: string,
    given: Readonly<Record<string, string | Uint8Array | SiteAnswer>>,
    status = 200,
  ): Promise<DoctorReport> => examine({ "/main.js": MARK, ...given }, (url) => ({ seen: [seen(url, path, status)] }));
  const limited = await find("/m.onnx", { "/m.onnx": { status: 429, headers: { "retry-after": "60" } } }, 429);
  expect(idsOf(limited)).toEqual(["error model-limited"]);
  expect(limited.findings[0]?.message).toMatch(/too many requests.*429.*60/);
  const html = { headers: { "content-type": "text/html" }, body: "<!doctype html><title>log in</title>" };
  const to = { status: 302, headers: { location: "/login" } };
  const login = await find("/m.onnx", { "/m.onnx": to, "/login": html }, 302);
  expect(idsOf(login)).toEqual(["error model-redirected"]);
  expect(JSON.stringify(login.findings)).not.toContain("rewrite");
  const cut = await find("/ort-wasm.wasm", { "/ort-wasm.wasm": Buffer.from([...WASM, 1, 100, 3, 3, 3]) });
  expect(idsOf(cut)).toEqual(["error wasm-content"]);
  expect(cut.findings[0]?.message).toContain("cut short");
  const pointer = await find("/ort-wasm.wasm", {
    "/ort-wasm.wasm": Buffer.from("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"),
  });
  expect(idsOf(pointer)).toEqual(["error lfs-pointer"]);
  expect(JSON.stringify(pointer.findings[0])).toContain("git lfs pull");
});

test("a file that the server refuses to the doctor alone is noted, and no error: pages have cookies", async () => {
  const html = { headers: { "content-type": "text/html" }, body: "<!doctype html><title>log in</title>" };
  const answers: SiteAnswer[] = [
    { status: 403 },
    { status: 404 },
    { status: 302, headers: { location: "/login" } },
    html,
  ];
  for (const answer of answers) {
    const files = { "/main.js": answer, "/m.onnx": answer, "/ort-wasm.wasm": answer, "/login": html };
    const paths = ["/main.js", "/m.onnx", "/ort-wasm.wasm"];
    const find = (more: Partial<Seen>): Promise<DoctorReport> =>
      examine(files, (url) => ({
        seen: paths.map((x) => ({ ...seen(url, x), headers: { "content-type": "a/b" }, ...more })),
      }));
    const { findings, notes } = await find({});
    expect(findings).toEqual([]);
    expect(notes[0]).toMatch(/^the server does not send the doctor what the browser got \(.*status .* and 2 more\)/);
    // An answer that a service worker has kept says nothing of the server.
    expect(idsOf(await find({ isFromServiceWorker: true })).length).toBeGreaterThan(0);
    const { status = 200 } = answer;
    expect((await find({ status, headers: html.headers })).notes.join()).not.toContain("the doctor");
  }
});

test("a picture that the page's code requests in vain is a warning, and other missing files are none", async () => {
  const find = async (path: string, given: Partial<Seen>): Promise<string[]> => {
    const request = (url: string): Seen => ({ ...seen(url, path, 404), isByCode: true, ...given });
    return idsOf(await examine({ "/main.js": MARK }, (url) => ({ seen: [request(url)] })));
  };
  expect(await find("/cat.jpg?1", {})).toEqual(["warning file-missing"]);
  expect(await find("/cat.jpg", { isByCode: false })).toEqual([]);
  expect(await find("/cat.jpg", { status: 200 })).toEqual([]);
  expect(await find("/config.json", {})).toEqual([]);
  expect(await find("https://x.example/cat.jpg", {})).toEqual([]);
});

test("threads are asked for where an engine's options have them, in sources and minified code", () => {
  for (const ours of [
    "createEngine({ threads: 4 })",
    'await Xa({backends:["wasm"],threads:2})',
    "(0,r.Hk)({threads:`auto`})",
    "const options = { verbose: { a: 1 }, threads: 8 };",
    "s.createEngine({threads:16})",
    'x.y({assetsBase:"/a/",threads:2})',
  ])
    expect([ours, threadsIn(ours) !== null]).toEqual([ours, true]);
  for (const other of ["[{threads: 4},{a:1}]", "lib.init({threads:4})", "createEngine({ threads: 1 })", "threads: 4"])
    expect([other, threadsIn(other)]).toEqual([other, null]);
  expect(threadsIn("[{threads: 4}]; createEngine({threads: 2})")).toBe("threads: 2");
});

test("a worker that code names and nobody serves is found where the page starts its engine later", async () => {
  const main = `${MARK} import("./later.js")`;
  const files = { "/main.js": main, "/later.js": `${MARK} new URL("/assets/worker-wasm-a1b2c3.js", import.meta.url)` };
  const shown = (hasStarted: boolean) => (url: string) => ({ hasStarted, seen: [seen(url, "/main.js")] });
  expect(idsOf(await examine(files, shown(false)))).toEqual(["error worker-missing"]);
  // An engine that ran shows by its requests which of the files that code names it needs.
  expect(idsOf(await examine(files, shown(true)))).toEqual([]);
});

test("a name in code is no missing file of an engine that starts later where the page may ask for another", async () => {
  const worker = 'new URL("./worker-wasm.js", import.meta.url)';
  const own = 'function r(a,{assetsBase:t,trustedTypesPolicy:e},s){} check={assetsBase:K("a URL",f)};';
  const find = async (
    code: string,
    files: Readonly<Record<string, string | Uint8Array | SiteAnswer>> = {},
  ): Promise<string[]> => {
    const report = await examine({ "/main.js": `${MARK} ${own} ${code}`, ...files }, (url) => ({
      hasStarted: false,
      seen: [seen(url, "/main.js")],
    }));
    return idsOf(report);
  };
  for (const code of [
    "engine.load(`/models/${name}.onnx`)",
    'engine.load(base + "/resnet50.onnx")',
    worker,
    `createEngine({assetsBase:n,threads:1}); ${worker}`,
    `createEngine({assetsBase:n,trustedTypesPolicy:p}); ${worker}`,
    `createEngine({ backends, assetsBase }); ${worker}`,
    `createEngine({ assetsBase: \`\${base}selvedge/\` }); ${worker}`,
    `createEngine({ assetsBase: "/shop/" + "selvedge/" }); ${worker}`,
    `createEngine({ assetsBase: "/a/" }); createEngine({ assetsBase: "/b/" }); ${worker}`,
    `createEngine({ assetsBase: "/a/" }); createEngine({ assetsBase: n }); ${worker}`,
    // webpack puts its public path before this name.
    'e.exports = r.p + "static/media/worker-wasm.a1b2c3d4.js"',
  ])
    expect([code, await find(code)]).toEqual([code, []]);
  expect(await find(`createEngine({ assetsBase: "/a/" }); ${worker}`)).toEqual(["error worker-missing"]);
  const hashed = 'createEngine({ assetsBase: "/a/" }); new URL("worker-wasm-DLoQfuSz.js", import.meta.url)';
  expect(await find(hashed)).toEqual(["error worker-missing"]);
  const files = ["worker-wasm.js", "worker-cache.js", "ort-wasm.wasm", "ort-wasm-rest.wasm"];
  const there = Object.fromEntries(files.map((x) => [`/a/${x}`, x.endsWith(".js") ? "0;" : WASM]));
  expect(await find(hashed, there)).toEqual([]);
});

test("workers beside a copy of the package that nobody serves are found where the page starts its engine later", async () => {
  const page = `<script type="importmap">{"imports":{"selvedge":"/lib/index.js"}}</script><script type="module" src="/main.js"></script>`;
  const copy = { "/lib/index.js": `${MARK} new URL("./worker-wasm.js", import.meta.url)` };
  const find = async (main: string): Promise<string[]> => {
    const files = { "/": page, ...copy, "/main.js": `import { createEngine } from "selvedge"; ${main}` };
    return idsOf(await examine(files, (url) => ({ hasStarted: false, seen: [seen(url, "/main.js")] })));
  };
  expect(await find("")).toEqual(["error worker-missing"]);
  // The folder that code computes may be another one.
  expect(await find("createEngine({ assetsBase: folder })")).toEqual([]);
});

test("scripts of the page are not judged where an engine was started, or where the browser loaded them", async () => {
  const headers = { "content-security-policy": "script-src 'nonce-a' 'wasm-unsafe-eval'; worker-src 'self'" };
  const files = { "/": { headers, body: `<script src="/main.js"></script>` }, "/main.js": MARK };
  expect(idsOf(await examine(files, () => ({ hasStarted: true })))).toEqual([]);
  expect(idsOf(await examine(files, (url) => ({ hasStarted: false, seen: [seen(url, "/main.js")] })))).toEqual([]);
  const failure = { ...seen("http://127.0.0.1/", "/main.js", 0), failure: "csp" };
  const refused = await examine(files, (url) => ({
    hasStarted: false,
    seen: [{ ...failure, url: new URL("/main.js", url).href }],
  }));
  expect(idsOf(refused)).toEqual(["error csp-script"]);
});

test("a script that the server has, and that did not arrive in the browser, is an error", async () => {
  const report = await examine({ "/main.js": MARK }, (url) => ({
    hasStarted: false,
    seen: [{ ...seen(url, "/main.js", 0), failure: "net::ERR_BLOCKED_BY_RESPONSE" }],
  }));
  expect(idsOf(report)).toEqual(["error script-blocked"]);
  expect(report.findings[0]?.message).toContain("net::ERR_BLOCKED_BY_RESPONSE");
});

test("a worker of another build than the server's own comes from the service worker, whose bytes browsers forget", async () => {
  const main = `${MARK} new URL("/worker-wasm.js", import.meta.url)`;
  const shown = (build: string) => (url: string) => ({
    serviceWorker: new URL("/sw.js", url).href,
    errors: [
      {
        ...{
          code: "setup-failed",
          reason: "version",
          url: null,
          help: "npx selvedge explain setup-failed",
          isHandled: false,
        },
        message: `${url}worker-wasm.js is of another build than the page (page ${build}, worker 0.0.9+00000000): copy the package's dist/ again.`,
      },
    ],
    seen: [seen(url, "/worker-wasm.js")],
  });
  const files = { "/main.js": main, "/worker-wasm.js": '"0.1.0+abcdef01";', "/sw.js": "0;" };
  expect(idsOf(await examine(files, shown("0.1.0+abcdef01")))).toContain("error service-worker-stale");
  expect(idsOf(await examine(files, shown("0.2.0+abcdef02")))).not.toContain("error service-worker-stale");
});

test("a report has no logins, and keeps addresses that have // and @ in their paths", async () => {
  const said = [
    ["http://cdn.example/npm//selvedge@0.1.0/x.js", "http://cdn.example/npm//selvedge@0.1.0/x.js"],
    ["https://cdn.example?mail=a@b/x.js", "https://cdn.example?mail=a@b/x.js"],
    ["//cdn.example/npm/vue@3/vue.js //vue@3/vue.js", "//cdn.example/npm/vue@3/vue.js //vue@3/vue.js"],
    ["https://me:p@ss@cdn.example/x.js", "https://…@cdn.example/x.js"],
    ["HTTP://me@cdn.example/x.js", "HTTP://…@cdn.example/x.js"],
    ['"//me:pass@cdn.example/x.js"', '"//…@cdn.example/x.js"'],
  ] as const;
  const words = `Failed to resolve module specifier "selvedge".`;
  for (const [address, shown] of said) {
    const { findings } = await examineSite(
      { "/": `<script type="module">import { createEngine } from "selvedge";</script>` },
      () => ({
        console: [`${words} ${address}`],
      }),
    );
    expect(findings[0]?.evidence.join("\n")).toContain(`${words} ${shown}`);
  }
});
