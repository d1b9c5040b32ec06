import { runInNewContext } from "node:vm";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Change, Host } from "../evidence.ts";
import { fixOf } from "../fixes.ts";
import { HOSTS, fixFor } from "../../test-support/doctor-fixes.ts";

test("a header is written in the host's own syntax", () => {
  const change: Change = { kind: "header", path: "/*", name: "Cross-Origin-Embedder-Policy", value: "require-corp" };
  const lineFor = (host: Host): string =>
    fixOf(change, { stack: { host, bundler: null, isDev: false }, url: "https://x.example/" }).line;
  expect(lineFor("nginx")).toBe("add_header Cross-Origin-Embedder-Policy 'require-corp' always;");
  expect(lineFor("netlify")).toBe("/*\n  Cross-Origin-Embedder-Policy: require-corp");
  expect(lineFor("vercel")).toContain('"source": "/(.*)"');
  expect(lineFor("serve")).toContain('"source": "**"');
  expect(lineFor("apache")).toBe(
    'Header onsuccess unset Cross-Origin-Embedder-Policy\nHeader always set Cross-Origin-Embedder-Policy "require-corp"',
  );
});

test("a header of a folder, or of a kind of file, is not set on the whole site", () => {
  const value = "public, max-age=31536000, immutable";
  const changes = [
    { kind: "header", path: "/assets/*", name: "Cache-Control", value },
    { kind: "type", extension: ".wasm", type: "application/wasm" },
  ] as const;
  // These servers, of this machine alone, set a header on all that they send, or know the types themselves.
  const single: readonly (Host | null)[] = [
    ...(["vite", "webpack-dev-server", "ng-serve", "nuxt-dev", "astro-dev", "github-pages", "cloudflare"] as const),
    null,
  ];
  for (const host of HOSTS)
    for (const change of changes) {
      const evidence = { stack: { host, bundler: null, isDev: false }, url: "https://x.example/" };
      const { where, line } = fixOf(change, evidence);
      const scope = change.kind === "type" ? /wasm/ : single.includes(host) ? /./ : /\bassets\b/;
      expect([host, line]).toEqual([host, expect.stringMatching(scope)]);
      expect([host, where, line]).not.toEqual([host, where, expect.stringMatching(/"source": "(?:\*\*|\/\(\.\*\))"/)]);
    }
});

test("behind Cloudflare's proxy, a line names both places where its header may be written", () => {
  const header: Change = { kind: "header", path: "/*", name: "X", value: "y" };
  expect(fixFor("cloudflare", header)).toEqual([
    "the origin server behind Cloudflare's proxy; on Cloudflare Pages, public/_headers",
    "X: y",
  ]);
  // Pages answers index.html for what is missing until the site has a 404.html.
  expect(fixFor("cloudflare-pages", { kind: "no-fallback", paths: ["/a.js"] })).toEqual([
    "the deployed folder",
    expect.stringMatching(/^deploy \/a\.js, and a 404\.html beside index\.html /),
  ]);
});

