import { describe, expect, test } from "vitest";
import { mend, resolveAssets } from "./assets.ts";
import { jspiFiles } from "./jspi-files.ts";

const PAGE = "https://example.com/app/index.html";

describe("assetsBase", () => {
  test.each([
    ["/static/selvedge/", "https://example.com/static/selvedge/"],
    ["/static/selvedge", "https://example.com/static/selvedge/"],
    ["vendor", "https://example.com/app/vendor/"],
    ["https://assets.example.com/1/", "https://assets.example.com/1/"],
  ])("%s is resolved against the page", (base, folder) => {
    expect(resolveAssets("jspi", base, PAGE, jspiFiles)).toEqual({
      workerUrl: `${folder}worker-jspi.js`,
      cacheUrl: `${folder}worker-cache.js`,
      brotliUrl: `${folder}brotli.wasm`,
      wasmUrl: `${folder}ort-jspi.wasm`,
      restUrl: `${folder}ort-jspi-rest.wasm`,
    });
  });
});

describe("without assetsBase", () => {
  test.each(["jspi", "wasm"] as const)("the %s build is beside the package", (build) => {
    const { workerUrl, cacheUrl, brotliUrl, wasmUrl, restUrl } = resolveAssets(build, undefined, PAGE, jspiFiles);
    expect(cacheUrl).toBe(new URL("./worker-cache.js", import.meta.url).href);
    expect(brotliUrl).toBe(new URL("./brotli.wasm", import.meta.url).href);
    expect(workerUrl).toBe(new URL(`./worker-${build}.js`, import.meta.url).href);
    expect(wasmUrl).toBe(new URL(`./ort-${build}.wasm`, import.meta.url).href);
    expect(restUrl).toBe(new URL(`./ort-${build}-rest.wasm`, import.meta.url).href);
  });
});

describe("an address in a dev server's cache of pre-bundled packages", () => {
  test.each([
    ["http://localhost:5173/node_modules/.vite/deps/x.js", "http://localhost:5173/node_modules/selvedge/dist/x.js"],
    ["http://a.test/sub/node_modules/.vite/deps_temp_1f/x.js", "http://a.test/sub/node_modules/selvedge/dist/x.js"],
    [
      "http://a.test/_nuxt/node_modules/.cache/vite/client/deps/x.js",
      "http://a.test/_nuxt/node_modules/selvedge/dist/x.js",
    ],
    [
      "http://a.test/node_modules/.cache/storybook/9.1.2/0f3a/sb-vite/deps/x.js",
      "http://a.test/node_modules/selvedge/dist/x.js",
    ],
    ["http://a.test/.vitepress/cache/deps/x.js", "http://a.test/node_modules/selvedge/dist/x.js"],
    [
      "http://a.test/@fs/home/me/docs/.vitepress/cache/deps/x.js",
      "http://a.test/@fs/home/me/docs/node_modules/selvedge/dist/x.js",
    ],
  ])("%s is that of the package", (from, to) => {
    expect(mend(from)).toBe(to);
  });

  test.each([
    "http://a.test/node_modules/.pnpm/selvedge@0.1.0/node_modules/selvedge/dist/x.js",
    "http://a.test/assets/x-1f.js",
    "http://a.test/deps/x.js",
    "http://a.test/.vite/deps/chunks/x.js",
    "https://cdn.test/.cache/selvedge/x.js",
    "chrome-extension://abc/deps/x.js",
  ])("%s is left as it is", (href) => {
    expect(mend(href)).toBe(href);
  });

  test("an address that was inlined is refused", () => {
    expect(() => mend("data:text/javascript,1")).toThrow(/inlined as data:/);
  });
});
