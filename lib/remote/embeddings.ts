// Vectors of texts from servers with `/v1/embeddings` in the shape of OpenAI's API. Vectors of two models must never mix,
// and a name says little of a model: a server's answers are used only once it has stated the identity and variant that
// the app expects, as `selvedge serve` does, or has answered the app's own texts with the app's own vectors. Loaded by
// `connectEmbeddings`.
import { show } from "../core/check-inputs.ts";
import { isSelvedgeError } from "../core/errors.ts";
import { call } from "./call.ts";
import type { CallAnswer, CallContext } from "./call.ts";
import { checkEmbeddings, checkTexts, TEXTS_MAX } from "./embeddings-options.ts";
import type { EmbeddingsOptions } from "./embeddings-options.ts";
import type { Endpoint } from "./endpoints.ts";
import { exchange } from "./exchange.ts";
import type { HttpReply, HttpRequest } from "./exchange.ts";
import { FailedAttempt, ReplyError } from "./failure.ts";
import { asObject, decodeText, parse } from "./plain-json.ts";
import { cosine, vectorOf } from "./vectors.ts";

/** Options of one call. */
export interface EmbedCallOptions {
  /** Cancels the call, which rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Time for all attempts of one request of at most `maxTexts` texts, in milliseconds. Default: the client's. */
  readonly timeoutMs?: number | undefined;
}

/** Vectors of a call. */
export interface EmbeddingsResult {
  /** A vector for each text, in their order. */
  readonly vectors: readonly Float32Array[];
  /** Facts of the answers. */
  readonly info: EmbeddingsInfo;
}

/** Facts of the answers to a call. */
export interface EmbeddingsInfo {
  /** Base addresses of the servers that answered. */
  readonly endpoints: readonly string[];
  /** Requests that were sent for it, those that a server refused as too large included; checks of servers are not counted. */
  readonly attempts: number;
  /** Tokens of the texts; null where a server does not state them. */
  readonly tokens: number | null;
  /** Time of the call, in milliseconds. */
  readonly ms: number;
}

/** A model on servers that makes vectors of texts. */
export interface RemoteEmbeddings {
  /**
   * Computes the vector of each text on a server.
   * @throws TypeError for anything but texts, before anything is sent; SelvedgeError `remote-failed` (`other-model` where
   * a server's model is not known to be the right one), `closed`; the signal's reason
   */
  embed(texts: readonly string[], options?: EmbedCallOptions): Promise<EmbeddingsResult>;
  /** Rejects pending calls with `closed` and cancels their requests. */
  close(): void;
}

/** Least cosine to the golden's vectors. */
const COSINE_MIN = 0.999;
/** Statuses with which servers refuse base64, which some lack. */
const REFUSALS: readonly (number | null)[] = [400, 415, 422];
/** Words with which servers refuse a request of too many texts, by status 400 or 422: these have two of them. */
const TOO_MANY: readonly RegExp[] = [
  /\b(batch|texts|inputs|items|documents|array|list)\b/i,
  /at most|max|limit|exceed|more than|too (many|large|long)/i,
];

/** Words of a limit on each text or on all texts' length: its numbers are no numbers of texts. Those of a list's length are. */
const LENGTH = /token|character|byte|^(?!.*\b(array|list|batch)\b).*length/is;
/** Answers to requests of as many texts as allowed after which twice as many are tried again. */
const RAISE_AFTER = 32;

/** Connects to a model. @throws as connectEmbeddings */
export async function openEmbeddings(
  context: CallContext,
  headers: (endpoint: Endpoint) => Promise<Headers>,
  model: string,
  options: EmbeddingsOptions,
  close: () => void,
): Promise<RemoteEmbeddings> {
  const own = new Embeddings(context, headers, model, checkEmbeddings(model, options), close);
  await own.check();
  return own;
}

/** Identity and variant as a server states them; null where it does not. */
type Stated = { readonly identity: string; readonly variant: string } | null;

/** An answer of a server. */
interface EmbeddingsReply {
  readonly vectors: readonly Float32Array[];
  readonly tokens: number | null;
  readonly stated: Stated;
  /** The model's name as the reply has it; null where it has none. */
  readonly name: string | null;
}

/** A server's model as a check found it: its statement, and its name in replies, undefined until there was one. */
interface Found {
  readonly stated: Stated;
  name: string | null | undefined;
}

/** A request that was refused since it has too many texts. */
interface Refused {
  /** How many the next one may have. */
  readonly most: number;
  readonly attempts: number;
}

