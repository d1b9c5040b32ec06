// `selvedge doctor` beside faults of sites (doctor-sites, doctor-pages): logins, frames, busy pages, folders, other drivers,
// and sites on which it finds nothing. Needs dist/ and the bundles.
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { expect, test } from "@playwright/test";
import { startBrowser } from "../../../lib/doctor/browser.ts";
import { basePathOf, serveFolder } from "../../../lib/doctor/serve-folder.ts";
import { diagnose } from "../../../lib/doctor/doctor.ts";
import { makeSite, mend, serveSite } from "../../doctor/site.ts";
import type { HeaderRule, Site } from "../../doctor/site.ts";
import { app, BUNDLE, byVite, copied, GOOD, header, model, SITES, without } from "../../doctor/sites.ts";
import { FILE_GOOD } from "../../doctor/file-sites.ts";
import { PAGE_GOOD, PAGE_SITES } from "../../doctor/page-sites.ts";
import { hashed } from "../../doctor/twins.ts";
import { ANSWER, idsOf, useBrowsers } from "../../doctor/use-browsers.ts";
import { chromiumLaunch } from "../../support/browsers.ts";
import { certificate } from "../../support/faulty-server.ts";
import { ROOT } from "../../support/prepare.ts";
import { sample } from "../../../lib/test-support/slice.ts";

const { examine, titleOf } = useBrowsers();

test("an error of this device that the page handles is a warning, and what the page cancels is nothing", async () => {
  const site = await SITES[0]!.make();
  const load = { backend: "webgpu" };
  const served = await serveSite({
    ...site,
    files: new Map([...site.files, ...site.store]),
    app: { ...site.app, load, isQuiet: true },
  });
  try {
    const { findings } = await examine(served.url);
    expect(findings.map((x) => `${x.severity} ${x.id}`)).toEqual(["warning engine-error"]);
    expect(findings[0]?.message).toMatch(/no-backend, which the page handles: /);
  } finally {
    await served.close();
  }
});

test("opens a site behind a login with the name and password of its address", async () => {
  const served = await serveSite(await copied({ basic: "me:secret" }));
  try {
    const report = await examine(served.url.replace("//", "//me:secret@"));
    expect([report.url, idsOf(report), report.notes]).toEqual([served.url, [], []]);
    await expect(examine(served.url)).rejects.toThrow("answers with status 401: put a name and password");
  } finally {
    await served.close();
  }
});

test("notes the address of a frame that has started an engine", async () => {
  const site = await copied({});
  site.files.set("/outer.html", new TextEncoder().encode('<!doctype html><iframe src="./"></iframe>'));
  const served = await serveSite(site);
  try {
    const report = await examine(new URL("/outer.html", served.url).href);
    expect(idsOf(report)).toEqual([]);
    expect(report.notes).toEqual([expect.stringContaining(`started in a frame (${served.url})`)]);
  } finally {
    await served.close();
  }
});

test("notes a page whose main thread never answers, and checks its files all the same", async () => {
  const site = await copied({});
  site.files.set("/busy.html", new TextEncoder().encode("<!doctype html><script>for (;;);</script>"));
  const served = await serveSite(site);
  try {
    const report = await examine(new URL("/busy.html", served.url).href);
    expect(report.notes).toEqual([expect.stringContaining("a script keeps its main thread busy")]);
  } finally {
    await served.close();
  }
});

test("reads a page that has replaced JSON", async () => {
  const head = "<script>JSON.stringify = () => 'no'; Array.prototype.toJSON = () => 'no';</script>";
  const site = without(await copied({ app: app({ head }) }), /worker-.*\.js$/);
  const served = await serveSite(site);
  try {
    expect(idsOf(await examine(served.url))).toEqual(["error worker-missing"]);
  } finally {
    await served.close();
  }
});

test("finds nothing on the demo's pages, and on what it serves of a built folder", async () => {
  const { baseURL = "" } = test.info().project.use;
  for (const path of ["ocr/", "spam/"])
    expect([path, idsOf(await examine(new URL(path, baseURL).href))]).toEqual([path, []]);
  const served = await serveFolder(join(ROOT, "demo-dist"));
  try {
    expect(idsOf(await examine(new URL("ocr/", served.url).href))).toEqual([]);
  } finally {
    await served.close();
  }
});

test("finds nothing on a folder that Vite built for a base path, served below that path", async () => {
  const folder = mkdtempSync(join(tmpdir(), "selvedge-folder-"));
  const { files, script } = await byVite("/sub/");
  const content = JSON.stringify(app({ script })).replaceAll('"', "&quot;");
  const html = `<!doctype html><title>app</title><meta name="app" content="${content}"><link rel="icon" href="data:,"><script type="module" crossorigin src="${script}"></script>`;
  for (const [path, body] of [...files, model("/sub/model.onnx"), ["/sub/index.html", html] as const]) {
    const at = join(folder, path.replace(/^\/sub/, ""));
    mkdirSync(dirname(at), { recursive: true });
    writeFileSync(at, body);
  }
  const served = await serveFolder(folder, { base: basePathOf(folder) });
  try {
    expect(new URL(served.url).pathname).toBe("/sub/");
    const report = await examine(served.url);
    expect([idsOf(report), report.hasSelvedge, report.notes]).toEqual([[], true, []]);
  } finally {
    await served.close();
    rmSync(folder, { recursive: true, force: true });
  }
});

