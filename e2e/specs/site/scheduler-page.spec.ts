// The page /scheduler/: requests of four classes are answered, the lanes' work is drawn, the table describes the same
// in words for both ways of scheduling, sliders and buttons work by keyboard, and the decisions of the saved trace
// repeat.
import AxeBuilder from "@axe-core/playwright";
import { expect, test } from "@playwright/test";
import type { Page } from "@playwright/test";
import { replayTrace } from "../../../lib/replay/replay-trace.ts";
import { readTrace } from "../../../lib/replay/file.ts";

test.beforeEach(async ({ page }) => {
  // Requests on a software GPU would take the processor from those on wasm.
  await page.goto("/scheduler/?backend=wasm&load=calm");
  await expect(page.getByTestId("status")).toHaveAttribute("data-state", "ready", { timeout: 120_000 });
});

test("every class is answered, drawn and described, accessibly", async ({ page }) => {
  for (const name of ["camera", "fraud", "advice", "index"])
    await expect.poll(() => asked(page, name), { timeout: 60_000 }).toBeGreaterThan(0);
  for (const id of ["selvedge", "fifo"]) await expect.poll(() => colours(page, id)).toBeGreaterThan(3);
  const row = page.getByTestId("outcome").getByRole("row", { name: /^Fraud check/ });
  await expect(row).toHaveText(/^Fraud check100 ms\d+\.\d %\d+\.\d %/);
  await expect(page.getByTestId("reasons")).toContainText(
    /wasm: .+; estimated finish .+; (not batched: |batched with \d)/,
  );
  await expect(page.getByTestId("batches")).toHaveText(
    /^\d+ requests in \d+ batches, [\d.]+ per batch; lanes busy: .+%\.$/,
  );
  for (const colorScheme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme });
    const { violations } = await new AxeBuilder({ page }).analyze();
    expect(violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html ?? ""}`)).toEqual([]);
  }
});

test("a slider changes the load by keyboard, and the pause stops it", async ({ page }) => {
  const slider = page.getByRole("slider", { name: /Fraud check/ });
  const before = Number(await slider.inputValue());
  await slider.focus();
  await page.keyboard.press("ArrowRight");
  expect(Number(await slider.inputValue())).toBe(before + 1);
  await expect(page.getByTestId("load")).toContainText(`${before + 1}/s`);
  for (const each of await page.getByRole("slider").all()) {
    await each.focus();
    await page.keyboard.press("Home");
  }
  await page.getByTestId("over").focus();
  await page.keyboard.press("Enter");
  expect(Number(await slider.inputValue())).toBeGreaterThan(before);
  const pause = page.getByTestId("pause");
  await pause.click();
  await expect(pause).toHaveText("Resume");
  // Requests in flight end, and then no more arrive.
  await expect.poll(() => asked(page, "camera"), { timeout: 60_000 }).toBe(0);
  await pause.click();
  await expect.poll(() => asked(page, "camera"), { timeout: 60_000 }).toBeGreaterThan(0);
});

test("the saved trace is one of a real browser, and its decisions repeat", async ({ page }) => {
  await page.getByTestId("over").click();
  // Not every browser reports a download to a test: the page's link is inspected instead.
  await page.evaluate(() => {
    const { createObjectURL } = URL;
    URL.createObjectURL = (blob: Blob) => {
      Object.assign(globalThis, { saved: blob.text() });
      return createObjectURL(blob);
    };
  });
  await page.getByTestId("trace").click();
  await expect(page.getByTestId("status")).toContainText(/Saved trace.json, [\d.]+ MB/, { timeout: 60_000 });
  const text = await page.evaluate(() => (globalThis as unknown as { saved: Promise<string> }).saved);
  expect(text).not.toContain('"inputs"');
  const { traceEvents } = JSON.parse(text) as { traceEvents: { ph: string; name: string }[] };
  // Instants appear only if a lane had to load a model, or to end.
  const kinds = new Set(traceEvents.map(({ ph }) => ph).filter((ph) => ph !== "i"));
  expect(kinds).toEqual(new Set(["M", "X", "C", "b", "n", "e"]));
  const { again, recorded } = replayTrace(readTrace(text));
  expect(again.difference).toBeNull();
  expect(again.decisions).toBeGreaterThan(20);
  expect(recorded.classes.map(({ name }) => name)).toContain("interactive, 10 ms");
});

async function asked(page: Page, name: string): Promise<number> {
  const row = page.locator(`tr[data-class=${name}]`);
  return (await row.count()) === 0 ? -1 : Number(await row.getAttribute("data-asked"));
}

/** Counts the colours of a canvas. */
function colours(page: Page, id: string): Promise<number> {
  return page.evaluate((id) => {
    const canvas = document.getElementById(id) as HTMLCanvasElement;
    const data = canvas.getContext("2d")?.getImageData(0, 0, canvas.width, canvas.height).data ?? [];
    const seen = new Set<string>();
    for (let at = 0; at < data.length; at += 4)
      if (data[at + 3] === 255) seen.add(`${data[at]},${data[at + 1]},${data[at + 2]}`);
    return seen.size;
  }, id);
}
