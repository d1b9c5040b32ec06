// Prepares a split for train.py: trains the tokenizer on its training side, fits the linear part, and writes both with
// each mail as numbers.
//
//     npx tsx models/spam/prepare.ts thread-1 spam-data
//
// The linear part is the mean of two logistic regressions over TF-IDF weights: one over tokens, one over tokens and
// pairs of them. The id of a pair is a hash of its tokens (Weinberger and others 2009), which a graph can compute. The
// features and the number of tokens per mail were chosen by cross-validation inside the training sides, and on the
// newest fifth of them: tokens alone are best on threads like those seen, pairs help with later mails. Each mail's
// tokens are stored with the log odds of this part; for a training mail they come from a fit that did not see its
// thread (one of five), so that they are as informative as on new mails.
import { Tokenizer } from "@huggingface/tokenizers";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { PAIR_FACTOR, PAIRS, SPAM_MAX_LENGTH } from "../spam.ts";
import { fitLinear } from "./linear.ts";
import type { Linear } from "./linear.ts";
import { readMails, splitMails } from "./mails.ts";
import type { LabelledMail } from "./mails.ts";
import { trainTokenizer } from "./tokenizer.ts";
import type { TokenizerFile } from "./tokenizer.ts";

/** Size of the vocabulary. */
const PIECES = 8192;
const FOLDS = 5;

const { positionals } = parseArgs({ allowPositionals: true });
const [name = "thread-1", folder = "spam-data"] = positionals;
const { train, test } = splitMails(readMails(), name);
mkdirSync(folder, { recursive: true });
const path = join(folder, "tokenizer.json");
// Training takes the longest: a tokenizer that exists already is the same.
const file = existsSync(path)
  ? (JSON.parse(readFileSync(path, "utf8")) as TokenizerFile)
  : trainTokenizer(
      train.map((x) => x.text),
      PIECES,
    );
writeFileSync(path, JSON.stringify(file));
const tokenizer = new Tokenizer(file, {});
const idsOf = new Map([...train, ...test].map((x) => [x, tokenizer.encode(x.text).ids.slice(0, SPAM_MAX_LENGTH)]));
const countsOf = new Map([...idsOf].map(([mail, ids]) => [mail, { pieces: countPieces(ids), pairs: countPairs(ids) }]));

const threads = new Map([...new Set(train.map((x) => x.thread))].sort().map((x, i) => [x, i % FOLDS]));
const foldOf = (mail: LabelledMail): number => threads.get(mail.thread) ?? 0;
const whole = fit(train);
const parts = Array.from({ length: FOLDS }, (_, fold) => fit(train.filter((x) => foldOf(x) !== fold)));
const held = new Set(test);
const encode = (mails: readonly LabelledMail[]): unknown[] =>
  mails.map((x) => ({
    ids: idsOf.get(x),
    spam: Number(x.isSpam),
    linear: (held.has(x) ? whole : (parts[foldOf(x)] ?? whole)).score(x),
    fold: foldOf(x),
  }));
const pieces = Array.from(Object.keys(file.model.vocab), (_, id) => id);
const pairs = Array.from({ length: PAIRS }, (_, id) => pieces.length + id);
const { single, both } = whole;
const data = {
  pieces: pieces.length,
  bias: (single.bias + both.bias) / 2,
  weights: {
    single: pieces.map((x) => weigh(single, x) / 2),
    piece: pieces.map((x) => weigh(both, x) / 2),
    size: pieces.map((x) => (single.feature(x)?.inverse ?? 0) ** 2),
    pair: pairs.map((x) => weigh(both, x) / 2),
    pairSize: pairs.map((x) => (both.feature(x)?.inverse ?? 0) ** 2),
  },
  train: encode(train),
  test: encode(test),
};
writeFileSync(join(folder, "data.json"), JSON.stringify(data));
console.log(`${name}: ${train.length} mails to train on, ${test.length} held out, ${data.pieces} pieces`);

/** Fits the linear part. */
function fit(mails: readonly LabelledMail[]): {
  single: Linear<number>;
  both: Linear<number>;
  score: (mail: LabelledMail) => number;
} {
  const counts = (mail: LabelledMail, kind: "pieces" | "pairs"): Map<number, number> =>
    countsOf.get(mail)?.[kind] ?? new Map<number, number>();
  const labels = mails.map((x) => x.isSpam);
  const single = fitLinear(
    mails.map((x) => counts(x, "pieces")),
    labels,
  );
  const both = fitLinear(
    mails.map((x) => counts(x, "pairs")),
    labels,
  );
  return {
    single,
    both,
    score: (mail) => (single.score(counts(mail, "pieces")) + both.score(counts(mail, "pairs"))) / 2,
  };
}

function weigh(linear: Linear<number>, key: number): number {
  const { weight, inverse } = linear.feature(key) ?? { weight: 0, inverse: 0 };
  return weight * inverse;
}

function countPieces(ids: readonly number[]): Map<number, number> {
  const counts = new Map<number, number>();
  for (const id of ids) counts.set(id, (counts.get(id) ?? 0) + 1);
  return counts;
}

/** Counts tokens and, numbered after them, pairs by their hash. */
function countPairs(ids: readonly number[]): Map<number, number> {
  const counts = countPieces(ids);
  for (const [i, id] of ids.entries()) {
    const next = ids[i + 1];
    if (next === undefined) continue;
    const key = PIECES + ((id * PAIR_FACTOR + next) % PAIRS);
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return counts;
}
