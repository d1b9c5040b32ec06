import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { request } from "node:http";
import type { IncomingHttpHeaders, ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { brotliDecompressSync, gunzipSync } from "node:zlib";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { build } from "vite";
import type { PluginOption } from "vite";
import { build as build7 } from "vite-7";
import type { PluginOption as PluginOption7 } from "vite-7";
import { readEntries } from "../build/entries.ts";
import { startServer } from "../compress/check/local-server.ts";
import { ROOT } from "../test-support/read-program.ts";
import { compressFolder } from "./precompress.ts";
import { chooseCoding, sendCompressedWasm, sendPrecompressed } from "./vite-middleware.ts";
import type { Handler } from "./vite-middleware.ts";
import { selvedge } from "./vite.ts";
import type { SelvedgeViteOptions, ViteInlineRule } from "./vite.ts";

test("the plugin has the types of Vite 7 and 8", () => {
  const plugins: readonly [PluginOption, PluginOption7] = [selvedge(), selvedge({ precompress: ["br"] })];
  expect(plugins).toHaveLength(2);
});

test("every entry for pages is left out of pre-bundling", () => {
  const entries = readEntries(ROOT).filter((x) => !x.isNode);
  const names = entries.map(({ name }) => (name === "" ? "selvedge" : `selvedge/${name}`));
  const { optimizeDeps, worker } = selvedge().config();
  expect(optimizeDeps.exclude.sort()).toEqual([...names, "selvedge/min"].sort());
  expect(worker).toEqual({ format: "es" });
});

describe("build.assetsInlineLimit", () => {
  const [own, other] = ["/app/node_modules/selvedge/dist/worker-wasm.js", "/app/src/logo.png"];
  const ruleOf = (limit?: number | ViteInlineRule): ViteInlineRule =>
    selvedge().config({ build: { assetsInlineLimit: limit } }).build.assetsInlineLimit;

  test.each([undefined, 1e8, () => true])("%s writes no file of the package into the script", (limit) => {
    expect(ruleOf(limit)(own, Buffer.alloc(9))).toBe(false);
    expect(ruleOf(limit)(join(ROOT, "lib/worker-wasm.js"), Buffer.alloc(9))).toBe(false);
  });

  test("is the app's own for its other files, and Vite's without one", () => {
    // Below Vite's own limit it decides itself, which looks for files of Git LFS and for parts of SVG files.
    expect([9, 10].map((size) => ruleOf(10)(other, Buffer.alloc(size)))).toEqual([undefined, false]);
    expect([4095, 4096, 9_000].map((size) => ruleOf(9_000)(other, Buffer.alloc(size)))).toEqual([
      undefined,
      true,
      false,
    ]);
    expect(["a.html", "a.svg"].map((name) => ruleOf(9_000)(name, Buffer.alloc(5_000)))).toEqual([undefined, undefined]);
    expect(ruleOf((file) => file === other)(other, Buffer.alloc(9))).toBe(true);
    expect(ruleOf(() => undefined)(other, Buffer.alloc(9))).toBeUndefined();
    expect(selvedge().config().build.assetsInlineLimit(other, Buffer.alloc(9))).toBeUndefined();
  });

  test.each([
    ["Vite 8", build, { build: { assetsInlineLimit: 1e8 } }],
    ["Vite 7", build7 as unknown as typeof build, { build: { assetsInlineLimit: 1e8 } }],
    ["Vite 8, environment", build, { environments: { client: { build: { assetsInlineLimit: 1e8 } } } }],
    [
      "Vite 7, environment",
      build7 as unknown as typeof build,
      { environments: { client: { build: { assetsInlineLimit: 1e8 } } } },
    ],
  ])("%s builds workers as files with a limit of 100 MB", { timeout: 60_000 }, async (_, make, settings) => {
    const root = mkdtempSync(join(tmpdir(), "selvedge-inline-"));
    const files = {
      "index.html": '<script type="module" src="/main.js"></script>',
      "main.js":
        'import { url } from "./node_modules/selvedge/dist/index.js"; document.title = url + new URL("./a.bin", import.meta.url);',
      "a.bin": "a picture of the app",
      "node_modules/selvedge/dist/index.js": 'export const url = new URL("./worker-wasm.js", import.meta.url).href;',
      "node_modules/selvedge/dist/worker-wasm.js": "postMessage(1);",
    };
    mkdirSync(join(root, "node_modules/selvedge/dist"), { recursive: true });
    for (const [name, content] of Object.entries(files)) writeFileSync(join(root, name), content);
    try {
      const plugins = [selvedge() as PluginOption];
      await make({ root, configFile: false, logLevel: "silent", plugins, ...settings });
      const names = readdirSync(join(root, "dist/assets"));
      expect(names.filter((x) => !/^index-.*\.js$/.test(x))).toEqual([expect.stringMatching(/^worker-wasm-.*\.js$/)]);
    } finally {
      rmSync(root, { recursive: true });
    }
  });
});

test.each([
  [null, "selvedge: expected an object of options, got null"],
  ["br", 'selvedge: expected an object of options, got "br"'],
  [{ brotli: true }, "selvedge: unknown option brotli; the options are isolate and precompress"],
  [{ isolate: "yes" }, 'isolate: expected true or false, got "yes"'],
  [{ precompress: "br" }, 'precompress: expected true, false or a list of "br" and "gzip", got "br"'],
  [{ precompress: ["br", "zstd"] }, 'precompress: expected "br" and "gzip" in the list, got "zstd"'],
])("options %j are refused by name", (options, message) => {
  expect(() => selvedge(options as SelvedgeViteOptions)).toThrow(new TypeError(message));
});

describe("the choice of a coding", () => {
  test.each([
    ["gzip, deflate, br", "br"],
    ["gzip;q=1.0, br;q=0", "gzip"],
    ["GZIP", "gzip"],
    ["*", "br"],
    ["*;q=0, gzip", "gzip"],
    ["br; q=0.1", "br"],
    ["identity", null],
    ["brotli, xgzip", null],
    ["", null],
    [undefined, null],
  ])("%s gives %s", (header, coding) => {
    expect(chooseCoding(header, ["br", "gzip"])).toBe(coding);
  });

  test("a coding that the header does not name is never chosen", () => {
    const names = fc.constantFrom("br", "gzip", "deflate", "zstd", "identity");
    const weighted = fc.record({ name: names, weight: fc.constantFrom("", ";q=0", ";q=0.0", "; q=0.5", ";q=1") });
    fc.assert(
      fc.property(fc.uniqueArray(weighted, { selector: (x) => x.name }), (parts) => {
        const header = parts.map(({ name, weight }) => name + weight).join(", ");
        const isTaken = (name: string): boolean => parts.some((x) => x.name === name && !/q=0(\.0)?$/.test(x.weight));
        expect(chooseCoding(header, ["br", "gzip"])).toBe(isTaken("br") ? "br" : isTaken("gzip") ? "gzip" : null);
      }),
    );
  });
});

/** Repetitive bytes, as code is. */
const BYTES = Buffer.from("abcdefgh".repeat(4_000));
const quiet = { logger: { info: () => undefined } };
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "selvedge-vite-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

describe("compressed copies", () => {
  test("are of wasm and scripts that get smaller, and made once", async () => {
    for (const name of ["a.wasm", "b.js", "c.mjs", "d.bin", "e.html"]) writeFileSync(join(folder, name), BYTES);
    writeFileSync(join(folder, "tiny.js"), "1");
    await compressFolder(folder, ["br", "gzip"], quiet);
    const made = readdirSync(folder).filter((x) => /\.(br|gz)$/.test(x));
    expect(made.sort()).toEqual(["a.wasm.br", "a.wasm.gz", "b.js.br", "b.js.gz", "c.mjs.br", "c.mjs.gz"]);
    expect(brotliDecompressSync(readFileSync(join(folder, "a.wasm.br")))).toEqual(BYTES);
    expect(gunzipSync(readFileSync(join(folder, "b.js.gz")))).toEqual(BYTES);
    writeFileSync(join(folder, "a.wasm.br"), "as it was");
    await compressFolder(folder, ["br"], quiet);
    expect(readFileSync(join(folder, "a.wasm.br"), "latin1")).toBe("as it was");
    utimesSync(join(folder, "a.wasm.br"), 0, 0);
    await compressFolder(folder, ["br"], quiet);
    expect(brotliDecompressSync(readFileSync(join(folder, "a.wasm.br")))).toEqual(BYTES);
  });
});

test("folders called like scripts, and links that lead nowhere, end no build", async () => {
  mkdirSync(join(folder, "chart.js"));
  writeFileSync(join(folder, "chart.js/chart.min.js"), BYTES);
  symlinkSync("nowhere", join(folder, "old.js"));
  await compressFolder(folder, ["br"], quiet);
  expect(readdirSync(folder, { recursive: true })).toContain("chart.js/chart.min.js.br");
});

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** Sends one request through a handler and then to `answer`. */
async function ask(
  handle: Handler,
  answer: (response: ServerResponse, url: string) => void,
  path: string,
  headers: Record<string, string> = {},
  method = "GET",
): Promise<Answer> {
  const server = await startServer((asked, response) => {
    handle(asked, response, () => {
      answer(response, asked.url ?? "");
    });
  });
  try {
    return await new Promise((resolve, reject) => {
      const sent = request({ port: server.port, path, headers, method, agent: false }, (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("end", () => {
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) });
        });
      });
      sent.on("error", reject);
      sent.end();
    });
  } finally {
    await server.close();
  }
}

