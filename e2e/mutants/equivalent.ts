// Automatic mutants that no test can notice, since they change nothing that can be seen, each with the reason.

const ALL = "a shortcut: a model that runs on as many lanes as there are runs on all of them";
const EMPTY = "a shortcut for the usual case: nothing is in an empty map either";
const AWAY = "for the compiler: no choice fails otherwise, a wrong pin before";
const LEAST = "for the compiler: an error of memory has at least one variant";
const FOUND = "for the compiler: a bundle is found where there is a store";
const FIRST = "the first step runs, however few rows are wanted";
const LATER = "a shortcut: no end is later than a deadline that is infinite";
const NEVER = "what is never late is behind all others, and the time at which it is late is that of none";
const NONE = "for the compiler: nothing is less than undefined, or undefined less than anything";
const ONE_ID = "no two steps have one id";
const TIE = "of two groups whose time is the same both are looked at then, in whatever order";
const PEERS = "for the compiler: a group is among those that it can run with";
const ONCE = "a signal is aborted once";
const UNREAD = "an error here means that no labels are stored as well";
const DIFFER = "they differ here";

/** Mutants of one file, as auto.ts writes its survivors, without the number of the line: the reason of each. */
export const EQUIVALENT: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "lib/cache/count-runs.ts": {
    "first !== undefined → true in const isHere = first !== undefined && first.chunks.every((x) => here?.":
      "an error here leaves the variant as it is, too",
    "here?.has → here.has in const isHere = first !== undefined && first.chunks.every((x) => here?.":
      "an error here leaves the variant as it is, too",
    "modelStore?.peek → modelStore.peek in return isHere ? ((await modelStore?.peek(first.chunks)) ?? null) : nul":
      "for the compiler: a file is here where there is a store",
  },
  "lib/cache/fetch-labels.ts": {
    "modelStore?.source → modelStore.source in const source = (await modelStore?.source(url)) ?? null;": UNREAD,
    "source === null → false in const manifest = source === null ? null : ((await modelStore?.bundle(s": UNREAD,
    "modelStore?.bundle → modelStore.bundle in const manifest = source === null ? null : ((await modelStore?.bundle(s":
      "for the compiler: where there is no store, there is no source",
    "manifest !== null && isBare(manifest) → true in const [chunk] = manifest !== null && isBare(manifest) ? manifest.chunk":
      UNREAD,
    "manifest !== null && isBare(manifest) → manifest !== null || isBare(manifest) in const [chunk] = manifest !== null && isBare(manifest) ? manifest.chunk":
      UNREAD,
    "manifest !== null → true in const [chunk] = manifest !== null && isBare(manifest) ? manifest.chunk": UNREAD,
    '[] → ["Stryker was here"] in const [chunk] = manifest !== null && isBare(manifest) ? manifest.chunk':
      "a text is no chunk, so nothing is stored of it",
    "chunk === undefined → false in const blob = chunk === undefined ? null : await downloader.stored(chun": UNREAD,
    "blob === null || source === null → false in if (blob === null || source === null) return null;": UNREAD,
    "blob === null || source === null → blob === null && source === null in if (blob === null || source === null) return null;":
      UNREAD,
    "blob === null → false in if (blob === null || source === null) return null;": UNREAD,
    "source === null → false in if (blob === null || source === null) return null;":
      "for the compiler: bytes that are stored have a source",
    "modelStore?.touch → modelStore.touch in await modelStore?.touch(source.identity).catch(() => undefined);":
      "for the compiler: where there is no store, there is no source",
    "modelStore === null → false in if (modelStore === null || bytes.byteLength === 0) return;":
      "an error here means that nothing is stored as well",
  },
  "lib/cache/brotli.ts": {
    '"" → "Stryker was here!" in if (/^text\\/html\\b/.test(headers.get("content-type") ?? ""))':
      "a shortcut: neither is the type of a page",
  },
  "lib/cache/file-download.ts": {
    "room.missing?.delete → room.missing.delete in room.missing?.delete(keyOf(chunk)); // its pieces are counted one by o":
      "for the compiler: the chunks of a file's load are known",
    '[] → ["Stryker was here"] in const pieces = (await modelStore?.pieces(chunk).catch(() => [])) ?? []':
      "a piece without a size is passed over",
    "() => [] → () => undefined in const pieces = (await modelStore?.pieces(chunk).catch(() => [])) ?? []":
      "undefined means no pieces as well",
    "modelStore === null → false in if (modelStore === null || found.some((x) => !x.isStored)) return { bl":
      "for the compiler: without a store no piece is stored",
    "found[0]?.blob.slice(0, HEAD_BYTES) → found[0]?.blob in const head = new Uint8Array((await found[0]?.blob.slice(0, HEAD_BYTES)":
      "a shortcut: only the first bytes are looked at",
    "found[0]?.blob → found[0].blob in const head = new Uint8Array((await found[0]?.blob.slice(0, HEAD_BYTES)":
      "for the compiler: a file has at least one piece",
  },
  "lib/cache/http.ts": {
    '{ once: true } → {} in signal.addEventListener("abort", follow, { once: true });': ONCE,
    'true → false in signal.addEventListener("abort", follow, { once: true });': ONCE,
    '"" → "Stryker was here!" in const [, last, size] = /^bytes 0-(\\d+)\\/(\\d+)$/.exec(headers.get("cont':
      "neither is a range",
    '[] → ["Stryker was here"] in const [, last, size] = /^bytes 0-(\\d+)\\/(\\d+)$/.exec(headers.get("cont':
      "the first item is not read",
    "size !== undefined → true in return size !== undefined && Number(last) + 1 === Number(size);":
      "for the compiler: no number equals that of undefined",
  },
  "lib/cache/estimate-cost.ts": {
    "() => null → () => undefined in const rate = (await modelStore?.rate().catch(() => null)) ?? bytesPerS":
      "undefined counts as null",
    "() => null → () => undefined in const here = (await modelStore?.chunks().catch(() => null)) ?? new Set":
      "undefined counts as null",
    '[] → ["Stryker was here"] in const held = await effects.heldLocks().catch((): readonly string[] => ':
      "no lock has that name",
    "() => null → () => undefined in const data = (await downloader.modelStore?.peek(chunks).catch(() => nu":
      "undefined counts as null",
    "at?.fit → at.fit in return { ...cold, costs: [{ ...cost, fit: at?.fit ?? null }], failed: ":
      "for the compiler: one candidate is there, or the plan is an error",
    "() => null → () => undefined in const source = (await modelStore?.source(url).catch(() => null)) ?? nu":
      "undefined counts as null",
    "modelStore?.bundle → modelStore.bundle in const stored = source === null ? null : await modelStore?.bundle(sourc":
      "for the compiler: without a store there is no source",
    "() => null → () => undefined in const stored = source === null ? null : await modelStore?.bundle(sourc":
      "undefined counts as null",
    "size === null → false in const bytes = size === null || !Number.isFinite(size) ? null : size;":
      "null is not finite either",
    '[] → ["Stryker was here"] in return { backend: null, bytes, bytesToFetch: bytes, isUnderWay, chunks':
      "what is no chunk can't be read, which is null as no chunks are",
  },
  "lib/cache/json.ts": {
    'found === null → false in const fix = found === null || reason === "not-json" ? "Is the path rig':
      "for the compiler: a text that is not recognised has the reason not-json",
  },
  "lib/cache/known-file.ts": {
    "{ etag: null, lastModified: null, bytes: null } → {} in if (known === null) return file ?? { etag: null, lastModified: null, b":
      "for the compiler: a bare model's validators are read from an answer alone",
  },
  "lib/cache/late-notes.ts": {
    "() => this.#open.delete(write) → () => undefined in .finally(() => this.#open.delete(write));":
      "a note that is written is not written again: only memory is freed",
  },
  "lib/cache/manage.ts": {
    "downloader.modelStore?.pin → downloader.modelStore.pin in if (found !== null) await downloader.modelStore?.pin(found.identity, i":
      FOUND,
    "downloader.modelStore?.remove → downloader.modelStore.remove in freed += (await downloader.modelStore?.remove(identity)) ?? 0;":
      FOUND,
    "downloader.modelStore?.bundle → downloader.modelStore.bundle in const manifest = found === null ? null : await downloader.modelStore?.":
      FOUND,
    "found === null → false in if (found === null || manifest == null)":
      "for the compiler: what was not found has no manifest",
  },
  "lib/cache/model-store.ts": {
    "{ freeBuffer(found); } → {} in } finally {": "only memory is freed earlier",
    '[] → ["Stryker was here"] in for (const piece of piecesOf(names).get(keyOf(file)) ?? []) {':
      "for the compiler: what is stored whole has its pieces",
    "name === undefined → false in const part = name === undefined ? null : await this.store.read(name);":
      "for the compiler: no entry has that name",
    "() => null → () => undefined in if ((await readManifest(this.store, asked.identity).catch(() => null))":
      "undefined is not damaged either",
    "x.source.signature !== null → true in const signed = series.find((x) => x.source?.identity === asked.identit":
      "a signature that is null is as good as none",
    "signed?.source?.signature → signed?.source.signature in const source = { ...asked, signature: asked.signature ?? signed?.sourc":
      "for the compiler: a record that was found by its identity is not damaged",
    "identity === undefined → false in const bundle = identity === undefined ? null : await this.bundle(ident":
      "for the compiler: there is no such description, and no bundle",
    "identity === undefined → false in if (identity === undefined || bundle === null) continue;":
      "for the compiler: there is no such description, and no bundle",
    "noteOf !== null → true in if (noteOf !== null)": "no record has the address of null",
    "a === null → false in const last = rates.reduce<string | null>((a, b) => (a === null || time":
      "for the compiler: the time of none is 0",
    "timeOf(b) > timeOf(a) → timeOf(b) >= timeOf(a) in const last = rates.reduce<string | null>((a, b) => (a === null || time":
      "of two rates of one time either counts",
    "head === null → false in const validator = head === null ? null : await readJson(this.store, he":
      "for the compiler: no entry has that name",
    '[] → ["Stryker was here"] in const [, owner, n, sha256, bytes] = /^draft-([0-9a-f]{64})-(\\d+)-([0-9':
      "a name that does not match has no owner either",
    "sha256 !== undefined → true in if (owner === address && sha256 !== undefined) chunks.set(Number(n), {":
      "for the compiler: a name with an owner has a hash",
    "() => null → () => undefined in const manifest = source === null ? null : await readManifest(this.stor":
      "undefined is not newer either",
    "this.store.oldNames?.() → this.store.oldNames() in for (const name of (await this.store.oldNames?.()) ?? []) {":
      "an error here is ignored: there is nothing to move",
    '[] → ["Stryker was here"] in for (const name of (await this.store.oldNames?.()) ?? []) {':
      "no record has that name",
    '"source-" → "" in const source = name.startsWith("source-") ? await readJson(this.store,':
      "a shortcut: other entries are no sources",
    "this.store.adopt?.(name, bytes) → this.store.adopt(name, bytes) in if (bytes !== null) await this.store.adopt?.(name, bytes);":
      "for the compiler: a store with older entries can move them",
    "() => null → () => undefined in const source = await readJson(this.store, name).catch(() => null);":
      "undefined is no source either",
    "old !== name → true in for (const old of names) if (old.startsWith(`${prefix}-`) && old !== n":
      "the new name is later than all that were there",
  },
  "lib/cache/open.ts": {
    "modelStore !== null → true in if (remembers && modelStore !== null) downloader.notes.add(() => model":
      "for the compiler: what is stored has a store",
    "newest.identity === stored.identity → false in const refused = newest.identity === stored.identity ? null : whyNotHer":
      "a shortcut: a version that can't run here is not whole either",
    '"internal" → "" in if (isBare(bundle)) throw new SelvedgeError("internal", `${url} became':
      "for the compiler: no description of a bundle or a repository is a list of chunks",
    '`${url} became a list of chunks.` → `` in if (isBare(bundle)) throw new SelvedgeError("internal", `${url} became':
      "for the compiler: no description of a bundle or a repository is a list of chunks",
    'isBare(bundle) → false in if (isBare(bundle)) throw new SelvedgeError("internal", `${url} became':
      "for the compiler: no description of a bundle or a repository is a list of chunks",
    "modelStore !== null → true in if (remembers && modelStore !== null) {":
      "without a store nothing is remembered there either",
    "modelStore === null → false in if (modelStore === null) return null;": "an error here means null as well",
    "() => null → () => undefined in return (await modelStore?.source(url).catch(() => null))?.identity;":
      "neither has an identity",
    "downloader.modelStore?.bundle → downloader.modelStore.bundle in const bundle = (await downloader.modelStore?.bundle(identity)) ?? null":
      "for the compiler: what is stored has a store",
    "bundle === null → false in if (bundle === null || isBare(bundle)) return null;":
      "an error here means that none is stored, too",
    "modelStore?.chunks → modelStore.chunks in return isWhole(stored, (await modelStore?.chunks().catch(() => null)) ":
      "for the compiler: what is stored has a store",
    "() => null → () => undefined in return isWhole(stored, (await modelStore?.chunks().catch(() => null)) ":
      "undefined is replaced as null is",
    "() => null → () => undefined in const stored = (await modelStore?.releases().catch(() => null)) ?? NO_":
      "undefined is replaced as null is",
    "() => null → () => undefined in const note = (await modelStore?.releaseNote(url).catch(() => null)) ??":
      "undefined is replaced as null is",
    "() => Promise.resolve(opened) → () => undefined in return withExternal(null, opened, () => Promise.resolve(opened));":
      "for the compiler: bytes lead to no other address",
    "expires !== undefined → true in ...(expires !== undefined && { expires }),":
      "a field that is undefined is not written either",
    "/^bundle\\.json/ → /bundle\\.json/ in message.replace(/^bundle\\.json/, () => url),":
      "each of these messages begins with the name, and the first occurrence is replaced",
    'isSelvedgeError(error) && (error.code === "no-backend" || error.code = → isSelvedgeError(error) || error.code === "no-backend" || error.code == in const isUnfit = isSelvedgeError(error) && (error.code === "no-backend"':
      "a plan fails with these two codes alone",
    'error.code === "no-backend" || error.code === "does-not-fit" → true in const isUnfit = isSelvedgeError(error) && (error.code === "no-backend"':
      "a plan fails with these two codes alone",
    "/^(https?|blob|data):$/ → /^(https?|blob|data):/ in if (/^(https?|blob|data):$/.test(protocol) || (protocol === ownProtoco":
      "a scheme ends with the colon",
  },
  "lib/cache/plan.ts": {
    'isSelvedgeError(error) && (error.code === "no-backend" || error.code = → true in const isAway = isSelvedgeError(error) && (error.code === "no-backend" ':
      AWAY,
    'isSelvedgeError(error) && (error.code === "no-backend" || error.code = → isSelvedgeError(error) || error.code === "no-backend" || error.code == in const isAway = isSelvedgeError(error) && (error.code === "no-backend" ':
      AWAY,
    'error.code === "no-backend" || error.code === "does-not-fit" → true in const isAway = isSelvedgeError(error) && (error.code === "no-backend" ':
      AWAY,
    "!isAway → false in if (!isAway) throw error;": AWAY,
    "{ backend: undefined, variant: undefined } → {} in const free = { backend: undefined, variant: undefined };":
      "a pin that is absent is undefined",
    '[] → ["Stryker was here"] in const text = [least, ...more].flatMap((x) => (x === undefined ? [] : [': LEAST,
    "x === undefined → false in const text = [least, ...more].flatMap((x) => (x === undefined ? [] : [": LEAST,
    "least?.variant → least.variant in variant: least?.variant.id ?? null,": LEAST,
    "least?.backend → least.backend in backend: least?.backend ?? null,": LEAST,
    "least?.fit → least.fit in memoryBytes: least?.fit.memoryBytes ?? null,": LEAST,
    "least?.fit → least.fit in reason: least?.fit.reason ?? null,": LEAST,
  },
  "lib/cache/room.ts": {
    "freed < bytes → true in if (freed < bytes) freed += await removeParts(store, names, bytes - fr":
      "a shortcut: no part is removed where nothing more is to be freed",
    "freed < bytes → freed <= bytes in if (freed < bytes) freed += await removeParts(store, names, bytes - fr":
      "a shortcut: no part is removed where nothing more is to be freed",
    "owners === null → false in if (owners === null || found === undefined) {":
      "for the compiler: without owners none is found",
    '[] → ["Stryker was here"] in const [, address, begun, sha256] = DRAFT.exec(name) ?? [];':
      "a name that does not match has no address either",
    "address !== undefined → true in if (address !== undefined) {":
      "an owner without an address names nothing and has no entries",
    "sha256 !== undefined → true in if (sha256 !== undefined) draft.hashes.add(sha256);": "no chunk has that hash",
    "identity === undefined → false in if (identity === undefined) continue;":
      "for the compiler: there is no such manifest, which is left out as well",
    'kind === "bundle" → true in if (kind === "bundle") await removeRecords(store, id);':
      "no bundle has the hash of an address",
    'kind === "draft" → true in for (const name of names) if (kind === "draft" && name.startsWith(`dra':
      "no address has the hash of a bundle",
    '"-" → "" in const file = hashOf(pieceIn(name)?.file ?? "-");': "a name without a dash gives no hash either",
    'name.startsWith("source-") → true in else if (name.startsWith("source-")) {':
      "a shortcut: other entries are no sources",
    '"source-" → "" in else if (name.startsWith("source-")) {': "a shortcut: other entries are no sources",
    "() => null → () => undefined in const source = await readJson(store, name).catch(() => null);":
      "undefined is no source and has no bytes either",
    "() => null → () => undefined in sizes.set(name, (await store.read(name).catch(() => null))?.byteLength":
      "undefined is no source and has no bytes either",
    "sizes.size > 0 → true in if (sizes.size > 0) for (const name of await store.names()) size -= si":
      "a shortcut: no part is left where none was removed",
    "sizes.size > 0 → sizes.size >= 0 in if (sizes.size > 0) for (const name of await store.names()) size -= si":
      "a shortcut: no part is left where none was removed",
    "keys.length === 0 → false in if (keys.length === 0) return 0;": "a shortcut: without chunks none is removed",
    '[] → ["Stryker was here"] in function namedBy(owners: Iterable<Owner>, more: Iterable<string> = [])':
      "no chunk has that hash",
  },
  "lib/cache/network-evidence.ts": {
    "/^(blob|data):$/ → /(blob|data):$/ in const allowed = /^(blob|data):$/.test(protocol) ? protocol : isForeign":
      "no other scheme that is fetched ends so",
    "/^(blob|data):$/ → /^(blob|data):/ in const allowed = /^(blob|data):$/.test(protocol) ? protocol : isForeign":
      "a scheme has one colon, at its end",
  },
  "lib/cache/serve.ts": {
    'change === "leaving" → true in if (change === "leaving") found?.leaving();':
      "each of the other changes begins with the same",
  },
  "lib/cache/source.ts": {
    "bytes === null → false in if (bytes === null) return null;": "no bytes are no JSON either, which is null as well",
    "{ return null; } → {} in } catch {": "undefined is no record either",
  },
  "lib/cache/stores/cache-api.ts": {
    "response === undefined → false in if (response === undefined) return null;":
      "what is undefined can't be read, which is null where no entry is there",
  },
  "lib/cache/stores/indexed-db.ts": {
    "bytes.byteLength === bytes.buffer.byteLength → false in const { buffer } = bytes.byteLength === bytes.buffer.byteLength ? byte":
      "a shortcut: a copy holds the same bytes",
    "request.transaction?.abort → request.transaction.abort in else request.transaction?.abort();":
      "for the compiler: an upgrade has a transaction",
  },
  "lib/cache/stores/old-store.ts": {
    "old === null → false in return old === null || (await old.names()).length === 0 ? store : new ":
      "an error here means the new store alone as well",
    "store.blob?.(name) → store.blob(name) in (await store.blob?.(name)) ?? (await this.#tryOld(name, async () => (a":
      "for the compiler: it was found to be there",
  },
  "lib/cache/stores/open-store.ts": {
    "() => null → () => undefined in const store = await open(now).catch(() => null);":
      "undefined fails its trial as well",
    "store !== null → true in if (store !== null && (await keeps(store))) return store;":
      "null fails its trial as well",
    'bytes?.join → bytes.join in return bytes?.join() === "1,2,3";': "an error here means false as well",
    "{ return false; } → {} in } catch {": "undefined is as false as false",
  },
  "lib/cache/stores/opfs.ts": {
    "{ at: 0 } → {} in if (handle.write(bytes, { at: 0 }) !== bytes.byteLength) throw outOfSp":
      "a new handle writes at the start of its file",
    "() => false → () => undefined in () => false,": "undefined is as false as false",
  },
  "lib/cache/unvalidated-files.ts": {
    "() => [] → () => undefined in const pieces = (await modelStore?.pieces(file).catch(() => [])) ?? [];":
      "undefined means no pieces as well",
  },
  "lib/cache/update.ts": {
    "() => null → () => undefined in const before = isBare ? (await downloader.modelStore?.source(url).catc":
      "neither has an identity",
    "downloader.modelStore?.settle → downloader.modelStore.settle in await downloader.modelStore?.settle(url, opened.identity).catch(() => ":
      "for the compiler: without a store an update rejects before",
  },
  "lib/cache/versions.ts": {
    "current !== null → true in if (current !== null && !replaces(next, whole)) continue;":
      "a shortcut: where there is none yet, none is whole, which any version replaces",
  },
  "lib/pool/gpu-loss-ledger.ts": {
    '"" → "Stryker was here!" in this.#losses = (effects.memo.get(KEY) ?? "").split(" ").map(Number);':
      "words that are no numbers never count",
  },
  "lib/schedule/back-offs.ts": {
    "this.#known.size > 0 → true in return this.#known.size > 0 && (isBarred(lane) || isBarred(`${lane} ${": EMPTY,
    "this.#known.size > 0 → this.#known.size >= 0 in return this.#known.size > 0 && (isBarred(lane) || isBarred(`${lane} ${":
      EMPTY,
  },
  "lib/schedule/choose-lane.ts": {
    "other !== undefined → true in if (other !== undefined && behind !== undefined && this.#urgency.leave":
      "for the compiler: a step is only found behind one on another lane",
  },
  "lib/schedule/cost-estimate.ts": {
    "rows >= most → rows > most in if (rows >= most) return most;":
      "the next size is past the limit, or does not pay, which gives the same",
    "saved?.version → saved.version in if (saved?.version !== VERSION) return null;":
      "an error here means null as well",
  },
  "lib/schedule/explain-start.ts": {
    "one !== undefined && together !== undefined → true in return one !== undefined && together !== undefined && together < one *":
      NONE,
    "one !== undefined && together !== undefined → one !== undefined || together !== undefined in return one !== undefined && together !== undefined && together < one *":
      NONE,
    "one !== undefined → true in return one !== undefined && together !== undefined && together < one *": NONE,
    "together !== undefined → true in return one !== undefined && together !== undefined && together < one *": NONE,
  },
  "lib/schedule/form-batch.ts": {
    "best > rows → true in while (best > rows && (estimate.ms(key, best) ?? 0) > mostMs) best = M": FIRST,
    "best > rows → best >= rows in while (best > rows && (estimate.ms(key, best) ?? 0) > mostMs) best = M": FIRST,
    "fit === best → false in if (fit === best || after === undefined || after.step.dueMs >= startMs":
      "a shortcut: no larger batch is left to be looked for",
    "size > small.rows → size >= small.rows in for (let size = best; size > small.rows; size = Math.floor(size / 2)) ":
      "as few rows are left out below",
    "from === undefined → false in if (from === undefined || rows <= small.rows) continue;":
      "for the compiler: where no step is left, no rows are",
    "rows <= small.rows → rows < small.rows in if (from === undefined || rows <= small.rows) continue;":
      "as many rows take the same time, which is no gain",
  },
  "lib/schedule/heap.ts": {
    "item === undefined → false in if (item === undefined || !passed.has(item)) return item;":
      "for the compiler: undefined is not in `passed`, and is returned as well",
  },
  "lib/schedule/hedge.ts": {
    'event.type === "ended" → true in else if (event.type === "ended") this.#end(event.batch, event.ms, now)':
      "other events have no batch",
    "isAgain → true in if (isAgain) this.#set(id, false);": "a new request is not known yet",
    '[] → ["Stryker was here"] in const values = this.#latencies.get(own)?.values ?? [];': "one is not enough either",
    "atMs < Infinity → true in if (atMs < Infinity) this.#byTime.put(pending);": NEVER,
    "atMs < Infinity → atMs <= Infinity in if (atMs < Infinity) this.#byTime.put(pending);": NEVER,
    '[] → ["Stryker was here"] in const { ids = [], isRemote = false } = this.#batches.get(batch) ?? {};':
      "no request has a text as its id",
    "false → true in const { ids = [], isRemote = false } = this.#batches.get(batch) ?? {};":
      "an unknown batch has no requests",
    '[] → ["Stryker was here"] in const known = this.#latencies.get(key) ?? { values: [], count: 0 };':
      "the first latency takes its place",
    "a.id < b.id → a.id <= b.id in return a.atMs < b.atMs || (a.atMs === b.atMs && a.id < b.id);":
      "no two requests have one id",
  },
  "lib/schedule/queue.ts": {
    '(a.latestMs - b.latestMs || a.id - b.id) < 0 → (a.latestMs - b.latestMs || a.id - b.id) <= 0 in readonly #late: Heap<"lateAt", Waiting> = new Heap("lateAt", (a, b) =>':
      ONE_ID,
    'a.risesMs < b.risesMs → a.risesMs <= b.risesMs in readonly #rising: Heap<"riseAt", Group> = new Heap("riseAt", (a, b) =>':
      TIE,
    'a.restsMs < b.restsMs → a.restsMs <= b.restsMs in readonly #resting: Heap<"restAt", Group> = new Heap("restAt", (a, b) =':
      TIE,
    "steps.get(group)?.push → steps.get(group).push in steps.get(group)?.push([step, latestMs, costMs]);":
      "for the compiler: each step is of a group that the queue has",
    '[] → ["Stryker was here"] in Object.assign(this.#steps.get(steps[0]?.[0].id ?? 0)?.group.class.cost':
      "nothing reads what is assigned to it",
    "peers?.delete → peers.delete in peers?.delete(group);": PEERS,
    "peers?.size → peers.size in if (peers?.size === 0) this.#peers.delete(together);": PEERS,
    "a.id < b.id → a.id <= b.id in return due === other ? a.id < b.id : due < other;": ONE_ID,
    "due < other → due <= other in return due === other ? a.id < b.id : due < other;": DIFFER,
    "a.level < b.level → a.level <= b.level in if (a.level !== b.level) return a.level < b.level;": DIFFER,
    "x.dueMs < y.dueMs → x.dueMs <= y.dueMs in if (x.dueMs !== y.dueMs) return x.dueMs < y.dueMs;": DIFFER,
    "(a.class.usedMs - b.class.usedMs || x.id - y.id) < 0 → (a.class.usedMs - b.class.usedMs || x.id - y.id) <= 0 in return (a.class.usedMs - b.class.usedMs || x.id - y.id) < 0;":
      ONE_ID,
  },
  "lib/schedule/lane-state.ts": {
    "concurrency < found.length → concurrency <= found.length in const isFull = concurrency < found.length && found.filter(runs).length":
      ALL,
    "concurrency < found.length → true in const isFull = concurrency < found.length && found.filter(runs).length": ALL,
  },
  "lib/schedule/recover.ts": {
    "code === null → false in if (code === null || !(LANE_DIED.has(code) || LANE_UNFIT.has(code))) r":
      "for the compiler: null is in neither set, so it rejects as well",
  },
  "lib/schedule/scheduler.ts": {
    "dueMs < Infinity → true in const endMs = isRefusable && dueMs < Infinity ? this.#endOf(step, now,": LATER,
    "dueMs < Infinity → dueMs <= Infinity in const endMs = isRefusable && dueMs < Infinity ? this.#endOf(step, now,":
      LATER,
    "kept.size === 0 → false in const open = kept.size === 0 ? lanes : lanes.filter((lane) => !kept.ha":
      "a shortcut: where no lane is kept, all of them pass the filter",
    "x.lane.id !== lane → true in x.lane.id !== lane &&":
      "the run that is stalled is the first of its own lane, which the next condition leaves out",
  },
};
