// Every page of the site, light and dark, wide and narrow: it loads without an error in the console, axe finds no
// barrier to access, and nothing is wider than the screen.
import AxeBuilder from "@axe-core/playwright";
import { expect, test } from "@playwright/test";
import type * as Selvedge from "selvedge";

const PAGES = [
  "/",
  "/ocr/",
  "/latency/",
  "/vad/",
  "/camera/",
  "/spam/",
  "/search/",
  "/models/",
  "/scheduler/",
  "/faults/",
  "/offload/",
];

for (const path of PAGES) {
  test(`${path} can be used by everyone`, async ({ page }) => {
    const errors: string[] = [];
    page.on("console", (message) => {
      if (message.type() === "error") errors.push(message.text());
    });
    page.on("pageerror", (error) => errors.push(error.message));
    await page.goto(path);
    await expect(page.getByRole("heading", { level: 1 })).toBeVisible();
    for (const colorScheme of ["light", "dark"] as const) {
      await page.emulateMedia({ colorScheme });
      const { violations } = await new AxeBuilder({ page }).analyze();
      expect(violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html ?? ""}`)).toEqual([]);
    }
    await page.setViewportSize({ width: 390, height: 800 });
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    expect(overflow).toBeLessThanOrEqual(0);
    expect(errors).toEqual([]);
  });
}

for (const path of ["/ocr/", "/vad/", "/spam/"])
  test(`${path} shows the keyboard's focus of the file input on its label alone (processing-L13)`, async ({ page }) => {
    await page.goto(`${path}?backend=wasm`);
    const input = page.locator("#file");
    await expect(input).toBeEnabled({ timeout: 120_000 });
    // Other controls before it may be disabled.
    for (let i = 0; i < 30; i += 1) {
      await page.keyboard.press("Tab");
      if (await input.evaluate((x) => x === document.activeElement)) break;
    }
    await expect(input).toBeFocused();
    const ringed = await page.evaluate(() =>
      Array.from(document.querySelectorAll("main :not(input)"))
        .filter((x) => getComputedStyle(x).outlineStyle !== "none")
        .map((x) => `${x.tagName} ${x.getAttribute("for") ?? x.id}`),
    );
    expect(ringed).toEqual(["LABEL file"]);
  });

test("a file that is not a picture is rejected with a reason, and the next one is read", async ({ page }) => {
  await page.goto("/ocr/?backend=wasm");
  const status = page.getByTestId("status");
  await expect(status).toHaveAttribute("data-state", "ready", { timeout: 120_000 });
  const picker = page.locator("input[type=file]").first();
  await picker.setInputFiles({ name: "page.jpg", mimeType: "image/jpeg", buffer: Buffer.from("this is no picture") });
  await expect(status).toHaveAttribute("data-state", "error");
  await expect(status).not.toBeEmpty();
  await picker.setInputFiles("demo/ocr/sample.jpg");
  await expect(status).toHaveAttribute("data-state", "done", { timeout: 120_000 });
  await expect(page.getByTestId("line").first()).not.toBeEmpty();
});

test("a model refuses a corrupt picture by the name of its input", async ({ page }) => {
  const { pages } = test.info().config.metadata as { pages: string };
  await page.goto(`${pages}/engine.html`);
  await page.waitForFunction("globalThis.selvedge !== undefined");
  const message = await page.evaluate(async () => {
    const { selvedge } = globalThis as unknown as { selvedge: typeof Selvedge };
    const engine = await selvedge.createEngine({ backends: ["wasm"], workers: 1 });
    const model = await engine.load("/models/ocr-cls/bundle.json");
    const refused = await model.run({ x: new Blob(["no picture"]) }).then(
      () => "answered",
      (error: unknown) => String(error),
    );
    await engine.close();
    return refused;
  });
  expect(message).toMatch(/^TypeError: input "x": this browser can't decode it as an image/);
});
