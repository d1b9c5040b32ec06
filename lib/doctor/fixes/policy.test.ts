import { expect, test } from "vitest";
import type { Change, Host } from "../evidence.ts";
import { fixOf } from "../fixes.ts";
import { fixFor, linesFor } from "../../test-support/doctor-fixes.ts";

test("a policy is written whole, with what all findings add to it, in the host's own syntax", () => {
  const seen = { policies: ["default-src 'none'; script-src 'self'; img-src data:"], index: 0, isMeta: false };
  const wasm: Change = { kind: "csp", path: "/", directive: "script-src", sources: ["'wasm-unsafe-eval'"], seen };
  const worker: Change = { kind: "csp", path: "/", directive: "worker-src", sources: ["'self'"], seen };
  const connect: Change = { ...worker, path: "/worker-wasm.js", directive: "connect-src" };
  const other: Change = { ...wasm, path: "/worker-wasm.js", seen: { ...seen, policies: ["script-src https:"] } };
  const whole =
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; img-src data:; worker-src 'self'; connect-src 'self'";
  const lineOf = (host: Host | null, change: Change = wasm): string => {
    const evidence = { stack: { host, bundler: null, isDev: false }, url: "https://x.example/" };
    return fixOf(change, evidence, [wasm, worker, connect, other]).line;
  };
  const name = "Content-Security-Policy";
  const rule = `"headers": [{ "key": "${name}", "value": "${whole}" }]`;
  expect(lineOf("nginx")).toBe(`add_header ${name} "${whole}" always;`);
  expect(lineOf("apache")).toBe(`Header onsuccess unset ${name}\nHeader always set ${name} "${whole}"`);
  expect(lineOf("caddy")).toBe(`header /* {\n  ${name} "${whole}"\n  defer\n}`);
  expect(lineOf("netlify")).toBe(`/*\n  ${name}: ${whole}`);
  expect(lineOf("cloudflare-pages")).toBe(`/*\n  ! ${name}\n  ${name}: ${whole}`);
  expect(lineOf("vercel")).toBe(`{ "source": "/(.*)", ${rule} }`);
  expect(lineOf("firebase")).toBe(`{ "source": "**", ${rule} }`);
  expect(lineOf("iis")).toBe(`<remove name="${name}" /><add name="${name}" value="${whole}" />`);
  expect(lineOf("next")).toContain(`headers: [{ key: "${name}", value: "${whole}" }]`);
  expect(lineOf("express")).toMatch(
    /setHeader\(.*\); next\(\); \}\); {2}\(with helmet: contentSecurityPolicy: \{ useDefaults: false, directives: \{.*"script-src":\["'self'","'wasm-unsafe-eval'"\]/,
  );
  expect(lineOf("github-pages")).toBe(`<meta http-equiv="${name}" content="${whole}">`);
  expect(lineOf(null)).toBe(`${name}: ${whole}`);
  // Each finding has the same line, and another response has its own where its policy is another.
  expect(lineOf("nginx", worker)).toBe(lineOf("nginx"));
  expect(lineOf("nginx", other)).toBe(`add_header ${name} "script-src https: 'wasm-unsafe-eval'" always;`);
});

test("a policy of several responses is one rule, which gets what each of them needs", () => {
  const seen = (nonce: string) => ({ policies: [`default-src 'none' 'nonce-${nonce}'`], index: 0, isMeta: false });
  const kind = "csp";
  const all: Change[] = [
    { kind, path: "/", directive: "worker-src", sources: ["'self'"], seen: seen("a") },
    { kind, path: "/w.js", directive: "script-src", sources: ["'nonce-b'", "'wasm-unsafe-eval'"], seen: seen("b") },
    { kind, path: "/c.js", directive: "connect-src", sources: ["'self'"], seen: seen("c") },
  ];
  const stack = { host: "netlify", bundler: null, isDev: false } as const;
  const whole =
    "default-src 'none' 'nonce-a'; worker-src 'self'; script-src 'nonce-a' 'wasm-unsafe-eval'; connect-src 'self'";
  for (const change of all)
    expect(fixOf(change, { stack, url: "https://x.example/" }, all)).toEqual({
      change,
      where: "public/_headers, in place of the policy that is there, with the nonce of each response",
      line: `/*\n  Content-Security-Policy: ${whole}`,
    });
});

test("a policy is replaced where it stands, whatever the order of rules", () => {
  const seen = { policies: ["default-src 'none'"], index: 0, isMeta: false };
  const csp = { kind: "csp", path: "/", directive: "worker-src", sources: ["'self'"] } as const;
  const added = (host: Host): string => fixFor(host, csp)[0].replace("the Content-Security-Policy, ", "");
  for (const [host, place] of [
    ["netlify", "public/_headers"],
    ["cloudflare-pages", "public/_headers"],
    ["vercel", "vercel.json"],
    ["firebase", 'firebase.json, in "hosting"'],
    ["serve", "serve.json in the served folder"],
    ["next", "next.config"],
    ["caddy", "Caddyfile"],
    ["express", "the server, directly before express.static"],
    ["nginx", "nginx.conf, in the server block and in each location that has an add_header"],
  ] as const) {
    expect(fixFor(host, { ...csp, seen })[0]).toBe(`${place}, in place of the policy that is there`);
    expect(added(host)).toBe(place);
  }
  // These send no header.
  for (const host of ["github-pages", "http-server", "python"] as const) {
    expect(fixFor(host, { ...csp, seen })[0]).toBe("the page's markup, in place of the policy that is there");
    expect(added(host)).toBe("the page's markup");
  }
});

test("a policy that SvelteKit writes is changed in its configuration", () => {
  for (const isMeta of [false, true]) {
    const seen = { policies: ["default-src 'none'"], index: 0, isMeta };
    const change: Change = { kind: "csp", path: "/", directive: "worker-src", sources: ["'self'"], seen };
    const stack = { host: "vite", bundler: "sveltekit", isDev: true } as const;
    expect(fixOf(change, { stack, url: "https://x.example/" }).where).toMatch(
      /, in place of the policy that is there, or in svelte\.config where kit\.csp writes that$/,
    );
  }
});

test("a policy keeps the signs that a host reads otherwise", () => {
  const seen = { policies: ["script-src 'self'; report-uri /csp?a=%20"], index: 0, isMeta: false };
  const change: Change = { kind: "csp", path: "/", directive: "script-src", sources: ["'wasm-unsafe-eval'"], seen };
  const value = "script-src 'self' 'wasm-unsafe-eval'; report-uri /csp?a=%20";
  expect(fixFor("apache", change)[1]).toContain(`always set Content-Security-Policy "${value.replace("%", "%%")}"`);
  expect(fixFor("nginx", { ...change, seen: { ...seen, policies: [`report-to "a"; script-src 'self'`] } })[1]).toBe(
    `add_header Content-Security-Policy "report-to \\"a\\"; script-src 'self' 'wasm-unsafe-eval'" always;`,
  );
  // Without default-src helmet throws, unless an option allows that.
  expect(fixFor("express", change)[1]).toContain(
    `"report-uri":["/csp?a=%20"],"default-src":helmet.contentSecurityPolicy.dangerouslyDisableDefaultSrc} })`,
  );
});

test("a policy of the markup is changed there, and the others of a header are kept", () => {
  const stack = { host: "nginx", bundler: null, isDev: false } as const;
  const fix = (policies: readonly string[], index: number, isMeta: boolean): readonly [string, string] => {
    const sources = ["'wasm-unsafe-eval'"];
    const seen = { policies, index, isMeta };
    const change: Change = { kind: "csp", path: "/", directive: "script-src", sources, seen };
    const { where, line } = fixOf(change, { stack, url: "https://x.example/" });
    return [where, line];
  };
  expect(fix(["script-src 'none'"], 0, true)).toEqual([
    "the page's markup, in place of the policy that is there",
    `<meta http-equiv="Content-Security-Policy" content="script-src 'wasm-unsafe-eval'">`,
  ]);
  expect(fix(["frame-ancestors 'none'", "script-src 'nonce-abc'"], 1, false)).toEqual([
    "nginx.conf, in the server block and in each location that has an add_header, in place of the policy that is there, with the nonce of each response",
    `add_header Content-Security-Policy "frame-ancestors 'none', script-src 'nonce-abc' 'wasm-unsafe-eval'" always;`,
  ]);
});

test("a policy stands in the block that the other headers of its path have", () => {
  const seen = { policies: ["default-src 'self'"], index: 0, isMeta: false };
  const all: readonly Change[] = [
    { kind: "header", path: "/*", name: "A", value: "1" },
    { kind: "csp", path: "/", directive: "worker-src", sources: ["blob:"], seen },
  ];
  const policy = "Content-Security-Policy: default-src 'self'; worker-src blob:";
  expect(linesFor("cloudflare-pages", ...all)).toEqual([`/*\n  ! A\n  A: 1\n  ! Content-Security-Policy\n  ${policy}`]);
  expect(linesFor("netlify", ...all)).toEqual([`/*\n  A: 1\n  ${policy}`]);
  expect(linesFor("nginx", ...all)).toHaveLength(2);
  // One of the markup is no header.
  const meta: Change = { kind: "csp", path: "/", directive: "x", sources: [], seen: { ...seen, isMeta: true } };
  expect(linesFor("netlify", all[0] as Change, meta)[0]).toBe("/*\n  A: 1");
});
