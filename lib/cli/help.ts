// What --help says.

/** Says what the command does. */
export const HELP = `selvedge compress MODEL.onnx --out FOLDER [options]   every form that the targets need, measured, checked, packed
selvedge inspect  MODEL.onnx                          what a model holds
selvedge check    MODEL.onnx [--targets …] [--samples …]   where it runs, and whether it answers the same there
selvedge diff     A.onnx B.onnx [--samples …]         how far B's outputs are from A's
selvedge sign FOLDER --key KEY.json                   signs a bundle; --release N (seconds since 1970) grows with each, --days N (365)
                                                      until it expires: sign again before, which renews it
selvedge sign --new-key KEY.json                      makes a private key, prints the public one
selvedge verify FOLDER --trust PUBLIC                 whether a bundle is whole, and signed by one of these keys
selvedge replay TRACE.json [--set NAME=VALUE …]       repeats the decisions of an engine.trace(), and simulates other settings

  npx selvedge compress model.onnx --out dist/model --targets webgpu,wasm --samples samples.npz

selvedge compress --help and selvedge replay --help list the options.
`;

/** Says what compress takes and gives. */
export const COMPRESS_HELP = `selvedge compress MODEL.onnx --out FOLDER [options]

  --out FOLDER     written to: f32.onnx and the other forms, bundle/, report.json, report.md, report.html
  --targets LIST   of webgpu-f16, webgpu, wasm (all three)
  --samples PATH   inputs to measure on (made-up ones):
                   .npz with an array for each input; .npy for a model of one input; samples along the first axis
                   .jsonl, a sample a line: {"input": [[…]], "other": …}, or the bare list for one input
                   a folder of images, of .npz, or of <input>.npy
                   .ts or .js that exports samples: a list, or a function that yields as .jsonl holds
  --labels PATH    .npy, or a line of whole numbers for each sample
  --metric NAME    sqnr, top1, exact, perplexity, or a module that exports score(samples) (top1 with labels, else sqnr)
  --max-drop DROP  what the metric may lose: 0.5%, the default (perplexity and modules: of the value; top1, exact: points)
                   for sqnr the least ratio: 30dB, the default; or the energy that may be error, as 0.1% (30 dB)
  --bundle PATH    a bundle.json that describes the inputs and how images become them
  --forms LIST     names of forms to make beside f32 (those that suit the targets)
  --limit N        uses the first N samples (as many as the model answers in a minute)
  --prune SHARE    takes this share, as 25%, of hidden units and of convolutions' channels, and repairs what reads them:
                   the forms pruned and pruned-int8; heads, widths and single groups by "prune" in a recipe
  --search         looks for the smallest and the fastest model within --max-drop: which weights keep 16 bits, what is
                   pruned of each layer; judged on the half of the samples that took part in nothing; goes on where it
                   was cut short; --budget-minutes N (10): the forms searched and searched-fast
  --mask PATTERN   sets weights to 0, as 50% or 2:4: smaller on the wire, no faster anywhere; the form masked
  --browser NAME   chromium or firefox: checks there, not in onnxruntime-node (needs playwright-core)
  --dry-run        writes the plan to FOLDER/recipe.json, and makes nothing
  --recipe PATH    does what such a file says; options on the line win over it

Exit codes: 0 done; 1 failed; 2 a form missed its budget or failed a check; 3 a target could not be checked on this
machine; 130 stopped by Ctrl-C, with what was done until then packed.

  npx selvedge compress mobilenet.onnx --out dist/mobilenet --targets wasm --samples photos/ --bundle bundle.json
  npx selvedge compress classifier.onnx --out dist/classifier --samples x.npz --labels y.npy --max-drop 1%
  npx selvedge compress model.onnx --out dist/model --dry-run && npx selvedge compress model.onnx --out dist/model --recipe dist/model/recipe.json
`;
