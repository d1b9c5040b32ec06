// The page /offload/ against a real `selvedge serve`, started by the command that the page shows: requests are answered
// where the switch says, the counters agree with the server's own, and the page can be used by keyboard.
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import AxeBuilder from "@axe-core/playwright";
import { expect, test } from "@playwright/test";
import type { Locator, Page } from "@playwright/test";
import { freePort } from "../../support/free-port.ts";
import { ROOT } from "../../support/prepare.ts";

let server: ChildProcess | null = null;
let url = "";

/** Starts the server by the command that the page shows, on another port; resolves once it is ready. */
async function serve(page: Page): Promise<void> {
  await page.goto("/offload/?backend=wasm");
  const command = await page.getByTestId("command").textContent();
  const [npx, name, ...args] = (command ?? "").split(" ");
  expect([npx, name]).toEqual(["npx", "selvedge"]);
  const port = await freePort();
  url = `http://127.0.0.1:${port}`;
  const more = ["--port", String(port), "--lanes", "1", "--threads", "1"];
  server = spawn(process.execPath, ["lib/cli/bin.js", ...args, ...more], { cwd: ROOT, stdio: "ignore" });
  const isReady = (): Promise<boolean> =>
    fetch(`${url}/v2/health/ready`).then(
      ({ ok }) => ok,
      () => false,
    );
  await expect.poll(isReady, { timeout: 60_000 }).toBe(true);
}

test.afterEach(async () => {
  const own = server;
  server = null;
  if (own === null || own.exitCode !== null) return;
  const ended = once(own, "exit");
  own.kill("SIGTERM");
  await ended;
});

async function connect(page: Page): Promise<void> {
  await page.getByLabel("Address of the server").fill(url);
  await page.getByRole("button", { name: "Connect" }).press("Enter");
  await expect(page.getByTestId("status")).toHaveText(/^Connected to .+ One request was answered on each side\.$/, {
    timeout: 120_000,
  });
}

/** Replaces the number of an input by keyboard: Firefox appends what a test fills in. */
async function enter(input: Locator, text: string): Promise<void> {
  await input.press("ControlOrMeta+a");
  await input.pressSequentially(text);
}

/** Sends so many requests to a placement, by keyboard. */
async function send(page: Page, placement: string, count: number): Promise<void> {
  await page.getByRole("radio", { name: placement }).focus();
  await page.keyboard.press("Space");
  await enter(page.getByLabel("Number"), String(count));
  await page.getByTestId("start").press("Enter");
  await expect(page.getByTestId("status")).toHaveText(`${count} of ${count} requests answered.`, { timeout: 60_000 });
}

async function answers(page: Page): Promise<readonly number[]> {
  const rows = ["local", "remote"].map((x) => page.locator(`tr[data-placement=${x}]`).getAttribute("data-requests"));
  return (await Promise.all(rows)).map(Number);
}

/** Number of inference requests that the server has answered, by its own counter. */
async function served(): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const lines = text.split("\n").filter((line) => /^selvedge_requests_total\{/.test(line));
  return lines.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
}

