import fc from "fast-check";
import { expect, test } from "vitest";
import { admits, admitsInline, admitsScript, admitsWasm, parsePolicies } from "./csp.ts";
import type { Policy } from "./csp.ts";

const PAGE = "https://shop.example/app/";
const policy = (text: string): Policy => parsePolicies(text)[0] ?? new Map();

test.each([
  ["worker-src 'self'", "https://shop.example/w.js", true],
  ["worker-src 'none'", "https://shop.example/w.js", false],
  ["worker-src", "https://shop.example/w.js", false],
  ["script-src 'self'", "https://shop.example/w.js", true],
  ["child-src https://frames.example; script-src 'self'", "https://shop.example/w.js", false],
  ["default-src 'none'", "https://shop.example/w.js", false],
  ["img-src 'none'", "https://shop.example/w.js", true],
  ["worker-src blob:", "blob:https://shop.example/1", true],
  ["worker-src *", "blob:https://shop.example/1", false],
  ["worker-src https:", "https://cdn.example/w.js", true],
  ["worker-src *.example", "https://cdn.example/w.js", true],
  ["worker-src *.example", "https://example/w.js", false],
  ["worker-src https://cdn.example/ai/", "https://cdn.example/ai/w.js", true],
  ["worker-src https://cdn.example/ai", "https://cdn.example/ai/w.js", false],
  ["worker-src https://cdn.example:8443", "https://cdn.example/w.js", false],
  ["worker-src 'nonce-abc'", "https://shop.example/w.js", false],
  ["worker-src 'NONE'", "https://shop.example/w.js", false],
  ["script-src 'Nonce-abc' 'STRICT-DYNAMIC'", "https://shop.example/w.js", true],
  ["worker-src https://cdn.example:443", "https://cdn.example/w.js", true],
  ["worker-src cdn.example:443", "https://cdn.example:8443/w.js", false],
  ["worker-src http://cdn.example:80", "https://cdn.example/w.js", true],
  ["worker-src https://cdn.example/a%69/", "https://cdn.example/ai/w.js", true],
  ["worker-src https://cdn.example/ai/w.js?v=1", "https://cdn.example/ai/w.js", true],
])("%s: %s is admitted: %s", (text, url, expected) => {
  expect(admits(policy(text), "worker-src", url, PAGE)).toBe(expected);
});

test("WebAssembly needs a keyword in the directive that governs scripts", () => {
  expect(admitsWasm(policy("script-src 'self' 'wasm-unsafe-eval'"))).toBe(true);
  expect(admitsWasm(policy("default-src 'self' 'unsafe-eval'; script-src 'self'"))).toBe(false);
  expect(admitsWasm(policy("default-src 'self' 'unsafe-eval'"))).toBe(true);
  expect(admitsWasm(policy("connect-src 'self'"))).toBe(true);
});

test("the first of two equal directives holds, and a comma begins another policy", () => {
  expect(admits(policy("connect-src 'none'; connect-src 'self'"), "connect-src", PAGE, PAGE)).toBe(false);
  expect(parsePolicies("img-src 'self', worker-src 'none';;")).toHaveLength(2);
});

test("any header is read", () => {
  fc.assert(
    fc.property(fc.string(), fc.webUrl(), (text, url) => {
      for (const each of parsePolicies(text)) expect(typeof admits(each, "connect-src", url, PAGE)).toBe("boolean");
    }),
  );
});

test.each([
  ["script-src 'self'", null, [], true],
  ["default-src 'self'", null, [], true],
  ["img-src 'none'", null, [], true],
  ["script-src https://cdn.example.com", null, [], false],
  ["script-src-elem 'none'; script-src 'self'", null, [], false],
  ["script-src 'none'", null, [], false],
  ["script-src 'nonce-a'", "a", [], true],
  ["script-src 'nonce-a'", "b", [], false],
  ["script-src 'NONCE-a'", "a", [], true],
  ["script-src 'nonce-A'", "a", [], false],
  ["script-src 'SHA256-a_b-c='", null, ["sha256-a/b+c="], true],
  ["script-src 'self' 'nonce-a'", null, [], true],
  ["script-src 'self' 'nonce-a' 'strict-dynamic'", null, [], false],
  ["script-src 'nonce-a' 'strict-dynamic'", "a", [], true],
  ["script-src 'sha256-x' 'strict-dynamic'", null, ["sha256-x"], true],
  ["script-src 'sha256-x'", null, ["sha256-x", "sha384-y"], false],
] as const)("%s and a script with nonce %s and integrity %j: %s", (text, nonce, hashes, expected) => {
  const script = { url: "https://shop.example/app/main.js", nonce, hashes };
  expect(admitsScript(policy(text), script, PAGE)).toBe(expected);
});

test.each([
  ["script-src 'sha256-a/b+c='", true],
  ["script-src 'SHA256-a_b-c'", true],
  ["script-src 'sha256-A/b+c='", false],
  ["script-src 'sha384-a/b+c='", false],
])("%s and an inline script with that hash, in each spelling of base64: %s", (text, expected) => {
  expect(admitsInline(policy(text), null, ["sha256-a/b+c=", "sha512-x"])).toBe(expected);
});
