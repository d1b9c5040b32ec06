/** Failure of a property of the store's model. */
export class PropertyError extends Error {}

/**
 * Fails a property.
 * @throws PropertyError with the message, unless it holds
 */
export function check(holds: boolean, message: string): void {
  if (!holds) throw new PropertyError(message);
}
