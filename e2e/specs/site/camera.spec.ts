// The page /camera/ in both browsers: the sample clip, and the browser's own fake camera.
import { expect, test } from "@playwright/test";
import type { LaunchOptions, Page } from "@playwright/test";
import { chromiumLaunch, firefoxLaunch } from "../../support/browsers.ts";

const FRAMES = 20;

for (const backend of ["wasm", "webgpu"]) {
  test(`the sample clip runs on ${backend}, and a face is found`, async ({ page }) => {
    await open(page, backend);
    await page.getByTestId("clip").click();
    await untilFrames(page, FRAMES);
    await expect(page.getByTestId("status")).toHaveAttribute("data-backend", backend);
    await expect(page.getByTestId("faces")).toHaveText("One face.");
    await expect(page.locator("#overlay rect")).toHaveCount(1);
    await page.getByTestId("stop").click();
    await expect(page.getByTestId("status")).toHaveAttribute("data-state", "ready");
    await expect(page.getByTestId("clip")).toBeEnabled();
    const { fps, dropped, frames } = await numbers(page);
    expect(frames).toBeGreaterThanOrEqual(FRAMES);
    expect(fps).toBeGreaterThan(0);
    expect(dropped).toBeGreaterThanOrEqual(0);
  });
}

test("it starts again after a stop", async ({ page }) => {
  await open(page, "wasm");
  for (let round = 0; round < 2; round++) {
    await page.getByTestId("clip").click();
    await untilFrames(page, 3);
    await page.getByTestId("stop").click();
    await expect(page.getByTestId("status")).toHaveText("Stopped.");
    await page.evaluate("document.querySelector('[data-testid=fps]').dataset.frames = '0'");
  }
});

test("without a camera the page says what to do", async ({ page }) => {
  await page.addInitScript(() => {
    navigator.mediaDevices.getUserMedia = () => Promise.reject(new Error("Requested device not found"));
  });
  await open(page, "wasm");
  await page.getByTestId("camera").click();
  await expect(page.getByTestId("status")).toHaveAttribute("data-state", "error");
  await expect(page.getByTestId("status")).toContainText("The sample clip works without one.");
  await expect(page.getByTestId("clip")).toBeEnabled();
});

test("a live camera runs", async ({ playwright, baseURL, browserName }) => {
  const browser = await (browserName === "firefox"
    ? playwright.firefox.launch(withPrefs({ "media.navigator.streams.fake": true, ...NO_QUESTIONS }))
    : playwright.chromium.launch(withArgs("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")));
  try {
    const page = await browser.newPage({ ...(baseURL !== undefined && { baseURL }) });
    await open(page, "wasm");
    await page.getByTestId("camera").click();
    await untilFrames(page, FRAMES);
  } finally {
    await browser.close();
  }
});

const NO_QUESTIONS = { "media.navigator.permission.disabled": true } as const;

function withPrefs(prefs: Readonly<Record<string, boolean>>): LaunchOptions {
  const launch = firefoxLaunch();
  return { ...launch, firefoxUserPrefs: { ...launch.firefoxUserPrefs, ...prefs } };
}

function withArgs(...args: string[]): LaunchOptions {
  const launch = chromiumLaunch();
  return { ...launch, args: [...(launch.args ?? []), ...args] };
}

async function open(page: Page, backend: string): Promise<void> {
  await page.goto(`/camera/?backend=${backend}`);
  await expect(page.getByTestId("status")).toHaveAttribute("data-state", "ready", { timeout: 60_000 });
}

async function untilFrames(page: Page, count: number): Promise<void> {
  await expect.poll(async () => (await numbers(page)).frames, { timeout: 120_000 }).toBeGreaterThanOrEqual(count);
}

async function numbers(page: Page): Promise<{ fps: number; dropped: number; frames: number }> {
  const { fps, dropped, frames } = await page
    .getByTestId("fps")
    .evaluate((element) => ({ ...(element as HTMLElement).dataset }));
  return { fps: Number(fps), dropped: Number(dropped), frames: Number(frames) };
}
