// The lines that the doctor gives for Apache, in the .htaccess of Debian's Apache: what each changes by HTTP. AllowOverride
// permits what the fix says, and no more.
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { get } from "node:http";
import type { IncomingMessage } from "node:http";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { brotliCompressSync, brotliDecompressSync, gzipSync } from "node:zlib";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Change } from "../../lib/doctor/evidence.ts";
import { fixOf } from "../../lib/doctor/fixes.ts";
import { findPackage, startProgram } from "../support/debian.ts";
import type { DebianServer } from "../support/debian.ts";
import { freePort } from "../support/free-port.ts";
import { ROOT } from "../support/prepare.ts";

const FOLDER = join(ROOT, "e2e/.cache/debian/apache2-files");
const SITE = join(FOLDER, "site");
const BYTES = Buffer.from(Array.from({ length: 2_000 }, (_, i) => `${i * i} `).join(""));
const BROTLI = brotliCompressSync(BYTES);
const FILES: Readonly<Record<string, Uint8Array | string>> = {
  "index.html": "<title>page</title>",
  "m.js": BYTES,
  "m.wasm": BYTES,
  "br.js": BROTLI,
  "m/a.bin": BYTES,
  "mxa.bin": BYTES,
  "[1].bin": BYTES,
  "1.bin": BYTES,
  'c#"\\/a.bin': BYTES,
  "ü (1).d/a+b.bin": BYTES,
};
/** Folders of the site, and what the .htaccess in each may hold. */
const FOLDERS = { "": "FileInfo", indexes: "FileInfo Indexes", none: "None" };
const MODULES = [
  "mpm_event",
  "authz_core",
  "dir",
  "mime",
  "headers",
  "rewrite",
  "deflate",
  "filter",
  "brotli",
  "setenvif",
];
const LIBRARIES = [/^lib(?:apr|aprutil|expat|brotli|uuid)1(?:t64)?$/, /^libpcre2-8-0$/];

let server: DebianServer | undefined;

beforeAll(async () => {
  const program = "usr/sbin/apache2";
  const root = await findPackage("apache2-bin", program, LIBRARIES);
  rmSync(FOLDER, { recursive: true, force: true });
  for (const [path, content] of Object.entries(FILES)) {
    mkdirSync(join(SITE, path, ".."), { recursive: true });
    writeFileSync(join(SITE, path), content);
  }
  writeFileSync(
    join(FOLDER, "types"),
    "text/html html\ntext/javascript js\napplication/wasm wasm\napplication/octet-stream bin\n",
  );
  const port = await freePort();
  const lines = [
    ...[`ServerRoot ${FOLDER}`, "ServerName localhost", `Listen 127.0.0.1:${port}`, `PidFile ${FOLDER}/pid`],
    ...[`ErrorLog ${FOLDER}/log`, `DocumentRoot ${SITE}`, `TypesConfig ${FOLDER}/types`, "ServerTokens Prod"],
    ...MODULES.map((x) => `LoadModule ${x}_module ${join(root, "usr/lib/apache2/modules", `mod_${x}.so`)}`),
  ];
  for (const [name, override] of Object.entries(FOLDERS)) {
    mkdirSync(join(SITE, name), { recursive: true });
    if (name !== "") writeFileSync(join(SITE, name, "m.js"), BYTES);
    lines.push(`<Directory ${join(SITE, name)}>`, `AllowOverride ${override}`, "Require all granted", "</Directory>");
  }
  const path = join(FOLDER, "config");
  writeFileSync(path, `${lines.join("\n")}\n`);
  // Of a package that is not installed, the libraries lie beside it.
  const folders = ["usr/lib", "lib"].map((x) => join(root, x)).filter((x) => root !== "/" && existsSync(x));
  const libraries = folders.flatMap((x) => readdirSync(x).map((name) => join(x, name)));
  const env = { LD_LIBRARY_PATH: libraries.filter((x) => x.includes("-linux-gnu")).join(":") };
  server = await startProgram(join(root, program), ["-D", "FOREGROUND", "-f", path], port, env);
}, 300_000);

afterAll(() => server?.stop());

/** An answer of Apache under an .htaccess: status, each header as sent, and the body. */
interface Answered {
  readonly status: number | undefined;
  of(name: string): readonly string[];
  readonly body: Buffer;
}

