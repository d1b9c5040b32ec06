// Makes one form of a model with the toolchain, in a process of its own, so that its time and memory can be told:
// FORM MODEL SAMPLES OUT, as compress-reference.py. Prints one line of JSON.
import { readFileSync, writeFileSync } from "node:fs";
import { formsFor, TARGETS } from "../../lib/compress/forms.ts";
import { readModelFile } from "../../lib/compress/files.ts";
import { describePorts } from "../../lib/compress/inspect.ts";
import { foldKnown } from "../../lib/compress/known-dims.ts";
import { firstFeeds, openSamples } from "../../lib/compress/samples.ts";
import { simplify } from "../../lib/compress/simplify.ts";

const [name = "", path = "", samples = "", out = ""] = process.argv.slice(2);
const started = performance.now();
const model = readModelFile(path);
const { inputs } = await describePorts(model);
const feeds = await firstFeeds(await openSamples(samples, inputs, 256), 256);
model.transform(simplify());
await foldKnown(model);
const form = formsFor(TARGETS, [name]).find((x) => x.id === name);
if (form === undefined) throw new Error(`there is no form ${name}`);
await form.make(model, feeds);
writeFileSync(out, model.write());
// Not getrusage: what that gives begins with what the process that started this one held.
const peak = /VmHWM:\s*(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
const peakBytes = Number(peak) * 1024;
process.stdout.write(`${JSON.stringify({ seconds: (performance.now() - started) / 1000, peakBytes })}\n`);
process.exit();