test("a line for nginx takes no location from what serves its files, nor headers from the server block", () => {
  const header = { kind: "header", name: "Cache-Control", value: "public, immutable" } as const;
  const where =
    'nginx.conf, map in the http block and add_header in the server block and in each location that has an add_header or expires, in place of another of that name and of expires; where a proxied server sends one, with proxy_hide_header  (in the map, default "…"; keeps its value for other paths, default $upstream_http_cache_control; a proxied server\'s)';
  expect(fixFor("nginx", { ...header, path: "/a.b/*" })).toEqual([
    where,
    'map $uri $selvedge_a_b_cc { "~^/a\\.b/" "public, immutable"; }\nadd_header Cache-Control $selvedge_a_b_cc;',
  ]);
  expect(fixFor("nginx", { ...header, path: "/sw.js" })).toEqual([
    where,
    'map $uri $selvedge_sw_js_cc { "~^/sw\\.js$" "public, immutable"; }\nadd_header Cache-Control $selvedge_sw_js_cc;',
  ]);
  const [, long] = fixFor("nginx", {
    ...header,
    path: `/${"folder/".repeat(20)}*`,
    name: "Cross-Origin-Embedder-Policy",
  });
  expect(/\$(\w+)/.exec(long)?.[1]?.length).toBeLessThanOrEqual(46);
  // Of two types, one beside the server's own, tools read the first.
  expect(fixFor("nginx", { ...header, path: "/w%20%22x", name: "Content-Type", value: "text/javascript" })).toEqual([
    "nginx.conf, inside the location that serves /w%20%22x; in the server block where none does",
    String.raw`location ~ "^/w \x22x$" { default_type text/javascript; types { } }`,
  ]);
  // A second gzip is an error, and one for all files of a location takes compression from each.
  const own = ", in place of gzip and gunzip there; where that serves other files, in a copy of it for /m/model.onnx";
  for (const [kind, rest] of [
    ["ranges", ""],
    ["as-stored", own],
  ] as const)
    expect(fixFor("nginx", { kind, path: "/m/model.onnx" })).toEqual([
      `nginx.conf, in the location that serves /m/model.onnx${rest}`,
      expect.not.stringContaining("location"),
    ]);
});

test("tags of Apache stand on lines of their own, and a folder is no regular expression", () => {
  const header = { kind: "header", name: "X", value: "y" } as const;
  const lines = '  Header onsuccess unset X\n  Header always set X "y"\n';
  const [, folder] = fixFor("apache", { ...header, path: "/a.b/c+(1)%20/*" });
  expect(folder).toBe(`<If "%{REQUEST_URI} =~ m#^/a\\.b/c\\+\\(1\\) /#">\n${lines}</If>`);
  const [, file] = fixFor("apache", { ...header, path: "/m/x%20%.bin" });
  expect(file).toBe(`<Files "x%20%.bin">\n${lines}</Files>`);
  const [, odd] = fixFor("apache", { ...header, path: "/m/[1]%22.bin" });
  expect(odd).toBe(String.raw`<Files "[[]1]\".bin">` + `\n${lines}</Files>`);
  const [, unset] = fixFor("apache", { kind: "no-header", path: "/m/x.bin", name: "X", value: "y" });
  expect(unset).toBe('<Files "x.bin">\n  Header onsuccess unset X\n  Header always unset X\n</Files>');
});

test("elements of IIS stand in sections that web.config may have, and replace what a parent configuration has", () => {
  const header = { kind: "header", name: "X", value: 'a&"b"' } as const;
  const elements = '<remove name="X" /><add name="X" value="a&amp;&quot;b&quot;" />';
  const section = "web.config, system.webServer/httpProtocol/customHeaders";
  expect(fixFor("iis", { ...header, path: "/*" })).toEqual([section, elements]);
  // A location is invalid inside system.webServer.
  expect(fixFor("iis", { ...header, path: "/a%20b/*" })).toEqual([
    "web.config, configuration",
    `<location path="a b"><system.webServer><httpProtocol><customHeaders>${elements}</customHeaders></httpProtocol></system.webServer></location>`,
  ]);
  expect(fixFor("iis", { kind: "type", extension: ".js", type: "text/javascript" })).toEqual([
    "web.config, system.webServer/staticContent",
    '<remove fileExtension=".js" /><mimeMap fileExtension=".js" mimeType="text/javascript" />',
  ]);
  // httpCompression is locked above web.config.
  expect(fixFor("iis", { kind: "compress", extension: ".wasm", type: "application/wasm" })[1]).toMatch(
    /^appcmd set config .*mimeType='application\/wasm'.* \/commit:apphost$/,
  );
});