async function ask(htaccess: string, path: string, accepts = "identity"): Promise<Answered> {
  const folder = Object.keys(FOLDERS).find((x) => path.startsWith(`/${x}/`)) ?? "";
  for (const each of Object.keys(FOLDERS))
    writeFileSync(join(SITE, each, ".htaccess"), each === folder ? `${htaccess}\n` : "");
  const headers = { "accept-encoding": accepts };
  const message = await new Promise<IncomingMessage>((resolve, reject) => {
    get(`${server?.url}${path}`, { headers, agent: false }, resolve).once("error", reject);
  });
  const body = await buffer(message);
  return { status: message.statusCode, of: (name) => message.headersDistinct[name.toLowerCase()] ?? [], body };
}

/** The line for a change. */
function lineOf(change: Change): string {
  const stack = { host: "apache", bundler: null, isDev: false } as const;
  return fixOf(change, { stack, url: "https://x.example/" }).line;
}

const COEP = { kind: "header", path: "/*", name: "Cross-Origin-Embedder-Policy", value: "require-corp" } as const;

test("a header replaces each one that the server has, on errors too", async () => {
  const line = lineOf(COEP);
  for (const fault of [
    "",
    ...["set", "always set", "onsuccess set"].map((x) => `Header ${x} ${COEP.name} unsafe-none`),
  ])
    for (const path of ["/", "/missing.html"]) {
      expect((await ask(fault, path)).of(COEP.name)).not.toContain(COEP.value);
      expect([fault, path, (await ask(`${fault}\n${line}`, path)).of(COEP.name)]).toEqual([fault, path, [COEP.value]]);
    }
});

test("where AllowOverride is None, a line changes nothing", async () => {
  const { status, of } = await ask(lineOf(COEP), "/none/m.js");
  expect([status, of(COEP.name)]).toEqual([200, []]);
});

test("a value keeps the signs that Apache takes for its own", async () => {
  for (const value of ["a%b%%", String.raw`a\b\\c\"d'`, "$1 %{x}e"])
    expect((await ask(lineOf({ ...COEP, name: "X-Signs", value }), "/")).of("X-Signs")).toEqual([value]);
});

test("a header of a folder or a file, whose name is no regular expression, is not set on others", async () => {
  const header = { kind: "header", name: "Cache-Control", value: "public, immutable" } as const;
  const fault = "Header set Cache-Control no-store";
  const folder = new URL("http://x/ü (1).d/a+b.bin").pathname;
  for (const [path, hits, misses] of [
    ["/m/*", "/m/a.bin", "/mxa.bin"],
    ["/m/a.bin", "/m/a.bin", "/mxa.bin"],
    [folder.replace(/[^/]*$/, "*"), folder, "/m/a.bin"],
    [folder, folder, "/m/a.bin"],
    ["/[1].bin", "/[1].bin", "/1.bin"],
    ["/c%23%22%5C/*", "/c%23%22%5C/a.bin", "/m/a.bin"],
  ] as const) {
    const config = `${fault}\n${lineOf({ ...header, path })}`;
    expect([path, (await ask(config, hits)).of(header.name)]).toEqual([path, [header.value]]);
    expect([path, (await ask(config, misses)).of(header.name)]).toEqual([path, ["no-store"]]);
  }
  // A file that is missing may come with the next deployment.
  for (const table of ["onsuccess", "always"]) {
    const config = `${fault}\nHeader ${table} set Cache-Control max-age=9\n${lineOf({ ...header, path: "/m/*" })}`;
    expect((await ask(config, "/m/a.bin")).of(header.name)).toEqual([header.value]);
    const { status, of } = await ask(config, "/m/missing.bin");
    expect([status, of(header.name)]).toEqual([404, []]);
  }
});

test("a type is that of the line, by ending and for one file", async () => {
  const fault = "AddType application/octet-stream .js";
  expect((await ask(fault, "/m.js")).of("Content-Type")).toEqual(["application/octet-stream"]);
  const value = "text/javascript";
  for (const line of [
    lineOf({ kind: "type", extension: ".js", type: value }),
    lineOf({ kind: "header", path: "/m.js", name: "Content-Type", value }),
  ])
    expect((await ask(`${fault}\n${line}`, "/m.js")).of("Content-Type")).toEqual([value]);
});

