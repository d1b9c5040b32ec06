// The page /spam/: a person's actions there, and that the answer is the model's.
import { expect, test } from "@playwright/test";

test.beforeEach(async ({ page }) => {
  await page.goto("/spam/?backend=wasm");
  await expect(page.getByTestId("status")).toHaveAttribute("data-state", "ready", { timeout: 120_000 });
});

for (const { name, verdict, word } of [
  { name: "A prize", verdict: /^Spam: .*\d+\.\d+ %$/, word: "spam" },
  { name: "A mailing list", verdict: /^Not spam: .*\d+\.\d+ % sure$/, word: "ham" },
]) {
  test(`${name.toLowerCase()} is classified, and the words that mattered are shown`, async ({ page }) => {
    await page.getByRole("button", { name }).click();
    await expect(page.getByTestId("status")).toHaveAttribute("data-state", "done", { timeout: 120_000 });
    await expect(page.getByTestId("verdict")).toHaveText(verdict);
    const rows = page.getByTestId("words").locator("tbody tr");
    expect(await rows.count()).toBeGreaterThan(3);
    const [first = ""] = await rows.first().getByRole("cell").allTextContents();
    await expect(rows.first().getByRole("cell").nth(1)).toHaveText(word);
    await expect(
      page.getByTestId("marked").locator("mark", { hasText: new RegExp(`^${first}$`, "i") }),
    ).not.toHaveCount(0);
  });
}

test("a mail that was saved as a file is read by its encoding, and typing classifies it anew", async ({ page }) => {
  const source = [
    "Subject: =?utf-8?B?R3LDvMOfZQ==?=",
    "Content-Type: text/plain; charset=iso-8859-1",
    "Content-Transfer-Encoding: quoted-printable",
    "",
    "Bis sp=E4ter im B=FCro.",
  ].join("\r\n");
  await page
    .locator("input[type=file]")
    .setInputFiles({ name: "mail.eml", mimeType: "message/rfc822", buffer: Buffer.from(source, "latin1") });
  await expect(page.getByTestId("marked")).toHaveText("Grüße\n\nBis später im Büro.", { timeout: 60_000 });
  await page.getByRole("textbox", { name: "The mail" }).fill("Subject: Hello\n\nSee you at the meeting.");
  await expect(page.getByTestId("marked")).toContainText("See you at the meeting.", { timeout: 60_000 });
  await page.getByRole("textbox", { name: "The mail" }).fill("");
  await expect(page.getByTestId("verdict")).toBeHidden();
});

test("every variant classifies the same mail within two points of float32, or says why it can't", async ({ page }) => {
  await page.getByRole("button", { name: "Minutes" }).click();
  await expect(page.getByTestId("status")).toHaveAttribute("data-state", "done", { timeout: 120_000 });
  await page.getByTestId("compare").click();
  await expect(page.getByTestId("compare")).toBeEnabled({ timeout: 120_000 });
  const rows = await page.getByTestId("variants").locator("tbody tr").all();
  const answers = new Map<string, number>();
  for (const row of rows) {
    const [variant = "", place = "", , , answer = ""] = await row.getByRole("cell").allTextContents();
    if (answer === "–") expect(place).toMatch(/\w+/);
    else answers.set(variant, Number.parseFloat(answer.replace("over ", "")));
  }
  const reference = answers.get("f32") ?? Number.NaN;
  expect(answers.size).toBeGreaterThan(1);
  for (const [variant, answer] of answers) expect(Math.abs(answer - reference), variant).toBeLessThan(2);
  await page.getByRole("button", { name: "A prize" }).click();
  // Numbers for the previous mail are gone with it.
  await expect(page.getByTestId("variants").locator("tbody")).not.toContainText("ms");
});
