// The page /search/ with the real all-MiniLM-L6-v2: texts are found by meaning and by words, changed, removed, and there
// again after a reload; without the model by words. The weights are downloaded once (models/minilm.ts).
import AxeBuilder from "@axe-core/playwright";
import { expect, test } from "@playwright/test";
import type { Page } from "@playwright/test";
import { miniLm } from "../../support/minilm.ts";

const KITCHEN = [
  "Knead the dough for ten minutes, and let it rise in a warm corner until it has doubled.",
  "A cast iron pan must dry on the stove after washing, or it will rust over night in the cupboard.",
  "Store tomatoes outside the refrigerator, since cold makes them mealy and takes their taste.",
];
const HOUSE = [
  "Turn the main tap off before the first frost, and empty the pipes that lead to the garden.",
  "The chimney is swept every autumn; the report of the sweep is kept with the insurance papers.",
];
/** Shares no word with the passage that it means. */
const PARAPHRASE = "prevent water lines freezing";

test.beforeAll(async () => {
  test.setTimeout(600_000);
  await miniLm();
});

async function open(page: Page): Promise<void> {
  await page.goto("/search/?backend=wasm");
  await ready(page);
}

async function ready(page: Page): Promise<void> {
  await expect(page.getByTestId("status")).toHaveAttribute("data-state", "ready", { timeout: 120_000 });
}

async function add(page: Page, name: string, texts: readonly string[]): Promise<void> {
  const buffer = Buffer.from(texts.join("\n\n"));
  await page.locator("input[type=file]").setInputFiles({ name, mimeType: "text/plain", buffer });
  const row = page.getByTestId("sources").locator("tr", { hasText: name });
  await expect(row.getByRole("cell").nth(1)).toHaveText(String(texts.length));
  await ready(page);
}

/** Returns the passages for a query, the best first. */
async function search(page: Page, text: string, mode: "Meaning and words" | "Meaning" | "Words"): Promise<string[]> {
  await page.getByRole("radio", { name: mode, exact: true }).check();
  await page.getByRole("searchbox", { name: "Query" }).fill(text);
  const value = { "Meaning and words": "both", Meaning: "meaning", Words: "words" }[mode];
  await expect(page.getByTestId("found")).toHaveAttribute("data-query", `${value}: ${text}`, { timeout: 60_000 });
  return page.getByTestId("hits").locator("p:last-child").allTextContents();
}

