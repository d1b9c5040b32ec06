// Every error that the command line can end with, in error-texts.txt as it is written in the source: to be read, and
// reviewed, without the code. messages.txt beside it has those that a wrong call gives, as a user reads them.
import { join } from "node:path";
import { expect, test } from "vitest";
import { errorTexts } from "../test-support/error-texts.ts";

test("every error of the command line is listed", async () => {
  // Faults of the disk are explained where they are reported; without inputs `check` and `diff` end, and `compress` says so.
  const returned = ["textOf", "fileText", "diskFullText", "whyConstant", "whyNoneRan"];
  const texts = errorTexts(join(import.meta.dirname, "cli.ts"), { returned });
  const lines = [...texts].map(([path, own]) => `${path}\n${own.map((text) => `  ${text}\n`).join("")}`);
  await expect(lines.join("\n")).toMatchFileSnapshot("error-texts.txt");
});