class Embeddings implements RemoteEmbeddings {
  readonly #context: CallContext;
  readonly #headers: (endpoint: Endpoint) => Promise<Headers>;
  readonly #close: () => void;
  readonly #model: string;
  readonly #options: EmbeddingsOptions;
  /** Each server that has the right model, as it was found. */
  readonly #checks: Map<Endpoint, Promise<Found>> = new Map();
  /** Calls of `headers` for each server that have not answered. */
  readonly #waiting: Map<Endpoint, number> = new Map();
  /** Servers that refused base64 and answered in lists of numbers. */
  readonly #lists: Set<Endpoint> = new Set();
  /** Texts of one request at most, by the option and by what servers said. */
  #most: number;
  /** Answers in a row to requests of that many. */
  #full = 0;
  /** Length of vectors; null until there was one. */
  #width: number | null = null;

  constructor(
    context: CallContext,
    headers: (endpoint: Endpoint) => Promise<Headers>,
    model: string,
    options: EmbeddingsOptions,
    close: () => void,
  ) {
    this.#context = context;
    const count = (of: Endpoint, more: number): void => {
      const left = (this.#waiting.get(of) ?? 0) + more;
      if (left > 0) this.#waiting.set(of, left);
      else this.#waiting.delete(of);
    };
    this.#headers = (of) => {
      count(of, 1);
      return headers(of).finally(() => {
        count(of, -1);
      });
    };
    this.#close = close;
    this.#model = model;
    this.#options = options;
    this.#most = options.maxTexts ?? TEXTS_MAX;
    this.#width = options.dims ?? options.golden?.vectors[0]?.length ?? null;
  }

  /** Resolves once a server with the right model has answered. */
  async check(): Promise<void> {
    await this.#ask([this.#options.golden?.texts[0] ?? "a"], undefined, undefined);
  }

  close(): void {
    this.#close();
  }

