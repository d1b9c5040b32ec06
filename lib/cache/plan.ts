// Plan of an opened bundle for the page: how the model may be run on this device, its inputs and its outputs. The
// choice is made here, in the worker, because its rules and sentences would add to every page's script.
import type { DecodeSpec, ImageSpec, Unknown } from "../core/bundle.ts";
import { candidates, settled, sparesOf, whySpared } from "../core/choose-variant.ts";
import type { Candidate } from "../core/choose-variant.ts";
import { SelvedgeError } from "../core/errors.ts";
import type { OpenedBundle } from "./opened.ts";
import type { Plan, Wish } from "./messages.ts";

/** Plans how an opened model may be run. */
export function plan(
  { bundle, identity, storedAs, texts, data, seen, refused, mustCheck }: OpenedBundle,
  { device, backends, pins, crashed }: Wish,
): Plan {
  if (bundle.unknown !== undefined) throw newerError(bundle.model.name, bundle.unknown);
  const { name, inputs, outputs, exampleDims: typical = {} } = bundle.model;
  const hasCrashed = (x: Candidate): boolean =>
    crashed.some(({ backend, variant }) => backend === x.backend && variant.id === x.variant.id);
  const usual = candidates(bundle, device, backends, pins);
  const died = usual.find(hasCrashed);
  const found = died === undefined ? usual : candidates(bundle, device, backends, pins, hasCrashed);
  const images: Record<string, ImageSpec> = {};
  const decodes: Record<string, DecodeSpec> = {};
  const states: Record<string, string> = {};
  const { steps } = bundle.model;
  Object.assign(images, steps?.images);
  Object.assign(decodes, steps?.decodes);
  for (const x of inputs) if (x.image !== undefined) images[x.name] = x.image;
  for (const x of outputs) {
    if (x.decode !== undefined) decodes[x.name] = x.decode;
    if (x.feeds !== undefined) states[x.name] = x.feeds;
  }
  return {
    name,
    format: bundle.format,
    identity,
    storedAs,
    texts: texts ?? steps?.assets,
    declared: data === null && steps === undefined ? { inputs, outputs } : null,
    images,
    readers: steps?.texts ?? {},
    decodes,
    states,
    typical,
    assets: bundle.assets ?? [],
    candidates: found,
    spares: sparesOf(bundle, device, found, pins, hasCrashed),
    settled: settled(found, device, pins),
    spared: died === undefined ? null : whySpared(died),
    seen,
    refused,
    mustCheck,
    data,
  };
}

/** Returns the error for a model that needs a feature of a newer release. */
function newerError(model: string, { kind, word, at }: Unknown): SelvedgeError {
  const things = { step: "processing step", encoding: "chunk encoding", dtype: "element type" };
  const thing = `the ${things[kind]} "${word}"`;
  const message = `${model} can't run here: this release does not know ${thing} of "${at}". A newer release of selvedge may know it.`;
  return new SelvedgeError("no-backend", message, { model, [kind]: word, at, reason: "newer" });
}
