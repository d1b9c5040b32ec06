// The transformer trained here, in the scenario `compress`: bytes on the wire of each variant, and its accuracy on the
// held-out mails, every mail a round, beside the linear model over words and word pairs.
import { brotliCompressSync } from "node:zlib";
import { fitBaseline } from "../../../models/spam/baseline.ts";
import { judgeMails, TRAINED_ON } from "../../../models/spam/judge.ts";
import { readMails, splitMails } from "../../../models/spam/mails.ts";
import { SPAM_INPUTS, spamVariants } from "../../../models/spam.ts";
import { isAsked } from "./compress-subjects.ts";
import type { Case, Subject } from "../kernel/kernel.ts";
import type { Bench } from "../kernel/run.ts";

/** Limit on int4's bytes relative to float32, and on the share of mails that any variant may lose. */
const WIRE_MOST = 0.16;
const LOSS_MOST = 0.005;

/** Yields the cases. */
export async function* spamCases({ rounds: count, only }: Bench): AsyncGenerator<Case> {
  if (!isAsked(only, "spam")) return;
  const variants = (await spamVariants()).reverse();
  const ids = variants.map((x) => x.id);
  const sent = variants.map((x) => brotliCompressSync(x.files[0]?.bytes ?? new Uint8Array()).length);
  yield {
    name: "spam: bytes on the wire, brotli",
    unit: "bytes",
    statistic: "median",
    subjects: ids.map((name, i) => subject(name, "none", [sent[i] ?? 0])),
    of: "f32",
    goals: [{ subject: "int4", on: "ratio", atMost: WIRE_MOST }],
    rounds: 1,
    warmups: 0,
  };
  const { train, test } = splitMails(readMails(), TRAINED_ON);
  const mails = test.slice(0, count(test.length));
  const score = fitBaseline(
    train.map((x) => x.text),
    train.map((x) => x.isSpam),
  );
  const right = (odds: readonly number[]): number[] => odds.map((x, i) => Number(x > 0 === mails[i]?.isSpam));
  const linear = "words and pairs, logistic regression";
  const subjects = [subject(linear, "none", right(mails.map((x) => score(x.text))))];
  for (const { id, files, session } of variants)
    subjects.push(
      subject(
        id,
        "node",
        right(await judgeMails(files[0]?.bytes ?? new Uint8Array(), SPAM_INPUTS, mails, session?.wasm)),
      ),
    );
  yield {
    name: "spam: share right of the mails held out",
    unit: "share right",
    statistic: "mean",
    subjects,
    of: linear,
    goals: [
      ...ids.map((id) => ({ subject: id, minus: linear, on: "value" as const, atLeast: 0 })),
      ...ids.slice(1).map((id) => ({ subject: id, minus: "f32", on: "value" as const, atLeast: -LOSS_MOST })),
    ],
    rounds: mails.length,
    warmups: 0,
  };
}

function subject(name: string, backend: string, values: readonly number[]): Subject {
  let next = 0;
  return { name, sample: async () => ({ value: values[next++] ?? 0, backend, model: "spam", variant: name }) };
}
