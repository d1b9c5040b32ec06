// The page /faults/: each button injects its fault while requests stream, by keyboard too; no request is lost, fails or
// is answered wrongly, and the page lists the attempts of those that were retried.
import AxeBuilder from "@axe-core/playwright";
import { expect, test } from "@playwright/test";
import type { Page } from "@playwright/test";

/** Timeout after which a stalled worker is detected; a start must fit into it on a busy machine. */
const BOUND_MS = 8_000;

test.beforeEach(async ({ page }) => {
  // Requests on a software GPU would take the processor from those on wasm; the device has a test of its own below.
  await open(page, `?bound=${BOUND_MS}&backend=wasm`);
});

for (const [fault, said] of [
  ["kill", "The worker of the next call is terminated"],
  ["throw", "The next call crashes"],
  ["hang", "The next call hangs"],
] as const) {
  test(`the button "${fault}" injects its fault, and nothing is lost`, async ({ page }) => {
    const button = page.locator(`button[data-fault=${fault}]`);
    // A worker that is terminated while it starts costs no attempt: then another one is.
    await expect(async () => {
      await button.focus();
      await page.keyboard.press("Enter");
      await expect(page.getByTestId("status")).toContainText(said);
      await expect
        .poll(async () => (await counts(page)).again, { timeout: fault === "kill" ? 5_000 : 4 * BOUND_MS })
        .toBeGreaterThan(0);
    }).toPass({ timeout: 200_000 });
    const { answered } = await counts(page);
    await expect.poll(async () => (await counts(page)).answered, { timeout: 60_000 }).toBeGreaterThan(answered + 10);
    expect(await counts(page)).toMatchObject({ failed: 0, wrong: 0, lost: 0 });
    const path = page.getByTestId("paths").locator("li").first();
    await expect(path).toHaveText(/^Request \d+: wasm-\d .+ after \d+ ms → .+ → right; \d+ ms in total$/);
  });
}

test("repeated faults: nothing is lost, and everyone can read what happened", async ({ page }) => {
  await expect.poll(async () => (await counts(page)).answered, { timeout: 60_000 }).toBeGreaterThan(0);
  for (const fault of ["throw", "kill", "throw"]) {
    const { again } = await counts(page);
    // A fault during a worker's start costs time but no attempt: then it is injected again.
    await expect(async () => {
      await page.locator(`button[data-fault=${fault}]`).click();
      await expect.poll(async () => (await counts(page)).again, { timeout: 5_000 }).toBeGreaterThan(again);
    }).toPass({ timeout: 60_000 });
  }
  expect(await counts(page)).toMatchObject({ failed: 0, wrong: 0, lost: 0 });
  await page.getByTestId("pause").click();
  await expect(page.getByTestId("pause")).toHaveText("Resume");
  await expect.poll(async () => (await counts(page)).inFlight, { timeout: 60_000 }).toBe(0);
  const { violations } = await new AxeBuilder({ page }).analyze();
  expect(violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html ?? ""}`)).toEqual([]);
  await page.getByTestId("pause").click();
  const { sent } = await counts(page);
  await expect.poll(async () => (await counts(page)).sent).toBeGreaterThan(sent);
});

test("without a GPU its button says why it is disabled", async ({ page }) => {
  const button = page.locator("button[data-fault=destroy]");
  await expect(button).toBeDisabled();
  await expect(button).toHaveAttribute("title", /no WebGPU/);
});

test("the GPU device is destroyed during a run, and nothing is lost", async ({ page }) => {
  await open(page, "?bound=60000&backend=webgpu");
  const button = page.locator("button[data-fault=destroy]");
  await button.click();
  await expect(button).toBeDisabled(); // a browser disables WebGPU for a page that loses it twice in two minutes
  await untilAgain(page);
  expect(await counts(page)).toMatchObject({ failed: 0, wrong: 0, lost: 0 });
  await expect(page.getByTestId("paths").locator("li").first()).toContainText("device-lost");
});

async function open(page: Page, query: string): Promise<void> {
  await page.goto(`/faults/${query}`);
  await expect(page.getByTestId("status")).toHaveAttribute("data-state", "ready", { timeout: 120_000 });
}

async function untilAgain(page: Page): Promise<void> {
  await expect.poll(async () => (await counts(page)).again, { timeout: 120_000 }).toBeGreaterThan(0);
}

interface Counts {
  readonly sent: number;
  readonly answered: number;
  readonly again: number;
  readonly inFlight: number;
  readonly failed: number;
  readonly wrong: number;
  readonly lost: number;
}

/** Reads the page's counters. */
async function counts(page: Page): Promise<Counts> {
  const rows = page.getByTestId("counts").locator("div");
  const shown = new Map(
    await rows.evaluateAll((all) =>
      all.map((row) => [row.querySelector("dt")?.textContent, Number(row.querySelector("dd")?.textContent)] as const),
    ),
  );
  const read = (word: string): number => shown.get(word) ?? Number.NaN;
  return {
    sent: read("sent"),
    answered: read("answered"),
    again: read("retried"),
    inFlight: read("in flight"),
    failed: read("failed"),
    wrong: read("wrong"),
    lost: read("lost"),
  };
}