/** Origins over http of pages over https; not on a loopback address, which browsers trust. */
const elsewhere = (files: Iterable<[string, Uint8Array]>, more: readonly HeaderRule[] = []): Site =>
  makeSite({
    app: app(),
    files: new Map(files),
    hostname: "0.0.0.0",
    headers: [header("*", "Access-Control-Allow-Origin", "*"), ...more],
  });
const MIXED: readonly [name: string, path: string, make: () => Promise<Site>][] = [
  ["a model", "/model.onnx", () => copied({ app: app({ model: "{other}/model.onnx" }), other: elsewhere([model()]) })],
  [
    "a bundle below a path of nginx, for Vite's output below a base,",
    "/models/v2/bundle.json",
    () =>
      hashed({
        base: "/shop/",
        options: { model: "{other}/models/v2/bundle.json" },
        other: elsewhere(BUNDLE("/models/v2/"), [header("*", "Server", "nginx/1.27.3")]),
      }),
  ],
];
for (const [name, path, make] of sample(MIXED, 2))
  test(`names ${name} over http on a page over https; over https it works`, async () => {
    const tls = await certificate();
    const site = await make();
    const served = await serveSite(site, 0, tls);
    try {
      const report = await examine(served.url);
      expect(idsOf(report)).toEqual(["error mixed-content"]);
      const [found] = report.findings;
      expect(found?.message).toMatch(new RegExp(`page is https and http://0\\.0\\.0\\.0:\\d+${path} is http`));
      expect(found?.fixes.map((x) => x.line).join()).toMatch(
        new RegExp(`^"https://0\\.0\\.0\\.0:\\d+${path}" {2}\\(in place of "http:`),
      );
      expect(await titleOf(served.url, site)).toMatch(/^failed/);
      for (const { change } of found?.fixes ?? []) mend(site, change);
    } finally {
      await served.close();
    }
    const mended = await serveSite(site, 0, tls);
    try {
      expect(await titleOf(mended.url, site)).toMatch(ANSWER);
      expect(idsOf(await examine(mended.url))).toEqual([]);
    } finally {
      await mended.close();
    }
  });

test("names the faults that requests alone show where there is no browser", async () => {
  const site = await SITES.find((x) => x.finding === "csp-wasm")!.make();
  const served = await serveSite(site);
  try {
    const report = await diagnose(served.url, { project: null, browser: "no driver" });
    expect(idsOf(report)).toEqual(["error csp-wasm"]);
    expect(report.notes).toEqual(["no driver"]);
  } finally {
    await served.close();
  }
});

test("finds by Puppeteer what it finds by Playwright, and nothing on a site without a fault", async () => {
  const folder = mkdtempSync(join(tmpdir(), "selvedge-puppeteer-"));
  mkdirSync(join(folder, "node_modules"));
  symlinkSync(join(ROOT, "node_modules/puppeteer-core"), join(folder, "node_modules/puppeteer-core"));
  const started = await startBrowser([folder], chromiumLaunch().executablePath);
  if (typeof started === "string") throw new Error(started);
  const findAt = async ({ make }: { make(): Promise<Site> }): Promise<string[]> => {
    const served = await serveSite(await make());
    try {
      return idsOf(await diagnose(served.url, { project: null, browser: started }));
    } finally {
      await served.close();
    }
  };
  try {
    const wanted = ["csp-worker", "wasm-missing", "csp-inline", "service-worker-stale"];
    const sites = [...SITES, ...PAGE_SITES].filter((x) => wanted.includes(x.finding));
    for (const site of sites) expect([site.name, await findAt(site)]).toEqual([site.name, [`error ${site.finding}`]]);
    expect(new Set(sites.map((x) => x.finding))).toEqual(new Set(wanted));
    expect(await findAt(GOOD[0]!)).toEqual([]);
  } finally {
    await started.close();
    rmSync(folder, { recursive: true, force: true });
  }
});

for (const { name, make } of sample([...GOOD, ...PAGE_GOOD, ...FILE_GOOD], 4))
  test(`finds nothing on a site without a fault: ${name}`, async () => {
    const site = await make();
    const served = await serveSite(site);
    try {
      const report = await examine(served.url);
      expect(idsOf(report)).toEqual([]);
      expect(report.hasSelvedge).toBe(true);
      expect(await titleOf(served.url, site)).toMatch(ANSWER);
    } finally {
      await served.close();
    }
  });
