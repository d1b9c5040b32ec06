// ONNX Runtime's binary in two parts (lib/build/split.ts): the second is fetched before a model that needs it is loaded, or when one
// of its functions is called; where it is missing the error says so, and models that do not need it still run. Of both builds
// of ONNX Runtime, by the backend wasm.
import { expect, test } from "@playwright/test";
import type { Page } from "@playwright/test";
import { isWhole, RARE, startSplitSite } from "../../support/split-site.ts";
import type { Build, SplitSite } from "../../support/split-site.ts";

const BUILDS: readonly Build[] = ["wasm", "jspi"];

for (const build of BUILDS)
  test.describe(`the build ${build}`, () => {
    let site: SplitSite;

    test.beforeEach(async ({ page }) => {
      site = await startSplitSite(build);
      await page.goto(site.url);
      await page.waitForFunction("globalThis.app !== undefined");
    });

    test.afterEach(() => site.close());

    const answer = (page: Page, path: string, rows = 1, options: object = {}): Promise<number[]> =>
      page.evaluate(`app.answer(${JSON.stringify(path)}, ${rows}, ${JSON.stringify(options)})`);

    test("a model of usual operators needs the first part alone", async ({ page }) => {
      expect(await answer(page, "/usual.onnx")).toEqual([1, 3, 2]);
      expect(await answer(page, "/usual.onnx")).toEqual([1, 3, 2]);
      expect(site.restAt()).toBe(-1);
    });

    test("a model of another operator runs", async ({ page }) => {
      expect(await answer(page, "/rare.onnx")).toEqual(RARE);
      expect(await answer(page, "/usual.onnx")).toEqual([1, 3, 2]);
      expect(site.restCount()).toBe(isWhole ? 0 : 1);
    });

    test("threads have both parts from the start, and each links the second itself", async ({ page }) => {
      expect(await answer(page, "/rare.onnx", 1, { threads: 2 })).toEqual(RARE);
      if (!isWhole) expect(site.restAt()).toBeLessThan(site.asked.indexOf("/loaded"));
      // So many rows are spread over the threads, and what each of them then calls is rare as well.
      for (let i = 0; i < 5; i += 1) expect(await answer(page, "/rare.onnx", 400_000)).toEqual(RARE);
    });

    const describeSplit = (tests: () => void): void => {
      if (!isWhole) test.describe("a binary in two parts", tests);
    };

    // A build with --whole, which `npm test -- whole` makes, has no second part to test.
    describeSplit(() => {
      test("a model of another operator has the second part before it is loaded", async ({ page }) => {
        expect(await answer(page, "/rare.onnx")).toEqual(RARE);
        expect(site.restAt()).toBeGreaterThan(site.asked.indexOf("/rare.onnx"));
        expect(site.restAt()).toBeLessThan(site.asked.indexOf("/loaded"));
      });

      test("both parts are fetched at the same time where the first model needs both", async ({ page }) => {
        site.isFirstHeld = true;
        expect(await answer(page, "/rare.onnx")).toEqual(RARE);
        expect(site.restCount()).toBe(1);
      });

      test("two lanes share the second part, fetched and compiled once", async ({ page }) => {
        expect(await page.evaluate("app.lanes('/rare.onnx', 40)")).toBe(2);
        expect(site.restCount()).toBe(1);
      });

      test("a function that the profile missed has the second part linked when it is called", async ({ page }) => {
        site.isUnforeseen = true;
        expect(await answer(page, "/rare.onnx")).toEqual(RARE);
        expect(site.restCount()).toBe(1);
        expect(site.restAt()).toBeLessThan(site.asked.indexOf("/answered"));
        expect(await answer(page, "/usual.onnx")).toEqual([1, 3, 2]);
      });

      for (const unforeseen of [false, true])
        test(`no watchdog counts the fetch of the second part, ${unforeseen ? "in a call" : "before a load"}`, async ({
          page,
        }) => {
          site.isUnforeseen = unforeseen;
          const options = { callTimeoutMs: 4_000 };
          expect(await answer(page, "/usual.onnx", 1, options)).toEqual([1, 3, 2]);
          site.restMs = 9_000;
          expect(await answer(page, "/rare.onnx")).toEqual(RARE);
          expect(site.restCount()).toBe(1);
        });

      for (const unforeseen of [false, true])
        test(`a missing second part is named, and other models still run, ${unforeseen ? "in a call" : "before a load"}`, async ({
          page,
        }) => {
          [site.isMissing, site.isUnforeseen] = [true, unforeseen];
          await expect(answer(page, "/rare.onnx")).rejects.toThrow(`ort-${build}-rest.wasm did not load (status 404)`);
          expect(await answer(page, "/usual.onnx")).toEqual([1, 3, 2]);
        });
    });

    // Of a build with --whole alone, which `npm test -- whole` makes: not a skipped test of the usual build.
    if (isWhole)
      test("a binary in one part: nothing else is fetched", async ({ page }) => {
        expect(await answer(page, "/rare.onnx", 1, { threads: 2 })).toEqual(RARE);
        expect(site.asked.filter((path) => path.endsWith(".wasm"))).toEqual([`/dist/ort-${build}.wasm`]);
      });
  });
