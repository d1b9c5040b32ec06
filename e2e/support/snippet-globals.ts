// The reader's own names in the pieces of code of the documentation, and packages that are not installed here.
import type { Engine, Inputs, Model } from "selvedge";
import type { CascadeSample } from "selvedge/offload";

declare global {
  const engine: Engine;
  const model: Model;
  const inputs: Inputs;
  const images: Iterable<Inputs>;
  const source: Iterable<Inputs>;
  const samples: readonly CascadeSample[];
  const chunk: Inputs;
  const file: File;
  const picture: ImageBitmap;
  const url: string;
  const key: string;
  const publicKey: string;
  const signal: AbortSignal;
  const policy: { createScriptURL(url: string): string };
  function draw(part: number): void;
  function show(outputs: unknown): void;
}
