// Vectors of texts from servers with `/v1/embeddings` in the shape of OpenAI's API. Vectors of two models must never mix,
// and a name says little of a model: a server's answers are used only once it has stated the identity and variant that
// the app expects, as `selvedge serve` does, or has answered the app's own texts with the app's own vectors. Loaded by
// `connectEmbeddings`.
import { show } from "../core/check-inputs.ts";
import { isSelvedgeError } from "../core/errors.ts";
import { call } from "./call.ts";
import type { CallAnswer, CallContext } from "./call.ts";
import type { Endpoint } from "./endpoints.ts";
import { exchange } from "./exchange.ts";
import type { HttpReply, HttpRequest } from "./exchange.ts";
import { FailedAttempt, ReplyError } from "./failure.ts";
import { asObject, decodeText, parse } from "./plain-json.ts";

/** The model that vectors must be of; `expect` or `golden` is needed. */
export interface EmbeddingsOptions {
  /** Bundle and variant that the vectors must be of (`model.identity`, `model.variant`); a server that states others is refused. */
  readonly expect?: { readonly identity: string; readonly variant: string } | undefined;
  /**
   * Texts with vectors of the right model, as `model.embed` computes them: a server that states no identity must answer
   * each with a cosine of at least 0.999, or is refused.
   */
  readonly golden?: { readonly texts: readonly string[]; readonly vectors: readonly ArrayLike<number>[] } | undefined;
  /** Numbers of a vector, for a model trained for fewer. Default: all. */
  readonly dims?: number | undefined;
  /** Texts of one request at most, from 1. Default: 128, and fewer once a server has refused more and named its limit. */
  readonly maxTexts?: number | undefined;
}

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
/** Texts of one request, where neither the app nor a server says otherwise: most servers take 256 and more. */
const TEXTS_MAX = 128;
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
  const own = new Embeddings(context, headers, model, checked(model, options), close);
  await own.check();
  return own;
}

function checked(model: unknown, { expect, golden, dims, maxTexts }: EmbeddingsOptions): EmbeddingsOptions {
  if (typeof model !== "string" || model === "") throw new TypeError(`model: expected a name, got ${show(model)}`);
  if (expect === undefined && golden === undefined)
    throw new TypeError("embeddings: `expect` or `golden` is needed, so that vectors of two models never mix");
  for (const [name, value] of Object.entries({ expect, golden }))
    if (value !== undefined && (typeof value !== "object" || (value as unknown) === null))
      throw new TypeError(`${name}: expected an object, got ${show(value)}`);
  if (expect !== undefined && (typeof expect.identity !== "string" || typeof expect.variant !== "string"))
    throw new TypeError(`expect: expected { identity, variant }, got ${show(expect)}`);
  for (const [name, value] of Object.entries({ dims, maxTexts }))
    if (value !== undefined && !(Number.isSafeInteger(value) && value >= 1))
      throw new RangeError(`${name}: expected a whole number from 1, got ${show(value)}`);
  if (golden === undefined) return { expect, golden, dims, maxTexts };
  const { texts, vectors } = golden;
  checkTexts("golden.texts", texts);
  const isList: boolean = Array.isArray(vectors);
  if (!isList) throw new TypeError(`golden.vectors: expected a list of vectors, got ${show(vectors)}`);
  if (texts.length === 0 || texts.length > TEXTS_MAX || vectors.length !== texts.length)
    throw new TypeError(`golden: expected 1 to ${TEXTS_MAX} texts and a vector for each`);
  for (const [i, vector] of vectors.entries())
    if (!(vector.length > 0) || !(norm(vector) > 0) || (dims !== undefined && vector.length !== dims))
      throw new TypeError(`golden.vectors: number ${i} is no vector${dims === undefined ? "" : ` of ${dims} numbers`}`);
  return { expect, dims, maxTexts, golden: { texts: [...texts], vectors: vectors.map((x) => Float32Array.from(x)) } };
}

/** Half of a surrogate pair is no text in UTF-8. */
function checkTexts(option: string, texts: readonly string[]): void {
  const isText = (x: unknown): boolean => typeof x === "string" && !/\p{Surrogate}/u.test(x);
  const wrong = Array.isArray(texts) ? texts.findIndex((x) => !isText(x)) : 0;
  if (wrong >= 0) throw new TypeError(`${option}: expected a list of texts; number ${wrong} is none`);
}

/** Identity and variant as a server states them; null where it does not. */
type Stated = { readonly identity: string; readonly variant: string } | null;

/** An answer of a server. */
interface Reply {
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
  ): Promise<CallAnswer<Reply> | Refused> {
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
        known.name ??= read.name;
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
  #read({ bytes }: HttpReply, count: number): Reply {
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

/** Reads a vector: a list of numbers, or the bytes of little-endian float32 numbers in base64. @throws ReplyError */
function vectorOf(value: unknown): Float32Array {
  const isList = Array.isArray(value) && value.every((x) => typeof x === "number");
  const vector = typeof value === "string" ? fromBase64(value) : isList ? Float32Array.from(value) : null;
  if (vector === null || vector.length === 0 || !vector.every((x) => Number.isFinite(x)))
    throw new ReplyError("a vector is not one of finite numbers");
  return vector;
}

function fromBase64(text: string): Float32Array | null {
  try {
    const bytes = Uint8Array.from(atob(text), (x) => x.charCodeAt(0));
    return new Float32Array(bytes.buffer);
  } catch {
    return null;
  }
}

function cosine(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i += 1) sum += (a[i] ?? 0) * (b[i] ?? 0);
  return sum / (norm(a) * norm(b));
}

function norm(vector: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < vector.length; i += 1) sum += (vector[i] ?? 0) ** 2;
  return Math.sqrt(sum);
}