const BR = { "accept-encoding": "gzip, br" };

describe("the dev server", () => {
  const wasm = (response: ServerResponse): void => {
    response.writeHead(200, { "Content-Type": "application/wasm", "Content-Length": BYTES.byteLength, ETag: 'W/"1"' });
    response.write(BYTES.subarray(0, 100));
    response.end(BYTES.subarray(100));
  };

  test("sends wasm compressed, in the coding that the browser accepts", async () => {
    const handle = sendCompressedWasm();
    for (const [accept, coding, expand] of [
      ["br", "br", brotliDecompressSync],
      ["gzip", "gzip", gunzipSync],
      ["br", "br", brotliDecompressSync],
    ] as const) {
      const { headers, body } = await ask(handle, wasm, "/x.wasm?v=1", { "accept-encoding": accept });
      expect(headers).toMatchObject({ "content-encoding": coding, "content-type": "application/wasm" });
      expect(headers).toMatchObject({ vary: "Accept-Encoding", "content-length": String(body.byteLength) });
      expect(body.byteLength).toBeLessThan(BYTES.byteLength / 10);
      expect(expand(body)).toEqual(BYTES);
    }
  });

  test("sends another version of a file, not the one that it compressed before", async () => {
    const handle = sendCompressedWasm();
    await ask(handle, wasm, "/x.wasm", BR);
    const newer = Buffer.from("newer".repeat(1_000));
    const { body } = await ask(
      handle,
      (response) => {
        response.writeHead(200, { "Content-Type": "application/wasm", ETag: 'W/"2"' });
        response.end(newer);
      },
      "/x.wasm",
      BR,
    );
    expect(brotliDecompressSync(body)).toEqual(newer);
  });

  test.each([
    ["the browser accepts none", "/x.wasm", {}, "GET"],
    ["a range is asked for", "/x.wasm", { ...BR, range: "bytes=0-9" }, "GET"],
    ["it is another file", "/x.js", BR, "GET"],
  ] as const)("leaves an answer as it is where %s", async (_, path, headers, method) => {
    const { body, headers: got } = await ask(sendCompressedWasm(), wasm, path, headers, method);
    expect(got["content-encoding"]).toBeUndefined();
    expect(body).toEqual(BYTES);
  });

  test("leaves an HTML page, an error and an unchanged file as they are at the address of wasm", async () => {
    const page = await ask(
      sendCompressedWasm(),
      (response) => {
        response.setHeader("Content-Type", "text/html");
        response.end("<p>");
      },
      "/x.wasm",
      BR,
    );
    expect([page.status, page.headers["content-encoding"], page.body.toString()]).toEqual([200, undefined, "<p>"]);
    for (const status of [304, 404]) {
      const { headers, ...rest } = await ask(
        sendCompressedWasm(),
        (response) => response.writeHead(status, { "Content-Type": "application/wasm" }).end(),
        "/x.wasm",
        BR,
      );
      expect([rest.status, headers["content-encoding"], rest.body.byteLength]).toEqual([status, undefined, 0]);
    }
  });
});