  async embed(given: readonly string[], { signal, timeoutMs }: EmbedCallOptions = {}): Promise<EmbeddingsResult> {
    const { effects } = this.#context;
    checkTexts("texts", given);
    // A copy: the caller may change the list while requests are under way.
    const texts = [...given];
    const startMs = effects.now();
    const vectors: Float32Array[] = [];
    const endpoints = new Set<string>();
    let attempts = 0;
    let tokens: number | null = 0;
    let most = Infinity;
    for (let at = 0; at < texts.length;) {
      const part = texts.slice(at, at + Math.min(most, this.#most));
      const answer = await this.#ask(part, signal, timeoutMs);
      attempts += answer.attempts;
      if ("most" in answer) {
        most = answer.most;
        continue;
      }
      at += part.length;
      this.#raise(part.length);
      for (const vector of answer.value.vectors) vectors.push(vector);
      endpoints.add(answer.endpoint.url);
      tokens = tokens === null || answer.value.tokens === null ? null : tokens + answer.value.tokens;
    }
    return { vectors, info: { endpoints: [...endpoints], attempts, tokens, ms: effects.now() - startMs } };
  }

  async #ask(
    texts: readonly string[],
    signal: AbortSignal | undefined,
    timeoutMs: number | undefined,
  ): Promise<CallAnswer<EmbeddingsReply> | Refused> {
    /** Facts of the servers that had passed their check when they were asked last. */
    const found = new Map<Endpoint, Found>();
    /** Set where the last attempt was refused as too many. */
    let most: number | null = null;
    /** Whether a server is asked for lists of numbers: as soon as it has refused base64, also for another fault. */
    const lists = new Map<Endpoint, boolean>();
    /** Servers that were checked again, after a reply of another model. */
    const again = new Set<Endpoint>();
    let last: Endpoint | null = null;
    const isUnasked = (): boolean => last === null || this.#waiting.has(last);
    const own = {
      ...{ signal, timeoutMs },
      get check() {
        return isUnasked() ? undefined : "the check of its model";
      },
      request: async (to: Endpoint) => {
        most = null;
        last = to;
        found.delete(to);
        found.set(to, await unlessAborted(this.#checked(to), signal));
        const asLists = lists.get(to) === true || this.#lists.has(to);
        lists.set(to, asLists);
        return this.#requestOf(to, texts, asLists);
      },
      read: (reply: HttpReply, from: Endpoint) => {
        const read = this.#read(reply, texts.length);
        const known = found.get(from) ?? { stated: null, name: undefined };
        if (!isSame(read.stated, known.stated)) throw otherModel("it has another model than when it was checked");
        // Null is an answer too: a server that named no model and names one now has another.
        if (known.name === undefined) known.name = read.name;
        checkName(read.name, known.name);
        // Not before: a reply of another model would have all others refused.
        this.#width ??= read.vectors[0]?.length ?? null;
        if (lists.get(from) === true) this.#lists.add(from);
        return read;
      },
      adapts: (failure: FailedAttempt, to: Endpoint) => {
        most = this.#fewer(failure, texts.length);
        if (most !== null) return false;
        if (REFUSALS.includes(failure.status) && lists.get(to) === false) {
          lists.set(to, true);
          return true;
        }
        // A server that failed may come back with another model.
        this.#checks.delete(to);
        if (failure.reason !== "other-model" || !found.has(to) || again.has(to)) return false;
        again.add(to);
        return true;
      },
    };
    try {
      return await call(this.#context, own);
    } catch (error) {
      // Its `headers` may never come: later calls ask anew.
      if (last !== null && isUnasked() && !found.has(last)) this.#checks.delete(last);
      const attempts = isSelvedgeError(error) ? error.details["attempts"] : null;
      if (most === null || typeof attempts !== "number") throw error;
      return { most, attempts };
    }
  }

  /** Returns how many texts a server may take that refused so many of them; null where that is not why. */
  #fewer({ status, message }: FailedAttempt, count: number): number | null {
    const isTooLarge = status === 413;
    if (count === 1 || !(isTooLarge || status === 400 || status === 422)) return null;
    const isTooMany = TOO_MANY.every((x) => x.test(message));
    if (!isTooLarge && !isTooMany) return null;
    const words = message.replace(/^status \d+/, "").replace(/\[\d+\]/g, "");
    const named =
      isTooMany && !LENGTH.test(words)
        ? (words.match(/\d+/g) ?? []).map(Number).filter((x) => x >= 1 && x < count)
        : [];
    this.#full = 0;
    if (named.length > 0) return (this.#most = Math.min(this.#most, Math.max(...named)));
    // Half of them, for these texts: others may be shorter.
    return Math.ceil(count / 2);
  }

  /** Raises the limit in time: the server that named it may be another one now. */
  #raise(count: number): void {
    if (count < this.#most) return;
    this.#full += 1;
    if (this.#full % RAISE_AFTER === 0) this.#most = Math.min(this.#options.maxTexts ?? TEXTS_MAX, 2 * this.#most);
  }

  /** Checks a server's model, once, for all callers: no caller's signal ends it. @throws Failure */
  #checked(endpoint: Endpoint): Promise<Found> {
    const known = this.#checks.get(endpoint);
    if (known !== undefined) return known;
    const check = this.#check(endpoint);
    this.#checks.set(endpoint, check);
    check.catch(() => {
      if (this.#checks.get(endpoint) === check) this.#checks.delete(endpoint);
    });
    return check;
  }

  async #check(endpoint: Endpoint): Promise<Found> {
    const { expect, golden } = this.#options;
    const stated = await this.#stated(endpoint);
    if (stated !== null && expect !== undefined) {
      if (isSame(stated, expect)) return { stated, name: undefined };
      throw otherModel(`it states the identity ${stated.identity} and the variant "${stated.variant}"`);
    }
    if (golden === undefined) throw otherModel("it states no identity, and there is no `golden` to check it by");
    const { vectors, name } = await this.#golden(endpoint, golden.texts);
    for (const [i, vector] of vectors.entries()) {
      const found = cosine(vector, golden.vectors[i] as ArrayLike<number>);
      if (!(found >= COSINE_MIN))
        throw otherModel(`it answers text ${i} of the golden with a cosine of ${found.toFixed(4)}`);
    }
    return { stated, name };
  }

  async #stated(endpoint: Endpoint): Promise<Stated> {
    try {
      const { bytes } = await this.#once(await this.#describing(endpoint));
      return statedIn(asObject(parse(decodeText(bytes, "the reply")), "the model's description"));
    } catch (error) {
      // Not every server has this path, or JSON there.
      const isNone =
        error instanceof FailedAttempt && error.status !== null && error.status >= 400 && error.status < 500;
      if (error instanceof ReplyError || (isNone && ![401, 403, 408, 425, 429].includes(error.status ?? 0)))
        return null;
      throw error;
    }
  }

  async #golden(
    endpoint: Endpoint,
    texts: readonly string[],
  ): Promise<{ vectors: Float32Array[]; name: string | null | undefined }> {
    const vectors: Float32Array[] = [];
    let name: string | null | undefined;
    let most = Infinity;
    let asLists = this.#lists.has(endpoint);
    while (vectors.length < texts.length) {
      const part = texts.slice(vectors.length, vectors.length + Math.min(most, this.#most));
      try {
        const reply = this.#read(await this.#once(await this.#requestOf(endpoint, part, asLists)), part.length);
        if (asLists) this.#lists.add(endpoint);
        if (name === undefined) name = reply.name;
        checkName(reply.name, name);
        vectors.push(...reply.vectors);
      } catch (error) {
        if (error instanceof ReplyError) throw otherModel(`it answers the golden otherwise: ${error.message}`);
        if (!(error instanceof FailedAttempt)) throw error;
        const fewer = this.#fewer(error, part.length);
        most = fewer ?? most;
        if (fewer !== null) continue;
        if (asLists || !REFUSALS.includes(error.status)) throw error;
        asLists = true;
      }
    }
    return { vectors, name };
  }

  /** Sends a request of a check, bounded as an attempt. */
  #once(request: HttpRequest): Promise<HttpReply> {
    const { effects, closed, attemptTimeoutMs: timeoutMs, maxReplyBytes } = this.#context;
    return exchange(effects, request, { signal: closed, timeoutMs, maxReplyBytes });
  }

  async #describing(endpoint: Endpoint): Promise<HttpRequest> {
    const url = `${endpoint.url}/v1/models/${encodeURIComponent(this.#model)}`;
    return { method: "GET", url, headers: await this.#headers(endpoint) };
  }

  async #requestOf(endpoint: Endpoint, texts: readonly string[], asLists: boolean): Promise<HttpRequest> {
    const { dims } = this.#options;
    const headers = await this.#headers(endpoint);
    headers.set("content-type", "application/json");
    const body = new TextEncoder().encode(
      JSON.stringify({
        ...{ model: this.#model, input: texts },
        encoding_format: asLists ? "float" : "base64",
        ...(dims !== undefined && { dimensions: dims }),
      }),
    );
    return { method: "POST", url: `${endpoint.url}/v1/embeddings`, headers, body };
  }

  /** Reads a reply. @throws ReplyError */
  #read({ bytes }: HttpReply, count: number): EmbeddingsReply {
    const reply = asObject(parse(decodeText(bytes, "the reply")), "the reply");
    const { data, usage, model } = reply;
    if (!Array.isArray(data) || data.length !== count)
      throw new ReplyError(`the reply has ${Array.isArray(data) ? data.length : "no"} vectors for ${count} texts`);
    const vectors: Float32Array[] = [];
    let width = this.#width;
    for (const [at, each] of (data as unknown[]).entries()) {
      const { index = at, embedding } = asObject(each, "an entry of the reply");
      if (!Number.isSafeInteger(index) || !((index as number) in data) || (index as number) in vectors)
        throw new ReplyError(`the reply has the index ${show(index)} twice, or for no text`);
      const vector = vectorOf(embedding);
      width ??= vector.length;
      if (vector.length !== width) throw new ReplyError(`a vector has ${vector.length} numbers, others have ${width}`);
      vectors[index as number] = vector;
    }
    const tokens =
      typeof usage === "object" && usage !== null ? (usage as Record<string, unknown>)["prompt_tokens"] : null;
    return {
      ...{ vectors, stated: statedIn(reply) },
      tokens: typeof tokens === "number" ? tokens : null,
      name: typeof model === "string" ? model : null,
    };
  }
}

function otherModel(why: string): FailedAttempt {
  return new FailedAttempt(`the server's model is not known to be the right one: ${why}`, { reason: "other-model" });
}

/** Refuses the reply of a server that states no identity and names another model than before. @throws Failure */
function checkName(name: string | null, before: string | null): void {
  if (name === before) return;
  throw otherModel(`its reply is of the model ${show(name)}, when it was checked it was ${show(before)}`);
}

function isSame(a: Stated, b: Stated): boolean {
  return a?.identity === b?.identity && a?.variant === b?.variant;
}

function statedIn({ parameters }: Readonly<Record<string, unknown>>): Stated {
  if (typeof parameters !== "object" || parameters === null) return null;
  const { identity, variant } = parameters as Readonly<Record<string, unknown>>;
  return typeof identity === "string" && typeof variant === "string" ? { identity, variant } : null;
}

/** Waits for a promise that others wait for too. @throws the signal's reason */
async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  let onAbort = (): void => undefined;
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => {
      reject(signal.reason as Error);
    };
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
