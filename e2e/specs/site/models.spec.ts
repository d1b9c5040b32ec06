// The page /models/: a model is downloaded, pinned, updated, saved and evicted, all by keyboard, and the page starts
// without a network.
import AxeBuilder from "@axe-core/playwright";
import { expect, test } from "@playwright/test";
import type { Locator, Page } from "@playwright/test";

const MODEL = "vad";

async function open(page: Page): Promise<{ row: Locator; status: Locator }> {
  await page.goto("/models/");
  const status = page.getByTestId("status");
  await expect(status).toHaveAttribute("data-state", "ready", { timeout: 60_000 });
  return { row: page.locator(`tr[data-model="${MODEL}"]`), status };
}

async function press(page: Page, name: string): Promise<void> {
  await page.getByRole("button", { name, exact: true }).press("Enter");
}

test("a model is downloaded, pinned, updated and evicted, and the focus stays", async ({ page }) => {
  const { row, status } = await open(page);
  await expect(row).toContainText("not stored");
  await press(page, `Download ${MODEL}`);
  await expect(status).toContainText(/is stored: [\d.]+ [kM]B downloaded/, { timeout: 60_000 });
  await expect(page.getByRole("button", { name: `Update ${MODEL}` })).toBeFocused();
  await press(page, `Pin ${MODEL}`);
  await expect(page.getByRole("button", { name: `Pin ${MODEL}` })).toHaveAttribute("aria-pressed", "true");
  await press(page, `Update ${MODEL}`);
  await expect(status).toContainText("nothing was downloaded");
  await press(page, `Evict ${MODEL}`);
  await expect(status).toContainText("freed");
  await expect(row).toContainText("not stored");
  await expect(page.getByRole("button", { name: `Download ${MODEL}` })).toBeFocused();
});

test("a stored model is saved as a file", async ({ page }) => {
  const { status } = await open(page);
  await press(page, `Download ${MODEL}`);
  await expect(status).toContainText("is stored", { timeout: 60_000 });
  // Observed in the page itself: over BiDi Firefox reports no downloads to Playwright.
  const saved = page.evaluate<string>(
    `new Promise((resolve) => addEventListener("click", ({ target }) => { if (target.download) resolve(target.download); }))`,
  );
  await press(page, `Save ${MODEL}`);
  expect(await saved).toMatch(new RegExp(`^${MODEL}-.*onnx$`));
  await expect(status).toContainText("its 2 files are saved");
});

test("the page starts without a network, and shows the stored models", async ({ page, context }) => {
  const { status } = await open(page);
  await press(page, `Download ${MODEL}`);
  await expect(status).toContainText("is stored", { timeout: 60_000 });
  await press(page, "Go offline");
  await expect(status).toContainText(/now works offline: \d+ files/, { timeout: 60_000 });
  await context.setOffline(true);
  const { row } = await open(page);
  await expect(row).toContainText(/just now|minutes? ago/);
  await expect(page.getByRole("button", { name: `Save ${MODEL}` })).toBeVisible();
});

test("the answers of all stored models are checked, and the error of each output is drawn beside its bound", async ({
  page,
}) => {
  const { status } = await open(page);
  await press(page, "Check all answers");
  await expect(status).toContainText("No model is stored");
  await expect(page.getByTestId("answers")).toBeHidden();
  await press(page, `Download ${MODEL}`);
  await expect(status).toContainText("is stored", { timeout: 60_000 });
  await press(page, "Check all answers");
  await expect(status).toContainText(/All of \d checks passed/, { timeout: 180_000 });
  const rows = page.getByTestId("answers").locator("tbody tr");
  await expect(rows.filter({ hasText: `${MODEL}: output` }).first()).toContainText(/ on wasm.*passed/s);
  await expect(rows.filter({ hasText: "failed" })).toHaveCount(0);
  const picture = rows.first().getByRole("img");
  await expect(picture).toHaveAttribute("aria-label", /^error (0|\de−\d+), bound 0\.001$/);
  const ends = await picture.evaluate((svg) => {
    const bar = svg.querySelector("rect")?.getBoundingClientRect().right ?? NaN;
    return { bar, bound: svg.querySelector("line")?.getBoundingClientRect().left ?? NaN };
  });
  expect(ends.bar).toBeLessThan(ends.bound);
  for (const colorScheme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme });
    const { violations } = await new AxeBuilder({ page }).analyze();
    expect(violations.map(({ id }) => id)).toEqual([]);
  }
  await page.setViewportSize({ width: 390, height: 800 });
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
});
