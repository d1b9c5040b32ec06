// Measures every variant of the classifier on the held-out mails, compared with the baseline, and stores the results in
// splits.json:
//
//     npx tsx models/spam/report.ts                       the committed weights, on the split that they come from
//     npx tsx models/spam/report.ts newest spam-newest    weights that train.py made of another split, and its tokenizer
//
// The difference to the baseline is paired by mail, with its 95 % interval from a bootstrap over threads: mails of one
// thread are not independent evidence.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { brotliCompressSync } from "node:zlib";
import { quantile } from "../../lib/core/quantile.ts";
import { Random } from "../../lib/test-support/random.ts";
import { SPAM_INPUTS, spamVariants } from "../spam.ts";
import { fitBaseline } from "./baseline.ts";
import { judgeMails, judgementOf, TRAINED_ON } from "./judge.ts";
import type { Judgement } from "./judge.ts";
import { readMails, splitMails } from "./mails.ts";
import type { LabelledMail } from "./mails.ts";

const ROUNDS = 2_000;
const PATH = join(import.meta.dirname, "splits.json");

const { positionals } = parseArgs({ allowPositionals: true });
const [name = TRAINED_ON, folder = import.meta.dirname] = positionals;
const { train, test } = splitMails(readMails(), name);
const score = fitBaseline(
  train.map((x) => x.text),
  train.map((x) => x.isSpam),
);
const baseline = test.map((x) => score(x.text));
console.log(`${name}: ${train.length} mails to train on, ${test.length} held out`);
const measured: Record<string, Judgement & { wireShare?: number }> = { baseline: say("baseline", baseline, "") };
const variants = await spamVariants(join(folder, "weights.npz"));
const wireBytes = (bytes: Uint8Array | undefined): number => brotliCompressSync(bytes ?? new Uint8Array()).length;
const full = wireBytes(variants.find((x) => x.id === "f32")?.files[0]?.bytes);
const tokenizer = readFileSync(join(folder, "tokenizer.json"), "utf8");
for (const { id, files, session } of variants) {
  const bytes = files[0]?.bytes ?? new Uint8Array();
  const odds = await judgeMails(bytes, SPAM_INPUTS, test, session?.wasm, tokenizer);
  const wireShare = Number((wireBytes(bytes) / full).toFixed(4));
  const more = `${bytes.length} bytes, over the wire ${wireShare} of f32; against the baseline ${difference(odds, baseline, test)}`;
  measured[id] = { ...say(id, odds, more), wireShare };
}
const all = existsSync(PATH) ? (JSON.parse(readFileSync(PATH, "utf8")) as Record<string, unknown>) : {};
writeFileSync(PATH, `${JSON.stringify({ ...all, [name]: { n: test.length, ...measured } }, null, 2)}\n`);

function say(name: string, odds: readonly number[], more: string): Judgement {
  const judgement = judgementOf(odds, test);
  const { accuracy, falseAlarms, missed, calibrationError } = judgement;
  const percent = (x: number): string => `${(100 * x).toFixed(2)} %`;
  console.log(
    `${name.padEnd(13)} ${percent(accuracy)} right, false alarms ${percent(falseAlarms)}, missed ${percent(missed)}, ` +
      `calibration error ${calibrationError.toFixed(4)}${more === "" ? "" : `; ${more}`}`,
  );
  return judgement;
}

/** Returns the paired difference in points, with its interval. */
function difference(ours: readonly number[], theirs: readonly number[], mails: readonly LabelledMail[]): string {
  const threads = new Map<string, { sum: number; n: number }>();
  for (const [i, { thread, isSpam }] of mails.entries()) {
    const each = threads.get(thread) ?? { sum: 0, n: 0 };
    threads.set(thread, each);
    each.sum += Number((ours[i] ?? 0) > 0 === isSpam) - Number((theirs[i] ?? 0) > 0 === isSpam);
    each.n += 1;
  }
  const all = [...threads.values()];
  const mean = (some: typeof all): number =>
    (100 * some.reduce((sum, x) => sum + x.sum, 0)) / some.reduce((sum, x) => sum + x.n, 0);
  const random = new Random(7);
  const means = Array.from({ length: ROUNDS }, () => mean(Array.from(all, () => random.pick(all))));
  const at = (share: number): string => (quantile(means, share) ?? 0).toFixed(2);
  return `${mean(all).toFixed(2)} points (${at(0.025)} to ${at(0.975)})`;
}
