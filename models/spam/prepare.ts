// Prepares a split for train.py: trains the tokenizer on its training side, fits the linear part, and writes both with
// each mail as numbers.
//
//     npx tsx models/spam/prepare.ts thread-1 spam-data
//
// The linear part is a logistic regression over the TF-IDF weights of pieces. Beside the pieces of a mail stand the log
// odds that it gives the mail, and those of the baseline; for a training mail both come from a fit that did not see its
// thread (one of five), so that they say as much as on mails to come.
import { Tokenizer } from "@huggingface/tokenizers";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { SPAM_MAX_LENGTH } from "../spam.ts";
import { fitBaseline } from "./baseline.ts";
import { fitLinear } from "./linear.ts";
import { readMails, splitMails } from "./mails.ts";
import type { LabelledMail } from "./mails.ts";
import { trainTokenizer } from "./tokenizer.ts";

/** Pieces of the vocabulary. */
const PIECES = 8192;
const FOLDS = 5;

const { positionals } = parseArgs({ allowPositionals: true });
const [name = "thread-1", folder = "spam-data"] = positionals;
const { train, test } = splitMails(readMails(), name);
mkdirSync(folder, { recursive: true });
const file = trainTokenizer(
  train.map((x) => x.text),
  PIECES,
);
writeFileSync(join(folder, "tokenizer.json"), JSON.stringify(file));
const tokenizer = new Tokenizer(file, {});
const idsOf = new Map([...train, ...test].map((x) => [x, tokenizer.encode(x.text).ids.slice(0, SPAM_MAX_LENGTH)]));

const threads = new Map([...new Set(train.map((x) => x.thread))].sort().map((x, i) => [x, i % FOLDS]));
const foldOf = (mail: LabelledMail): number => threads.get(mail.thread) ?? 0;
const [linear, byLinear] = scorers((mails) => {
  const fitted = fitLinear(mails.map(countPieces), mails.map(isSpam));
  return { fitted, score: (mail) => fitted.score(countPieces(mail)) };
});
const [, byBaseline] = scorers((mails) => {
  const score = fitBaseline(
    mails.map((x) => x.text),
    mails.map(isSpam),
  );
  return { fitted: null, score: (mail) => score(mail.text) };
});
const encode = (mails: readonly LabelledMail[]): unknown[] =>
  mails.map((x) => ({
    ids: idsOf.get(x),
    spam: Number(x.isSpam),
    linear: byLinear(x),
    baseline: byBaseline(x),
    fold: foldOf(x),
  }));
const pieces = Array.from(Object.keys(file.model.vocab), (_, id) => id);
const data = {
  pieces: pieces.length,
  bias: linear.bias,
  weight: pieces.map((x) => linear.feature(x)?.weight ?? 0),
  inverse: pieces.map((x) => linear.feature(x)?.inverse ?? 0),
  train: encode(train),
  test: encode(test),
};
writeFileSync(join(folder, "data.json"), JSON.stringify(data));
console.log(`${name}: ${train.length} mails to train on, ${test.length} held out, ${data.pieces} pieces`);

function isSpam(mail: LabelledMail): boolean {
  return mail.isSpam;
}

function countPieces(mail: LabelledMail): Map<number, number> {
  const counts = new Map<number, number>();
  for (const id of idsOf.get(mail) ?? []) counts.set(id, (counts.get(id) ?? 0) + 1);
  return counts;
}

/** Fits to all training mails, and to those outside each fold; gives the first fit, and who scores a mail unseen. */
function scorers<T>(
  fit: (mails: readonly LabelledMail[]) => { fitted: T; score: (mail: LabelledMail) => number },
): [T, (mail: LabelledMail) => number] {
  const parts = Array.from({ length: FOLDS }, (_, fold) => fit(train.filter((x) => foldOf(x) !== fold)).score);
  const { fitted, score } = fit(train);
  const held = new Set(test);
  return [fitted, (mail) => (held.has(mail) ? score(mail) : (parts[foldOf(mail)]?.(mail) ?? 0))];
}
