// The values that a bundle.json is made of: names, words, paths, sizes.
import * as v from "valibot";

/** A lower-case word: ids, versions, encodings, steps. */
export const word = v.pipe(v.string(), v.regex(/^[a-z0-9][a-z0-9._-]{0,63}$/, "lower-case letters, digits, . _ and -"));

/**
 * A name of a port, a dim or a metric. Names of properties that every JavaScript object has are refused: a look-up by
 * name would find those.
 */
export const name = v.pipe(
  v.string(),
  v.minLength(1),
  v.maxLength(200),
  v.regex(
    /^(?!(?:__proto__|__(?:define|lookup)[GS]etter__|constructor|hasOwnProperty|isPrototypeOf|propertyIsEnumerable|prototype|toLocaleString|toString|valueOf)$)/,
    "a name that no JavaScript object has of itself",
  ),
);

/** A number that is neither NaN nor infinite. */
export const finite = v.pipe(v.number(), v.finite());

/** A size in pixels, and counts of that order. */
export const size = v.pipe(v.number(), v.safeInteger(), v.minValue(1), v.maxValue(32_768));

/** An axis of a tensor. */
export const axis = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(15));

/** A SHA-256. */
export const sha256 = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/, "64 lower-case hex digits"));

/** A relative path inside a model: no scheme, no root, no `..`, no query, nothing that a URL parser would fold. */
export const path = v.pipe(
  v.string(),
  v.maxLength(200),
  v.regex(/^[A-Za-z0-9_-][A-Za-z0-9._-]*(?:\/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$/, "a relative path without . or .. parts"),
);

/** The path of an asset. */
export const asset = path;