test("passages are found by meaning and by words, changed, removed, and kept over a reload", async ({ page }) => {
  await page.addInitScript(() => {
    const seen: string[] = [];
    Object.assign(globalThis, { seen });
    addEventListener("DOMContentLoaded", () => {
      const line = document.querySelector("#status");
      const note = (): void => void seen.push(line?.textContent ?? "");
      if (line !== null) new MutationObserver(note).observe(line, { childList: true });
    });
  });
  const seen = (): Promise<string> => page.evaluate("seen.join()");
  await open(page);
  await add(page, "kitchen.txt", KITCHEN);
  await add(page, "house.txt", HOUSE);
  expect(await seen()).toContain("Indexing 2 passages");
  expect((await search(page, PARAPHRASE, "Meaning"))[0]).toBe(HOUSE[0]);
  expect((await search(page, PARAPHRASE, "Meaning and words"))[0]).toBe(HOUSE[0]);
  expect(await search(page, PARAPHRASE, "Words")).toEqual([]);
  expect(await search(page, "chimney", "Words")).toEqual([HOUSE[1]]);
  for (const colorScheme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme });
    const { violations } = await new AxeBuilder({ page }).analyze();
    expect(violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html ?? ""}`)).toEqual([]);
  }
  await page.setViewportSize({ width: 390, height: 800 });
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);

  await page.reload();
  await ready(page);
  expect((await search(page, PARAPHRASE, "Meaning"))[0]).toBe(HOUSE[0]);
  expect(await seen()).toContain("5 passages are in the index.");
  expect(await seen()).not.toContain("Indexing");

  await add(page, "house.txt", [HOUSE[1] ?? "", "The attic is insulated with wool, which moths leave alone."]);
  expect(await seen()).toContain("Indexing 1 passages");
  // The query stays as it was, and so does the number of hits: the new passage is among them once the page has searched
  // anew, which it does when the last passage is indexed.
  await expect(page.getByTestId("hits").locator("li", { hasText: "The attic is insulated" })).toHaveCount(1);
  await expect(page.getByTestId("hits").locator("li")).toHaveCount(5);
  expect(await search(page, PARAPHRASE, "Meaning")).not.toContain(HOUSE[0]);
  await page.getByRole("button", { name: "Remove kitchen.txt" }).press("Enter");
  await expect(page.getByTestId("hits").locator("li")).toHaveCount(2);
  await page.getByRole("button", { name: "Remove all" }).press("Enter");
  await expect(page.getByTestId("status")).toContainText("The index is empty");
  await expect(page.getByTestId("hits").locator("li")).toHaveCount(0);
});

test("without the model words find, and the page says how to get it; with it the same texts are indexed", async ({
  page,
}) => {
  await page.route("**/models/minilm/config.json", (route) => route.fulfill({ status: 204 }));
  await open(page);
  await expect(page.getByTestId("status")).toContainText("npm run minilm");
  await expect(page.getByRole("radio", { name: "Meaning", exact: true })).toBeDisabled();
  await page.getByRole("textbox", { name: "Paste a text" }).fill(HOUSE.join("\n\n"));
  await page.getByRole("button", { name: "Add the text" }).click();
  await expect(page.getByTestId("status")).toContainText("2 passages");
  expect(await search(page, "chimney", "Words")).toEqual([HOUSE[1]]);
  await page.unroute("**/models/minilm/config.json");
  await open(page);
  expect((await search(page, PARAPHRASE, "Meaning"))[0]).toBe(HOUSE[0]);
});

test("indexing is stopped and continued; what is not indexed yet is found by its words", async ({ page }) => {
  await open(page);
  await page.getByRole("button", { name: "Add Selvedge’s documentation" }).click();
  const status = page.getByTestId("status");
  await expect(status).toContainText(/Indexing \d+ passages/, { timeout: 120_000 });
  await page.getByRole("button", { name: "Stop" }).press("Enter");
  await expect(status).toContainText("Stopped");
  await expect(page.getByRole("button", { name: "Continue" })).toBeFocused();
  expect((await search(page, "back/forward cache", "Words")).length).toBeGreaterThan(0);
  await page.getByRole("button", { name: "Continue" }).press("Enter");
  await expect(status).toContainText(/Indexing \d+ passages/);
  await expect(page.getByRole("button", { name: "Stop" })).toBeFocused();
  await page.getByRole("button", { name: "Remove all" }).press("Enter");
  await expect(status).toContainText("The index is empty", { timeout: 60_000 });
});

test("files that are no text are refused by their names, and those beside them are indexed", async ({ page }) => {
  await open(page);
  const file = (name: string, content: string | number[]) => ({
    name,
    mimeType: "text/plain",
    buffer: Buffer.from(content as string),
  });
  await page
    .locator("input[type=file]")
    .setInputFiles([file("picture.raw", [1, 0, 2]), file("empty.txt", " \n"), file("house.txt", HOUSE.join("\n\n"))]);
  const status = page.getByTestId("status");
  await expect(status).toHaveText("picture.raw is not a text. empty.txt is empty.", { timeout: 60_000 });
  await expect(status).toHaveAttribute("data-state", "error");
  await expect(page.getByTestId("sources").locator("tbody tr")).toHaveText(/house\.txt2100 %/);
});

test("many files are listed in parts, and a row stays while its source does", async ({ page }) => {
  await page.route("**/models/minilm/config.json", (route) => route.fulfill({ status: 204 }));
  await open(page);
  await page.evaluate(() => {
    const added: number[] = [];
    Object.assign(globalThis, { added });
    const note = (all: MutationRecord[]): void => {
      added.push(all.reduce((sum, x) => sum + x.addedNodes.length, 0));
    };
    new MutationObserver(note).observe(document.querySelector("#sources") ?? document.body, { childList: true });
  });
  const files = Array.from({ length: 500 }, (_, i) => ({
    name: `note-${i}.txt`,
    mimeType: "text/plain",
    buffer: Buffer.from(`This is the note with the number ${i}.`),
  }));
  await page.locator("input[type=file]").setInputFiles(files);
  const rows = page.getByTestId("sources").locator("tbody tr");
  await expect(rows).toHaveCount(500, { timeout: 60_000 });
  await page.getByRole("button", { name: "Remove note-7.txt" }).click();
  await expect(rows).toHaveCount(499);
  const added = await page.evaluate<number[]>("added");
  // A browser lays 500 rows out in 50 ms and more.
  expect(Math.max(...added)).toBeLessThanOrEqual(100);
  expect(added.reduce((sum, x) => sum + x)).toBe(500);
  await page.getByRole("button", { name: "Remove all" }).click();
  await expect(rows).toHaveCount(0);
});

test("HTML is shown as it is written, and long words break on a narrow screen", async ({ page }) => {
  await page.setViewportSize({ width: 320, height: 800 });
  await open(page);
  const html = `<img src=x onerror="document.title='ran'"> <b>bold</b> ${"wide".repeat(200)}`;
  await add(page, `${"long".repeat(40)}.txt`, [html]);
  expect(await search(page, `bold ${"w".repeat(400)}`, "Words")).toEqual([html]);
  expect(await page.title()).not.toBe("ran");
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(320);
  await page.locator("input[type=file]").setInputFiles({
    name: `${"n".repeat(200)}.txt`,
    mimeType: "text/plain",
    buffer: Buffer.of(0),
  });
  await expect(page.getByTestId("status")).toHaveAttribute("data-state", "error");
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(320);
});

test("two pasted texts that begin alike are both kept", async ({ page }) => {
  await open(page);
  const begin = "Minutes of the meeting of the kitchen’s committee: ";
  for (const end of ["the stove is old.", "the sink leaks."]) {
    await page.getByRole("textbox", { name: "Paste a text" }).fill(begin + end);
    await page.getByRole("button", { name: "Add the text" }).click();
    await expect(page.getByRole("textbox", { name: "Paste a text" })).toHaveValue("");
    await ready(page);
  }
  expect(await search(page, "stove sink", "Words")).toHaveLength(2);
});

test("two tabs see each other's changes without a reload", async ({ context }) => {
  const [first, second] = [await context.newPage(), await context.newPage()];
  for (const page of [first, second]) await open(page);
  await add(first, "house.txt", HOUSE);
  const row = second.getByTestId("sources").locator("tbody tr");
  await expect(row).toHaveText(/house\.txt2100 %/, { timeout: 120_000 });
  expect((await search(second, PARAPHRASE, "Meaning"))[0]).toBe(HOUSE[0]);
  await second.getByRole("button", { name: "Remove house.txt" }).click();
  await expect(first.getByTestId("sources").locator("tbody tr")).toHaveCount(0);
  await expect(first.getByTestId("status")).toContainText("The index is empty");
});

test("a page that is left while it indexes goes on at the next visit, with what it has", async ({ page }) => {
  await open(page);
  await page.getByRole("button", { name: "Add Selvedge’s documentation" }).click();
  const cells = page.getByTestId("sources").locator("tbody td:nth-child(3)");
  await expect(cells.filter({ hasNotText: /^0 %$/ }).first()).toBeVisible({ timeout: 120_000 });
  const begun = await page.getByTestId("status").textContent();
  await page.reload();
  const status = page.getByTestId("status");
  await expect(status).toContainText(/Indexing \d+ passages/, { timeout: 120_000 });
  const count = (text: string | null): number => Number(/Indexing (\d+)/.exec(text ?? "")?.[1]);
  expect(count(await status.textContent())).toBeLessThan(count(begun));
});

test(
  "a full disk is named, and the text stays to be added again",
  { tag: "@chromium" },
  async ({ page, context, baseURL }) => {
    const protocol = await context.newCDPSession(page);
    const { origin } = new URL(baseURL ?? "");
    // Before the first write: Chromium keeps what it knows of the space for a while.
    await protocol.send("Storage.overrideQuotaForOrigin", { origin, quotaSize: 1 });
    await open(page);
    const box = page.getByRole("textbox", { name: "Paste a text" });
    await box.fill(HOUSE.join("\n\n"));
    await page.getByRole("button", { name: "Add the text" }).click();
    await expect(page.getByTestId("status")).toContainText("is full");
    await expect(page.getByTestId("sources").locator("tbody tr")).toHaveCount(0);
    await expect(box).toHaveValue(HOUSE.join("\n\n"));
    await protocol.send("Storage.overrideQuotaForOrigin", { origin });
    await page.getByRole("button", { name: "Add the text" }).click();
    await expect(box).toHaveValue("");
    await ready(page);
    await expect(page.getByTestId("sources").locator("tbody tr")).toHaveCount(1);
  },
);