test("a coding that is declared is not applied again, and one that is wrong goes, whichever module declares it", async () => {
  const deflate = "AddOutputFilterByType DEFLATE text/javascript";
  const plain = await ask(deflate, "/br.js", "gzip, br");
  expect(plain.of("Content-Encoding")).toEqual(["gzip"]);
  const line = lineOf({ kind: "header", path: "/br.js", name: "Content-Encoding", value: "br" });
  const declared = await ask(`${deflate}\n${line}`, "/br.js", "gzip, br");
  expect(declared.of("Content-Encoding")).toEqual(["br"]);
  expect(brotliDecompressSync(declared.body)).toEqual(BYTES);
  const unset = lineOf({ kind: "no-header", path: "/m.wasm", name: "Content-Encoding", value: "gzip" });
  for (const fault of [
    "Header set Content-Encoding gzip",
    "Header always set Content-Encoding gzip",
    "AddEncoding gzip .wasm",
  ]) {
    expect((await ask(fault, "/m.wasm")).of("Content-Encoding")).toEqual(["gzip"]);
    expect([fault, (await ask(`${fault}\n${unset}`, "/m.wasm")).of("Content-Encoding")]).toEqual([fault, []]);
    // The header of mod_deflate or mod_brotli is not taken off without its coding.
    for (const accepts of ["gzip", "br"]) {
      const packing = "AddOutputFilterByType BROTLI_COMPRESS;DEFLATE application/wasm";
      const { body, of } = await ask(`${packing}\n${fault}\n${unset}`, "/m.wasm", accepts);
      expect([fault, of("Content-Encoding"), body.equals(BYTES)]).toEqual([fault, [], true]);
    }
  }
});

test("a missing script is no page, by either way to answer with one, and a route still is", async () => {
  const line = lineOf({ kind: "no-fallback", paths: ["/missing.js"] });
  const [, condition = "", , ...tag] = line.split("\n");
  const rewrite = (lines: string): string =>
    `RewriteEngine On\nRewriteCond %{REQUEST_FILENAME} !-f\nRewriteCond %{REQUEST_FILENAME} !-d\n${lines}\nRewriteRule . /index.html [L]`;
  const fallback = "FallbackResource /index.html";
  for (const [fault, mended, folder] of [
    [rewrite(""), rewrite(condition), ""],
    [fallback, `${fallback}\n${tag.join("\n")}`, "/indexes"],
    [fallback, `${tag.join("\n")}\n${fallback}`, "/indexes"],
  ] as const) {
    for (const path of ["/missing.js", "/missing/missing.js"]) {
      expect([fault, (await ask(fault, folder + path)).status]).toEqual([fault, 200]);
      expect([mended, (await ask(mended, folder + path)).status]).toEqual([mended, 404]);
    }
    expect((await ask(mended, `${folder}/route`)).body.toString()).toContain("page");
    expect((await ask(mended, `${folder}/m.js`)).body).toEqual(BYTES);
  }
});

test("files are sent as stored, those of other folders compressed", async () => {
  const fault = "SetOutputFilter BROTLI_COMPRESS;DEFLATE";
  const folder = new URL("http://x/ü (1).d/a+b.bin").pathname;
  for (const accepts of ["gzip", "br"])
    for (const [path, hits, misses] of [
      ["/m/*", "/m/a.bin", "/mxa.bin"],
      ["/m/a.bin", "/m/a.bin", "/m.js"],
      [folder.replace(/[^/]*$/, "*"), folder, "/m/a.bin"],
    ] as const) {
      const config = `${fault}\n${lineOf({ kind: "as-stored", path })}`;
      expect((await ask(fault, hits, accepts)).of("Content-Encoding")).toEqual([accepts]);
      const { body, of } = await ask(config, hits, accepts);
      expect([path, of("Content-Encoding"), of("Vary")]).toEqual([path, [], []]);
      expect(body).toEqual(BYTES);
      expect((await ask(config, misses, accepts)).of("Content-Encoding")).toEqual([accepts]);
    }
});

test("a type is compressed, beside those that are", async () => {
  const fault = "AddOutputFilterByType DEFLATE text/javascript";
  expect((await ask(fault, "/m.wasm", "gzip")).of("Content-Encoding")).toEqual([]);
  const config = `${fault}\n${lineOf({ kind: "compress", extension: ".wasm", type: "application/wasm" })}`;
  const { body } = await ask(config, "/m.wasm", "gzip");
  expect(body.length).toBeLessThan(gzipSync(BYTES).length * 1.1);
  expect((await ask(config, "/m.js", "gzip")).of("Content-Encoding")).toEqual(["gzip"]);
});
