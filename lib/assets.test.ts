import { describe, expect, test } from "vitest";
import { resolveAssets } from "./assets.ts";
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