test("requests are answered where the switch says, and are counted there", async ({ page }) => {
  const sent: string[] = [];
  page.on("request", (request) => {
    if (!request.url().startsWith("http://127.0.0.1:") || request.url().startsWith(`${url}/v2`))
      sent.push(request.url());
  });
  await serve(page);
  // Nothing is sent before the visitor connects.
  expect(sent).toEqual([]);
  await connect(page);
  await expect(page.getByTestId("how")).toBeHidden();
  expect(await answers(page)).toEqual([1, 1]);
  await send(page, "This device", 30);
  expect(await answers(page)).toEqual([31, 1]);
  const before = await served();
  await send(page, "Server", 20);
  expect(await answers(page)).toEqual([31, 21]);
  expect((await served()) - before).toBeGreaterThan(0);
  await send(page, "Auto", 10);
  const [local = 0, remote = 0] = await answers(page);
  expect(local + remote).toBe(62);
  await expect(page.getByTestId("why")).toHaveText(/^The last answer: (wasm|remote): .+\.$/);
  const share = `${((100 * local) / 62).toFixed(1)} %`;
  await expect(page.locator("tr[data-placement=local]")).toContainText(share);
  const chart = await page.getByTestId("chart").getAttribute("aria-label");
  expect(chart).toContain(`This device: ${share} of the answers`);
  expect(chart).toMatch(/Server: p50 [\d.]+ ms, p95 [\d.]+ ms/);
  for (const colorScheme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme });
    const { violations } = await new AxeBuilder({ page }).analyze();
    expect(violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html ?? ""}`)).toEqual([]);
  }
  await page.setViewportSize({ width: 390, height: 800 });
  expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBeLessThanOrEqual(0);
});

test("answers that this device is unsure of go to the more accurate model, and are counted", async ({ page }) => {
  await serve(page);
  await enter(page.getByLabel("Send on answers less sure than"), "1");
  await connect(page);
  await send(page, "This device", 5);
  await expect(page.getByTestId("unsure")).toBeEmpty();
  const counts = async (): Promise<number[]> =>
    ((await page.getByTestId("unsure").textContent()) ?? "").match(/\d+/g)?.map(Number) ?? [];
  // The more accurate model is checked on the server meanwhile.
  await expect
    .poll(
      async () => {
        await send(page, "Auto", 10);
        return (await counts())[2] ?? 0;
      },
      { timeout: 60_000 },
    )
    .toBeGreaterThan(0);
  const before = await served();
  const [, , answeredBefore = 0] = await counts();
  await send(page, "Auto", 20);
  const [unsure = 0, sent = 0, answered = 0] = await counts();
  expect(unsure).toBeGreaterThanOrEqual(sent);
  expect(sent).toBeGreaterThanOrEqual(answered);
  expect(answered).toBeGreaterThan(answeredBefore);
  expect((await served()) - before).toBeGreaterThanOrEqual(answered - answeredBefore);
  await expect(page.getByTestId("why")).toHaveText(/fashion-cnn answered|^The last answer: wasm/);
});

test("the costs follow the price, a wrong one is named, and the CSV has the numbers of the table", async ({ page }) => {
  await serve(page);
  await connect(page);
  await send(page, "Server", 10);
  const facts = page.getByTestId("facts");
  const costOf = async (): Promise<number> =>
    Number(/Cost of the server time([\d.]+)/.exec((await facts.textContent()) ?? "")?.[1]);
  const price = page.getByLabel("Price of a server for an hour");
  await enter(price, "3600000");
  const cheap = await costOf();
  await enter(price, "7200000");
  expect((await costOf()) / cheap).toBeCloseTo(2, 1);
  await enter(price, "-1");
  await expect(page.getByTestId("price-error")).toHaveText("“Price of a server for an hour” takes a number from 0 on.");
  await expect(price).toHaveAttribute("aria-invalid", "true");
  await expect(page.getByTestId("csv")).toBeDisabled();
  await enter(price, "1");
  await expect(page.getByTestId("price-error")).toBeEmpty();
  // Not every browser reports a download to a test: the page's link is inspected instead.
  await page.evaluate(() => {
    const { createObjectURL } = URL;
    URL.createObjectURL = (blob: Blob) => {
      Object.assign(globalThis, { saved: blob.text() });
      return createObjectURL(blob);
    };
  });
  await page.getByTestId("csv").press("Enter");
  await expect(page.getByTestId("status")).toHaveText("Saved offload.csv.");
  const saved = await page.evaluate(() => (globalThis as unknown as { saved: Promise<string> }).saved);
  const [head = "", local = "", remote = ""] = saved.split("\r\n");
  expect(head).toMatch(/^placement,requests,share,p50_ms,/);
  const [localCount, remoteCount] = await answers(page);
  expect(local).toMatch(new RegExp(`^local,${localCount},`));
  expect(remote).toMatch(new RegExp(`^remote,${remoteCount},`));
});

test("a wrong number of requests is named", async ({ page }) => {
  await serve(page);
  await connect(page);
  await enter(page.getByLabel("Number"), "20000");
  await page.getByTestId("start").press("Enter");
  await expect(page.getByTestId("status")).toHaveText("“Number” takes a number from 1 to 10000.");
  expect(await answers(page)).toEqual([1, 1]);
});

test("an address without a server is named, with the command that starts one", async ({ page }) => {
  await page.goto(`/offload/?backend=wasm`);
  url = `http://127.0.0.1:${await freePort()}`;
  await page.getByLabel("Address of the server").fill(url);
  await page.keyboard.press("Enter");
  const status = page.getByTestId("status");
  await expect(status).toHaveText(`${url} does not answer this page. The command starts a server that does.`);
  await expect(page.getByTestId("how")).toContainText(
    "npx selvedge serve models/dist/fashion-mlp models/dist/fashion-cnn --origin http://127.0.0.1:",
  );
  await expect(page.getByTestId("start")).toBeDisabled();
});
