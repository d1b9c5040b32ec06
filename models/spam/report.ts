// Measures every form of the classifier on the mails held out, beside the baseline: `npx tsx models/spam/report.ts`.
//
// The difference to the baseline is paired, mail by mail, with its 95 % interval from a bootstrap over threads: mails of
// one thread are no independent evidence.
import { brotliCompressSync } from "node:zlib";
import { formsFor, TARGETS } from "../../lib/compress/forms.ts";
import { readModel } from "../../lib/compress/onnx.ts";
import { buildSpam, SPAM_INPUTS } from "../spam.ts";
import { fitBaseline } from "./baseline.ts";
import { judgeMails, judgementOf, TRAINED_ON } from "./judge.ts";
import { readMails, splitMails } from "./mails.ts";
import type { LabelledMail } from "./mails.ts";

const ROUNDS = 2_000;

const { train, test } = splitMails(readMails(), TRAINED_ON);
const score = fitBaseline(
  train.map((x) => x.text),
  train.map((x) => x.isSpam),
);
const baseline = test.map((x) => score(x.text));
const source = buildSpam().write();
const wireBytes = (bytes: Uint8Array): number => brotliCompressSync(bytes).length;
const full = wireBytes(source);
console.log(`${TRAINED_ON}: ${train.length} mails to train on, ${test.length} held out`);
say("baseline", baseline, "");
for (const form of formsFor(TARGETS)) {
  const model = readModel(source);
  await form.make(model, [], true);
  const bytes = model.write();
  const odds = await judgeMails(bytes, SPAM_INPUTS, test, form.session?.wasm);
  const size = `${bytes.length} bytes, over the wire ${(wireBytes(bytes) / full).toFixed(3)} of f32`;
  say(form.id, odds, `${size}; against the baseline ${difference(odds, baseline, test)}`);
}

function say(name: string, odds: readonly number[], more: string): void {
  const { accuracy, falseAlarms, missed, calibrationError } = judgementOf(odds, test);
  const percent = (x: number): string => `${(100 * x).toFixed(2)} %`;
  console.log(
    `${name.padEnd(13)} ${percent(accuracy)} right, false alarms ${percent(falseAlarms)}, missed ${percent(missed)}, ` +
      `calibration error ${calibrationError.toFixed(4)}${more === "" ? "" : `; ${more}`}`,
  );
}

/** Gives the paired difference in points, with its interval. */
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
  let state = 7;
  const next = (): number => (state = (state * 16_807) % 2_147_483_647);
  const means = Array.from({ length: ROUNDS }, () =>
    mean(Array.from(all, () => all[next() % all.length] ?? { sum: 0, n: 0 })),
  ).sort((a, b) => a - b);
  const at = (share: number): string => (means[Math.floor(share * ROUNDS)] ?? 0).toFixed(2);
  return `${mean(all).toFixed(2)} points (${at(0.025)} to ${at(0.975)})`;
}
