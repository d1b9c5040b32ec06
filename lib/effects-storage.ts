// What a page, and no worker, may ask of the browser's storage.

/**
 * Asks the browser to keep what is stored even where space runs short; Firefox asks the user. Gives what was granted.
 */
export async function persistStorage(): Promise<boolean> {
  const { storage } = navigator as Partial<Navigator>; // missing on pages that are not secure
  try {
    return (await storage?.persisted()) === true || (await storage?.persist()) === true;
  } catch {
    return false;
  }
}