test("lines for Caddy go into one Caddyfile: matchers of names of their own, and blocks on lines of their own", () => {
  const matchers = [".js", ".wasm"].map((extension) => fixFor("caddy", { kind: "type", extension, type: "a/b" })[1]);
  expect(matchers).toEqual([
    "@js path *.js\nheader @js {\n  Content-Type a/b\n  defer\n}",
    "@wasm path *.wasm\nheader @wasm {\n  Content-Type a/b\n  defer\n}",
  ]);
  expect(fixFor("caddy", { kind: "compress", extension: ".wasm", type: "a/b" })[1]).toBe(
    "encode {\n  zstd\n  gzip\n  match {\n    header Content-Type a/b\n  }\n}",
  );
  expect(fixFor("caddy", { kind: "no-fallback", paths: ["/worker-wasm.js"] })).toEqual([
    "Caddyfile, in place of try_files",
    "@page {\n  not path *.js *.mjs *.wasm *.json *.onnx *.bin\n  file {path} /index.html\n}\nrewrite @page {http.matchers.file.relative}",
  ]);
});

test("a rule of a host whose last one holds goes to the end of its list", () => {
  const header = { kind: "header", path: "/*", name: "X", value: "y" } as const;
  for (const host of ["vercel", "firebase", "serve", "http-server", "python", "next"] as const)
    expect(fixFor(host, header)[0]).toMatch(/\bat the end of "?headers"?: /);
  expect(fixFor("apache", header)[0]).toBe(".htaccess (AllowOverride FileInfo; mod_headers), at its end");
});

test("a missing file's 404 is a page of its own where serve would cache its error for a year", () => {
  const header = { kind: "header", path: "/a/*", name: "Cache-Control", value: "public, immutable" } as const;
  for (const host of ["serve", "http-server", "python"] as const) {
    expect(fixFor(host, header)[0]).toMatch(/ in the served folder, and a 404\.html there$/);
    expect(fixFor(host, { ...header, value: "no-cache" })[0]).toMatch(/ in the served folder$/);
  }
  expect(fixFor("firebase", header)[0]).not.toContain("404");
});

test("lines for Pages say that a path's own block is not left beside a second one, which would replace it", () => {
  const header = { kind: "header", path: "/*", name: "X", value: "y" } as const;
  expect(fixFor("cloudflare-pages", header)[0]).toContain(
    "in the block that the path has, in place of these headers there, or else at its end",
  );
});

test("a path of Next.js has the app's basePath already", () => {
  const header = { kind: "header", name: "X", value: "y" } as const;
  expect(fixFor("next", { ...header, path: "/app/w.js" })[1]).toContain('source: "/app/w.js", basePath: false, ');
  expect(fixFor("next", { ...header, path: "/*" })[1]).not.toContain("basePath");
});

