/**
 * Uses of retired words that stay. `text` is a part of the comment or message that holds the word.
 * @type {readonly { readonly file: string, readonly text: string, readonly reason: string }[]}
 */
export const EXCEPTIONS = [];