describe("the preview server", () => {
  const urls = (response: ServerResponse, url: string): void => {
    response.end(url);
  };
  const at = (base: string): Handler =>
    sendPrecompressed({ root: folder, base, build: { outDir: "." } }, ["br", "gzip"]);
  const files = (...names: string[]): void => {
    for (const name of names) writeFileSync(join(folder, name), "x");
  };

  test.each(["/", "/sub/", "./", "https://cdn.test/sub/"])("sends copies below base %s", async (base) => {
    files("a.wasm", "a.wasm.br", "a.wasm.gz", "b.js", "b.js.gz");
    const prefix = base.includes("sub") ? "/sub/" : "/";
    const wasm = await ask(at(base), urls, `${prefix}a.wasm?v=1`, BR);
    expect(wasm.body.toString()).toBe(`${prefix}a.wasm.br?v=1`);
    expect(wasm.headers).toMatchObject({
      "content-encoding": "br",
      "content-type": "application/wasm",
      vary: "Accept-Encoding",
    });
    const script = await ask(at(base), urls, `${prefix}b.js`, BR);
    expect(script.body.toString()).toBe(`${prefix}b.js.gz`);
    expect(script.headers).toMatchObject({ "content-encoding": "gzip", "content-type": "text/javascript" });
  });

  test.each([
    ["there is no copy", "/c.wasm", BR],
    ["there is only a copy", "/d.wasm", BR],
    ["the browser accepts none", "/a.wasm", {}],
    ["a range is asked for", "/a.wasm", { ...BR, range: "bytes=0-9" }],
    ["it is no script", "/e.html", BR],
    ["the address can't be read", "/%E0%A4%A.wasm", BR],
    ["the address leaves the folder", "/..%2Fa.wasm", BR],
  ] as const)("leaves the request as it is where %s", async (_, path, headers) => {
    files("a.wasm", "a.wasm.br", "c.wasm", "d.wasm.br", "e.html", "e.html.br");
    const { body, headers: got } = await ask(at("/"), urls, path, headers);
    expect([body.toString(), got["content-encoding"]]).toEqual([path, undefined]);
  });
});