test("lines of any header are JSON, JavaScript or XML, with that value", () => {
  const text = fc.string({ unit: fc.constantFrom(..."aü \\\"'`$,;=/()[]+.%<>&") });
  const paths = fc.array(text).map((x) => new URL(`http://x/${x.map(encodeURIComponent).join("/")}`).pathname);
  fc.assert(
    fc.property(paths, text, fc.boolean(), (at, value, isFolder) => {
      const change: Change = { kind: "header", path: isFolder ? at.replace(/\/?$/, "/*") : at, name: "X", value };
      const lineOf = (host: Host): string => fixFor(host, change)[1];
      for (const host of ["vercel", "firebase", "serve"] as const)
        expect(JSON.parse(lineOf(host))).toMatchObject({ headers: [{ key: "X", value }] });
      expect(JSON.parse(`{${lineOf("ng-serve")}}`)).toEqual({ X: value });
      const [rule] = runInNewContext(`[${lineOf("next")}]`) as [{ headers: unknown }];
      expect(JSON.stringify(rule.headers)).toBe(JSON.stringify([{ key: "X", value }]));
      const sent: unknown[] = [];
      const app = {
        use: (run: (...words: unknown[]) => void) =>
          run(
            { path: at.replace(/\/?$/, isFolder ? "/" : "$&") },
            { setHeader: (...words: unknown[]) => sent.push(words) },
            () => {},
          ),
      };
      runInNewContext(lineOf("express"), { app });
      expect(sent).toEqual([["X", value]]);
      expect(lineOf("iis").replaceAll(/<(?:[^<>"]|"[^<"]*")*>/g, "")).toBe("");
    }),
  );
});

test("a path with characters of patterns is written as the host matches it", () => {
  const header = { kind: "header", path: "/m%20(1)/a+b.js", name: "X", value: "y" } as const;
  for (const host of ["vercel", "next"] as const)
    expect(fixFor(host, header)[1]).toContain(
      String.raw`ource${host === "vercel" ? '"' : ""}: "/m%20\\(1\\)/a\\+b.js"`,
    );
  expect(fixFor("firebase", header)[1]).toContain('"source": "/m%20(1)/a+b.js"');
  expect(fixFor("serve", header)[1]).toContain('"source": "/m (1)/a+b.js"');
  expect(fixFor("express", header)[1]).toContain('request.path === "/m%20(1)/a+b.js"');
});

test("a path with characters of globs is written with any character in their place, where a bracket begins a class", () => {
  const header = { kind: "header", name: "X", value: "y" } as const;
  for (const [path, glob] of [
    ["/m[1]/@(a)(b)+(c)[(d).js", "/m?1]/@?a)(b)+?c)??d).js"],
    ["/m[1]/*", "/m?1]/**"],
  ] as const)
    expect(fixFor("firebase", { ...header, path })[1]).toContain(`"source": "${glob}"`);
  expect(fixFor("serve", { ...header, path: "/%7Ba,b%7D.js" })[1]).toContain('"source": "/?a,b}.js"');
  for (const [path, matcher] of [
    ["/m[1].js", "/m?1].js"],
    // Caddy compares the beginning as it is.
    ["/m[1]/*", "/m[1]/*"],
    ["/m%20[1]/*", "/m%20?1]/*"],
  ] as const)
    expect(fixFor("caddy", { ...header, path })[1]).toContain(`header ${matcher} {`);
});

test("a value keeps the signs that nginx and Caddy take for variables", () => {
  const header = { kind: "header", path: "/*", name: "X", value: "{a} $b" } as const;
  expect(fixFor("nginx", header)).toEqual([
    "nginx.conf, geo in the http block and add_header in the server block and in each location that has an add_header, in place of another of that name; where a proxied server sends one, with proxy_hide_header",
    "geo $selvedge_dollar { default \"$\"; }\nadd_header X '{a} ${selvedge_dollar}b' always;",
  ]);
  expect(fixFor("caddy", header)[1]).toContain(String.raw`X "\{a\} $b"`);
  // Caddy sends a backslash before a brace where no other one begins.
  expect(fixFor("caddy", { ...header, value: "a}" })[1]).toContain('X "a}"');
  expect(fixFor("nginx", { ...header, value: String.raw`a\"` })[1]).toContain(String.raw`X 'a\\"' always`);
  expect(fixFor("apache", { ...header, value: String.raw`a\"` })[1]).toContain(String.raw`X "a\\\\\""`);
});

test("a year in Caddy's caches is none of a page that try_files has put in a file's place", () => {
  const header = { kind: "header", path: "/a/*", name: "Cache-Control", value: "public, immutable" } as const;
  expect(fixFor("caddy", header)).toEqual([
    "Caddyfile, before the site's other header lines; of files of a proxied server, there: its errors would have it, too",
    String.raw`map {path} {selvedge_cache} {
  ~\.html?$ no-cache
  default "public, immutable"
}
header /a/* {
  Cache-Control {selvedge_cache}
  defer
}`,
  ]);
  expect(fixFor("caddy", { ...header, value: "no-cache" })[1]).toBe(
    'header /a/* {\n  Cache-Control "no-cache"\n  defer\n}',
  );
});

test("a coding that Caddy sets is there before its compression looks", () => {
  const header = { kind: "header", path: "/m.js", name: "Content-Encoding", value: "br" } as const;
  expect(fixFor("caddy", header)[1]).toBe('header /m.js Content-Encoding "br"');
});

test("hosts that compress by themselves take no Content-Encoding of a file", () => {
  const header = { kind: "header", path: "/m.js", name: "Content-Encoding", value: "br" } as const;
  for (const host of ["netlify", "cloudflare-pages"] as const)
    expect(fixFor(host, header)).toEqual([
      "where the site is deployed",
      expect.stringMatching(/^deploy \/m\.js uncompressed {2}\(/),
    ]);
});
