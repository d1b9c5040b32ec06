// The graph of the short classifier against the regression that it was made of.
import { Tokenizer } from "@huggingface/tokenizers";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { judgeMails } from "./judge.ts";
import { fitLinear } from "./linear.ts";
import { readMails } from "./mails.ts";
import { buildShort, SHORT_INPUTS } from "./short.ts";
import type { TokenizerFile } from "./tokenizer.ts";

test("the graph has the log odds of the regression, of the first 64 tokens", async () => {
  const mails = readMails().filter((_, i) => i % 20 === 0);
  const file = JSON.parse(readFileSync(join(import.meta.dirname, "tokenizer.json"), "utf8")) as TokenizerFile;
  const tokenizer = new Tokenizer(file, {});
  const countsOf = (text: string): Map<number, number> => {
    const found = new Map<number, number>();
    for (const id of tokenizer.encode(text).ids.slice(0, 64)) found.set(id, (found.get(id) ?? 0) + 1);
    return found;
  };
  const { score } = fitLinear(
    mails.map(({ text }) => countsOf(text)),
    mails.map((x) => x.isSpam),
  );
  const judged = mails.slice(0, 60);
  // With a text of one token, and one of none that was seen.
  judged.push(...["free", "ヅ"].map((text) => ({ ...(mails[0] as (typeof mails)[number]), text })));
  const odds = await judgeMails(buildShort(mails).write(), SHORT_INPUTS, judged);
  for (const [i, { text }] of judged.entries()) expect(odds[i]).toBeCloseTo(score(countsOf(text)), 3);
  expect(new Set(odds.map(Math.sign)).size).toBe(2);
});
