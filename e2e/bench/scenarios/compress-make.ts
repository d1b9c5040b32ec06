// Makes one form of a model as `compress` does, in a process of its own, to measure its time and memory: FORM MODEL
// SAMPLES OUT, as compress-reference.py. Prints one line of JSON, with ONNX Runtime's session entries for the file.
import { readFileSync } from "node:fs";
import { formsFor, TARGETS } from "../../../lib/compress/forms/forms.ts";
import { readModelFile, writeModelFile } from "../../../lib/compress/onnx/model-file.ts";
import { Scratch } from "../../../lib/compress/onnx/written-model.ts";
import { describePorts } from "../../../lib/compress/bundle/inspect.ts";
import { foldKnown } from "../../../lib/compress/simplify/fold-known-dims.ts";
import { makeForm } from "../../../lib/compress/make-form.ts";
import { firstFeeds, openSamples } from "../../../lib/compress/run/samples.ts";
import { simplify } from "../../../lib/compress/simplify/simplify.ts";

const [name = "", path = "", samples = "", out = ""] = process.argv.slice(2);
const started = performance.now();
const model = readModelFile(path);
const { inputs } = await describePorts(model);
const feeds = await firstFeeds(await openSamples(samples, inputs, 256), 256);
model.transform(simplify());
await foldKnown(model);
const form = formsFor(TARGETS, [name]).find((x) => x.id === name);
if (form === undefined) throw new Error(`there is no form ${name}`);
const scratch = new Scratch();
const made = await makeForm(form, model, { feeds, scratch }, []);
await writeModelFile(out, made.model);
// Not getrusage: its value includes the memory of the parent process before exec.
const peak = /VmHWM:\s*(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
const peakBytes = Number(peak) * 1024;
const session = made.form.session?.wasm ?? {};
process.stdout.write(`${JSON.stringify({ seconds: (performance.now() - started) / 1000, peakBytes, session })}\n`);
await scratch.close();
process.exit();
