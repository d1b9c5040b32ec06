// The source model's outputs, against which every form is compared. They are kept as far as memory allows; past that
// the model runs again.
import type { Feed } from "./feeds.ts";
import type { Outputs } from "./metric.ts";
import type { Samples } from "./samples.ts";
import { openModel } from "./session.ts";

const KEPT_BYTES = 2 ** 28;

/** One sample with the source model's outputs. */
export interface ReferenceOutputs {
  readonly feed: Feed;
  readonly reference: Outputs;
}

/** Outputs of one model for one set of samples. */
export class References {
  #samples: Samples;
  readonly #path: string;
  readonly #kept: Outputs[] = [];
  #left = KEPT_BYTES;

  /** Takes the model's path, so that a model with external data loads too. */
  constructor(path: string, samples: Samples) {
    this.#path = path;
    this.#samples = samples;
  }

  /** The samples. */
  get samples(): Samples {
    return this.#samples;
  }

  /** Returns the source model's outputs for the first sample, where there is one. */
  async first(): Promise<Outputs | undefined> {
    for await (const { reference } of this.each()) return reference;
    return undefined;
  }

  /** Leaves out all but the first samples. */
  cutTo(n: number): void {
    const all = this.#samples;
    this.#samples = {
      ...all,
      n,
      async *each() {
        let left = n;
        for await (const feed of all.each()) {
          yield feed;
          if (--left <= 0) break;
        }
      },
    };
  }

  /**
   * Iterates over all samples, or those at the positions that `isIn` selects.
   * @throws TypeError naming the sample on which the model does not run.
   */
  async *each(isIn: (index: number) => boolean = () => true): AsyncGenerator<ReferenceOutputs> {
    let model: Awaited<ReturnType<typeof openModel>> | undefined;
    let i = 0;
    try {
      for await (const feed of this.samples.each()) {
        if (!isIn(i)) {
          i++;
          continue;
        }
        let reference = this.#kept[i];
        if (reference === undefined) {
          model ??= await openModel(this.#path, "cpu");
          reference = await answer(model, feed, i);
          this.#keep(reference, i);
        }
        yield { feed, reference };
        i++;
      }
    } finally {
      await model?.release();
    }
  }

  #keep(outputs: Outputs, index: number): void {
    const bytes = Object.values(outputs).reduce((sum, { data }) => sum + data.length * 8, 0);
    if (index !== this.#kept.length || bytes > this.#left) return;
    this.#left -= bytes;
    this.#kept.push(outputs);
  }
}

async function answer(model: Awaited<ReturnType<typeof openModel>>, feed: Feed, index: number): Promise<Outputs> {
  try {
    return await model.run(feed);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const dims = Object.entries(feed).map(([name, x]) => `"${name}" [${x.dims.join(", ")}]`);
    throw new TypeError(`samples: the model does not run on sample ${index + 1} (${dims.join(", ")}): ${reason}`, {
      cause: error,
    });
  }
}
